//! HTTPRoute, GRPCRoute and TLSRoute, read as one: what they have in common has the same names.

use serde::Deserialize;

use super::{Kind, kinds};

kinds! {
    Http: "gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes",
        OPTIONAL = true, HAS_STATUS = true;
    Grpc: "gateway.networking.k8s.io", "v1", "GRPCRoute", "grpcroutes",
        OPTIONAL = true, HAS_STATUS = true;
    Tls: "gateway.networking.k8s.io", "v1", "TLSRoute", "tlsroutes",
        OPTIONAL = true, HAS_STATUS = true;
    TlsAlpha: "gateway.networking.k8s.io", "v1alpha2", "TLSRoute", "tlsroutes",
        OPTIONAL = true, HAS_STATUS = true;
}

/// An HTTPRoute as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Http(pub(crate) Route);

/// A GRPCRoute as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Grpc(pub(crate) Route);

/// A TLSRoute as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Tls(pub(crate) Route);

/// A TLSRoute of a cluster that may not have the version of [`Tls`] yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct TlsAlpha(pub(crate) Route);

/// Which of them a route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum RouteKind {
    Http,
    Grpc,
    Tls,
}

impl RouteKind {
    /// Its name.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Http => Http::KIND,
            Self::Grpc => Grpc::KIND,
            Self::Tls => Tls::KIND,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Route {
    pub(crate) parent_refs: Vec<ParentRef>,
    pub(crate) hostnames: Vec<String>,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ParentRef {
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    pub(crate) section_name: Option<String>,
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) matches: Vec<RouteMatch>,
    pub(crate) filters: Vec<Filter>,
    pub(crate) backend_refs: Vec<BackendRef>,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) retry: Option<RouteRetry>,
    pub(crate) session_persistence: Option<SessionPersistence>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RouteMatch {
    pub(crate) path: Option<PathMatch>,
    pub(crate) headers: Vec<FieldMatch>,
    pub(crate) query_params: Vec<FieldMatch>,
    pub(crate) method: Option<MethodMatch>,
}

/// Of an HTTPRoute a word, of a GRPCRoute a service and a method.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(crate) enum MethodMatch {
    Http(String),
    Grpc(GrpcMethod),
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct GrpcMethod {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) method: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct PathMatch {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) value: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct FieldMatch {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct BackendRef {
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) weight: Option<i64>,
    pub(crate) filters: Vec<Filter>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Filter {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) request_header_modifier: Option<HeaderChanges>,
    pub(crate) response_header_modifier: Option<HeaderChanges>,
    pub(crate) request_redirect: Option<RequestRedirect>,
    pub(crate) url_rewrite: Option<UrlRewrite>,
    pub(crate) request_mirror: Option<RequestMirror>,
    pub(crate) cors: Option<Cors>,
    pub(crate) extension_ref: Option<ExtensionRef>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ExtensionRef {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct HeaderChanges {
    pub(crate) set: Vec<NameValue>,
    pub(crate) add: Vec<NameValue>,
    pub(crate) remove: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct NameValue {
    pub(crate) name: String,
    pub(crate) value: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RequestRedirect {
    pub(crate) scheme: Option<String>,
    pub(crate) hostname: Option<String>,
    pub(crate) path: Option<PathModifier>,
    pub(crate) port: Option<u16>,
    pub(crate) status_code: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PathModifier {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) replace_full_path: Option<String>,
    pub(crate) replace_prefix_match: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct UrlRewrite {
    pub(crate) hostname: Option<String>,
    pub(crate) path: Option<PathModifier>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RequestMirror {
    pub(crate) backend_ref: BackendRef,
    pub(crate) percent: Option<u64>,
    pub(crate) fraction: Option<Fraction>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Fraction {
    pub(crate) numerator: u64,
    pub(crate) denominator: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Cors {
    pub(crate) allow_origins: Vec<String>,
    pub(crate) allow_methods: Vec<String>,
    pub(crate) allow_headers: Vec<String>,
    pub(crate) expose_headers: Vec<String>,
    pub(crate) allow_credentials: Option<bool>,
    pub(crate) max_age: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Timeouts {
    pub(crate) request: Option<String>,
    pub(crate) backend_request: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct RouteRetry {
    pub(crate) codes: Vec<u16>,
    pub(crate) attempts: Option<u64>,
    pub(crate) backoff: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SessionPersistence {
    pub(crate) session_name: Option<String>,
    pub(crate) absolute_timeout: Option<String>,
    pub(crate) idle_timeout: Option<String>,
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
}
