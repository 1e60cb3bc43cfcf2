//! Where an upstream's origins are, how they are found and how they are spoken to; `resolver`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{
    DnsServer, DomainName, Duration, EndpointAddress, Int, Name, ObjectName, PortName, ServerName,
};
use crate::schema::exactly_one;

/// One server that takes requests, or a name for several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Where it listens: IP:PORT, NAME:PORT for all addresses of a name, or unix:PATH.
    pub address: EndpointAddress,
    /// Its share, in relation to the others'. Of a name, that of each of its addresses.
    #[serde(default = "weight")]
    pub weight: Int<1, 65_535>,
    /// Its level: endpoints of a higher number are used as far as those of lower ones are not healthy
    /// enough.
    #[serde(default = "priority")]
    pub priority: Int<0, 127>,
}

fn weight() -> Int<1, 65_535> {
    Int(1)
}

fn priority() -> Int<0, 127> {
    Int(0)
}

/// Where further endpoints are found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&Discovery::KEYS))]
pub struct Discovery {
    /// The name of SRV records.
    pub srv: Option<DomainName>,
    /// A file with `endpoints`, followed by itself.
    pub file: Option<Name>,
    /// A Service of the cluster under `providers.kubernetes`.
    pub kubernetes: Option<KubernetesService>,
    /// The name of endpoints (EDS) of the control plane under `providers.xds`.
    pub xds: Option<Name>,
}

impl Discovery {
    /// The keys of which one is written.
    pub const KEYS: [&'static str; 4] = ["srv", "file", "kubernetes", "xds"];
}

/// A Service of a Kubernetes cluster, whose EndpointSlices are the endpoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KubernetesService {
    /// Its namespace and name: NAMESPACE/NAME.
    pub service: ObjectName,
    /// The port of the Service, by its number or its name.
    pub port: PortName,
}

impl KubernetesService {
    /// How the provider's groups of endpoints are named.
    #[must_use]
    pub fn group(&self) -> String {
        format!("{}:{}", self.service, self.port)
    }
}

/// What a file of endpoints holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DiscoveredEndpoints {
    /// The endpoints; there may be none.
    pub endpoints: Vec<Endpoint>,
}

/// A version of HTTP towards origins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no protocol"))]
pub enum OriginProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN with `tls`, else with prior knowledge.
    Http2,
    /// With `tls` what the origin chooses by ALPN, else HTTP/1.1.
    Auto,
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no version of the PROXY protocol"))]
pub enum ProxyProtocolVersion {
    /// A line of text.
    V1,
    /// A binary header.
    V2,
}

/// HTTP/2 towards origins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginHttp2 {
    /// Requests on one connection at once, at most. The origin's own limit holds as well.
    pub max_streams: Int<1, 10_000>,
}

/// TLS towards origins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = crate::schema::never(serde_json::json!({
    "required": ["ca", "insecure"],
    "properties": { "insecure": { "properties": { "verify": { "const": false } } } }
})))]
pub struct OriginTls {
    /// The name or address that certificates must be for. By default the endpoint's name, or its IP
    /// address.
    pub server_name: Option<ServerName>,
    /// A file of the authorities that certificates must come from. The system's by default.
    pub ca: Option<Name>,
    /// What the gateway shows of itself. Nothing by default.
    pub client_certificate: Option<OriginClientCertificate>,
    /// What weakens it.
    pub insecure: Option<InsecureTls>,
}

/// A certificate that is shown to origins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginClientCertificate {
    /// A file with the certificate, and those between it and its authority.
    pub cert: Name,
    /// A file with its private key.
    pub key: Name,
}

/// What weakens TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InsecureTls {
    /// Whether certificates are verified. Without it, connections are encrypted to whoever answers.
    pub verify: bool,
}

/// How names of endpoints are resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Resolver {
    /// The servers that are asked. Those of `/etc/resolv.conf` by default.
    #[schemars(length(min = 1))]
    pub servers: Option<Vec<DnsServer>>,
    /// Domains that are tried behind names with few dots. Those of `/etc/resolv.conf` by default.
    pub search: Option<Vec<DomainName>>,
    /// How long one server is waited for.
    pub timeout: Duration,
    /// How often servers are asked again.
    pub attempts: Int<1, 10>,
    /// The shortest time after which a name is asked for again.
    pub min_ttl: Duration,
    /// The longest.
    pub max_ttl: Duration,
}

impl Default for Resolver {
    fn default() -> Self {
        Self {
            servers: None,
            search: None,
            // Two attempts are over before a client of ten seconds gives up.
            timeout: Duration::seconds(2),
            attempts: Int(2),
            // A TTL of 0 must not mean a query for every turn of the loop.
            min_ttl: Duration::seconds(1),
            // A zone with a TTL of a day would hide that an origin has moved for as long.
            max_ttl: Duration::seconds(300),
        }
    }
}
