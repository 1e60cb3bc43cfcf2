//! What may be set of `access_log`.

use sallyport_config::Entries;
use sallyport_config::schema::JsonSchema;
use sallyport_config::schema::never;
use sallyport_config::spec::scalar::{Int, Name};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Writes a line for each request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(transform = never(json!({
    "required": ["fields", "format"], "properties": { "format": { "type": "object" } }
})))]
pub struct AccessLogSpec {
    /// Where lines go.
    pub to: TargetSpec,
    /// What a line looks like.
    pub format: FormatSpec,
    /// The fields of a line of JSON, by name; values are templates. Eighteen by default.
    #[schemars(extend("minProperties" = 1, "maxProperties" = 64))]
    pub fields: Option<Entries<Box<str>>>,
    /// Lines that may wait to be written; those beyond are dropped and counted.
    pub queue: Int<1, 1_048_576>,
}

impl Default for AccessLogSpec {
    fn default() -> Self {
        // Four MiB of lines of the usual length: a second at eight thousand requests in it.
        let queue = Int(8_192);
        Self { to: TargetSpec::Stdout, format: FormatSpec::Json, fields: None, queue }
    }
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no target"))]
pub enum TargetSpec {
    /// The standard output.
    Stdout,
    /// A file in a folder that is there.
    File(Name),
    /// The system's log.
    Syslog(SyslogSpec),
}

/// A receiver of syslog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SyslogSpec {
    /// udp://IP:PORT or unix:/PATH, such as unix:/dev/log.
    #[schemars(regex(pattern = r"^(?:udp://.+:[0-9]{1,5}|unix:/.+)$"))]
    pub address: Box<str>,
    /// What the lines are filed under.
    #[serde(default = "facility")]
    pub facility: FacilitySpec,
}

fn facility() -> FacilitySpec {
    FacilitySpec::Local0
}

/// What lines are filed under: RFC 5424, 6.2.1, without those that are the system's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no facility"))]
#[allow(missing_docs, reason = "they have no meaning but their number")]
pub enum FacilitySpec {
    User,
    Daemon,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}

/// What a line looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no format"))]
pub enum FormatSpec {
    /// An object with the `fields`.
    Json,
    /// This text, with its variables filled in.
    Template(Box<str>),
}
