//! `providers`: sources of configuration besides the file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{AbsolutePath, Address, Int, IpAddress, Name};
use super::xds::Xds;
use crate::schema::at_least_one;

/// Sources of listeners, virtual hosts and upstreams besides the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_least_one(&Providers::SOURCES))]
pub struct Providers {
    /// The folder that keeps what each source said last, and the certificates that it brought. With
    /// it a gateway restarts while its sources are away.
    #[serde(default = "storage")]
    pub storage: AbsolutePath,
    /// A Kubernetes cluster: its Ingress and Gateway API objects.
    pub kubernetes: Option<Kubernetes>,
    /// A control plane that speaks xDS.
    pub xds: Option<Xds>,
}

impl Providers {
    /// The keys of which one at least is written.
    pub const SOURCES: [&'static str; 2] = ["kubernetes", "xds"];
}

fn storage() -> AbsolutePath {
    "/var/lib/sallyport/sources".into()
}

/// A Kubernetes cluster as a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// The file that says where the API server is. That of the pod's service account by default.
    pub kubeconfig: Option<Name>,
    /// The context of the kubeconfig that is used. Its current one by default.
    pub context: Option<Name>,
    /// The namespaces whose objects are read. All by default.
    #[schemars(length(min = 1))]
    pub namespaces: Option<Vec<Name>>,
    /// The IngressClass whose Ingresses are served.
    pub ingress_class: Name,
    /// The controller whose GatewayClasses are served.
    pub gateway_controller: Name,
    /// Where Ingresses are served. On the file's listeners that name no virtual hosts by default.
    pub ingress: Option<IngressListeners>,
    /// The addresses that Gateways are served at, one for each Gateway that asks for none, while
    /// they last. All addresses of the machine by default, shared by all Gateways.
    #[schemars(length(min = 1))]
    pub gateway_addresses: Option<Vec<IpAddress>>,
    /// What is added to the ports of Gateways where they are bound: 8000 serves port 80 at 8080,
    /// for a Service to lead to and without a privilege.
    pub port_offset: Int<0, 60_000>,
    /// The addresses that are written to the status of Ingresses and Gateways, for those who look
    /// there for where to send clients.
    pub publish_addresses: Option<Vec<Name>>,
    /// The zone of this gateway: endpoints that are hinted to other zones are used only when those
    /// of its own are not healthy. Hints are not heeded by default.
    pub zone: Option<Name>,
    /// Whether status is written at all.
    pub write_status: bool,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            namespaces: None,
            ingress_class: "sallyport".into(),
            gateway_controller: "sallyport.dev/gateway".into(),
            ingress: None,
            gateway_addresses: None,
            port_offset: Int(0),
            publish_addresses: None,
            zone: None,
            write_status: true,
        }
    }
}

/// Where Ingresses are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = at_least_one(&["http", "https"]))]
pub struct IngressListeners {
    /// The address for clear text.
    pub http: Option<Address>,
    /// The address for TLS; served once there is a certificate.
    pub https: Option<Address>,
}
