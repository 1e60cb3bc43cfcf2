//! When something that failed is tried again.

use std::time::{Duration, Instant};

/// The first wait, and the longest; each is twice the one before.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// The state of one thing that is tried again and again.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    wait: Duration,
    due: Instant,
}

impl Backoff {
    /// For something that failed at `now` for the first time.
    #[must_use]
    pub fn begin(now: Instant) -> Self {
        Self { wait: FIRST, due: now + FIRST }
    }

    /// Notes that it failed again.
    pub fn failed(&mut self, now: Instant) {
        self.wait = (self.wait * 2).min(LONGEST);
        self.due = now + self.wait;
    }

    /// Whether it is to be tried at `now`.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute() {
        let mut now = Instant::now();
        let mut backoff = Backoff::begin(now);
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert!(!backoff.is_due(now));
            let wait = (1..=60).find(|s| backoff.is_due(now + Duration::from_secs(*s))).unwrap();
            waits.push(wait);
            now += Duration::from_secs(wait);
            backoff.failed(now);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    }
}
