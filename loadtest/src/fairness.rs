//! Whether long downloads get even shares of a gateway, as far as its workers allow.
//!
//! A connection stays on the worker that it fell to. Where workers have different numbers of downloads,
//! the shares differ whatever the gateway does: that much is structure, and [`arithmetic`] says how much.
//! Owns the run that looks at real downloads, and what makes of it PASS, FAIL or INVALID. It deliberately
//! knows nothing of how the gateway spreads connections.

pub mod arithmetic;
mod measure;
mod placement;
mod report;
mod verdict;

pub use measure::measure;
pub use report::{Summary, draw, tables};
pub use verdict::judge;

use serde::Serialize;

/// How many downloads of whom, and for how long.
#[derive(Clone, Copy, Debug, Serialize, clap::Args)]
pub struct Plan {
    /// Worker threads of the gateway, all on its CPU.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Downloads at a time.
    #[arg(long, default_value_t = 12)]
    pub flows: usize,
    /// Clients, each with an address of its own, that the downloads belong to in turn.
    #[arg(long, default_value_t = 4)]
    pub clients: usize,
    /// Length of the run; the first 5 s and the last are left out of the figures.
    #[arg(long, default_value_t = 70)]
    pub seconds: usize,
}

/// One download, as its client saw it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flow {
    /// Whose it is, counted from 0.
    pub client: usize,
    /// The worker it fell to, by the gateway's own number; none if that could not be seen.
    pub worker: Option<usize>,
    /// Bytes read in each second of the run.
    pub bytes_per_s: Vec<u64>,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    /// All downloads.
    pub flows: Vec<Flow>,
    /// Workers there were.
    pub threads: usize,
    /// Whether the workers had the same downloads at the end as at the beginning; none if that could not be
    /// seen.
    pub stayed: Option<bool>,
    /// Share of the run that the gateway ran.
    pub gateway_busy: f64,
    /// Share of the run that others ran on the gateway's CPU.
    pub disturbance: f64,
    /// Share of the run that clients and origin ran.
    pub load_own: f64,
    /// Share of the run that the load's CPU ran anything.
    pub load_busy: f64,
}

impl Run {
    /// For each worker the downloads it had; none if one could not be placed.
    pub fn per_worker(&self) -> Option<Vec<usize>> {
        let workers: Option<Vec<usize>> = self.flows.iter().map(|flow| flow.worker).collect();
        let mut per_worker = std::collections::BTreeMap::new();
        workers?.into_iter().for_each(|worker| *per_worker.entry(worker).or_default() += 1);
        Some(per_worker.into_values().collect())
    }
}

impl Flow {
    /// The seconds that count.
    pub fn steady(&self) -> &[u64] {
        arithmetic::steady(&self.bytes_per_s)
    }

    /// Bytes a second over the seconds that count.
    pub fn rate(&self) -> f64 {
        let steady = self.steady();
        steady.iter().sum::<u64>() as f64 / steady.len().max(1) as f64
    }
}
