//! What may be set of `rate_limit`.

use sallyport_config::schema::{JsonSchema, Schema};
use sallyport_config::spec::scalar::{Duration, HeaderName, Int};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::shared::SharedSpec;

/// Refuses requests beyond a rate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = limit_unless_service)]
pub struct RateLimitSpec {
    /// What requests share a limit by. Not with `shared.service`, which knows the limits, as the next
    /// keys.
    pub key: Option<RateKey>,
    /// How many requests.
    pub requests: Option<Int<1, 1_000_000>>,
    /// In which time: whole seconds.
    #[serde(default = "per")]
    pub per: Duration<1_000>,
    /// How many at once. As many as `requests` by default.
    pub burst: Option<Int<1, 1_000_000>>,
    /// Keys that are told apart; beyond, those share that were silent for longest.
    #[serde(default = "keys")]
    pub keys: Int<1, 10_000_000>,
    /// Whether clients are told their limit, in `RateLimit` fields.
    #[serde(default = "yes")]
    pub headers: bool,
    /// Where the limit is kept, for gateways that share it. This gateway alone by default.
    pub shared: Option<SharedSpec>,
}

/// A limit is written here, or known to a service.
fn limit_unless_service(schema: &mut Schema) {
    let asks_service = json!({
        "required": ["shared"],
        "properties": { "shared": { "required": ["service"] } }
    });
    let of_a_limit = ["key", "requests", "per", "burst", "keys"];
    let written = of_a_limit.map(|key| json!({ "required": [key] }));
    schema.insert("if".into(), asks_service);
    schema.insert("then".into(), json!({ "not": { "anyOf": written } }));
    schema.insert("else".into(), json!({ "required": ["key", "requests"] }));
}

fn per() -> Duration<1_000> {
    Duration::seconds(1)
}

/// Some 10 MB when all are in use, and more sources than a site sees in the time in which a bucket fills.
fn keys() -> Int<1, 10_000_000> {
    Int(100_000)
}

fn yes() -> bool {
    true
}

/// What requests share a limit by. Where it is missing, their source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no key"))]
pub enum RateKey {
    /// The client's address.
    Source,
    /// Their route.
    Route,
    /// The value of a header field.
    Header(HeaderName),
    /// What the classifier says.
    Hint(RateHint),
}

/// What the classifier says that requests may share a limit by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no such hint"))]
pub enum RateHint {
    /// The network of the client's address.
    Network,
}
