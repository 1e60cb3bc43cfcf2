//! When a VM that keeps failing may be started again.

use std::time::{Duration, Instant};

/// Failures in a row that cost nothing: one bad request must not shut a filter out.
const FREE: u32 = 3;

/// The first pause, doubled with every failure.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(10);

/// The failures of one VM and its predecessors on its thread.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// A request was served to its end.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.until = None;
    }

    /// The VM failed at `now`.
    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        if let Some(beyond) = self.failures.checked_sub(FREE) {
            // 2^7 times the first is over the longest.
            let pause = FIRST.saturating_mul(1 << beyond.min(7)).min(LONGEST);
            self.until = Some(now + pause);
        }
    }

    /// Whether a VM may be started at `now`.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Backoff;

    #[test]
    fn pauses_double_to_ten_seconds() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for pause_ms in [0, 0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            backoff.failed(now);
            let pause = Duration::from_millis(pause_ms);
            assert!(backoff.may_start(now + pause), "{pause_ms}");
            assert_eq!(
                backoff.may_start(now + pause.saturating_sub(Duration::from_nanos(1))),
                pause_ms == 0,
                "{pause_ms}"
            );
        }
        backoff.succeeded();
        assert!(backoff.may_start(now));
    }
}
