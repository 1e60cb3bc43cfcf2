//! `listeners` and `classifier`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::action::RedirectStatus;
use super::filter::FilterEntry;
use super::scalar::{AbsolutePath, Address, Duration, Int, Name, Network};
use super::tls::{ListenerProtocol, ListenerTls};
use crate::schema::never;

/// A socket that takes requests.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    transform = never(json!({ "required": ["h2c", "tls"], "properties": { "h2c": { "const": true } } })),
    transform = never(json!({
        "required": ["h2c", "protocols"], "properties": { "h2c": { "const": true } }
    })),
    transform = never(json!({
        "required": ["http2"],
        "not": { "anyOf": [
            { "required": ["h2c"], "properties": { "h2c": { "const": true } } },
            { "required": ["protocols"], "properties": { "protocols": { "contains": { "const": "http2" } } } },
            { "required": ["tls"], "not": { "required": ["protocols"] } }
        ] }
    }))
)]
pub struct Listener {
    /// Its name in logs and metrics; no two alike.
    pub name: Name,
    /// Where it listens: IP:PORT. Port 0 takes a free one.
    pub address: Address,
    /// The virtual hosts that it serves, by name. All by default.
    pub virtual_hosts: Option<Vec<Name>>,
    /// The protocols that it speaks: `[http1]` by default, with `tls` `[http1, http2]`.
    #[schemars(length(min = 1), extend("uniqueItems" = true))]
    pub protocols: Option<Vec<ListenerProtocol>>,
    /// What it shows its clients, and what it asks of them. It speaks in clear text by default.
    pub tls: Option<ListenerTls>,
    /// Short for `protocols: [http1, http2]` without `tls`: HTTP/2 with clients that begin with its
    /// preface. They get no 103: Pingora drops interim responses there.
    #[serde(default)]
    pub h2c: bool,
    /// What it bears of its HTTP/2 clients, where it speaks HTTP/2.
    pub http2: Option<Http2>,
    /// The networks whose `X-Forwarded-*` and `Forwarded` fields are believed. Nobody's by default.
    #[serde(default)]
    pub trusted_proxies: Vec<Network>,
    /// Where everything is sent that comes in clear text, but for the challenges of ACME.
    pub redirect: Option<ListenerRedirect>,
    /// Who sends a PROXY header, version 1 or 2, and must. Nobody by default.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Open connections at most; new ones are closed beyond.
    #[serde(default = "max_connections")]
    pub max_connections: Int<1, 10_000_000>,
    /// Open connections of one source at most. Those of `trusted_proxies` are not one source's.
    #[serde(default = "max_connections_per_source")]
    pub max_connections_per_source: Int<1, 10_000_000>,
    /// How long it waits for clients.
    #[serde(default)]
    pub timeouts: ListenerTimeouts,
    /// The filters of all its requests.
    #[serde(default)]
    pub filters: Vec<FilterEntry>,
}

/// Where all requests of a listener are sent: to the same host, path and query by HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerRedirect {
    /// The scheme.
    pub scheme: Https,
    /// The status: 301 by default.
    pub status: Option<RedirectStatus>,
    /// The port: that of HTTPS by default.
    pub port: Option<Int<1, 65_535>>,
}

/// The scheme that a whole listener can be redirected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is not where a whole listener can be redirected to"))]
pub enum Https {
    /// HTTPS.
    Https,
}

/// The PROXY protocol, by which a proxy says whose a connection is before anything else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocol {
    /// The networks whose peers send a header, and must. All others are served without one, and
    /// refused if they send one.
    #[schemars(length(min = 1))]
    pub from: Vec<Network>,
}

/// At 4 KiB each they take 400 MB, and a flood of them ends before the memory does.
fn max_connections() -> Int<1, 10_000_000> {
    Int(100_000)
}

/// A tenth of a listener's: more than one household, office or load generator opens, and room for others.
fn max_connections_per_source() -> Int<1, 10_000_000> {
    Int(10_000)
}

/// Bounds of one HTTP/2 connection of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http2 {
    /// Requests under way at once.
    pub max_streams: Int<1, 10_000>,
    /// RST_STREAM in ten seconds.
    #[serde(rename = "max_resets_per_10s")]
    pub max_resets: Int<1, 10_000_000>,
    /// PING in ten seconds, and one more for each KiB sent.
    #[serde(rename = "max_pings_per_10s")]
    pub max_pings: Int<1, 10_000_000>,
    /// SETTINGS in ten seconds.
    #[serde(rename = "max_settings_per_10s")]
    pub max_settings: Int<1, 10_000_000>,
    /// Other frames that carry nothing of a message in ten seconds, and one more for each KiB sent.
    #[serde(rename = "max_control_frames_per_10s")]
    pub max_control_frames: Int<1, 10_000_000>,
    /// Streams that wait for the client's window for more than five seconds. Each holds a part of a response.
    pub max_stalled_streams: Int<1, 10_000>,
    /// How long a connection takes new requests.
    pub max_age: Duration,
}

impl Default for Http2 {
    fn default() -> Self {
        Self {
            max_streams: Int(128),
            max_resets: Int(200),
            max_pings: Int(200),
            max_settings: Int(100),
            max_control_frames: Int(10_000),
            max_stalled_streams: Int(32),
            max_age: Duration::seconds(3_600),
        }
    }
}

/// How long a listener waits for its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerTimeouts {
    /// Between two requests on a connection.
    pub idle: Duration,
    /// For a whole head of HTTP/1, and between two reads of a body.
    pub read: Duration,
    /// For one write of a response.
    pub write: Duration,
}

impl Default for ListenerTimeouts {
    fn default() -> Self {
        // Idle is longer than the 60 s that load balancers in front usually keep a connection, so
        // that it is they who close it and no request meets a closing socket.
        Self {
            idle: Duration::seconds(75),
            read: Duration::seconds(60),
            write: Duration::seconds(60),
        }
    }
}

/// The classifier's pinned maps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Classifier {
    /// The folder that they are pinned in: the classifier's own `pin_path`.
    pub pin_path: AbsolutePath,
    /// Whether to start without them is refused.
    pub required: bool,
    /// The hints that are sent upstream, as `X-Sallyport-*` fields.
    pub upstream_headers: Vec<HintName>,
}

impl Default for Classifier {
    fn default() -> Self {
        let pin_path = "/sys/fs/bpf/sallyport".into();
        Self { pin_path, required: false, upstream_headers: Vec::new() }
    }
}

/// One thing that the classifier says of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(title = "hint")]
pub enum HintName {
    /// The network of its address.
    Network,
    /// The zone it came in by.
    Zone,
    /// What its connection's first payload was.
    Protocol,
    /// The screens it tripped.
    Screens,
    /// Its SYNs a second.
    SynRate,
}
