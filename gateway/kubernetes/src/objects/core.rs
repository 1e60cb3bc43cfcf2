//! Kinds that every cluster has.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use serde_json::Value;

use super::kinds;

kinds! {
    Ingress: "networking.k8s.io", "v1", "Ingress", "ingresses", HAS_STATUS = true;
    IngressClass: "networking.k8s.io", "v1", "IngressClass", "ingressclasses",
        NAMESPACED = false, OPTIONAL = true;
    Service: "", "v1", "Service", "services";
    EndpointSlice: "discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", SPEC = false;
    Secret: "", "v1", "Secret", "secrets", SPEC = false, FIELDS = Some("type=kubernetes.io/tls");
    ConfigMap: "", "v1", "ConfigMap", "configmaps", SPEC = false, OPTIONAL = true;
    Namespace: "", "v1", "Namespace", "namespaces", NAMESPACED = false, OPTIONAL = true;
}

/// Hosts and paths, and the Services that they lead to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Ingress {
    pub(crate) ingress_class_name: Option<String>,
    pub(crate) default_backend: Option<Backend>,
    pub(crate) tls: Vec<IngressTls>,
    pub(crate) rules: Vec<IngressRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct IngressTls {
    pub(crate) secret_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct IngressRule {
    pub(crate) host: Option<String>,
    pub(crate) http: Option<IngressPaths>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct IngressPaths {
    pub(crate) paths: Vec<IngressPath>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct IngressPath {
    pub(crate) path: Option<String>,
    pub(crate) path_type: String,
    pub(crate) backend: Backend,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Backend {
    pub(crate) service: Option<BackendService>,
    pub(crate) resource: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct BackendService {
    pub(crate) name: String,
    pub(crate) port: BackendPort,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct BackendPort {
    pub(crate) name: Option<String>,
    pub(crate) number: Option<u16>,
}

/// A class of Ingresses. Only that it is the default one is asked of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct IngressClass {}

/// A name for pods, or for a host elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Service {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) external_name: Option<String>,
    pub(crate) ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServicePort {
    pub(crate) name: Option<String>,
    pub(crate) port: u16,
    pub(crate) protocol: Option<String>,
    pub(crate) app_protocol: Option<String>,
}

/// Some of the endpoints of a Service.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct EndpointSlice {
    pub(crate) address_type: String,
    pub(crate) endpoints: Option<Vec<SliceEndpoint>>,
    pub(crate) ports: Option<Vec<SlicePort>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SliceEndpoint {
    pub(crate) addresses: Vec<String>,
    pub(crate) conditions: SliceConditions,
    pub(crate) hints: Option<SliceHints>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct SliceConditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SliceHints {
    pub(crate) for_zones: Option<Vec<ZoneHint>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ZoneHint {
    pub(crate) name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct SlicePort {
    pub(crate) name: Option<String>,
    pub(crate) port: Option<u16>,
}

/// A certificate and its key as PEM, or what is wrong with them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "SecretData")]
pub(crate) struct Secret(pub(crate) Result<Arc<Pair>, String>);

/// A certificate and its key as PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) cert: Box<[u8]>,
    pub(crate) key: Box<[u8]>,
}

impl std::fmt::Debug for Pair {
    /// Without the key.
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Pair").finish_non_exhaustive()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SecretData {
    data: BTreeMap<String, ByteString>,
}

impl Default for Secret {
    fn default() -> Self {
        Self(Err("holds nothing".to_owned()))
    }
}

impl From<SecretData> for Secret {
    fn from(mut secret: SecretData) -> Self {
        let mut part = |name: &str| {
            let bytes = secret.data.remove(name).map(|bytes| bytes.0.into_boxed_slice());
            bytes.ok_or_else(|| format!("has no {name}"))
        };
        let read = part("tls.crt").and_then(|cert| Ok(Pair { cert, key: part("tls.key")? }));
        Self(read.and_then(|pair| pair.check().map(|()| Arc::new(pair))))
    }
}

impl Pair {
    /// Whether it is a certificate and its key.
    fn check(&self) -> Result<(), String> {
        let certs = CertificateDer::pem_slice_iter(&self.cert).collect::<Result<Vec<_>, _>>();
        let certs = certs.map_err(|error| format!("tls.crt is no PEM: {error}"))?;
        if certs.is_empty() {
            return Err("tls.crt holds no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|error| format!("tls.key holds no key: {error}"))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let pair = rustls::sign::CertifiedKey::from_der(certs, key, &provider);
        pair.map(drop).map_err(|error| format!("certificate and key do not fit: {error}"))
    }
}

/// The authorities that a ConfigMap holds, as PEM; its other keys are nobody's business here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "ConfigMapData")]
pub(crate) struct ConfigMap(pub(crate) Option<Box<str>>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigMapData {
    data: BTreeMap<String, serde_json::Value>,
}

impl From<ConfigMapData> for ConfigMap {
    fn from(mut map: ConfigMapData) -> Self {
        match map.data.remove("ca.crt") {
            Some(serde_json::Value::String(text)) => Self(Some(text.into())),
            _ => Self(None),
        }
    }
}

/// A namespace, whose labels are asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Namespace {}
