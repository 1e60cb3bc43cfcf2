//! What may be set of `wasm`.

use sallyport_config::schema::JsonSchema;
use sallyport_config::schema::{Schema, SchemaGenerator};
use sallyport_config::spec::scalar::{Bytes, Duration, Name};
use sallyport_config::{Entries, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::builtin::external_auth::OnFailure;

/// A filter in WebAssembly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WasmSpec {
    /// The module's file. Watched.
    pub module: Name,
    /// What it is configured with: a text as it is, a mapping or a list as JSON. Up to 1 MiB.
    pub configuration: Option<Configuration>,
    /// What its VM is configured with.
    pub vm_configuration: Option<Configuration>,
    /// Which of the module's contexts is meant.
    #[serde(default)]
    pub root_id: Box<str>,
    /// Filters of the same id and module share data.
    #[serde(default)]
    pub vm_id: Box<str>,
    /// What becomes of requests while it fails.
    #[serde(default = "closed")]
    pub on_failure: OnFailure,
    /// How long a call into it may take: it holds up every request of its thread.
    #[serde(default = "deadline")]
    pub deadline: Duration<1, 10_000>,
    /// How long its start may take.
    #[serde(default = "start_deadline")]
    pub start_deadline: Duration<1, 300_000>,
    /// How long it may hold a request.
    #[serde(default = "pause_timeout")]
    pub pause_timeout: Duration<10, 3_600_000>,
    /// Whether the body passes while it holds the head.
    #[serde(default)]
    pub allow_on_headers_stop_iteration: bool,
    /// The memory of one of its VMs.
    #[serde(default = "memory")]
    pub memory: Bytes<65_536, 4_294_967_296>,
    /// The phases that it takes part in. Those that it exports by default.
    pub phases: Option<Vec<PhaseName>>,
    /// The upstreams that it may call.
    #[serde(default)]
    pub upstreams: Vec<Name>,
    /// Its environment variables.
    #[serde(default)]
    pub environment: Entries<Box<str>>,
}

fn closed() -> OnFailure {
    OnFailure::Closed
}

fn deadline() -> Duration<1, 10_000> {
    Duration::ms(10)
}

/// A start runs beside the requests, and a firewall's rules take seconds of it.
fn start_deadline() -> Duration<1, 300_000> {
    Duration::seconds(10)
}

/// Longer than any service that a guest asks should take, and as long as clients commonly wait.
fn pause_timeout() -> Duration<10, 3_600_000> {
    Duration::seconds(60)
}

/// What programs with a language runtime of their own get by with.
fn memory() -> Bytes<65_536, 4_294_967_296> {
    Bytes(64 << 20)
}

/// What a guest is configured with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Configuration(pub Value);

impl JsonSchema for Configuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WasmConfiguration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let mut schema = Schema::default();
        schema.insert("type".to_owned(), json!(["string", "object", "array"]));
        schema
    }
}

/// A part of a request's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no phase"))]
pub enum PhaseName {
    /// The head of the request.
    RequestHeaders,
    /// Its body.
    RequestBody,
    /// The head of the response.
    ResponseHeaders,
    /// Its body.
    ResponseBody,
    /// Its trailers.
    ResponseTrailers,
    /// The end.
    Log,
}
