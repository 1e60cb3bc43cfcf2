//! `match` of a route.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{HeaderName, Int, Method, Name, NonEmpty, Regex, UrlPath};
use super::tls::ClientCertificateMatch;
use crate::schema::{at_least_one, exactly_one};

/// Which requests a route takes; all that is written must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The path. Any by default.
    pub path: Option<PathMatch>,
    /// The methods. Any by default.
    #[schemars(length(min = 1))]
    pub methods: Option<Vec<Method>>,
    /// Header fields that must be there.
    #[serde(default)]
    pub headers: Vec<HeaderMatch>,
    /// Parameters of the query that must be there.
    #[serde(default)]
    pub query: Vec<QueryMatch>,
    /// Cookies that must be there.
    #[serde(default)]
    pub cookies: Vec<CookieMatch>,
    /// The scheme that the client used: the connection's, or what a trusted proxy says. Any by default.
    pub scheme: Option<Scheme>,
    /// What the classifier must say of the client.
    pub hint: Option<HintMatch>,
    /// What the client's certificate must be.
    pub client_certificate: Option<ClientCertificateMatch>,
}

/// The scheme of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no scheme that is served"))]
pub enum Scheme {
    /// Clear text.
    Http,
    /// Over TLS.
    Https,
}

/// How the path must be. Paths are normalised first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// This path.
    Exact(UrlPath),
    /// This path and what is below it, by whole segments; one that ends in `/` takes what follows.
    Prefix(UrlPath),
    /// A path that this regular expression matches as a whole.
    Regex(Regex),
}

/// A header field and how one of its values must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&FieldMatch::KEYS))]
pub struct HeaderMatch {
    /// The field's name.
    pub name: HeaderName,
    /// The value.
    pub exact: Option<Box<str>>,
    /// What the value begins with.
    pub prefix: Option<NonEmpty>,
    /// A regular expression that matches the whole value.
    pub regex: Option<Regex>,
    /// Whether the field is there at all.
    pub present: Option<bool>,
}

/// A parameter of the query and how one of its values must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&FieldMatch::KEYS))]
pub struct QueryMatch {
    /// The parameter's name, decoded.
    pub name: Name,
    /// The value, decoded.
    pub exact: Option<Box<str>>,
    /// What the value begins with.
    pub prefix: Option<NonEmpty>,
    /// A regular expression that matches the whole value.
    pub regex: Option<Regex>,
    /// Whether the parameter is there at all.
    pub present: Option<bool>,
}

/// A cookie and how its value must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = exactly_one(&FieldMatch::KEYS))]
pub struct CookieMatch {
    /// The cookie's name.
    pub name: Name,
    /// The value.
    pub exact: Option<Box<str>>,
    /// What the value begins with.
    pub prefix: Option<NonEmpty>,
    /// A regular expression that matches the whole value.
    pub regex: Option<Regex>,
    /// Whether the cookie is there at all.
    pub present: Option<bool>,
}

/// How a value must be, of a field of any kind.
#[derive(Clone, Copy, Debug)]
pub struct FieldMatch<'a> {
    /// The value.
    pub exact: Option<&'a str>,
    /// What it begins with.
    pub prefix: Option<&'a str>,
    /// What matches it as a whole.
    pub regex: Option<&'a str>,
    /// Whether there is one.
    pub present: Option<bool>,
}

impl FieldMatch<'_> {
    /// The keys of which a field has one.
    pub const KEYS: [&'static str; 4] = ["exact", "prefix", "regex", "present"];
}

impl HeaderMatch {
    /// How its value must be.
    #[must_use]
    pub fn value(&self) -> FieldMatch<'_> {
        let Self { exact, prefix, regex, present, .. } = self;
        FieldMatch {
            exact: exact.as_deref(),
            prefix: prefix.as_deref(),
            regex: regex.as_deref(),
            present: *present,
        }
    }
}

impl CookieMatch {
    /// How its value must be.
    #[must_use]
    pub fn value(&self) -> FieldMatch<'_> {
        let Self { exact, prefix, regex, present, .. } = self;
        FieldMatch {
            exact: exact.as_deref(),
            prefix: prefix.as_deref(),
            regex: regex.as_deref(),
            present: *present,
        }
    }
}

impl QueryMatch {
    /// How its value must be.
    #[must_use]
    pub fn value(&self) -> FieldMatch<'_> {
        let Self { exact, prefix, regex, present, .. } = self;
        FieldMatch {
            exact: exact.as_deref(),
            prefix: prefix.as_deref(),
            regex: regex.as_deref(),
            present: *present,
        }
    }
}

/// What the classifier must say of the client; all that is written must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_least_one(&HintMatch::KEYS))]
pub struct HintMatch {
    /// The network of its address.
    pub network: Option<Name>,
    /// The zone it came in by.
    pub zone: Option<Name>,
    /// What its connection's first payload was.
    pub protocol: Option<Protocol>,
    /// Screens, of which it tripped one.
    #[schemars(length(min = 1))]
    pub screens: Option<Vec<Name>>,
    /// Its SYNs a second.
    pub syn_rate: Option<SynRate>,
    /// The JA4 fingerprint of its TLS hello.
    pub ja4: Option<Name>,
}

impl HintMatch {
    /// Its keys.
    pub const KEYS: [&'static str; 6] =
        ["network", "zone", "protocol", "screens", "syn_rate", "ja4"];
}

/// What the first payload of a connection was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no protocol that the classifier tells"))]
pub enum Protocol {
    /// A ClientHello.
    Tls,
    /// A request of HTTP/1.
    Http1,
    /// The preface of HTTP/2.
    Http2,
    /// Anything else.
    Other,
}

/// A rate of SYNs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SynRate {
    /// The rate must be above this, by second.
    pub above: Int<0, 4_294_967_295>,
}
