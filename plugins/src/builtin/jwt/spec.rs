//! What may be set of `jwt`.

use sallyport_config::Entries;
use sallyport_config::schema::JsonSchema;
use sallyport_config::schema::{at_least_one, at_most_one, exactly_one, needs};
use sallyport_config::spec::scalar::{Duration, HeaderName, Name, UrlTarget};
use serde::{Deserialize, Serialize};

/// Lets requests in with a token that a key has signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_most_one(&["header", "cookie"]))]
pub struct JwtSpec {
    /// Where the keys are.
    pub jwks: JwksSpec,
    /// Who must have issued the token. Anybody by default.
    pub issuer: Option<Name>,
    /// Whom it must be for, one of these. Anybody by default.
    #[schemars(length(min = 1))]
    pub audience: Option<Vec<Name>>,
    /// The algorithms that are trusted. All of them by default.
    #[schemars(length(min = 1))]
    pub algorithms: Option<Vec<AlgorithmName>>,
    /// How far clocks may differ.
    #[serde(default = "leeway")]
    pub leeway: Duration<0, 600_000>,
    /// Claims that must be there.
    #[serde(default = "required_claims")]
    pub required_claims: Vec<Name>,
    /// The field that holds the token. `Authorization` by default.
    pub header: Option<HeaderName>,
    /// The cookie that holds the token, in place of a field.
    pub cookie: Option<HeaderName>,
    /// Whether the token goes on to the origin.
    #[serde(default = "yes")]
    pub forward: bool,
    /// Fields that tell the origin claims, by the claim's path.
    #[serde(default)]
    pub claims_to_headers: Entries<Name>,
    /// What requests are counted by.
    pub label: Option<ClaimLabelSpec>,
    /// What the claims must be.
    pub claims: Option<ClaimsSpec>,
}

/// Clocks that are set by the network differ by less than a second.
fn leeway() -> Duration<0, 600_000> {
    Duration::seconds(30)
}

fn required_claims() -> Vec<Name> {
    vec!["exp".into()]
}

fn yes() -> bool {
    true
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(
    transform = exactly_one(&JwksSpec::PLACES),
    transform = needs("upstream", "path"),
    transform = needs("path", "host"),
    transform = needs("host", "upstream")
)]
pub struct JwksSpec {
    /// A file of keys. Watched.
    pub file: Option<Name>,
    /// Where they are fetched: https, or http of this machine.
    pub url: Option<Name>,
    /// The upstream that they are fetched from.
    pub upstream: Option<Name>,
    /// The path there.
    pub path: Option<UrlTarget>,
    /// The value of `Host` there.
    pub host: Option<Name>,
    /// How often they are fetched: 5m by default.
    pub refresh: Option<Duration<10_000>>,
}

impl JwksSpec {
    /// The keys of which one is written.
    pub const PLACES: [&'static str; 3] = ["file", "url", "upstream"];
}

/// An algorithm that signs tokens (RFC 7518, 3.1), without those of shared secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-wrong" = "is not an algorithm to trust here"))]
pub enum AlgorithmName {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA with P-256.
    ES256,
    /// ECDSA with P-384.
    ES384,
    /// EdDSA with Ed25519 (RFC 8037).
    EdDSA,
}

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimLabelSpec {
    /// The claim's path.
    pub claim: Name,
}

/// What claims must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = at_least_one(&["all", "any"]))]
pub struct ClaimsSpec {
    /// All of these must hold.
    #[schemars(length(max = 64))]
    pub all: Vec<ClaimRuleSpec>,
    /// One of these must hold.
    #[schemars(length(max = 64))]
    pub any: Vec<ClaimRuleSpec>,
}

/// What one claim must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimRuleSpec {
    /// The claim's path.
    pub claim: Name,
    /// The values of which it must have one. Any by default.
    #[schemars(length(min = 1))]
    pub values: Option<Vec<Name>>,
}
