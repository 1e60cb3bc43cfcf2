//! What becomes of a request: `forward`, `redirect`, `respond`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::resilience::{Mirror, Retry, StickySplit};
use super::scalar::{Duration, HeaderValue, Int, Name, UrlPath};
use crate::entries::Entries;
use crate::schema::{at_least_one, exactly_one, field_names_but, needs, never};

/// To which upstream, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&Forward::TARGETS), transform = needs("failover", "split"),
    transform = needs("sticky", "split"),
    transform = never(json!({ "required": ["retries", "retry"] })))]
pub struct Forward {
    /// The upstream's name.
    pub upstream: Option<Name>,
    /// Several upstreams and their shares.
    #[schemars(extend("contains" = {"properties": {"weight": {"minimum": 1}}}))]
    pub split: Option<Vec<Target>>,
    /// The time from the request's arrival to the end of the response. None by default.
    pub timeout: Option<Duration>,
    /// Short for `retry: { attempts: N }`: how many other endpoints are tried when a connection cannot be
    /// made, or breaks before anything was answered. 2 by default.
    pub retries: Option<Int<0, 15>>,
    /// When a request is sent again.
    pub retry: Option<Retry>,
    /// The cookie that keeps a client at its upstream of a split. None by default.
    pub sticky: Option<StickySplit>,
    /// To which upstream copies of requests go. To none by default.
    pub mirror: Option<Mirror>,
    /// Whether the other upstreams of a split take the requests of one that has no endpoint to use:
    /// they do by default.
    pub failover: Option<bool>,
}

impl Forward {
    /// The keys of which one is written.
    pub const TARGETS: [&'static str; 2] = ["upstream", "split"];
}

/// One upstream of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub upstream: Name,
    /// Its share, in relation to the others'; at least one of them is above 0.
    pub weight: Int<0, 65_535>,
}

/// Where the client is sent. What is not written stays as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    transform = at_least_one(&Redirect::KEYS),
    transform = never(json!({ "required": ["path", "path_prefix"] }))
)]
pub struct Redirect {
    /// The status: 302 by default.
    pub status: Option<RedirectStatus>,
    /// The scheme.
    pub scheme: Option<RedirectScheme>,
    /// The host, without a port. `${1}` and `${name}` are groups of the route's `match.path.regex`,
    /// `${wildcard}` is what the `*` of the virtual host's domain stands for, and other names are variables
    /// of the request, such as `${host}` and `${header.x-tenant}`.
    #[schemars(
        length(min = 1),
        regex(pattern = HOST)
    )]
    pub host: Option<Box<str>>,
    /// The port. By default that of `scheme` where it is given, else the one that was asked.
    pub port: Option<Int<1, 65_535>>,
    /// The path, with its query if it has one. Groups and variables as in `host`.
    #[schemars(regex(pattern = PATH))]
    pub path: Option<Box<str>>,
    /// What takes the place of the prefix that the route matches; the rest of the path stays.
    pub path_prefix: Option<UrlPath>,
}

impl Redirect {
    /// Its keys, of which one at least is written.
    pub const KEYS: [&'static str; 6] = ["status", "scheme", "host", "port", "path", "path_prefix"];
}

/// A name with groups, or an address of IPv6.
const HOST: &str = r"^(?!.*[.][.])(?:\$\{[^}]*\}|\$\$|[^$:/?#\s])+$|^\[[0-9A-Fa-f:.]+\]$";

/// A path with groups.
const PATH: &str = r"^(?:/|\$\{[^}]*\})(?:\$\{[^}]*\}|\$\$|[!-#%-~])*$";

/// The status of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u16")]
pub struct RedirectStatus(u16);

impl RedirectStatus {
    /// Every one (RFC 9110, 15.4).
    const ALL: [u16; 5] = [301, 302, 303, 307, 308];

    /// 302.
    pub const FOUND: Self = Self(302);

    /// The number.
    #[must_use]
    pub fn code(self) -> u16 {
        self.0
    }
}

impl TryFrom<u64> for RedirectStatus {
    type Error = String;

    fn try_from(status: u64) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|known| u64::from(*known) == status);
        known.map(Self).ok_or_else(|| format!("is {status}, write 301, 302, 303, 307 or 308"))
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> Self {
        status.0
    }
}

impl JsonSchema for RedirectStatus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RedirectStatus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "enum": Self::ALL })
    }
}

/// A scheme to redirect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is not a scheme this can redirect to"))]
pub enum RedirectScheme {
    /// Clear text.
    Http,
    /// TLS.
    Https,
}

/// What the gateway answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = never(json!({
    "required": ["body"],
    "properties": { "status": { "enum": [204, 205, 304] }, "body": { "minLength": 1 } }
})))]
pub struct Respond {
    /// The status.
    pub status: Int<200, 599>,
    /// The body. Empty by default.
    #[serde(default)]
    pub body: Box<str>,
    /// Header fields. `content-length`, `transfer-encoding` and `connection` are the gateway's.
    #[serde(default)]
    #[schemars(transform = field_names_but(&["connection", "content-length", "transfer-encoding"]))]
    pub headers: Entries<HeaderValue>,
}
