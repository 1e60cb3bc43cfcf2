//! What concerns the process as a whole: `shutdown`, `log`, `access_log`, `statistics`, `insecure`.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::scalar::{DurationOrZero, NonEmpty};
use crate::value::Value;

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long new connections are still taken after the end was announced, for load balancers to notice.
    pub delay: DurationOrZero<3_600_000>,
    /// How long requests under way have then.
    pub deadline: DurationOrZero<3_600_000>,
}

impl Default for Shutdown {
    fn default() -> Self {
        let seconds = |seconds| DurationOrZero(std::time::Duration::from_secs(seconds));
        Self { delay: seconds(0), deadline: seconds(30) }
    }
}

/// What is counted beyond what always is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Statistics {
    /// Counts each route's responses by exact status code, in `sallyport_route_responses_total`, beside its class.
    pub exact_status: bool,
}

/// What may be switched for a comparison or in need, and is best left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Insecure {
    /// What serves ordinary exchanges with origins of HTTP/1.1.
    pub engine: EngineChoice,
}

/// What serves ordinary exchanges with origins of HTTP/1.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no engine"))]
pub enum EngineChoice {
    /// The gateway's own engine; Pingora serves what that does not take.
    #[default]
    Auto,
    /// Pingora serves everything.
    Pingora,
}

/// What is logged, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// What a line looks like.
    pub format: LogFormat,
    /// A level (off, error, warn, info, debug or trace), or a list such as info,sallyport=debug. As the
    /// environment says by default.
    pub level: Option<NonEmpty>,
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no format"))]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// An object a line.
    Json,
}

/// What may be set of a filter `access_log`, for all listeners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AccessLog(pub Value);

impl JsonSchema for AccessLog {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Self::NAME.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

impl AccessLog {
    /// Its name in the schema, where the settings of the kind stand in for it.
    pub(crate) const NAME: &str = "AccessLog";
    /// The kind of filters whose settings it holds.
    pub const KIND: &str = "access_log";
}
