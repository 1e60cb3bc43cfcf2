//! Kinds of the Gateway API besides routes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::kinds;

kinds! {
    GatewayClass: "gateway.networking.k8s.io", "v1", "GatewayClass", "gatewayclasses",
        NAMESPACED = false, OPTIONAL = true, HAS_STATUS = true;
    Gateway: "gateway.networking.k8s.io", "v1", "Gateway", "gateways",
        OPTIONAL = true, HAS_STATUS = true;
    ReferenceGrant: "gateway.networking.k8s.io", "v1beta1", "ReferenceGrant", "referencegrants",
        OPTIONAL = true;
    BackendTlsPolicy: "gateway.networking.k8s.io", "v1", "BackendTLSPolicy", "backendtlspolicies",
        OPTIONAL = true;
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct GatewayClass {
    pub(crate) controller_name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Gateway {
    pub(crate) gateway_class_name: String,
    pub(crate) listeners: Vec<GatewayListener>,
    pub(crate) addresses: Vec<GatewayAddress>,
    /// What is asked of clients, and what is shown to backends.
    pub(crate) tls: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct GatewayAddress {
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) value: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct GatewayListener {
    pub(crate) name: String,
    pub(crate) hostname: Option<String>,
    pub(crate) port: u16,
    pub(crate) protocol: String,
    pub(crate) tls: Option<GatewayTls>,
    pub(crate) allowed_routes: AllowedRoutes,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct GatewayTls {
    pub(crate) mode: Option<String>,
    pub(crate) certificate_refs: Vec<CertificateRef>,
    /// What is asked of clients.
    pub(crate) frontend_validation: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct CertificateRef {
    pub(crate) group: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) name: String,
    pub(crate) namespace: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct AllowedRoutes {
    pub(crate) namespaces: RouteNamespaces,
    pub(crate) kinds: Option<Vec<RouteGroupKind>>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct RouteNamespaces {
    pub(crate) from: Option<String>,
    pub(crate) selector: Option<LabelSelector>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct RouteGroupKind {
    pub(crate) group: Option<String>,
    pub(crate) kind: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct LabelSelector {
    pub(crate) match_labels: BTreeMap<String, String>,
    pub(crate) match_expressions: Vec<LabelExpression>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct LabelExpression {
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) values: Vec<String>,
}

impl LabelSelector {
    /// Whether it selects what has these labels.
    pub(crate) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value));
        equal
            && self.match_expressions.iter().all(|expression| {
                let value = labels.get(&expression.key);
                let is_in = value.is_some_and(|value| expression.values.contains(value));
                match &*expression.operator {
                    "In" => is_in,
                    "NotIn" => !is_in,
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct ReferenceGrant {
    pub(crate) from: Vec<GrantFrom>,
    pub(crate) to: Vec<GrantTo>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct GrantFrom {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) namespace: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct GrantTo {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct BackendTlsPolicy {
    pub(crate) target_refs: Vec<PolicyTarget>,
    pub(crate) validation: TlsValidation,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PolicyTarget {
    pub(crate) group: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) section_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct TlsValidation {
    pub(crate) hostname: String,
    pub(crate) ca_certificate_refs: Vec<CertificateRef>,
    pub(crate) well_known_ca_certificates: Option<String>,
    pub(crate) subject_alt_names: Vec<Value>,
}
