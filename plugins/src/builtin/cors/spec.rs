//! What may be set of `cors`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::spec::scalar::{Duration, Regex};
use serde::{Deserialize, Serialize};

/// Answers what browsers ask of other sites' pages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsSpec {
    /// The origins that are allowed: `scheme://host` with `:port` unless it is the scheme's own, `*`, or
    /// a regular expression.
    #[schemars(length(min = 1))]
    pub origins: Vec<OriginSpec>,
    /// The methods that are allowed. GET, HEAD and POST by default.
    #[schemars(length(min = 1, max = 1000))]
    pub methods: Option<Vec<Box<str>>>,
    /// The fields of requests that are allowed. Those that are asked for by default.
    #[schemars(length(min = 1, max = 1000))]
    pub headers: Option<Vec<Box<str>>>,
    /// The fields of responses that pages may read. None by default.
    #[schemars(length(min = 1, max = 1000))]
    pub expose: Option<Vec<Box<str>>>,
    /// Whether cookies and passwords may come with requests.
    #[serde(default)]
    pub credentials: bool,
    /// How long browsers may keep the answer. As long as they like by default.
    pub max_age: Option<Duration>,
}

/// An origin, or a family of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OriginSpec {
    /// One as browsers write it, or `*`.
    One(Box<str>),
    /// All that a regular expression matches as a whole.
    Family(OriginRegexSpec),
}

/// Origins by a regular expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OriginRegexSpec {
    /// It matches the whole origin.
    pub regex: Regex,
}
