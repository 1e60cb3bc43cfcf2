//! How much a worker takes at once, and how long it rests after: pure.
//!
//! A worker polls: waking it would be a system call in the path of whoever records. It rests
//! longer the less there is, so that an idle pipeline is not felt, and less the fuller the buffer
//! is, so that a busy one does not overflow.

use std::time::Duration;

/// Samples taken under one lock at first: a few microseconds.
pub(super) const BATCH_MIN: usize = 256;
/// And at most: what 100 us of work are, which is how long a flush may have to wait.
pub(super) const BATCH_MAX: usize = 4_096;

const REST_MIN: Duration = Duration::from_micros(250);

/// A worker's batch size and rest.
#[derive(Debug)]
pub(super) struct Pace {
    batch: usize,
    rest: Duration,
    rest_max: Duration,
}

/// What a worker found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// Samples that were waiting when it looked.
    pub(super) waiting: usize,
    /// Samples it took.
    pub(super) drained: usize,
    /// Samples there is room for.
    pub(super) capacity: usize,
}

impl Pace {
    /// Rests no longer than `rest_max`, and sometimes as short as a quarter of a millisecond.
    pub(super) fn new(rest_max: Duration) -> Self {
        Self { batch: BATCH_MIN, rest: REST_MIN, rest_max: rest_max.max(REST_MIN) }
    }

    /// How many samples to take next.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// How long to rest; `None` for not at all. From half full on batches double and there is no
    /// rest; below a quarter they halve.
    pub(super) fn rest(&mut self, found: Found) -> Option<Duration> {
        let Found { waiting, drained, capacity } = found;
        if waiting * 2 >= capacity {
            self.batch = (self.batch * 2).min(BATCH_MAX);
            self.rest = REST_MIN;
            return None;
        } else if waiting * 4 < capacity {
            self.batch = (self.batch / 2).max(BATCH_MIN);
        }
        if waiting > drained {
            return None;
        }
        if waiting * 4 > capacity {
            self.rest = (self.rest / 2).max(REST_MIN);
        } else if waiting * 16 < capacity {
            self.rest = (self.rest * 2).min(self.rest_max);
        }
        Some(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST_MAX: Duration = Duration::from_millis(5);

    fn found(waiting: usize, drained: usize) -> Found {
        Found { waiting, drained, capacity: 8_192 }
    }

    #[test]
    fn batches_grow_from_half_full_and_shrink_again() {
        let mut pace = Pace::new(REST_MAX);
        for batch in [512, 1_024, 2_048, 4_096, 4_096] {
            assert_eq!(pace.rest(found(4_096, 256)), None, "there is more to do");
            assert_eq!(pace.batch(), batch);
        }
        pace.rest(found(3_000, 3_000));
        assert_eq!(pace.batch(), 4_096, "between the marks nothing changes");
        for batch in [2_048, 1_024, 512, 256, 256] {
            pace.rest(found(10, 10));
            assert_eq!(pace.batch(), batch);
        }
    }

    #[test]
    fn rests_follow_the_load() {
        let mut pace = Pace::new(REST_MAX);
        let idle: Vec<_> = (0..8).filter_map(|_| pace.rest(found(0, 0))).collect();
        assert!(idle.is_sorted() && idle.last() == Some(&REST_MAX));
        let mut patient = Pace::new(Duration::from_secs(1));
        assert_eq!(
            (0..20).filter_map(|_| patient.rest(found(0, 0))).last(),
            Some(Duration::from_secs(1))
        );
        let before = pace.rest(found(1_000, 1_000));
        assert_eq!(before, Some(REST_MAX), "an eighth full is as it should be");
        assert!(pace.rest(found(2_500, 2_500)) < before);
        pace.rest(found(8_192, 256));
        assert_eq!(pace.rest(found(600, 600)), Some(REST_MIN));
        assert_eq!(pace.rest(found(5_000, 5_000)), None, "who writes so fast is not left alone");
    }
}
