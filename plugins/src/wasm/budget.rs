//! How much of a thread's time failures may take.
//!
//! Whatever a failing guest took is taken from every other request of its thread, and who sends the
//! requests that it fails on may send many. So failures live on an allowance, as in a token bucket:
//! once it is used up, no VM is started until it has grown again. One bad request shuts nobody out,
//! and however many come, others lose no more than a share that their 99th percentile does not see.

use std::time::{Duration, Instant};

/// One part in so many of the time may go to failures.
const SHARE: u32 = 200;

/// What has been saved up at most: some fifty traps.
const ALLOWANCE: Duration = Duration::from_millis(50);

/// Calls that ran into their deadline that the allowance holds at least.
const DEADLINES: u32 = 3;

/// A failure's cost at least: a VM that is thrown away, and another that is made.
const COST_MIN: Duration = Duration::from_millis(1);

/// The allowance of one thread's VM of one filter.
#[derive(Debug)]
pub(super) struct Budget {
    allowance: Duration,
    /// When all of the allowance will be there again.
    whole_at: Option<Instant>,
}

impl Budget {
    /// A whole one, for calls with this deadline.
    pub(super) fn new(deadline: Duration) -> Self {
        Self { allowance: ALLOWANCE.max(deadline * DEADLINES), whole_at: None }
    }

    /// A failure took `cost` and ended at `now`.
    pub(super) fn spend(&mut self, cost: Duration, now: Instant) {
        let from = self.whole_at.map_or(now, |whole_at| whole_at.max(now));
        self.whole_at = Some(from + cost.max(COST_MIN) * SHARE);
    }

    /// Whether something is left at `now`.
    pub(super) fn is_left(&self, now: Instant) -> bool {
        let missing = self.whole_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        missing < self.allowance * SHARE
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Budget;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn traps_are_cheap_and_deadlines_are_not() {
        let now = Instant::now();
        for (cost, free) in [(Duration::ZERO, 50), (10 * MS, 5)] {
            let mut budget = Budget::new(10 * MS);
            for failure in 0..free {
                assert!(budget.is_left(now), "{cost:?} {failure}");
                budget.spend(cost, now);
            }
            assert!(!budget.is_left(now), "{cost:?}");
        }
        let mut budget = Budget::new(Duration::from_secs(1));
        budget.spend(Duration::from_secs(2), now);
        assert!(budget.is_left(now), "three deadlines at least");
    }

    #[test]
    fn a_two_hundredth_of_the_time_is_had_back() {
        let (mut budget, now) = (Budget::new(10 * MS), Instant::now());
        for _ in 0..5 {
            budget.spend(10 * MS, now);
        }
        assert!(!budget.is_left(now));
        assert!(budget.is_left(now + MS));
        budget.spend(10 * MS, now + MS);
        assert!(!budget.is_left(now + 2000 * MS));
        assert!(budget.is_left(now + 2001 * MS));
    }
}
