//! `push`.

mod exporter;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Bytes, Duration, Int};

pub use exporter::{
    Breaker, DatagramAddress, DogStatsd, Emf, EmfAddress, Exporter, Histograms, Otlp, OtlpProtocol,
    Queue, RemoteWrite, Secret, Statsd, StatsdTags, Temporality, Url,
};
pub(super) use exporter::{FRAMING, resource, timeout};

/// Where statistics are pushed, how often, and what that may take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// The time between two readings. Reading all statistics takes milliseconds where there are
    /// thousands of routes.
    #[serde(default = "every")]
    pub every: Duration<100>,
    /// Series at most; the rest is put together by metric.
    #[serde(default = "series")]
    pub series: Int<1, 1_000_000>,
    /// What one reading may take until it is sent.
    #[serde(default = "buffer")]
    pub buffer: Bytes<65_536, 1_073_741_824>,
    /// Where to: each has a thread.
    #[schemars(length(min = 1, max = 16))]
    pub exporters: Vec<Exporter>,
}

/// As often as Datadog's agent passes them on.
fn every() -> Duration<100> {
    Duration::seconds(10)
}

fn series() -> Int<1, 1_000_000> {
    Int(10_000)
}

/// What 10,000 series take between two flushes, a tenth of them distributions.
fn buffer() -> Bytes<65_536, 1_073_741_824> {
    Bytes(4 << 20)
}
