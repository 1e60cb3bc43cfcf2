//! How many requests may be sent again, as a share of those that are sent.
//!
//! Without a bound each request to origins that fail becomes several, at the moment when the origins can bear it
//! least. The budget is over a window of ten seconds: long enough that a burst is no reason to refuse, short
//! enough that an hour of good service does not pay for a minute of doubled load. The clock is the caller's.

use std::sync::atomic::{AtomicU64, Ordering};

/// Seconds that the budget is over, the present one included.
pub const BUDGET_WINDOW_S: u64 = 10;

/// Slots of a counter: a power of two above the window, so that the slot of a second is a mask away.
const SLOTS: usize = 16;

/// What may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Percent of the requests in the window.
    pub percent: u32,
    /// Retries in the window that are allowed however few the requests are.
    pub at_least: u32,
}

/// Requests and retries of the last ten seconds. Shared by all workers without a lock.
#[derive(Debug, Default)]
pub struct RetryBudget {
    requests: Recent,
    retries: Recent,
}

impl RetryBudget {
    /// Counts a request that is sent for the first time.
    #[inline]
    pub fn count_request(&self, now_ms: u64) {
        self.requests.count(now_ms / 1_000);
    }

    /// Counts a retry if `allowance` has room for it, and returns whether it has. Two workers that ask at the
    /// same moment may both be given the last one.
    pub fn try_retry(&self, now_ms: u64, allowance: Allowance) -> bool {
        let second = now_ms / 1_000;
        let share = self.requests.sum(second) * u64::from(allowance.percent) / 100;
        let allowed = self.retries.sum(second) < share.max(allowance.at_least.into());
        if allowed {
            self.retries.count(second);
        }
        allowed
    }
}

/// A count for each of the last seconds.
#[derive(Debug, Default)]
struct Recent {
    /// The second, 32 bits of it, above its count.
    slots: [AtomicU64; SLOTS],
}

impl Recent {
    /// Relaxed: nothing else is published through a count.
    #[inline]
    fn count(&self, second: u64) {
        let slot = &self.slots[second as usize % SLOTS];
        let present = second as u32;
        let found = slot.load(Ordering::Relaxed);
        if (found >> 32) as u32 == present {
            slot.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let first = u64::from(present) << 32 | 1;
        if slot.compare_exchange(found, first, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            // Another worker has begun this second.
            slot.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self, second: u64) -> u64 {
        let slots = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        let recent = slots.filter(|slot| {
            u64::from((second as u32).wrapping_sub((slot >> 32) as u32)) < BUDGET_WINDOW_S
        });
        recent.map(|slot| slot & u64::from(u32::MAX)).sum()
    }
}

#[cfg(test)]
mod tests;
