//! Whether a service is asked at all: one that has failed several times in a row is left alone for a
//! while, so that not every request waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::backoff::Backoff;

/// Failures in a row that open the circuit: one call may be late.
const FAILURES_MAX: u32 = 5;

/// A circuit, by a clock of the caller's.
#[derive(Debug, Default)]
pub(super) struct Circuit(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    backoff: Backoff,
    /// Where it is open: until when.
    open_until_ns: Option<u64>,
}

impl Circuit {
    /// Whether a request may ask. Once the pause is over one may, and the others when it has succeeded.
    pub(super) fn admits(&self, now_ns: u64) -> bool {
        let mut state = self.state();
        match state.open_until_ns {
            None => true,
            Some(until_ns) if now_ns < until_ns => false,
            Some(_) => {
                state.open(now_ns);
                true
            }
        }
    }

    /// Notes how a call has ended.
    pub(super) fn record(&self, is_success: bool, now_ns: u64) {
        let mut state = self.state();
        if is_success {
            (state.failures, state.open_until_ns) = (0, None);
            state.backoff.reset();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_MAX && state.open_until_ns.is_none() {
            state.open(now_ns);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&mut self, now_ns: u64) {
        let pause_ns = u64::try_from(self.backoff.next().as_nanos()).unwrap_or(u64::MAX);
        self.open_until_ns = Some(now_ns.saturating_add(pause_ns));
    }
}

#[cfg(test)]
mod tests {
    use super::{Circuit, FAILURES_MAX};

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn it_opens_after_some_failures_in_a_row_and_lets_one_try_after_a_pause() {
        let circuit = Circuit::default();
        for _ in 0..FAILURES_MAX - 1 {
            circuit.record(false, 0);
        }
        circuit.record(true, 0);
        for _ in 0..FAILURES_MAX {
            assert!(circuit.admits(0));
            circuit.record(false, 0);
        }
        assert!(!circuit.admits(0));
        // The first pause is at most 100 ms, the one after it at least as long.
        assert!(circuit.admits(SECOND));
        assert!(!circuit.admits(SECOND));
        circuit.record(false, SECOND);
        assert!(!circuit.admits(SECOND + SECOND / 20));
        assert!(circuit.admits(2 * SECOND));
        circuit.record(true, 2 * SECOND);
        assert!(circuit.admits(2 * SECOND) && circuit.admits(2 * SECOND));
    }
}
