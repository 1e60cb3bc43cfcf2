//! What may be set of `security_headers`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::spec::scalar::{DurationOrZero, Name};
use serde::{Deserialize, Serialize};

/// Fields that tell browsers to be careful. Each is a value, or `off`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecurityHeadersSpec {
    /// `X-Content-Type-Options`: `nosniff` by default.
    pub content_type_options: Option<Name>,
    /// `X-Frame-Options`: `SAMEORIGIN` by default.
    pub frame_options: Option<Name>,
    /// `Referrer-Policy`: `strict-origin-when-cross-origin` by default.
    pub referrer_policy: Option<Name>,
    /// `Permissions-Policy`: `camera=(), geolocation=(), microphone=()` by default.
    pub permissions_policy: Option<Name>,
    /// `Cross-Origin-Opener-Policy`: `same-origin-allow-popups` by default.
    pub cross_origin_opener_policy: Option<Name>,
    /// `Cross-Origin-Resource-Policy`: `same-site` by default.
    pub cross_origin_resource_policy: Option<Name>,
    /// `Cross-Origin-Embedder-Policy`: none by default, since it breaks pages that embed anything of
    /// another site's.
    pub cross_origin_embedder_policy: Option<Name>,
    /// `Content-Security-Policy`: none by default, since only the site knows what it loads.
    pub content_security_policy: Option<Name>,
    /// `Strict-Transport-Security`. None by default.
    pub hsts: Option<HstsSpec>,
    /// Whether fields that the origin wrote are replaced.
    #[serde(default, rename = "override")]
    pub overrides: bool,
}

/// `Strict-Transport-Security`, or `off`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HstsSpec {
    /// What browsers are told (RFC 6797, 6.1).
    On(HstsPolicySpec),
    /// Nothing.
    Off(Off),
}

/// The word `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Off {
    /// Nothing is written.
    Off,
}

/// What browsers are told of TLS.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HstsPolicySpec {
    /// How long they keep to it, such as `8760h` for a year. Zero makes them forget.
    pub max_age: DurationOrZero<315_360_000_000>,
    /// Whether it holds for names below the host's too.
    pub include_subdomains: bool,
    /// Whether the site wants to be in browsers' lists: with `include_subdomains` and a year.
    pub preload: bool,
}

impl Default for HstsPolicySpec {
    fn default() -> Self {
        // What browsers demand of a site that wants to be in their lists (hstspreload.org).
        let year = std::time::Duration::from_secs(365 * 86_400);
        Self { max_age: DurationOrZero(year), include_subdomains: false, preload: false }
    }
}
