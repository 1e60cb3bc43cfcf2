//! What is counted of a shared limit, by the filter's name. Every series is there from the start.

use std::time::Duration;

use prometheus::{Histogram, IntCounter};

use crate::host::Metrics;

/// Why there is no answer of the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There is no connection.
    Away,
    /// It took longer than a request may wait.
    Deadline,
    /// The server or the connection failed.
    Error,
    /// Too much is asked at once.
    #[cfg(feature = "redis")]
    Busy,
}

/// From a server on the same machine to one that is late for every deadline that makes sense.
const SECONDS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// The counters of one filter.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) admitted: IntCounter,
    pub(super) refused: IntCounter,
    pub(super) fallback_admitted: IntCounter,
    pub(super) fallback_refused: IntCounter,
    away: IntCounter,
    deadline: IntCounter,
    error: IntCounter,
    #[cfg(feature = "redis")]
    busy: IntCounter,
    pub(super) trips: Trips,
}

/// The counters of tokens that are fetched in batches.
#[cfg(feature = "redis")]
#[derive(Debug)]
pub(super) struct Tokens {
    pub(super) granted: IntCounter,
    pub(super) lapsed: IntCounter,
}

/// The counters of round trips.
#[derive(Clone, Debug)]
pub(super) struct Trips {
    pub(super) ok: IntCounter,
    pub(super) error: IntCounter,
    pub(super) timeout: IntCounter,
    seconds: Histogram,
}

impl Trips {
    /// Counts how long one took.
    pub(super) fn observe(&self, duration: Duration) {
        self.seconds.observe(duration.as_secs_f64());
    }
}

/// A family of counters of `filter` with one more label.
fn family<'f>(
    metrics: &Metrics,
    filter: &'f str,
    name: &str,
    help: &str,
    label: &str,
) -> impl Fn(&str) -> IntCounter + use<'f> {
    let counters = metrics.counters(name, help, &["filter", label]);
    move |value| counters.with_label_values(&[filter, value])
}

#[cfg(feature = "redis")]
impl Tokens {
    pub(super) fn new(metrics: &Metrics, filter: &str) -> Self {
        let help = "Tokens that a shared limit granted, and those of them that lapsed.";
        let name = "sallyport_shared_limit_tokens_total";
        let tokens = family(metrics, filter, name, help, "event");
        Self { granted: tokens("granted"), lapsed: tokens("lapsed") }
    }
}

impl Figures {
    pub(super) fn new(metrics: &Metrics, filter: &str) -> Self {
        let requests = family(
            metrics,
            filter,
            "sallyport_shared_limit_requests_total",
            "Requests by what a shared limit, or what stands in for it, made of them.",
            "result",
        );
        let fallbacks = family(
            metrics,
            filter,
            "sallyport_shared_limit_fallbacks_total",
            "Requests that a shared limit had no answer for in time, by the reason.",
            "reason",
        );
        let trips = family(
            metrics,
            filter,
            "sallyport_shared_limit_round_trips_total",
            "Round trips to the server of a shared limit.",
            "result",
        );
        let seconds = metrics.histograms_of(
            "sallyport_shared_limit_round_trip_duration_seconds",
            "How long round trips took.",
            &["filter"],
            &SECONDS,
        );
        Self {
            admitted: requests("admitted"),
            refused: requests("refused"),
            fallback_admitted: requests("fallback_admitted"),
            fallback_refused: requests("fallback_refused"),
            away: fallbacks("away"),
            deadline: fallbacks("deadline"),
            error: fallbacks("error"),
            #[cfg(feature = "redis")]
            busy: fallbacks("busy"),
            trips: Trips {
                ok: trips("ok"),
                error: trips("error"),
                timeout: trips("timeout"),
                seconds: seconds.with_label_values(&[filter]),
            },
        }
    }

    /// Counts a request that the server gave no answer for.
    pub(super) fn fell_back(&self, failure: Failure) {
        let counter = match failure {
            Failure::Away => &self.away,
            Failure::Deadline => &self.deadline,
            Failure::Error => &self.error,
            #[cfg(feature = "redis")]
            Failure::Busy => &self.busy,
        };
        counter.inc();
    }
}
