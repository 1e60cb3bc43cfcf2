//! When a request is sent again, as data: what a route says, or what holds where it says nothing.

use std::time::Duration;

use http::Method;
use sallyport_balance::Allowance;

/// What becomes of an attempt that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How often a request may be sent again.
    pub attempts: u32,
    /// What it is sent again for.
    pub on: RetryOn,
    /// Methods that may be sent twice besides the idempotent ones.
    pub methods: Vec<Method>,
    /// How long one attempt may wait for the head of its response.
    pub per_try_timeout: Option<Duration>,
    /// After what time a second attempt begins beside one that has not answered.
    pub hedge_after: Option<Duration>,
    /// How many of an upstream's requests may be sent again.
    pub budget: Allowance,
    /// The time before a retry; without it a retry goes at once to an endpoint that was not tried.
    pub backoff: Option<Backoff>,
    /// Whether an endpoint that was tried may be tried again once all were.
    pub returns: bool,
}

/// The time before a retry: random, up to a bound that doubles from `base` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound before the first retry.
    pub base: Duration,
    /// The largest bound.
    pub max: Duration,
}

impl Default for Backoff {
    /// Envoy's: short enough for a client that waits, long enough to tell a burst from an outage.
    fn default() -> Self {
        Self { base: Duration::from_millis(25), max: Duration::from_millis(250) }
    }
}

/// The failures that a request is sent again for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// No connection could be made.
    pub connect: bool,
    /// The connection broke before anything was answered.
    pub reset: bool,
    /// The head of the response did not come in time.
    pub timeout: bool,
    /// The origin refused the stream.
    pub refused_stream: bool,
    /// The origin answered with one of these.
    pub statuses: Vec<u16>,
}

impl RetryOn {
    /// Whether one of the origin's own statuses is a reason. A timeout counts as 504, which is what the client is
    /// answered with.
    #[must_use]
    pub fn has_status(&self, status: u16) -> bool {
        self.statuses.contains(&status)
    }

    /// Whether an answer that is late is a reason.
    #[must_use]
    pub fn has_timeout(&self) -> bool {
        self.timeout || self.has_status(504)
    }
}

impl Retry {
    /// Retries of a request whose route does not say: a restart and one endpoint that is down beside it.
    pub const ATTEMPTS: u32 = 2;

    /// Retries in ten seconds that an explicit budget allows however few the requests are: without any, an upstream
    /// that is nearly idle would have none.
    pub const BUDGET_AT_LEAST: u32 = 10;

    /// The budget of a route that names none: a fifth more load than is offered, and ten retries a second.
    pub const BUDGET: Allowance = Allowance { percent: 20, at_least: 100 };

    /// The policy of a route that says only how often.
    #[must_use]
    pub fn times(attempts: u32) -> Self {
        let on = RetryOn { connect: true, reset: true, refused_stream: true, ..RetryOn::default() };
        Self {
            attempts,
            on,
            methods: Vec::new(),
            per_try_timeout: None,
            hedge_after: None,
            budget: Self::BUDGET,
            backoff: None,
            returns: false,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::times(Self::ATTEMPTS)
    }
}
