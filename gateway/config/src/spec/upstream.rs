//! `upstreams`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::bandwidth::Bandwidth;
use super::origins::{
    Discovery, Endpoint, OriginHttp2, OriginProtocol, OriginTls, ProxyProtocolVersion,
};
use super::resilience::{OutlierDetection, Queue, Sticky, UpstreamLimits};
use super::scalar::{Duration, HeaderName, HostPort, Int, Name, StatusRange, UrlTarget};
use super::tls::CertificatePart;
use crate::schema::{at_least_one, at_most_one, needs, never, only_with};

/// A group of endpoints and how to choose among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_least_one(&["endpoints", "discovery"]),
    transform = only_with("http2", "protocol", ["http2", "auto"]),
    transform = needs("queue", "limits"), transform = never(json!({
    "properties": {
        "health_check": { "required": ["grpc"] },
        "protocol": { "const": "http1" }
    },
    "required": ["health_check"]
})), transform = never(json!({
    "required": ["outlier_detection"],
    "properties": { "outlier_detection": { "required": ["panic_below"], "maxProperties": 1 } },
    "not": { "required": ["health_check"] }
})), transform = never(json!({
    "required": ["bandwidth"],
    "properties": { "bandwidth": {
        "required": ["by"], "properties": { "by": { "const": "tenant" } }
    } },
    "not": { "required": ["queue"] }
})))]
pub struct Upstream {
    /// Its name in routes, logs and metrics; no two alike.
    pub name: Name,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub load_balancing: LoadBalancing,
    /// The endpoints. They may be left out where `discovery` finds some.
    #[schemars(length(min = 1))]
    pub endpoints: Option<Vec<Endpoint>>,
    /// Where further endpoints are found.
    pub discovery: Option<Discovery>,
    /// How they are spoken to.
    #[serde(default)]
    pub protocol: OriginProtocol,
    /// HTTP/2 towards them, with `protocol: http2` or `auto`.
    pub http2: Option<OriginHttp2>,
    /// TLS towards them. Clear text by default.
    pub tls: Option<OriginTls>,
    /// The header that each connection to them begins with. None by default.
    pub send_proxy_protocol: Option<ProxyProtocolVersion>,
    /// How long to wait for an endpoint.
    #[serde(default)]
    pub timeouts: UpstreamTimeouts,
    /// Whether and how endpoints are probed. They are not by default.
    pub health_check: Option<HealthCheck>,
    /// Which endpoints are set aside, and for how long.
    pub outlier_detection: Option<OutlierDetection>,
    /// How long an endpoint takes less than its share after it came back. Not at all by default.
    pub slow_start: Option<Duration>,
    /// What the upstream takes of one gateway at once. No bound by default.
    pub limits: Option<UpstreamLimits>,
    /// How requests over `limits.requests` wait. They do not by default.
    pub queue: Option<Queue>,
    /// The cookie that keeps a client at its endpoint. None by default.
    pub sticky: Option<Sticky>,
    /// How much of bodies passes in a second. No bound by default.
    pub bandwidth: Option<Bandwidth>,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    transform = only_with("hash_on", "policy", ["maglev", "ring_hash"]),
    transform = only_with("table_size", "policy", ["maglev"])
)]
pub struct LoadBalancing {
    /// The algorithm.
    pub policy: Policy,
    /// What decides which endpoint a request belongs to, with `maglev` and `ring_hash`. The client's
    /// address by default.
    pub hash_on: Option<HashOn>,
    /// The size of the table, with `maglev`: a prime number, and no less than there are endpoints.
    /// 65537 by default.
    pub table_size: Option<Int<2, 5_000_011>>,
}

impl Default for LoadBalancing {
    fn default() -> Self {
        Self { policy: Policy::RoundRobin, hash_on: None, table_size: None }
    }
}

/// An algorithm that chooses endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "policy")]
pub enum Policy {
    /// In turn, by weight: for endpoints alike and requests alike.
    RoundRobin,
    /// The less busy one of two drawn by weight: for requests of unequal cost.
    LeastRequest,
    /// Drawn by weight: for many gateways that must not move in step.
    Random,
    /// By a consistent-hashing table: the same key goes to the same endpoint, on every gateway.
    Maglev,
    /// By a consistent-hashing ring: the same, where tables must be small.
    RingHash,
}

/// What decides which endpoint a request belongs to. Where it is missing, the client's address does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is nothing to hash on"))]
pub enum HashOn {
    /// The client's address.
    SourceIp,
    /// The path, without the query.
    Path,
    /// The value of a header field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(Name),
    /// The value of a query parameter.
    Query(Name),
    /// What the classifier says.
    Hint(SteadyHint),
    /// A part of the client's certificate.
    ClientCertificate(CertificatePart),
}

/// A hint that is the same for all connections of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no hint that is the same for all connections of a client"))]
pub enum SteadyHint {
    /// The network of its address.
    Network,
    /// The zone it came in by.
    Zone,
    /// What its connection's first payload was.
    Protocol,
    /// The JA4 fingerprint of its TLS hello.
    Ja4,
}

/// How long an upstream's endpoints are waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamTimeouts {
    /// For a connection to be established.
    pub connect: Duration,
    /// For the head of a response once the request is sent, the connection included. As long as `read` by
    /// default.
    pub first_byte: Option<Duration>,
    /// Between two reads of a response, and for its first byte where `first_byte` does not say less.
    pub read: Duration,
    /// For one write of a request.
    pub write: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// In place of `read` once a connection was upgraded, a WebSocket's for one.
    pub upgraded: Duration,
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::seconds(5),
            first_byte: None,
            read: Duration::seconds(60),
            write: Duration::seconds(60),
            // Shorter than the keep-alive of common origins (nginx: 75 s), so that a connection is
            // rarely taken from the pool in the moment its origin closes it.
            idle: Duration::seconds(55),
            upgraded: Duration::seconds(3_600),
        }
    }
}

/// How endpoints are probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = at_most_one(&HealthCheck::KINDS))]
pub struct HealthCheck {
    /// Short for `http: { path: … }`.
    pub path: Option<UrlTarget>,
    /// A request that must be answered.
    pub http: Option<HttpProbe>,
    /// A connection that must be made; the default.
    pub tcp: Option<TcpProbe>,
    /// A gRPC service that must say that it serves; over HTTP/2 only.
    pub grpc: Option<GrpcProbe>,
    /// The time between two probes of one endpoint.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Probes in a row that must succeed before an endpoint is used again.
    pub healthy: Int<1, 1_000>,
    /// Probes in a row that must fail before an endpoint is left out.
    pub unhealthy: Int<1, 1_000>,
}

impl HealthCheck {
    /// The keys of which one at most is written.
    pub const KINDS: [&'static str; 4] = ["path", "http", "tcp", "grpc"];
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: None,
            http: None,
            tcp: None,
            grpc: None,
            interval: Duration::seconds(5),
            timeout: Duration::seconds(1),
            healthy: Int(2),
            unhealthy: Int(3),
        }
    }
}

/// The request of a probe, and which answers are healthy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbe {
    /// The path, with its query if it has one.
    pub path: UrlTarget,
    /// The value of `Host`. The endpoint's address by default.
    pub host: Option<HostPort>,
    /// The method.
    #[serde(default = "get")]
    pub method: ProbeMethod,
    /// The healthy statuses: one, a range, or a list of such. 200-399 by default.
    #[serde(default = "statuses")]
    pub status: OneOrMany<StatusRange>,
}

fn get() -> ProbeMethod {
    ProbeMethod::Get
}

/// Success, and redirects, which an endpoint that is up may well answer its root with.
fn statuses() -> OneOrMany<StatusRange> {
    OneOrMany::One(StatusRange { from: 200, to: 399 })
}

/// A probe that only connects. It has no keys: what a connection says is all that it asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TcpProbe {}

/// A question to `grpc.health.v1.Health`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GrpcProbe {
    /// The service. The server as a whole by default.
    pub service: Option<Name>,
}

/// A method that a probe can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(extend("x-wrong" = "is not a method that a probe can use"))]
pub enum ProbeMethod {
    /// Asks for the page.
    Get,
    /// Asks for its head.
    Head,
    /// Asks what can be asked.
    Options,
}

/// One value, or a list of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OneOrMany<T> {
    /// One.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<T>();
        schemars::json_schema!({
            "oneOf": [one, { "type": "array", "items": one, "minItems": 1 }]
        })
    }
}
