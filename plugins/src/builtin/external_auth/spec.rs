//! What may be set of `external_auth`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::spec::scalar::{Duration, HeaderName, Name, UrlTarget};
use serde::{Deserialize, Serialize};

/// Asks a service whether a request may pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalAuthSpec {
    /// The service's upstream.
    pub upstream: Name,
    /// The path that is asked for.
    pub path: UrlTarget,
    /// The value of `Host`. The upstream's name by default.
    pub host: Option<Name>,
    /// The method.
    #[serde(default = "get")]
    pub method: AskMethod,
    /// How long the answer may take: every request waits for it.
    #[serde(default = "timeout")]
    pub timeout: Duration,
    /// Fields of the request that the service sees. `authorization` and `cookie` by default.
    #[schemars(length(max = 100))]
    pub request_headers: Option<Vec<HeaderName>>,
    /// Fields of its answer that go upstream.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub upstream_headers: Vec<HeaderName>,
    /// Fields of its answer that go into the response.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub response_headers: Vec<HeaderName>,
    /// Fields of its refusal that the client sees. `www-authenticate`, `location` and `set-cookie` by
    /// default.
    #[schemars(length(max = 100))]
    pub client_headers: Option<Vec<HeaderName>>,
    /// Whether requests pass while the service does not answer.
    #[serde(default = "closed")]
    pub on_failure: OnFailure,
}

fn get() -> AskMethod {
    AskMethod::Get
}

/// Every request waits for it, so it has to be a service that answers at once.
fn timeout() -> Duration {
    Duration::ms(500)
}

fn closed() -> OnFailure {
    OnFailure::Closed
}

/// The method of what a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[schemars(extend("x-wrong" = "asks nothing"))]
pub enum AskMethod {
    /// For the page.
    Get,
    /// For its head.
    Head,
    /// With an empty body.
    Post,
}

/// What becomes of requests while a filter cannot do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is neither"))]
pub enum OnFailure {
    /// They are refused.
    Closed,
    /// They pass.
    Open,
}
