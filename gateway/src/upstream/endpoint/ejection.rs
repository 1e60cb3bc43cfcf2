//! Leaving an endpoint out, and finding out by one request at a time whether it is back.
//!
//! Several kinds of failure count, each for itself, since what disproves one does not disprove another: a
//! connection that is made says nothing of answers. The clock is the caller's.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use sallyport_balance::outlier::ejection_ms;
use sallyport_stats::EjectionReason;

/// Connections in a row that cannot be made, or break unanswered, with which an endpoint is left out: one is a
/// restart, three are an outage.
const FAILURES_MAX: u32 = 3;

/// How long an endpoint is left out where the configuration does not say: long enough to spare requests
/// the connect timeout, short enough that a restarted endpoint is soon back without a health check.
pub(super) const ASIDE_MS: u64 = 5_000;

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

/// How long an endpoint is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The first time, in milliseconds.
    pub base_ms: u64,
    /// Whether it is longer each time after.
    pub grows: bool,
}

impl Default for Term {
    fn default() -> Self {
        Self { base_ms: ASIDE_MS, grows: false }
    }
}

/// What requests found out of an endpoint. All of it is read and written without order: a request
/// that sees an older state goes where requests went a moment ago.
#[derive(Debug, Default)]
pub(super) struct Ejection {
    connect_failures: AtomicU32,
    unanswered: AtomicU32,
    /// Left out until then, in the caller's milliseconds; 0 for not at all.
    until_ms: AtomicU64,
    /// Why, as an index into [`EjectionReason::ALL`].
    reason: AtomicU8,
    /// Times in a row that it was left out, with little good service in between.
    times: AtomicU32,
    /// Until when it was left out the last time, and for how long.
    ended_ms: AtomicU64,
    lasted_ms: AtomicU64,
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

    /// Why it is left out, if it is.
    pub(super) fn reason(&self) -> Option<EjectionReason> {
        let reason = usize::from(self.reason.load(Ordering::Relaxed));
        (self.until_ms.load(Ordering::Relaxed) != 0).then(|| EjectionReason::ALL[reason])
    }

    /// Claims the trial. `false` if another request has it.
    pub(super) fn begin_trial(&self) -> bool {
        !self.trial.swap(true, Ordering::Relaxed)
    }

    pub(super) fn end_trial(&self) {
        self.trial.store(false, Ordering::Relaxed);
    }

    /// Returns whether that is reason enough to leave it out.
    pub(super) fn connect_failed(&self) -> bool {
        self.connect_failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX
    }

    /// Returns whether that is reason enough to leave it out.
    pub(super) fn broke_unanswered(&self) -> bool {
        self.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX
    }

    /// Leaves the endpoint out for `reason`, or leaves it out again after a trial that failed. Returns whether that is
    /// new; while its time is not over, nothing changes.
    pub(super) fn eject(&self, reason: EjectionReason, term: Term, now_ms: u64) -> bool {
        let until = self.until_ms.load(Ordering::Relaxed);
        if until > now_ms {
            return false;
        }
        let since_ms = now_ms.saturating_sub(self.ended_ms.load(Ordering::Relaxed));
        if until == 0 && since_ms > self.lasted_ms.load(Ordering::Relaxed) {
            // It has served for as long as it was left out: that is forgiven.
            self.times.store(0, Ordering::Relaxed);
        }
        let before = if term.grows { self.times.load(Ordering::Relaxed) } else { 0 };
        let lasts_ms = ejection_ms(term.base_ms, before).max(1);
        let ends = now_ms + lasts_ms;
        let taken = (Ordering::Relaxed, Ordering::Relaxed);
        if self.until_ms.compare_exchange(until, ends, taken.0, taken.1).is_err() {
            return false;
        }
        self.times.store(before.saturating_add(1), Ordering::Relaxed);
        self.ended_ms.store(ends, Ordering::Relaxed);
        self.lasted_ms.store(lasts_ms, Ordering::Relaxed);
        self.reason.store(reason as u8, Ordering::Relaxed);
        true
    }

    /// A connection was made. Returns whether the endpoint is back because of it.
    pub(super) fn connected(&self) -> bool {
        if self.connect_failures.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.connect_failures.store(0, Ordering::Relaxed);
        self.back_from(&[EjectionReason::Connect])
    }

    /// Something was answered, well or not. Returns whether the endpoint is back because of it.
    pub(super) fn answered(&self) -> bool {
        let connect_failures = self.connect_failures.load(Ordering::Relaxed);
        if self.unanswered.load(Ordering::Relaxed) | connect_failures == 0 {
            return false;
        }
        self.unanswered.store(0, Ordering::Relaxed);
        self.connect_failures.store(0, Ordering::Relaxed);
        self.back_from(&[EjectionReason::Connect, EjectionReason::Reset])
    }

    /// A request was served well. Returns whether the endpoint is back because of it: not before its time is over, since
    /// what fails now and then also serves now and then.
    pub(super) fn succeeded(&self, now_ms: impl FnOnce() -> u64) -> bool {
        let until = self.until_ms.load(Ordering::Relaxed);
        until != 0
            && now_ms() >= until
            && self.back_from(&[EjectionReason::ConsecutiveErrors, EjectionReason::SuccessRate])
    }

    fn back_from(&self, reasons: &[EjectionReason]) -> bool {
        let is_one = self.reason().is_some_and(|reason| reasons.contains(&reason));
        is_one && self.until_ms.swap(0, Ordering::Relaxed) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECT: EjectionReason = EjectionReason::Connect;
    const ERRORS: EjectionReason = EjectionReason::ConsecutiveErrors;

    fn standing(ejection: &Ejection, now_ms: u64) -> Standing {
        ejection.standing(|| now_ms)
    }

    fn left_out(reason: EjectionReason) -> Ejection {
        let ejection = Ejection::default();
        let fail = match reason {
            EjectionReason::Connect => Ejection::connect_failed,
            _ => Ejection::broke_unanswered,
        };
        assert_eq!([(); 3].map(|()| fail(&ejection)), [false, false, true]);
        assert!(ejection.eject(reason, Term::default(), 0));
        assert_eq!(standing(&ejection, ASIDE_MS - 1), Standing::Aside);
        assert_eq!(ejection.reason(), Some(reason));
        ejection
    }

    #[test]
    fn one_request_at_a_time_finds_out_whether_an_endpoint_is_back() {
        let ejection = left_out(CONNECT);
        assert_eq!(standing(&ejection, ASIDE_MS), Standing::Due);
        assert!(ejection.begin_trial());
        // Everybody else stays away for as long as that takes.
        assert_eq!(standing(&ejection, 100 * ASIDE_MS), Standing::Aside);
        assert!(!ejection.begin_trial());
        assert!(ejection.eject(CONNECT, Term::default(), 100 * ASIDE_MS), "the trial failed");
        ejection.end_trial();
        assert_eq!(standing(&ejection, 101 * ASIDE_MS - 1), Standing::Aside);
        assert_eq!(standing(&ejection, 101 * ASIDE_MS), Standing::Due);
        assert!(ejection.begin_trial());
        assert!(ejection.connected());
        ejection.end_trial();
        assert_eq!(standing(&ejection, 101 * ASIDE_MS), Standing::InUse);
        assert!(!ejection.connect_failed(), "it counts from the beginning");
    }

    #[test]
    fn what_was_under_way_when_it_was_left_out_changes_nothing() {
        let ejection = left_out(CONNECT);
        assert!(!ejection.eject(CONNECT, Term::default(), ASIDE_MS - 1));
        assert_eq!(standing(&ejection, ASIDE_MS), Standing::Due);
    }

    #[test]
    fn a_trial_that_is_given_up_leaves_room_for_the_next() {
        let ejection = left_out(CONNECT);
        assert!(ejection.begin_trial());
        ejection.end_trial();
        assert_eq!(standing(&ejection, ASIDE_MS), Standing::Due);
    }

    #[test]
    fn what_disproves_one_failure_does_not_disprove_another() {
        let ejection = left_out(EjectionReason::Reset);
        assert!(!ejection.connect_failed() && !ejection.connected());
        assert_eq!(standing(&ejection, 0), Standing::Aside);
        assert!(!ejection.succeeded(|| ASIDE_MS) && ejection.answered());
        assert_eq!(standing(&ejection, 0), Standing::InUse);
        assert!(ejection.eject(ERRORS, Term::default(), 0));
        assert!(!ejection.connected() && !ejection.answered());
        assert!(!ejection.succeeded(|| ASIDE_MS - 1), "its time is not over");
        assert!(ejection.succeeded(|| ASIDE_MS) && !ejection.succeeded(|| ASIDE_MS));
    }

    #[test]
    fn failures_with_answers_between_them_are_not_in_a_row() {
        let ejection = Ejection::default();
        for _ in 0..10 {
            assert!(!ejection.broke_unanswered() && !ejection.broke_unanswered());
            ejection.answered();
        }
        assert_eq!(standing(&ejection, 0), Standing::InUse);
    }

    #[test]
    fn each_time_is_longer_until_good_service_is_as_long() {
        let term = Term { base_ms: 100, grows: true };
        let ejection = Ejection::default();
        assert!(ejection.eject(ERRORS, term, 1_000));
        // Trials that fail at once.
        for (at, ends) in [(1_100, 1_300), (1_300, 1_600), (1_600, 2_000)] {
            assert!(ejection.eject(ERRORS, term, at));
            assert_eq!(standing(&ejection, ends - 1), Standing::Aside);
            assert_eq!(standing(&ejection, ends), Standing::Due);
        }
        assert!(ejection.succeeded(|| 2_000));
        assert!(ejection.eject(ERRORS, term, 2_100), "it served for too short a time");
        assert_eq!(standing(&ejection, 2_599), Standing::Aside);
        assert_eq!(standing(&ejection, 2_600), Standing::Due);
        assert!(ejection.succeeded(|| 2_600));
        assert!(ejection.eject(ERRORS, term, 2_600 + 501));
        assert_eq!(standing(&ejection, 2_600 + 601), Standing::Due);
    }
}
