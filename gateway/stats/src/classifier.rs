//! What is counted of the classifier's hints: whether there are any, how many requests came with
//! which, and how long a connection waited before its first request could be read.
//!
//! The labels come from another program's configuration, so their number is bounded here: names
//! beyond the bound count under `other`.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use crate::{sheet::Sheet, table::Row};

/// Network names that become label values.
const NETWORKS_MAX: usize = 256;

/// Combinations of labels, each with a cell of 128 bytes for every worker.
const COMBINATIONS_MAX: usize = 4096;

/// Stands for what a request does not have.
const UNKNOWN: &str = "unknown";

/// Stands for what is beyond a bound.
const OTHER: &str = "other";

/// Upper edges of the histogram: a SYN to a request takes a round trip at least, and 60 s is where
/// listeners stop waiting by default.
pub(crate) const EDGES_US: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

// A histogram's counters: one for each edge, one beyond the last, the sum.
const BEYOND: usize = EDGES_US.len();
const SUM_NS: usize = BEYOND + 1;

/// Network, zone and protocol of a request.
pub(crate) type HintLabels = (Arc<str>, Arc<str>, &'static str);

/// What is counted of hints.
pub struct ClassifierStats {
    /// 0: there is no classifier to use; 1: it is down; 2: it is up.
    state: AtomicU8,
    shards: usize,
    requests: Mutex<Requests>,
    waits: Row,
}

#[derive(Default)]
struct Requests {
    rows: HashMap<HintLabels, Row>,
    networks: HashSet<Arc<str>>,
}

/// A handle on the counter of one combination of labels.
#[derive(Clone)]
pub struct HintStats(Row);

impl std::fmt::Debug for HintStats {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("HintStats").field(&self.0.sum(0)).finish()
    }
}

impl HintStats {
    /// Counts a request.
    #[inline]
    pub fn count(&self) {
        self.0.cell()[0].fetch_add(1, Ordering::Relaxed);
    }
}

impl ClassifierStats {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            state: AtomicU8::new(0),
            shards,
            requests: Mutex::default(),
            waits: row(SUM_NS + 1, shards),
        }
    }

    /// Says whether hints are in use; until this is said, nothing of it is exposed.
    pub fn set_up(&self, up: bool) {
        self.state.store(1 + u8::from(up), Ordering::Relaxed);
    }

    /// A handle for requests with these hints. Takes a lock: ask once for each connection.
    pub fn requests(
        &self,
        network: Option<&Arc<str>>,
        zone: Option<&Arc<str>>,
        protocol: Option<&'static str>,
    ) -> HintStats {
        let mut requests = self.lock();
        let network = requests.network(network);
        let zone = zone.map_or_else(|| UNKNOWN.into(), Arc::clone);
        let mut labels = (network, zone, protocol.unwrap_or(UNKNOWN));
        if !requests.rows.contains_key(&labels) && requests.rows.len() >= COMBINATIONS_MAX {
            labels = (OTHER.into(), OTHER.into(), OTHER);
        }
        let shards = self.shards;
        HintStats(requests.rows.entry(labels).or_insert_with(|| row(1, shards)).clone())
    }

    /// Records how long after its SYN a connection's first request was read.
    pub fn waited(&self, wait: Duration) {
        let wait_us = wait.as_micros() as u64;
        let bucket = EDGES_US.partition_point(|edge_us| *edge_us < wait_us);
        let cell = self.waits.cell();
        cell[bucket].fetch_add(1, Ordering::Relaxed);
        cell[SUM_NS].fetch_add(wait.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> ClassifierFigures {
        let state = self.state.load(Ordering::Relaxed);
        let mut requests: Vec<_> =
            self.lock().rows.iter().map(|(labels, row)| (labels.clone(), row.sum(0))).collect();
        requests.sort_unstable();
        let waits = self.waits.is_visited().then(|| Waits {
            counts: std::array::from_fn(|bucket| self.waits.sum(bucket)),
            sum: Duration::from_nanos(self.waits.sum(SUM_NS)),
        });
        ClassifierFigures { up: (state != 0).then_some(state == 2), requests, waits }
    }

    /// Every change is one insertion, so a panic elsewhere cannot have left it half done.
    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn network(&mut self, network: Option<&Arc<str>>) -> Arc<str> {
        let Some(network) = network else { return UNKNOWN.into() };
        if !self.networks.contains(network) {
            if self.networks.len() >= NETWORKS_MAX {
                return OTHER.into();
            }
            self.networks.insert(Arc::clone(network));
        }
        Arc::clone(network)
    }
}

fn row(words: usize, shards: usize) -> Row {
    Row::alone(Sheet::new(1, words, shards))
}

/// What is exposed of hints.
pub(crate) struct ClassifierFigures {
    /// `None` where there is no classifier to use.
    pub(crate) up: Option<bool>,
    pub(crate) requests: Vec<(HintLabels, u64)>,
    pub(crate) waits: Option<Waits>,
}

/// The histogram: counts by bucket, the last for what is beyond all edges.
pub(crate) struct Waits {
    pub(crate) counts: [u64; EDGES_US.len() + 1],
    pub(crate) sum: Duration,
}

#[cfg(test)]
mod tests;
