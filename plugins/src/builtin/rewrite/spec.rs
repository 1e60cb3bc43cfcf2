//! What may be set of `rewrite`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::schema::{at_least_one, exactly_one};
use sallyport_config::spec::scalar::{Name, Regex};
use serde::{Deserialize, Serialize};

/// Sends requests to another path or host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_least_one(&["path", "host"]))]
pub struct RewriteSpec {
    /// Another path.
    pub path: Option<PathSpec>,
    /// Another host, with `:PORT` if the origin asks for it.
    #[schemars(regex(pattern = r"^[^@/?# \\]+$"))]
    pub host: Option<Name>,
}

/// Another path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&["prefix", "regex"]))]
pub struct PathSpec {
    /// The prefix that is replaced, by whole segments.
    #[schemars(regex(pattern = "^/[^?# ]*$"))]
    pub prefix: Option<Box<str>>,
    /// A regular expression that matches the whole path.
    pub regex: Option<Regex>,
    /// What takes its place. Of a regular expression, `${1}` and `${name}` are groups.
    pub with: Box<str>,
}
