//! How long a call into a guest may take, in time of the CPU.
//!
//! A guest is judged by what it computes, not by how long the machine let it wait: time in which
//! others ran on its CPU does not count. Calls that end within an epoch pay nothing for it; the clock
//! is read for the first time when one ends under a call, so that a deadline is kept within an epoch.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The deadline of the call under way.
#[derive(Debug, Default)]
pub(super) struct Deadline {
    limit: Duration,
    /// The thread's CPU time at the first epoch's end.
    began: Option<Duration>,
}

impl Deadline {
    /// A call begins that may take this long.
    pub(super) fn begin(&mut self, limit: Duration) {
        *self = Self { limit, began: None };
    }

    /// Whether it has taken that long.
    pub(super) fn has_passed(&mut self) -> bool {
        self.has_passed_at(cpu_time())
    }

    /// What the call has taken so far, without what is under an epoch.
    pub(super) fn spent(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| cpu_time().saturating_sub(began))
    }

    fn has_passed_at(&mut self, now: Duration) -> bool {
        let began = *self.began.get_or_insert(now);
        now.saturating_sub(began) >= self.limit
    }
}

/// CPU time that this thread has used.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Neither part of a CPU time is ever negative, and nanoseconds stay below a second.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::Deadline;
    use std::time::Duration;

    #[test]
    fn only_time_since_the_first_look_counts() {
        let ms = Duration::from_millis;
        let mut deadline = Deadline::default();
        deadline.begin(ms(10));
        assert!(!deadline.has_passed_at(ms(1_000)));
        assert!(!deadline.has_passed_at(ms(1_009)));
        assert!(deadline.has_passed_at(ms(1_010)));
        deadline.begin(ms(10));
        assert!(!deadline.has_passed_at(ms(2_000)));
    }
}
