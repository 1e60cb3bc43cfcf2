//! The resolved configuration: every reference is an index, every default filled in, every value in
//! its range. Only [`resolve`](super::resolve::resolve) makes one.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;
use sallyport_balance::Policy;
use sallyport_config::spec::Providers;
use sallyport_plugin::Entry;
use sallyport_route::{Domain, Match, Replacement};
use sallyport_stats::push::ExporterSpec;
use sallyport_tls::ClientAuth;

use super::admin::Admin;
use super::bandwidth::Bandwidth;
use super::error_pages::ErrorPages;
use super::http2::Http2;
use super::limits::Limits;
use super::origins::{Discovery, Endpoint, Resolver, Transport};
use super::outlier::Resilience;
use super::process::{EngineChoice, LogSettings, Shutdown};
use super::retry::Retry;
use super::sticky::{Mirror, Sticky};
use super::tls::Tls;
use super::tracing::Tracing;
use crate::trace::context::Sample;

/// Everything the gateway is told.
#[derive(Debug)]
pub struct Config {
    /// Where it listens, in the order of the file.
    pub listeners: Vec<Listener>,
    /// The admin listener, if there is one.
    pub admin: Option<Admin>,
    /// The sources besides the file, if there are any.
    pub providers: Option<Providers>,
    /// What it may at most hold.
    pub limits: Limits,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// What serves ordinary exchanges with origins of HTTP/1.1.
    pub engine: EngineChoice,
    /// What it logs.
    pub log: LogSettings,
    /// Where answers to challenges of authorities are looked for: those by HTTP, those by TLS.
    pub challenges: Challenges,
    /// Whether anything asks for the JA4 fingerprint of clients.
    pub asks_ja4: bool,
    /// The classifier whose hints are used, if there is one.
    pub classifier: Option<Classifier>,
    /// Which sources are to be shut out, if any are.
    pub verdicts: Option<Verdicts>,
    /// Whether responses of routes are counted by exact status code.
    pub counts_status_codes: bool,
    /// Where statistics are pushed, if they are.
    pub push: Option<Push>,
    /// Where traces are sent, if they are.
    pub tracing: Option<Tracing>,
    /// What clients read in place of the gateway's own errors, where a virtual host says nothing else.
    pub error_pages: ErrorPages,
    /// How names of endpoints are resolved.
    pub resolver: Resolver,
    /// Groups of endpoints.
    pub upstreams: Vec<Upstream>,
    /// Domains and their routes.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// The folders in which answers to challenges of authorities are looked for (ACME).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenges {
    /// Of those that are made by HTTP in clear text.
    pub http: Vec<PathBuf>,
    /// Of those that are made by a TLS handshake.
    pub tls: Vec<PathBuf>,
}

/// The classifier's pinned maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classifier {
    /// The folder that they are pinned in.
    pub pin_path: PathBuf,
    /// Whether to start without them is refused.
    pub required: bool,
    /// The hints that are sent upstream.
    pub upstream_headers: Vec<HintField>,
}

/// One thing that the classifier says of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HintField {
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

impl HintField {
    /// Every one.
    pub const ALL: [Self; 5] =
        [Self::Network, Self::Zone, Self::Protocol, Self::Screens, Self::SynRate];

    /// Its name in the file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Zone => "zone",
            Self::Protocol => "protocol",
            Self::Screens => "screens",
            Self::SynRate => "syn_rate",
        }
    }
}

/// The prefix of IPv6 sources that verdicts are on unless a file says otherwise: what one customer has
/// at least (RFC 6177).
pub const IPV6_PREFIX: u8 = 64;

/// Which sources are to be shut out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// How many at once.
    pub max: usize,
    /// Sources that never are.
    pub exempt: Vec<IpNet>,
    /// How much of an IPv6 address a verdict is on, in bits; what is counted towards one as well.
    pub ipv6_prefix: u8,
    /// What earns a verdict.
    pub rules: Vec<VerdictRule>,
}

/// Rules of one configuration: each is a counter for every source that is counted.
pub const VERDICT_RULES_MAX: usize = 8;

/// So many offences in so much time earn a verdict for so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerdictRule {
    /// What is counted.
    pub on: Offence,
    /// How many are still borne.
    pub more_than: u32,
    /// The time they are counted in.
    pub within: Duration,
    /// How long the verdict holds.
    pub lasting: Duration,
}

/// What a source does that may earn it a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Its requests are answered with a 4xx status.
    ClientError,
    /// Its requests break the protocol.
    Refused,
    /// Its requests are over a limit.
    Limit,
}

impl Offence {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::ClientError, Self::Refused, Self::Limit];

    /// Its name in the file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::ClientError => "4xx",
            Self::Refused => "refused",
            Self::Limit => "limit",
        }
    }
}

/// Where statistics are pushed, how often, and what that may take.
#[derive(Clone, Debug)]
pub struct Push {
    /// The time between two readings.
    pub every: Duration,
    /// Series at most; the rest is put together by metric.
    pub series: usize,
    /// What one reading may take until it is sent.
    pub buffer_bytes: usize,
    /// Where to; never empty, and no two of one name.
    pub exporters: Vec<ExporterSpec>,
}

/// Exporters of one configuration: each has a thread.
pub const PUSH_EXPORTERS_MAX: usize = 16;

/// A socket that takes requests.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Which virtual hosts it serves, as indices; `None` means all.
    pub virtual_hosts: Option<Vec<usize>>,
    /// The protocols that it speaks.
    pub protocols: Protocols,
    /// Whether it speaks HTTP/2 in clear text to clients that begin with its preface.
    pub h2c: bool,
    /// Its certificates and what it asks of its clients, where it speaks TLS.
    pub tls: Option<Arc<Tls>>,
    /// What it bears of its HTTP/2 clients.
    pub http2: Http2,
    /// The addresses whose `X-Forwarded-*` and `Forwarded` fields are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where everything is sent that comes in clear text, but for ACME's challenges.
    pub redirect: Option<Redirect>,
    /// The addresses that send a PROXY header, and must.
    pub proxy_protocol: Vec<IpNet>,
    /// Open connections at most.
    pub max_connections: u64,
    /// Open connections of one source at most; trusted proxies have more.
    pub max_connections_per_source: u64,
    /// How long it waits for clients.
    pub timeouts: ListenerTimeouts,
    /// The filters of all its requests.
    pub filters: Vec<Entry>,
}

impl Listener {
    /// Connections that one listener holds at most, where a file does not say: at 4 KiB each they
    /// take 400 MB, and a flood of them ends before the memory does.
    pub const MAX_CONNECTIONS: u64 = 100_000;

    /// Connections that one source holds at most, where a file does not say: a tenth of a listener's.
    /// Ten thousand are more than one household, office or load generator opens, and leave room for
    /// others.
    pub const MAX_CONNECTIONS_PER_SOURCE: u64 = 10_000;

    /// Whether `peer` passes on what others send, so that its connections are not one source's.
    #[must_use]
    pub fn carries_others(&self, peer: IpAddr) -> bool {
        self.trusts(peer) || self.sends_proxy_header(peer)
    }

    /// Whether the forwarding fields of `peer` are believed.
    #[must_use]
    pub fn trusts(&self, peer: IpAddr) -> bool {
        is_of(peer, &self.trusted_proxies)
    }

    /// Whether `peer` is to begin with a PROXY header.
    #[must_use]
    pub fn sends_proxy_header(&self, peer: IpAddr) -> bool {
        is_of(peer, &self.proxy_protocol)
    }
}

fn is_of(address: IpAddr, networks: &[IpNet]) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The protocols that a listener speaks; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/1.0 and HTTP/1.1.
    pub http1: bool,
    /// HTTP/2: agreed on with TLS, known beforehand without.
    pub http2: bool,
}

/// How long a listener waits for its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerTimeouts {
    /// Between two requests on a connection.
    pub idle: Duration,
    /// For a whole head of HTTP/1, and between two reads of a body.
    pub read: Duration,
    /// For one write of a response.
    pub write: Duration,
}

/// A group of endpoints and how to choose among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// Its name in routes, logs and metrics.
    pub name: Arc<str>,
    /// How an endpoint is chosen.
    pub policy: Policy,
    /// What a hashing policy hashes.
    pub hash_on: HashOn,
    /// The endpoints that are written; empty only where they are discovered.
    pub endpoints: Vec<Endpoint>,
    /// Where further endpoints are found.
    pub discovery: Option<Discovery>,
    /// How they are spoken to.
    pub transport: Transport,
    /// How long to wait for an endpoint.
    pub timeouts: UpstreamTimeouts,
    /// Whether and how endpoints are probed.
    pub health_check: Option<HealthCheck>,
    /// The share of endpoints below which health no longer decides; 0 is never.
    pub panic_below_percent: u8,
    /// Outliers, slow starts, limits and the queue.
    pub resilience: Resilience,
}

impl Upstream {
    /// The default of `panic_below_percent`. Endpoints seldom fail by the half; what watches them
    /// does, and so does the network between. The other half could not take the whole load anyway.
    pub const PANIC_BELOW_PERCENT: u8 = 50;

    /// Whether `other` finds its endpoints in the same places.
    #[must_use]
    pub fn finds_as(&self, other: &Self) -> bool {
        self.endpoints == other.endpoints && self.discovery == other.discovery
    }
}

/// What decides which endpoint a request belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    SourceIp,
    /// The path, without the query.
    Path,
    /// The value of a header field.
    Header(HeaderName),
    /// The value of a cookie.
    Cookie(Box<str>),
    /// The value of a query parameter.
    Query(Box<str>),
    /// What the classifier says: network, zone or protocol.
    Hint(HintField),
    /// The JA4 fingerprint of its TLS hello.
    Ja4,
    /// A part of its certificate.
    ClientCertificate(CertificatePart),
}

/// A part of a client's certificate that is the same on every connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificatePart {
    /// The subject.
    Subject,
    /// The serial number.
    Serial,
    /// The SHA-256.
    Fingerprint,
}

/// How long an upstream's endpoints are waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTimeouts {
    /// For a connection to be established.
    pub connect: Duration,
    /// Between two reads of a response, and for its first byte where `first_byte` does not say less.
    pub read: Duration,
    /// For the head of a response once the request is sent, the connection included.
    pub first_byte: Option<Duration>,
    /// For one write of a request.
    pub write: Duration,
    /// How long an unused connection is kept.
    pub idle: Duration,
    /// In place of `read` once a connection was upgraded, a WebSocket's for one.
    pub upgraded: Duration,
}

/// How endpoints are probed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What a probe asks.
    pub probe: Probe,
    /// The time between two probes of one endpoint.
    pub interval: Duration,
    /// How long one probe may take.
    pub timeout: Duration,
    /// Probes in a row that must succeed before an endpoint is used again.
    pub healthy: u32,
    /// Probes in a row that must fail before an endpoint is left out.
    pub unhealthy: u32,
}

/// What a probe asks of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A connection.
    Tcp,
    /// An answer to a request.
    Http(HttpProbe),
    /// What a gRPC server says of a service, or of itself if the name is empty.
    Grpc {
        /// The service's name.
        service: Box<str>,
    },
}

/// The request of a probe, and which answers are healthy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpProbe {
    /// The path, with its query if it has one.
    pub path: Box<str>,
    /// The value of `Host`; the endpoint's address by default.
    pub host: Option<Box<str>>,
    /// The method.
    pub method: Method,
    /// The healthy statuses; never empty.
    pub status: Vec<StatusRange>,
}

impl HttpProbe {
    /// The healthy statuses by default: success, and redirects, which an endpoint that is up may
    /// well answer its root with.
    pub const STATUS: StatusRange = StatusRange { from: 200, to: 399 };

    /// A `GET` of `path`, healthy with [`HttpProbe::STATUS`].
    #[must_use]
    pub fn of_path(path: Box<str>) -> Self {
        Self { path, host: None, method: Method::GET, status: vec![Self::STATUS] }
    }
}

/// Statuses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The lowest.
    pub from: u16,
    /// The highest; not below `from`.
    pub to: u16,
}

impl StatusRange {
    /// Whether `status` is one of them.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.from..=self.to).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.from, self.to) {
            (from, to) if from == to => write!(out, "{from}"),
            (from, to) => write!(out, "{from}-{to}"),
        }
    }
}

/// Domains and the routes of the requests for them.
#[derive(Debug)]
pub struct VirtualHost {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// The domains it answers for.
    pub domains: Vec<Domain>,
    /// The filters of all its requests.
    pub filters: Vec<Entry>,
    /// Its own error pages, ahead of those for all.
    pub error_pages: ErrorPages,
    /// What it asks of clients that connect by its names with TLS, in place of what the listener asks.
    pub clients: Option<Arc<ClientAuth>>,
    /// The share of its requests that are recorded, in place of what is said for all.
    pub sample: Option<Sample>,
    /// Its routes; the first match wins.
    pub routes: Vec<Route>,
}

/// What to do with which requests.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: Arc<str>,
    /// Which requests it takes.
    pub matches: Match,
    /// Its filters, besides those of its virtual host and the listener.
    pub filters: Vec<Entry>,
    /// The share of them that are recorded, in place of what is said for the virtual host.
    pub sample: Option<Sample>,
    /// How much of their bodies passes.
    pub bandwidth: Option<Bandwidth>,
    /// What becomes of them.
    pub action: Action,
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Action {
    /// It goes to an upstream.
    Forward(Forward),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The gateway answers.
    Respond(Respond),
}

/// To which upstream, and for how long.
#[derive(Debug)]
pub struct Forward {
    /// The upstreams and their shares; one of them has a weight above 0.
    pub targets: Vec<Target>,
    /// The time from the request's arrival to the end of the response; `None` means no limit.
    pub timeout: Option<Duration>,
    /// When a request is sent again.
    pub retry: Retry,
    /// The cookie that keeps a client at its upstream of a split.
    pub sticky: Option<Sticky>,
    /// Where copies of requests go, if they do.
    pub mirror: Option<Mirror>,
    /// Whether the other upstreams of a split take the requests of one that has no endpoint to use.
    pub failover: bool,
}

/// One upstream of a route and its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// Its share, in relation to the others'.
    pub weight: u32,
}

/// Where the client is sent.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
    /// The scheme; the request's own by default.
    pub scheme: Option<Box<str>>,
    /// The host; the request's own by default.
    pub host: Option<Replacement>,
    /// The port. By default that of `scheme` where it is given, else the one that was asked.
    pub port: Option<u16>,
    /// The path.
    pub path: RedirectPath,
}

/// The path that a client is sent to. The query goes with it, unless the path brings its own.
#[derive(Clone, Debug)]
pub enum RedirectPath {
    /// The request's own.
    Keep,
    /// This one, with its query or fragment if it has one.
    Full(Replacement),
    /// The request's own with its beginning replaced.
    Prefix {
        /// The prefix that the route matches, without a slash at its end.
        prefix: Box<str>,
        /// What takes its place, without a slash at its end.
        with: Box<str>,
    },
}

/// What the gateway answers.
#[derive(Debug)]
pub struct Respond {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: bytes::Bytes,
}
