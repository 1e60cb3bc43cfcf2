//! Whether an attempt that failed is made again: one table of failures, for requests and filters' calls alike.
//!
//! Three questions, in this order. Does the policy want it? Is it safe: may the origin have acted on the request,
//! and is there still a whole request to send? Is there room: attempts, time and budget? The first two are
//! answered here, without an endpoint or a clock; the last by [`Attempts`](super::Attempts).

use http::Method;
use sallyport_stats::RetryReason;

use crate::config::Retry;

/// What became of an attempt that failed, as far as its endpoint and another attempt go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be made: nothing was sent.
    Connect,
    /// No connection could be made in time: nothing was sent.
    ConnectTimeout,
    /// A new connection broke before anything was answered.
    Unanswered,
    /// The head of the answer did not come in time.
    Timeout,
    /// The origin refused the stream, which says that it did nothing with it (RFC 9113, 8.7).
    RefusedStream,
    /// The origin answered with a status that the policy retries.
    Status(u16),
    /// This process had no descriptor left: no endpoint is to blame, and none would do better.
    Resources,
}

/// What a request is, as far as sending it again goes.
#[derive(Clone, Copy, Debug)]
pub struct Resend<'r> {
    /// Its method.
    pub method: &'r Method,
    /// Whether all of its body is at hand or still to come.
    pub whole: bool,
}

/// Returns why `policy` sends a request again after `failure`; `None` if it does not, or if that is not safe.
#[must_use]
pub fn reason(policy: &Retry, failure: Failure, request: Resend<'_>) -> Option<RetryReason> {
    let reason = wanted(policy, failure)?;
    let repeatable =
        request.method.is_idempotent() || policy.methods.iter().any(|it| it == request.method);
    let safe = repeatable || failure.nothing_was_done();
    (safe && request.whole).then_some(reason)
}

fn wanted(policy: &Retry, failure: Failure) -> Option<RetryReason> {
    let on = &policy.on;
    let (wanted, reason) = match failure {
        Failure::Connect => (on.connect, RetryReason::Connect),
        Failure::ConnectTimeout if on.connect => (true, RetryReason::Connect),
        Failure::ConnectTimeout | Failure::Timeout => (on.has_timeout(), RetryReason::Timeout),
        Failure::Unanswered => (on.reset, RetryReason::Reset),
        Failure::RefusedStream => (on.refused_stream, RetryReason::RefusedStream),
        Failure::Status(status) => (on.has_status(status), RetryReason::Status(status)),
        Failure::Resources => return None,
    };
    wanted.then_some(reason)
}

impl Failure {
    /// Whether the origin cannot have acted on the request, so that any method may be sent again.
    fn nothing_was_done(self) -> bool {
        matches!(self, Self::Connect | Self::ConnectTimeout | Self::RefusedStream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RetryOn;

    fn all() -> Retry {
        let mut all = Retry::times(2);
        all.on = RetryOn {
            connect: true,
            reset: true,
            timeout: true,
            refused_stream: true,
            statuses: vec![429, 503],
        };
        all
    }

    const FAILURES: [Failure; 7] = [
        Failure::Connect,
        Failure::ConnectTimeout,
        Failure::Unanswered,
        Failure::Timeout,
        Failure::RefusedStream,
        Failure::Status(503),
        Failure::Resources,
    ];

    fn retried(policy: &Retry, method: &Method, whole: bool) -> [bool; 7] {
        FAILURES.map(|failure| reason(policy, failure, Resend { method, whole }).is_some())
    }

    #[test]
    fn what_may_have_been_acted_on_is_sent_again_only_if_it_is_idempotent_or_asked_for() {
        let all = all();
        assert_eq!(retried(&all, &Method::GET, true), [true, true, true, true, true, true, false]);
        assert_eq!(
            retried(&all, &Method::POST, true),
            [true, true, false, false, true, false, false]
        );
        let asked = Retry { methods: vec![Method::POST], ..all };
        assert_eq!(retried(&asked, &Method::POST, true), retried(&asked, &Method::GET, true));
        assert_eq!(
            retried(&asked, &Method::PATCH, true),
            [true, true, false, false, true, false, false]
        );
    }

    #[test]
    fn what_is_no_longer_whole_is_never_sent_again() {
        assert_eq!(retried(&all(), &Method::PUT, false), [false; 7]);
    }

    #[test]
    fn a_route_that_says_nothing_retries_neither_timeouts_nor_statuses() {
        assert_eq!(
            retried(&Retry::default(), &Method::GET, true),
            [true, true, true, false, true, false, false]
        );
    }

    #[test]
    fn a_late_answer_counts_as_timeout_and_as_504() {
        let get = Resend { method: &Method::GET, whole: true };
        let on = RetryOn { statuses: vec![504], ..RetryOn::default() };
        let policy = Retry { on, ..Retry::default() };
        assert_eq!(reason(&policy, Failure::Timeout, get), Some(RetryReason::Timeout));
        assert_eq!(reason(&policy, Failure::ConnectTimeout, get), Some(RetryReason::Timeout));
        assert_eq!(reason(&policy, Failure::Status(504), get), Some(RetryReason::Status(504)));
        assert_eq!(reason(&policy, Failure::Status(503), get), None);
        assert_eq!(reason(&policy, Failure::Connect, get), None);
    }
}
