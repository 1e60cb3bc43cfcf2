//! One filter as its configuration sets it up: what all its VMs share.

use std::sync::Arc;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};

use super::abi::Failure;
use super::gauges::Gauges;
use super::lines::Lines;
use super::module::Compiled;
use crate::filter::Phases;
use crate::host::{Host, Metrics};

/// What the configuration says.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) configuration: Vec<u8>,
    pub(super) vm_configuration: Vec<u8>,
    pub(super) root_id: Box<str>,
    pub(super) vm_id: Box<str>,
    /// Whether requests go on without the filter when it fails.
    pub(super) open: bool,
    /// For one call into the guest.
    pub(super) deadline: Duration,
    /// For the start and configuration of one VM.
    pub(super) start_deadline: Duration,
    /// How long the guest may hold a request in one phase.
    pub(super) pause_timeout: Duration,
    /// Whether a message's body goes on to its hook while its head is held.
    pub(super) body_passes_held_head: bool,
    /// For one VM.
    pub(super) memory_bytes: usize,
    pub(super) phases: Phases,
    /// Upstreams that may be called.
    pub(super) upstreams: Vec<Box<str>>,
    /// `NAME=value`.
    pub(super) environment: Vec<Box<str>>,
}

/// One filter.
#[derive(Debug)]
pub(super) struct Plugin {
    pub(super) name: Arc<str>,
    pub(super) settings: Settings,
    pub(super) compiled: Arc<Compiled>,
    pub(super) host: Arc<Host>,
    pub(super) gauges: Gauges,
    pub(super) lines: Lines,
    pub(super) counters: Counters,
}

/// What is counted of a filter.
#[derive(Debug)]
pub(super) struct Counters {
    failures: IntCounterVec,
    pub(super) starts: IntCounter,
    pub(super) bypassed: IntCounter,
    pub(super) lines_left_out: IntCounter,
}

impl Counters {
    pub(super) fn new(metrics: &Metrics, filter: &str) -> Self {
        let one =
            |name, help| metrics.counters(name, help, &["filter"]).with_label_values(&[filter]);
        Self {
            failures: metrics.counters(
                "sallyport_wasm_failures_total",
                "Calls into WebAssembly filters that failed.",
                &["filter", "reason"],
            ),
            starts: one(
                "sallyport_wasm_vm_starts_total",
                "VMs of WebAssembly filters that were put to work.",
            ),
            lines_left_out: one(
                "sallyport_wasm_log_lines_dropped_total",
                "Lines of WebAssembly filters that were not logged because there were too many.",
            ),
            bypassed: one(
                "sallyport_wasm_bypassed_total",
                "Calls into WebAssembly filters left out because failures had used up their time.",
            ),
        }
    }

    pub(super) fn failed(&self, filter: &str, failure: Failure) {
        self.failures.with_label_values(&[filter, &failure.to_string()]).inc();
    }
}
