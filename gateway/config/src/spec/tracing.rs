//! `tracing`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::push::{OtlpProtocol, Secret, Url};
use super::scalar::{Duration, Int, NonEmpty, Share};
use crate::Entries;
use crate::schema::field_names_but;

/// Which requests are traced, and where their spans go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The OpenTelemetry collector.
    pub otlp: TracingOtlp,
    /// The share of requests that are recorded where the caller has not decided.
    #[serde(default)]
    pub sample: Share,
    /// Whose trace context is taken.
    #[serde(default)]
    pub trust: Trust,
    /// Requests whose spans may wait to be sent; those beyond are dropped and counted.
    #[serde(default = "queue")]
    pub queue: Int<1, 1_048_576>,
}

fn queue() -> Int<1, 1_048_576> {
    Int(4_096)
}

/// An OpenTelemetry collector that takes traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracingOtlp {
    /// Where to, such as http://HOST:4317.
    pub url: Url,
    /// What it is sent over: by default `http` where the URL has a path or port 4318, else `grpc`.
    pub protocol: Option<OtlpProtocol>,
    /// Header fields of every request.
    #[serde(default)]
    #[schemars(transform = field_names_but(&super::push::FRAMING))]
    pub headers: Entries<Secret>,
    /// How long a request may take, from the name to the answer.
    #[serde(default = "super::push::timeout")]
    pub timeout: Duration,
    /// Attributes of the resource.
    #[serde(default = "super::push::resource")]
    pub resource: Entries<NonEmpty>,
}

/// Whose trace context is taken: its ids, and what it has decided of recording.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// That of every client.
    #[default]
    Everyone,
    /// That of the listener's `trusted_proxies`.
    TrustedProxies,
    /// None: every request begins a trace.
    Nobody,
}

/// What of tracing is another here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TracingOverride {
    /// The share of requests that are recorded where the caller has not decided.
    pub sample: Share,
}
