//! What may be set of `request_id`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::spec::scalar::HeaderName;
use serde::{Deserialize, Serialize};

/// Gives requests an id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestIdSpec {
    /// The field that holds it.
    pub header: HeaderName,
    /// Whose ids are kept.
    pub keep: KeepSpec,
    /// What a new id looks like.
    pub form: FormSpec,
    /// Whether the client is told it.
    pub response: bool,
}

impl Default for RequestIdSpec {
    fn default() -> Self {
        Self {
            header: HeaderName("x-request-id".into()),
            keep: KeepSpec::Trusted,
            form: FormSpec::Hex,
            response: true,
        }
    }
}

/// Whose ids are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeepSpec {
    /// Those of `trusted_proxies`.
    Trusted,
    /// Everybody's.
    Always,
    /// Nobody's.
    Never,
}

/// What a new id looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormSpec {
    /// 32 hexadecimal digits.
    Hex,
    /// RFC 9562, 5.4.
    Uuid,
    /// RFC 9562, 5.7: they sort by time.
    Uuid7,
}
