//! `providers.xds`: a control plane that speaks xDS.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::scalar::{AbsolutePath, Duration, Name, ServerName, XdsServer};
use crate::value::Value;

/// A control plane that speaks xDS version 3, as a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Xds {
    /// Where it is: http://HOST:PORT, https://HOST:PORT or unix:/PATH.
    pub server: XdsServer,
    /// Who this gateway is to it.
    pub node: XdsNode,
    /// TLS towards it, with `https`. The system's authorities are trusted by default.
    pub tls: Option<XdsTls>,
    /// Which variant of the protocol is spoken.
    #[serde(default)]
    pub variant: XdsVariant,
    /// How long a connection may take.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Duration,
    /// How long what came waits for what it names, such as a listener for its routes, before the
    /// rest goes on without it.
    #[serde(default = "warming_timeout")]
    pub warming_timeout: Duration,
}

fn connect_timeout() -> Duration {
    Duration::seconds(5)
}

/// What Envoy waits for a resource.
fn warming_timeout() -> Duration {
    Duration::seconds(15)
}

/// A variant of the protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(extend("x-wrong" = "is no variant"))]
pub enum XdsVariant {
    /// What changed.
    #[default]
    Delta,
    /// All resources of a type with each update.
    StateOfTheWorld,
}

/// Who a gateway is to its control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XdsNode {
    /// Its own name.
    pub id: Name,
    /// The name of the group that it belongs to.
    pub cluster: Option<Name>,
    /// Where it runs.
    pub locality: Option<XdsLocality>,
    /// What else the control plane wants to know: keys and values of its own.
    #[schemars(extend("type" = json!("object")))]
    pub metadata: Option<Value>,
}

/// Where a gateway runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XdsLocality {
    /// The region.
    pub region: Option<Name>,
    /// The zone within it.
    pub zone: Option<Name>,
    /// The part of the zone.
    pub sub_zone: Option<Name>,
}

/// TLS towards a control plane. Files are read for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XdsTls {
    /// The name that its certificate must be for. That of `server` by default.
    pub server_name: Option<ServerName>,
    /// The file of the authorities that its certificate must come from.
    pub ca: Option<AbsolutePath>,
    /// What this gateway shows of itself. Nothing by default.
    pub client_certificate: Option<XdsCertificate>,
}

/// A certificate that is shown to a control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct XdsCertificate {
    /// The file of the certificate, and of those between it and its authority.
    pub cert: AbsolutePath,
    /// The file of its private key.
    pub key: AbsolutePath,
}
