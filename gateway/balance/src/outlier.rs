//! Finding the endpoints of an upstream that fail while others serve, from nothing but results.
//!
//! Two signs count: errors in a row, which find an endpoint that is down within a few requests, and a success rate
//! below the upstream's mean, which finds one that fails now and then. An upstream whose endpoints all fail alike
//! has no outlier: something that they share is at fault, and leaving one out would only burden the rest. What to
//! do about an outlier, and how many may be left out at once, is decided by [`ejectable`]. The clock is the
//! caller's.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Seconds that a success rate is over, the present one included.
pub const RATE_WINDOW_S: u64 = 10;

/// Results in the window below which an endpoint's rate says nothing.
pub const RATE_RESULTS_MIN: u64 = 20;

/// Slots of a window: a power of two above [`RATE_WINDOW_S`].
const SLOTS: usize = 16;

/// Ejections after which an endpoint's time out grows no further.
const GROWTH_MAX: u32 = 10;

/// The results of one endpoint. Shared by all workers without a lock.
#[derive(Debug, Default)]
pub struct Results {
    errors_in_a_row: AtomicU32,
    /// For each second its 24 low bits, 20 bits of successes, 20 bits of errors.
    slots: [AtomicU64; SLOTS],
}

const COUNT_BITS: u32 = 20;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const SECOND_MASK: u64 = (1 << 24) - 1;

impl Results {
    /// Counts a success, which ends a row of errors.
    #[inline]
    pub fn succeeded(&self) {
        if self.errors_in_a_row.load(Ordering::Relaxed) != 0 {
            self.errors_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Counts an error and returns how many there were in a row.
    pub fn failed(&self) -> u32 {
        self.errors_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Counts a result towards the success rate.
    #[inline]
    pub fn rate(&self, now_ms: u64, success: bool) {
        let second = (now_ms / 1_000) & SECOND_MASK;
        let slot = &self.slots[second as usize % SLOTS];
        let one = if success { 1 << COUNT_BITS } else { 1 };
        // Counts that are full stay as they are: a million results a second are enough to judge by.
        _ = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |found| {
            if found >> (2 * COUNT_BITS) != second {
                return Some(second << (2 * COUNT_BITS) | one);
            }
            let (successes, errors) = counts(found);
            (successes < COUNT_MAX && errors < COUNT_MAX).then_some(found + one)
        });
    }

    /// Returns the success rate over the window, from 0 to 1; `None` with fewer than [`RATE_RESULTS_MIN`] results.
    #[must_use]
    pub fn success_rate(&self, now_ms: u64) -> Option<f64> {
        let second = (now_ms / 1_000) & SECOND_MASK;
        let slots = self.slots.iter().map(|slot| slot.load(Ordering::Relaxed));
        let recent = slots.filter(|slot| {
            second.wrapping_sub(slot >> (2 * COUNT_BITS)) & SECOND_MASK < RATE_WINDOW_S
        });
        let (successes, errors) =
            recent.map(counts).fold((0, 0), |sum, slot| (sum.0 + slot.0, sum.1 + slot.1));
        let results = successes + errors;
        (results >= RATE_RESULTS_MIN).then(|| successes as f64 / results as f64)
    }

    /// Forgets everything: what an endpoint did before it was left out says nothing of it afterwards.
    pub fn reset(&self) {
        self.errors_in_a_row.store(0, Ordering::Relaxed);
        self.slots.iter().for_each(|slot| slot.store(0, Ordering::Relaxed));
    }
}

fn counts(slot: u64) -> (u64, u64) {
    (slot >> COUNT_BITS & COUNT_MAX, slot & COUNT_MAX)
}

/// Returns whether `rate` is below `percent` of the mean of `rates`, which holds it too. Among fewer than two
/// endpoints nobody is an outlier.
#[must_use]
pub fn is_below_mean(rate: f64, rates: &[f64], percent: u8) -> bool {
    if rates.len() < 2 {
        return false;
    }
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    rate < mean * f64::from(percent) / 100.0
}

/// Returns how many of `endpoints` may be left out at once: `percent` of them, rounded down, and at least one.
#[must_use]
pub fn ejectable(endpoints: usize, percent: u8) -> usize {
    (endpoints * usize::from(percent) / 100).max(1)
}

/// Returns how long an endpoint is left out that was left out `before` times lately: `base_ms` more each time, up
/// to ten times that.
#[must_use]
pub fn ejection_ms(base_ms: u64, before: u32) -> u64 {
    base_ms.saturating_mul(u64::from(before.saturating_add(1).min(GROWTH_MAX)))
}

#[cfg(test)]
mod tests;
