//! How long to wait before a server is tried again.

use std::time::Duration;

/// After the first failure: a server that restarts is back within a second.
const FIRST: Duration = Duration::from_millis(100);

/// A server that is away for long is looked for as often as this.
const MOST: Duration = Duration::from_secs(5);

/// Pauses that double, with jitter: the gateways of a fleet lose a server together, and should not come
/// back together.
#[derive(Debug, Default)]
pub(super) struct Backoff(u32);

impl Backoff {
    /// The next pause, from half of what the failures so far make to all of it.
    pub(super) fn next(&mut self) -> Duration {
        let pause = FIRST.saturating_mul(1 << self.0.min(16)).min(MOST);
        self.0 = self.0.saturating_add(1);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Begins anew.
    pub(super) fn reset(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, MOST};

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew() {
        let mut backoff = Backoff::default();
        for doublings in 0..40 {
            let most = FIRST.saturating_mul(1 << doublings.min(16)).min(MOST);
            let pause = backoff.next();
            assert!(most / 2 <= pause && pause <= most, "{doublings}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }
}
