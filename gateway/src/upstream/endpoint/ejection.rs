//! Setting an endpoint aside, and finding out by one request at a time whether it is back.
//!
//! Two kinds of failure count, each for itself, since a connection that is made disproves the one
//! and not the other: connections that could not be made, and new connections that broke before
//! anything was answered. The clock is the caller's.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Failures in a row with which an endpoint is set aside: one is a restart, three are an outage.
const FAILURES_MAX: u32 = 3;

/// How long an endpoint is set aside: long enough to spare requests the connect timeout, short
/// enough that a restarted endpoint is soon back without a health check.
const ASIDE_MS: u64 = 5_000;

/// Whether the next request may go to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Every request may.
    InUse,
    /// None may.
    Aside,
    /// One may, and decides for all.
    Due,
}

/// What requests found out of an endpoint. All of it is read and written without order: a request
/// that sees an older state goes where requests went a moment ago.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    connect_failures: AtomicU32,
    unanswered: AtomicU32,
    /// Set aside until then, in the caller's milliseconds; 0 for not at all.
    until_ms: AtomicU64,
    /// Whether a request is finding out.
    trial: AtomicBool,
}

impl Ejection {
    /// Asks for the time only where it matters.
    pub(super) fn standing(&self, now_ms: impl FnOnce() -> u64) -> Standing {
        match self.until_ms.load(Ordering::Relaxed) {
            0 => Standing::InUse,
            until if now_ms() < until || self.trial.load(Ordering::Relaxed) => Standing::Aside,
            _ => Standing::Due,
        }
    }

    /// Claims the trial. `false` if another request has it.
    pub(super) fn begin_trial(&self) -> bool {
        !self.trial.swap(true, Ordering::Relaxed)
    }

    pub(super) fn end_trial(&self) {
        self.trial.store(false, Ordering::Relaxed);
    }

    /// Returns whether the endpoint is set aside by it.
    pub(super) fn connect_failed(&self, now_ms: u64) -> bool {
        self.failed(&self.connect_failures, now_ms)
    }

    /// Returns whether the endpoint is set aside by it.
    pub(super) fn broke_unanswered(&self, now_ms: u64) -> bool {
        self.failed(&self.unanswered, now_ms)
    }

    fn failed(&self, failures: &AtomicU32, now_ms: u64) -> bool {
        if failures.fetch_add(1, Ordering::Relaxed) + 1 < FAILURES_MAX {
            return false;
        }
        self.until_ms.swap(now_ms + ASIDE_MS, Ordering::Relaxed) == 0
    }

    pub(super) fn connected(&self) {
        if self.connect_failures.load(Ordering::Relaxed) != 0 {
            self.connect_failures.store(0, Ordering::Relaxed);
            if self.unanswered.load(Ordering::Relaxed) < FAILURES_MAX {
                self.until_ms.store(0, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn answered(&self) {
        if self.unanswered.load(Ordering::Relaxed) | self.connect_failures.load(Ordering::Relaxed)
            != 0
        {
            self.unanswered.store(0, Ordering::Relaxed);
            self.connect_failures.store(0, Ordering::Relaxed);
            self.until_ms.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(ejection: &Ejection, now_ms: u64) -> Standing {
        ejection.standing(|| now_ms)
    }

    fn set_aside(fail: fn(&Ejection, u64) -> bool) -> Ejection {
        let ejection = Ejection::default();
        assert_eq!([(); 3].map(|()| fail(&ejection, 0)), [false, false, true]);
        assert_eq!(standing(&ejection, ASIDE_MS - 1), Standing::Aside);
        ejection
    }

    #[test]
    fn one_request_at_a_time_finds_out_whether_an_endpoint_is_back() {
        let ejection = set_aside(Ejection::connect_failed);
        assert_eq!(standing(&ejection, ASIDE_MS), Standing::Due);
        assert!(ejection.begin_trial());
        // Everybody else stays away for as long as that takes.
        assert_eq!(standing(&ejection, 100 * ASIDE_MS), Standing::Aside);
        assert!(!ejection.begin_trial());
        assert!(!ejection.connect_failed(100 * ASIDE_MS), "it is set aside already");
        ejection.end_trial();
        assert_eq!(standing(&ejection, 101 * ASIDE_MS - 1), Standing::Aside);
        assert_eq!(standing(&ejection, 101 * ASIDE_MS), Standing::Due);
        assert!(ejection.begin_trial());
        ejection.connected();
        ejection.end_trial();
        assert_eq!(standing(&ejection, 101 * ASIDE_MS), Standing::InUse);
        assert!(!ejection.connect_failed(0), "it counts from the beginning");
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_room_for_the_next() {
        let ejection = set_aside(Ejection::connect_failed);
        assert!(ejection.begin_trial());
        ejection.end_trial();
        assert_eq!(standing(&ejection, ASIDE_MS), Standing::Due);
    }

    #[test]
    fn a_connection_does_not_clear_an_endpoint_that_answers_nothing() {
        let ejection = set_aside(Ejection::broke_unanswered);
        ejection.connected();
        assert_eq!(standing(&ejection, 0), Standing::Aside);
        assert!(!ejection.connect_failed(0));
        ejection.connected();
        assert_eq!(standing(&ejection, 0), Standing::Aside);
        ejection.answered();
        assert_eq!(standing(&ejection, 0), Standing::InUse);
    }

    #[test]
    fn failures_with_answers_between_them_are_not_in_a_row() {
        let ejection = Ejection::default();
        for _ in 0..10 {
            assert!(!ejection.broke_unanswered(0) && !ejection.broke_unanswered(0));
            ejection.answered();
        }
        assert_eq!(standing(&ejection, 0), Standing::InUse);
    }
}
