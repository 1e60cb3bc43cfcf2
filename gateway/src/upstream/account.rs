//! What is kept of an upstream across configurations: the figures of its attempts and its retry budget.
//!
//! It belongs to the name. An edit of the endpoints neither forgets what was counted nor gives requests a new
//! budget, which in an outage would be spent with every save.

use std::time::Instant;

use sallyport_balance::{Allowance, RetryBudget};
use sallyport_stats::AttemptStats;

/// The books of one upstream.
#[derive(Debug)]
pub struct Account {
    /// What is counted of its attempts.
    pub stats: AttemptStats,
    budget: RetryBudget,
    epoch: Instant,
}

impl Account {
    /// Opens the books of an upstream that is new.
    #[must_use]
    pub fn new(stats: AttemptStats) -> Self {
        Self { stats, budget: RetryBudget::default(), epoch: Instant::now() }
    }

    /// Counts a request that is sent for the first time.
    pub(super) fn count_request(&self, now: Instant) {
        self.budget.count_request(self.ms(now));
    }

    /// Counts a retry if `allowance` has room for it, and returns whether it has.
    pub(super) fn try_retry(&self, now: Instant, allowance: Allowance) -> bool {
        self.budget.try_retry(self.ms(now), allowance)
    }

    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }
}
