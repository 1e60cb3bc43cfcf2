//! What keeps an upstream's trouble its own: `outlier_detection`, `limits` and `queue` of an upstream, and
//! `retry` of a route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{CookieName, Duration, HeaderName, Int, Method, Name, Percent, RetryReason};
use crate::entries::Entries;
use crate::schema::{at_least_one, never};

/// Which endpoints are set aside, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutlierDetection {
    /// After this many failures in a row: 5 by default.
    pub consecutive_errors: Option<Int<1, 1_000>>,
    /// Below this share of successes, where an endpoint has enough requests to tell. Not by default.
    pub success_rate: Option<Percent>,
    /// For how long the first time, 30s by default; each further time adds as much.
    pub base_ejection: Option<Duration>,
    /// The most that may be set aside at once, of all endpoints: 50% by default; one always may.
    pub max_ejected: Option<Percent>,
    /// The share of healthy endpoints below which all are used: what fails at most endpoints at once says
    /// more of the network. 50% by default; `0%` is never.
    pub panic_below: Option<Percent>,
}

/// What an upstream takes of one gateway at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    transform = at_least_one(&["connections", "requests", "pending"]),
    transform = never(serde_json::json!({
        "required": ["pending"],
        "properties": { "pending": { "const": 0 } },
        "not": { "required": ["connections"] }
    }))
)]
pub struct UpstreamLimits {
    /// Connections.
    pub connections: Option<Int<1, 1_000_000>>,
    /// Requests; without a `queue` more are answered with 503.
    pub requests: Option<Int<1, 1_000_000>>,
    /// Requests that wait for a connection.
    pub pending: Option<Int<0, 1_000_000>>,
}

/// How requests over `limits.requests` wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// What tells tenants apart, whose requests take turns.
    pub by: TenantBy,
    /// The weights of tenants by their names; others have 1.
    #[schemars(extend("maxProperties" = 1_000))]
    pub weights: Option<Entries<Int<1, 65_535>>>,
    /// How long a request waits.
    pub deadline: Duration,
    /// How many wait.
    pub length: Int<1, 1_000_000>,
}

impl Default for Queue {
    fn default() -> Self {
        let (deadline, length) = (Duration::seconds(1), Int(1_000));
        Self { by: TenantBy::Source, weights: None, deadline, length }
    }
}

/// What tells the tenants of a queue apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is nothing to tell tenants apart by"))]
pub enum TenantBy {
    /// The client's address.
    Source,
    /// The route.
    Route,
    /// The name that the client asked for when TLS began (SNI).
    Tls,
    /// The value of a header field.
    Header(HeaderName),
    /// What the classifier says.
    Hint(TenantHint),
}

/// A hint that tells tenants apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no hint that tells tenants apart"))]
pub enum TenantHint {
    /// The network of its address.
    Network,
    /// The zone it came in by.
    Zone,
    /// What its connection's first payload was.
    Protocol,
}

/// When a request is sent again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// How often at most. 2 by default.
    pub attempts: Option<Int<0, 15>>,
    /// What it is sent again for: connect, reset, timeout, refused_stream, or a status from 400 to 599.
    /// connect, reset and refused_stream by default.
    #[schemars(length(min = 1))]
    pub on: Option<Vec<RetryReason>>,
    /// Methods that may be sent twice besides the idempotent ones.
    #[schemars(length(min = 1))]
    pub methods: Option<Vec<Method>>,
    /// How long one attempt may wait for the head of its response. As long as the upstream's timeouts by
    /// default.
    pub per_try_timeout: Option<Duration>,
    /// The share of an upstream's requests that may be sent again. 20% by default.
    pub budget: Option<Percent>,
    /// The time before a retry. Without it a retry goes at once to an endpoint that was not tried.
    pub backoff: Option<Backoff>,
    /// After what time a GET that has no answer gets a second attempt at another endpoint beside the first.
    /// Never by default.
    pub hedge_after: Option<Duration>,
}

/// A cookie that keeps a client at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sticky {
    /// Its name.
    pub cookie: CookieName,
    /// How long it is kept. As long as the browser's session by default.
    pub ttl: Option<Duration>,
    /// The file of the secret that it is signed with: at least 16 bytes.
    pub secret_file: Name,
}

/// A cookie that keeps a client at an upstream of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StickySplit {
    /// Its name.
    pub cookie: CookieName,
    /// How long it is kept. As long as the browser's session by default.
    pub ttl: Option<Duration>,
    /// The file of the secret that it is signed with: at least 16 bytes. Without one a client can choose its
    /// upstream.
    pub secret_file: Option<Name>,
}

/// To which upstream copies of requests go, and of how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The upstream's name.
    pub upstream: Name,
    /// Percent of the requests. 100 by default.
    pub percent: Option<Int<1, 100>>,
}

/// The time before a retry: random, up to a bound that doubles from `base` to `max`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Backoff {
    /// The bound before the first retry. 25ms by default.
    pub base: Option<Duration>,
    /// The largest bound. Ten times the `base` by default.
    pub max: Option<Duration>,
}
