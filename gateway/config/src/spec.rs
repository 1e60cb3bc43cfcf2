//! What a configuration file of the gateway may say: every key declared once, with its type, its
//! bounds, its default and its explanation.
//!
//! Plain data, from whatever source: nothing in it is compiled or opened, names are not looked up. From
//! these types come decoding (serde), the JSON Schema (`sallyport schema`), the tables of keys in the
//! documentation and what is told of a bad file. What the keys mean together is decided when the
//! configuration is resolved.
//!
//! A key that may be left out and has a default is of its plain type; one that is there or not is an
//! `Option`. Choices of which exactly one is written are enums where the choice stands alone, and
//! options with [`exactly_one`](crate::schema::exactly_one) where other keys stand beside it.

mod action;
mod admin;
mod bandwidth;
mod error_pages;
mod filter;
mod fragment;
mod limits;
mod listener;
mod matching;
mod origins;
mod policy;
mod process;
mod providers;
pub mod push;
mod resilience;
pub mod scalar;
mod tls;
mod tracing;
mod upstream;
mod verdicts;
mod virtual_host;
mod xds;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use action::{Forward, Redirect, RedirectScheme, RedirectStatus, Respond, Target};
pub use admin::{Admin, AdminTls};
pub use bandwidth::{Bandwidth, ClassBy};
pub use error_pages::ErrorPages;
pub use filter::FilterEntry;
pub use fragment::Fragment;
pub use limits::{HeaderNames, Limits};
pub use listener::{
    Classifier, HintName, Http2, Https, Listener, ListenerRedirect, ListenerTimeouts, ProxyProtocol,
};
pub use matching::{
    CookieMatch, FieldMatch, HeaderMatch, HintMatch, Match, PathMatch, Protocol, QueryMatch,
    Scheme, SynRate,
};
pub use origins::{
    DiscoveredEndpoints, Discovery, Endpoint, InsecureTls, KubernetesService,
    OriginClientCertificate, OriginHttp2, OriginProtocol, OriginTls, ProxyProtocolVersion,
    Resolver,
};
pub use policy::{Policy as ObjectPolicy, PolicyTarget};
pub use process::{
    AccessLog, EngineChoice, Insecure, LogFormat, LogSettings, Shutdown, Statistics,
};
pub use providers::{IngressListeners, Kubernetes, Providers};
pub use push::Push;
pub use resilience::{
    Backoff, Mirror, OutlierDetection, Queue, Retry, Sticky, StickySplit, TenantBy, TenantHint,
    UpstreamLimits,
};
pub use tls::{
    Acme, AcmeChallenge, Certificate, CertificatePart, ClientCertificateMatch,
    ClientCertificateMode, ClientCertificates, ExternalAccount, ListenerProtocol, ListenerTls,
    Passthrough, TlsDefault, TlsVersion,
};
pub use tracing::{Tracing, TracingOtlp, TracingOverride, Trust};
pub use upstream::{
    GrpcProbe, HashOn, HealthCheck, HttpProbe, LoadBalancing, OneOrMany, Policy, ProbeMethod,
    SteadyHint, TcpProbe, Upstream, UpstreamTimeouts,
};
pub use verdicts::{Offence, VerdictRule, Verdicts};
pub use virtual_host::{Route, VirtualHost};
pub use xds::{Xds, XdsCertificate, XdsLocality, XdsNode, XdsTls, XdsVariant};

use scalar::Name;

/// The configuration of a Sallyport gateway. `sallyport check FILE` tells every problem of one.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Sallyport", transform = listeners_or_providers)]
pub struct Spec {
    /// Files and globs with more `upstreams` and `virtual_hosts`, beside this file where they are
    /// relative. Included files cannot include others.
    #[serde(default)]
    pub include: Vec<Name>,
    /// Where requests are taken. None are needed beside `providers`, which bring their own.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Sources of listeners, virtual hosts and upstreams besides this file. None by default.
    pub providers: Option<Providers>,
    /// Accounts with authorities that issue certificates by themselves (ACME).
    #[serde(default)]
    pub acme: Vec<Acme>,
    /// The admin listener: metrics, state, `explain`. None by default.
    pub admin: Option<Admin>,
    /// What a client or this file may at most make the gateway hold.
    #[serde(default)]
    pub limits: Limits,
    /// The classifier whose hints are used. None by default.
    pub classifier: Option<Classifier>,
    /// Which sources are shut out, and for how long. None by default.
    pub verdicts: Option<Verdicts>,
    /// What is counted beyond what always is.
    #[serde(default)]
    pub statistics: Statistics,
    /// Where statistics are pushed. Nowhere by default.
    pub push: Option<Push>,
    /// Which requests are traced, and where their spans go. None by default.
    pub tracing: Option<Tracing>,
    /// How the process ends.
    #[serde(default)]
    pub shutdown: Shutdown,
    /// What the process logs, and how.
    #[serde(default)]
    pub log: LogSettings,
    /// A line for each request of every listener that sets up no `access_log` of its own. None by default.
    pub access_log: Option<AccessLog>,
    /// Switches for comparisons.
    #[serde(default)]
    pub insecure: Insecure,
    /// What clients read in place of the gateway's own errors, where a virtual host says nothing else.
    pub error_pages: Option<ErrorPages>,
    /// How names of endpoints are resolved.
    #[serde(default)]
    pub resolver: Resolver,
    /// Groups of endpoints.
    #[serde(default)]
    pub upstreams: Vec<Upstream>,
    /// Domains and their routes.
    #[serde(default)]
    pub virtual_hosts: Vec<VirtualHost>,
}

/// Demands a listener where no other source brings any.
fn listeners_or_providers(schema: &mut Schema) {
    let description = "At least one where no other source brings any.";
    let listeners = json!({ "minItems": 1, "description": description });
    schema.insert(
        "anyOf".into(),
        json!([
            { "required": ["listeners"], "properties": { "listeners": listeners } },
            { "required": ["providers"] }
        ]),
    );
}

/// A file that another includes: what there may be many of. What there is one of stays in one place.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Included {
    /// Groups of endpoints.
    #[serde(default)]
    pub upstreams: Vec<Upstream>,
    /// Domains and their routes.
    #[serde(default)]
    pub virtual_hosts: Vec<VirtualHost>,
}

impl From<Included> for Spec {
    fn from(Included { upstreams, virtual_hosts }: Included) -> Self {
        Self { upstreams, virtual_hosts, ..Self::default() }
    }
}

#[cfg(test)]
mod tests;
