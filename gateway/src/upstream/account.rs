//! What is kept of an upstream across configurations: the figures of its attempts, its retry budget, and when its
//! endpoints were last compared.
//!
//! It belongs to the name. An edit of the endpoints neither forgets what was counted nor gives requests a new
//! budget, which in an outage would be spent with every save.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use sallyport_balance::{Allowance, RetryBudget};
use sallyport_stats::{AttemptStats, QueueStats};

use super::admission::Gates;
use crate::shaping::Shaped;

/// How often the success rates of an upstream's endpoints are compared at most.
const COMPARISON_MS: u64 = 1_000;

/// Copies of requests that are under way to one upstream at most: with 64 KiB each, 16 MiB.
const MIRRORS_MAX: usize = 256;

/// A copy of a request that is under way.
#[derive(Debug)]
pub struct MirrorSlot(Arc<AtomicUsize>);

impl Drop for MirrorSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The books of one upstream.
#[derive(Debug)]
pub struct Account {
    /// What is counted of its attempts.
    pub stats: AttemptStats,
    name: Arc<str>,
    budget: RetryBudget,
    gates: Gates,
    queue: OnceLock<QueueStats>,
    bandwidth: OnceLock<Arc<Shaped>>,
    /// Whether an endpoint may be left out now: while none was, nobody has to look.
    ejections: AtomicBool,
    compared_ms: AtomicU64,
    /// Copies of requests that are under way.
    mirrors: Arc<AtomicUsize>,
    epoch: Instant,
}

impl Account {
    /// Opens the books of an upstream that is new.
    #[must_use]
    pub fn new(name: Arc<str>, stats: AttemptStats) -> Self {
        Self {
            stats,
            name,
            budget: RetryBudget::default(),
            gates: Gates::default(),
            queue: OnceLock::new(),
            bandwidth: OnceLock::new(),
            ejections: AtomicBool::new(false),
            compared_ms: AtomicU64::new(0),
            mirrors: Arc::default(),
            epoch: Instant::now(),
        }
    }

    /// The upstream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Counts what waits with `stats` from now on, if nothing does it yet.
    pub fn count_queue(&self, stats: QueueStats) {
        self.queue.get_or_init(|| stats);
    }

    /// What is counted of its queue, once it has had one.
    #[must_use]
    pub fn queue(&self) -> Option<&QueueStats> {
        self.queue.get()
    }

    /// Has its bodies share this bandwidth, unless they share one already.
    pub fn share_bandwidth(&self, shaped: &Arc<Shaped>) {
        self.bandwidth.get_or_init(|| shaped.clone());
    }

    /// The bandwidth that its bodies share, once it has had one.
    #[must_use]
    pub fn bandwidth(&self) -> Option<&Arc<Shaped>> {
        self.bandwidth.get()
    }

    pub(super) fn gates(&self) -> &Gates {
        &self.gates
    }

    /// Counts a request that is sent for the first time.
    pub(super) fn count_request(&self, now: Instant) {
        self.budget.count_request(self.ms(now));
    }

    /// Counts a retry if `allowance` has room for it, and returns whether it has.
    pub(super) fn try_retry(&self, now: Instant, allowance: Allowance) -> bool {
        self.budget.try_retry(self.ms(now), allowance)
    }

    /// Counts a second attempt beside one that is under way, as a retry.
    pub fn try_hedge(&self, allowance: Allowance) -> bool {
        self.try_retry(Instant::now(), allowance)
    }

    /// Takes a slot for a copy of a request, until what this returns is dropped. `None` if too many are under way.
    pub fn begin_mirror(&self) -> Option<MirrorSlot> {
        let before = self.mirrors.fetch_add(1, Ordering::Relaxed);
        let slot = MirrorSlot(self.mirrors.clone());
        (before < MIRRORS_MAX).then_some(slot)
    }

    /// An endpoint was left out.
    pub(super) fn note_ejection(&self) {
        self.ejections.store(true, Ordering::Relaxed);
    }

    /// Whether an endpoint may be left out now.
    pub(super) fn has_ejections(&self) -> bool {
        self.ejections.load(Ordering::Relaxed)
    }

    /// None is left out any longer.
    pub(super) fn forget_ejections(&self) {
        self.ejections.store(false, Ordering::Relaxed);
    }

    /// Whether it is time to compare success rates; the next time is a while off then.
    pub(super) fn may_compare_rates(&self, now: Instant) -> bool {
        let now_ms = self.ms(now) + COMPARISON_MS;
        let before = self.compared_ms.load(Ordering::Relaxed);
        let taken = (Ordering::Relaxed, Ordering::Relaxed);
        now_ms.saturating_sub(before) >= COMPARISON_MS
            && self.compared_ms.compare_exchange(before, now_ms, taken.0, taken.1).is_ok()
    }

    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }
}
