//! Active health checks: each endpoint is probed on its own clock, and its state follows after as
//! many results in a row as the configuration asks for.
//!
//! What probes find belongs to the upstream that probes: a reload that changes it makes a new one,
//! with probes of its own, and ends the old one's at once, however long old requests still hold it.

mod grpc;
mod probe;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use futures::future::join_all;
use pingora_core::connectors::TransportConnector;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use self::probe::{Prober, Unhealthy};
use super::{Member, Upstream};
use crate::config::HealthCheck;
use crate::descriptors;

/// What the probes of one upstream found of one of its endpoints: healthy until found otherwise.
#[derive(Debug)]
pub struct Health {
    healthy: AtomicBool,
    /// Whether there was a result.
    probed: AtomicBool,
    /// Results in a row that contradict what the endpoint is held to be.
    streak: AtomicU32,
    /// Why the latest probe failed, if it did.
    reason: Mutex<Option<Arc<str>>>,
}

impl Default for Health {
    fn default() -> Self {
        let (streak, reason) = (AtomicU32::new(0), Mutex::default());
        let (healthy, probed) = (AtomicBool::new(true), AtomicBool::new(false));
        Self { healthy, probed, streak, reason }
    }
}

impl Health {
    /// Whether the endpoint is found healthy; true where there are no probes.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Whether a probe has ended.
    #[must_use]
    pub fn is_probed(&self) -> bool {
        self.probed.load(Ordering::Relaxed)
    }

    /// Why the latest probe failed, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<Arc<str>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Only [`Upstream::set_healthy`] may: it counts anew.
    pub(super) fn set(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    fn set_reason(&self, reason: Option<Arc<str>>) {
        self.probed.store(true, Ordering::Relaxed);
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// The probes at work: those of the upstreams in force and of no others.
pub struct Probes {
    runtime: Handle,
    running: Vec<Probing>,
    /// For endpoints that are not spoken to in plain HTTP/1. Made with the first: it reads the system's
    /// authorities.
    transport: Arc<OnceLock<TransportConnector>>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Probes").field("running", &self.running).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Probing {
    upstream: Arc<Upstream>,
    task: AbortHandle,
}

impl Probes {
    /// None yet; they will run on `runtime`, which should have nothing else to do: a probe that
    /// waits for its turn fails a healthy endpoint.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, running: Vec::new(), transport: Arc::default() }
    }

    /// Probes `upstreams` from now on. Those that were probed before go on as they are, the probes
    /// of all others end.
    pub fn follow(&mut self, upstreams: &[Arc<Upstream>]) {
        let in_force: std::collections::HashSet<_> = upstreams.iter().map(Arc::as_ptr).collect();
        self.running.retain(|probing| {
            let stays = in_force.contains(&Arc::as_ptr(&probing.upstream));
            if !stays {
                probing.task.abort();
            }
            stays
        });
        let running: std::collections::HashSet<_> =
            self.running.iter().map(|probing| Arc::as_ptr(&probing.upstream)).collect();
        for upstream in upstreams {
            if let Some(check) = &upstream.spec.health_check
                && !running.contains(&Arc::as_ptr(upstream))
            {
                let task = self.runtime.spawn(run(
                    upstream.clone(),
                    check.clone(),
                    self.transport.clone(),
                ));
                let task = task.abort_handle();
                self.running.push(Probing { upstream: upstream.clone(), task });
            }
        }
    }
}

async fn run(
    upstream: Arc<Upstream>,
    check: HealthCheck,
    transport: Arc<OnceLock<TransportConnector>>,
) {
    let prober = Prober::new(&check, &upstream.spec.transport, transport);
    loop {
        let started = Instant::now();
        let endpoints = upstream.endpoints();
        let probes = endpoints.members().iter().map(async |member| {
            let failure = prober.probe(member).await.err();
            if failure.as_ref().is_some_and(Unhealthy::is_own) {
                descriptors::report_exhaustion();
            } else {
                note(&upstream, member, failure.map(|error| error.to_string()), &check);
            }
        });
        join_all(probes).await;
        drop(endpoints);
        sleep_until(started + check.interval).await;
    }
}

/// Notes the result of a probe.
fn note(upstream: &Upstream, member: &Member, failure: Option<String>, check: &HealthCheck) {
    let health = &member.health;
    let success = failure.is_none();
    health.set_reason(failure.as_deref().map(Arc::from));
    if success == health.is_healthy() {
        health.streak.store(0, Ordering::Relaxed);
        return;
    }
    let streak = health.streak.fetch_add(1, Ordering::Relaxed) + 1;
    if streak >= if success { check.healthy } else { check.unhealthy } {
        health.streak.store(0, Ordering::Relaxed);
        upstream.set_healthy(health, success);
        report(upstream, member, failure);
    }
}

fn report(upstream: &Upstream, member: &Member, failure: Option<String>) {
    let (name, endpoint) = (&*upstream.spec.name, &member.endpoint.address);
    let Some(reason) = failure else {
        tracing::info!(upstream = name, %endpoint, "endpoint found healthy");
        return;
    };
    tracing::warn!(upstream = name, %endpoint, reason, "endpoint found unhealthy");
    let endpoints = upstream.endpoints();
    if endpoints.panics() {
        let (healthy, all) = (endpoints.healthy(), endpoints.members().len());
        tracing::warn!(
            upstream = name,
            healthy,
            all,
            "too few endpoints are healthy: all are used until more are"
        );
    }
}
