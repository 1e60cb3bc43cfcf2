//! The exporters of `push`, each with the keys that are its own.

use std::fmt;
use std::ops::Deref;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::entries::Entries;
use crate::schema::{exactly_one, field_names_but};
use crate::spec::scalar::{Bytes, Duration, HeaderValue, Int, Name, NonEmpty, Refusal, Scalar};

/// One receiver of statistics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&Exporter::KINDS))]
pub struct Exporter {
    /// Its name in logs and metrics; no two alike.
    pub name: Name,
    /// When it is left alone for a while.
    #[serde(default)]
    pub breaker: Breaker,
    /// How often a batch that never arrived is sent. 3 by default.
    pub attempts: Option<Int<1, 10>>,
    /// What may wait for it; the oldest goes first.
    #[serde(default)]
    pub queue: Queue,
    /// Datadog's agent.
    pub dogstatsd: Option<DogStatsd>,
    /// A StatsD server.
    pub statsd: Option<Statsd>,
    /// The CloudWatch agent, in its embedded metric format.
    pub emf: Option<Emf>,
    /// Prometheus' remote write, version 1.0.
    pub remote_write: Option<RemoteWrite>,
    /// An OpenTelemetry collector.
    pub otlp: Option<Otlp>,
}

impl Exporter {
    /// The keys of which one is written.
    pub const KINDS: [&'static str; 5] = ["dogstatsd", "statsd", "emf", "remote_write", "otlp"];
}

/// When an exporter is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Breaker {
    /// After this many failures in a row.
    pub failures: Int<1, 1_000>,
    /// For this long.
    pub open: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { failures: Int(5), open: Duration::seconds(10) }
    }
}

/// What may wait for an exporter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// Batches: a minute and a half of them by default.
    pub batches: Int<1, 1_000>,
    /// Bytes of them; one always fits.
    pub bytes: Bytes<65_536, 1_073_741_824>,
}

impl Default for Queue {
    fn default() -> Self {
        Self { batches: Int(8), bytes: Bytes(4 << 20) }
    }
}

/// What a datagram may hold.
type DatagramBytes = Bytes<512, 65_507>;

/// Datadog's agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DogStatsd {
    /// Where it listens: HOST:PORT, udp://HOST:PORT or unix:///PATH.
    pub address: DatagramAddress,
    /// What stands before each name, with a dot. Nothing by default.
    pub prefix: Option<NonEmpty>,
    /// Tags on each metric.
    #[serde(default)]
    pub tags: Entries<NonEmpty>,
    /// Whether durations are sent as distributions; else as timers.
    #[serde(default = "yes")]
    pub distributions: bool,
    /// Whether the agent is told which container this is.
    #[serde(default = "yes")]
    pub container: bool,
    /// What a datagram may hold. What the link carries by default.
    pub datagram_bytes: Option<DatagramBytes>,
}

fn yes() -> bool {
    true
}

/// A StatsD server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statsd {
    /// Where it listens: HOST:PORT, udp://HOST:PORT or unix:///PATH.
    pub address: DatagramAddress,
    /// What stands before each name, with a dot. Nothing by default.
    pub prefix: Option<NonEmpty>,
    /// How labels are written.
    #[serde(default)]
    pub tags: StatsdTags,
    /// What a datagram may hold. What the link carries by default.
    pub datagram_bytes: Option<DatagramBytes>,
}

/// How labels are written for a StatsD server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatsdTags {
    /// As parts of the name.
    #[default]
    #[serde(rename = "in_name")]
    InName,
    /// As Datadog does.
    DogStatsd,
    /// As InfluxDB does.
    Influx,
    /// As Librato does.
    Librato,
    /// As SignalFx does.
    SignalFx,
}

/// The CloudWatch agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Emf {
    /// Where it listens: udp://HOST:PORT or tcp://HOST:PORT.
    pub address: EmfAddress,
    /// The namespace of all metrics.
    #[serde(default = "namespace")]
    pub namespace: NonEmpty,
    /// Dimensions of each metric.
    #[serde(default)]
    pub dimensions: Entries<NonEmpty>,
    /// The group of the log. The agent's own choice by default.
    pub log_group: Option<NonEmpty>,
    /// The stream of the log. The agent's own choice by default.
    pub log_stream: Option<NonEmpty>,
    /// Whether metrics are stored by the second, which costs more.
    #[serde(default)]
    pub high_resolution: bool,
}

fn namespace() -> NonEmpty {
    "Sallyport".into()
}

/// Header fields that are the request's own.
pub(in crate::spec) const FRAMING: [&str; 6] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
];

/// Prometheus' remote write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoteWrite {
    /// Where to: http://HOST:PORT/PATH or https://HOST/PATH.
    pub url: Url,
    /// Header fields of every request.
    #[serde(default)]
    #[schemars(transform = field_names_but(&FRAMING))]
    pub headers: Entries<Secret>,
    /// How long a request may take, from the name to the answer.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// Labels on each series.
    #[serde(default = "labels")]
    pub labels: Entries<NonEmpty>,
    /// How often everything is told.
    #[serde(default = "tell_every")]
    pub every: Duration,
}

pub(in crate::spec) fn timeout() -> Duration {
    Duration::seconds(5)
}

fn labels() -> Entries<NonEmpty> {
    Entries(vec![("job".into(), "sallyport".into())])
}

fn tell_every() -> Duration {
    Duration::seconds(15)
}

/// An OpenTelemetry collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Otlp {
    /// Where to. With `protocol: http` the whole path, such as http://HOST:4318/v1/metrics.
    pub url: Url,
    /// Header fields of every request.
    #[serde(default)]
    #[schemars(transform = field_names_but(&FRAMING))]
    pub headers: Entries<Secret>,
    /// How long a request may take, from the name to the answer.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// What it is sent over.
    #[serde(default)]
    pub protocol: OtlpProtocol,
    /// Attributes of the resource.
    #[serde(default = "resource")]
    pub resource: Entries<NonEmpty>,
    /// Whether counters are what was added since, or all of it.
    #[serde(default)]
    pub temporality: Temporality,
    /// How the buckets of histograms are set.
    #[serde(default)]
    pub histograms: Histograms,
}

pub(in crate::spec) fn resource() -> Entries<NonEmpty> {
    Entries(vec![("service.name".into(), "sallyport".into())])
}

/// What OTLP is sent over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    /// gRPC.
    #[default]
    Grpc,
    /// HTTP with protobuf bodies.
    Http,
}

/// Whether counters are what was added since, or all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Temporality {
    /// What was added since the reading before.
    #[default]
    Delta,
    /// All since the beginning.
    Cumulative,
}

/// How the buckets of histograms are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Histograms {
    /// By powers of a base.
    #[default]
    Exponential,
    /// By bounds.
    Explicit,
}

/// An address that takes datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatagramAddress(pub Box<str>);

/// An address of the CloudWatch agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmfAddress(pub Box<str>);

/// The address of a web service, without a user in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(pub Box<str>);

/// The value of a header field that may be a secret: it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Box<str>);

crate::scalar!(DatagramAddress);
crate::scalar!(EmfAddress);
crate::scalar!(Url);
crate::scalar!(Secret);

/// A name or an address, and a port.
const HOST_PORT: &str = "(?:\\[[0-9A-Fa-f:.]+\\]|[^\\s:/\\[\\]]+):[0-9]{1,5}";

impl Scalar for DatagramAddress {
    fn name() -> String {
        "DatagramAddress".to_owned()
    }

    fn pattern() -> String {
        format!("^(?:(?:udp://)?{HOST_PORT}|unix://(?:/.+))$")
    }

    fn example() -> String {
        "localhost:8125".to_owned()
    }

    fn fix() -> String {
        "write HOST:PORT, udp://HOST:PORT or unix:///PATH".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.into()))
    }
}

impl Scalar for EmfAddress {
    fn name() -> String {
        "EmfAddress".to_owned()
    }

    fn pattern() -> String {
        format!("^(?:(?:udp|tcp)://)?{HOST_PORT}$")
    }

    fn example() -> String {
        "tcp://127.0.0.1:25888".to_owned()
    }

    fn fix() -> String {
        "write udp://HOST:PORT or tcp://HOST:PORT".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.into()))
    }
}

impl Scalar for Url {
    fn name() -> String {
        "Url".to_owned()
    }

    fn pattern() -> String {
        "^https?://[^/?#@\\s]+(?:[/?][^#\\s]*)?$".to_owned()
    }

    fn example() -> String {
        "https://collector.example.com/v1/metrics".to_owned()
    }

    fn fix() -> String {
        "write http://HOST:PORT/PATH or https://HOST/PATH".to_owned()
    }

    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.into()))
    }
}

impl Scalar for Secret {
    fn name() -> String {
        "Secret".to_owned()
    }

    fn pattern() -> String {
        HeaderValue::pattern()
    }

    fn example() -> String {
        "Bearer 0123456789".to_owned()
    }

    fn fix() -> String {
        HeaderValue::fix()
    }

    fn parse(text: &str) -> Result<Self, String> {
        HeaderValue::parse(text).map(|_| Self(text.into()))
    }

    fn read(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|what| Refusal::new(what, Self::fix()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<secret>")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl Deref for $type {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

as_text!(DatagramAddress, EmfAddress, Url);
