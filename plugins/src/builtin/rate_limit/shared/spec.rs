//! What may be set of `rate_limit.shared`.

use sallyport_config::schema::{JsonSchema, exactly_one, never};
use sallyport_config::spec::scalar::{Duration, EndpointAddress, Int, Name};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::builtin::external_auth::OnFailure;

/// Where gateways that share a limit keep it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&SharedSpec::BACKENDS))]
pub struct SharedSpec {
    /// In Redis or Valkey.
    pub redis: Option<RedisSpec>,
    /// A service that knows the limits, as Envoy's does (`envoy.service.ratelimit.v3`).
    pub service: Option<ServiceSpec>,
}

impl SharedSpec {
    /// The keys of which one is written.
    pub(super) const BACKENDS: [&'static str; 2] = ["redis", "service"];
}

/// A service that knows the limits. It is told of each request, and says whether it may pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// The service's upstream: one that speaks HTTP/2.
    pub upstream: Name,
    /// The set of limits that the service is to look in.
    pub domain: Name,
    /// How requests are described: the service looks for a limit for each descriptor. One that a request
    /// has no value for is left out.
    #[schemars(length(min = 1, max = 16))]
    pub descriptors: Vec<Vec<DescriptorEntry>>,
    /// How many requests each counts as.
    #[serde(default = "one")]
    pub hits_addend: Int<1, 1_000_000>,
    /// The value of `:authority`. The upstream's name by default.
    pub host: Option<Name>,
    /// How long the answer may take: every request waits for it.
    #[serde(default = "deadline")]
    pub deadline: Duration<1, 10_000>,
    /// Whether requests pass while the service does not answer.
    #[serde(default = "open")]
    pub on_failure: OnFailure,
}

fn one() -> Int<1, 1_000_000> {
    Int(1)
}

fn open() -> OnFailure {
    OnFailure::Open
}

/// An entry of a descriptor, in the order in which the service nests them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DescriptorEntry {
    /// Its key, as the service's configuration has it.
    pub key: Name,
    /// Its value: text with variables, such as `${client}` or `${header.x-tenant}`.
    pub value: Name,
}

/// A Redis or Valkey server: one, one behind sentinels, or a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    transform = exactly_one(&RedisSpec::PLACES),
    transform = never(json!({ "required": ["password", "password_file"] })),
)]
pub struct RedisSpec {
    /// Where one server is.
    pub address: Option<EndpointAddress>,
    /// How sentinels are asked for the server.
    pub sentinel: Option<SentinelSpec>,
    /// Where some nodes of a cluster are; the others are asked for.
    #[schemars(length(min = 1, max = 64))]
    pub cluster: Option<Vec<EndpointAddress>>,
    /// The number of the database. A cluster has the first only.
    #[serde(default = "first")]
    pub database: Int<0, 65_535>,
    /// The user. Redis' own `default` by default.
    pub username: Option<Name>,
    /// The user's password. None by default.
    pub password: Option<Name>,
    /// A file that holds the password. Watched.
    pub password_file: Option<Name>,
    /// TLS towards the server. Clear text by default.
    pub tls: Option<RedisTls>,
    /// What the limit is called at the server: limits of one name share their tokens. By default the
    /// place of the filter, with its name.
    pub name: Option<Name>,
    /// How long tokens that were fetched together may be used.
    #[serde(default = "lease")]
    pub lease: Duration<1, 10_000>,
    /// How long a request may wait for the server.
    #[serde(default = "deadline")]
    pub deadline: Duration<1, 10_000>,
    /// What becomes of requests while the server does not answer.
    #[serde(default)]
    pub on_failure: Fallback,
}

impl RedisSpec {
    /// The keys of which one is written.
    pub(super) const PLACES: [&'static str; 3] = ["address", "sentinel", "cluster"];
}

fn first() -> Int<0, 65_535> {
    Int(0)
}

/// Half of it is one round trip a key: ten a second.
fn lease() -> Duration<1, 10_000> {
    Duration::ms(200)
}

/// A server in the same place answers within one or two milliseconds.
fn deadline() -> Duration<1, 10_000> {
    Duration::ms(50)
}

/// Sentinels, which know where the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = never(json!({ "required": ["password", "password_file"] })))]
pub struct SentinelSpec {
    /// The name that they know the server by.
    pub service: Name,
    /// Where they are.
    #[schemars(length(min = 1, max = 64))]
    pub addresses: Vec<EndpointAddress>,
    /// The user at the sentinels.
    pub username: Option<Name>,
    /// That user's password. None by default.
    pub password: Option<Name>,
    /// A file that holds that password. Watched.
    pub password_file: Option<Name>,
}

/// TLS towards a server of limits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisTls {
    /// A file of the authorities that certificates must come from. The system's by default. Watched.
    pub ca: Option<Name>,
    /// What the gateway shows of itself. Nothing by default.
    pub client_certificate: Option<RedisCertificate>,
}

/// A certificate that is shown to a server of limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RedisCertificate {
    /// A file with the certificate, and those between it and its authority. Watched.
    pub cert: Name,
    /// A file with its private key. Watched.
    pub key: Name,
}

/// What becomes of requests that a shared limit has no answer for in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is none of them"))]
pub enum Fallback {
    /// This gateway holds them to the same limit by itself.
    #[default]
    Local,
    /// They pass.
    Open,
    /// They are refused.
    Closed,
}
