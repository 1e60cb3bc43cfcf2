//! The definitions of this gateway's own kinds, for a cluster to know them.

use sallyport_config::schema::{self, structural};
use sallyport_config::spec::ObjectPolicy;
use serde_json::{Value, json};

use crate::objects::{ExtensionFilter, ExtensionPolicy, Kind};

/// The CustomResourceDefinitions, by the `schema` of the gateway's file.
#[must_use]
pub fn definitions(schema: &Value) -> Vec<Value> {
    vec![
        definition::<ExtensionFilter>("sallyportfilter", filter(schema)),
        definition::<ExtensionPolicy>("sallyportpolicy", policy(schema)),
    ]
}

/// What a filter may say: as an entry of `filters`, but for its name, which is the object's, and for
/// `off`, which turns off what there is none of here.
fn filter(schema: &Value) -> Value {
    let mut entry = schema.pointer("/$defs/FilterEntry").cloned().unwrap_or_default();
    entry["description"] = "A filter, as in the gateway's file: one kind with its settings.".into();
    if let Some(kinds) = entry["properties"].as_object_mut() {
        kinds.remove("name");
        for kind in kinds.values_mut() {
            let settings = kind["oneOf"].as_array_mut().and_then(Vec::pop);
            *kind = settings.unwrap_or_default();
        }
    }
    let root = json!({ "$defs": schema["$defs"], "entry": entry });
    structural(&root, "/entry")
}

/// What a policy may say, and of which objects of its namespace.
fn policy(schema: &Value) -> Value {
    let mut declared = schema::of::<ObjectPolicy>().to_value();
    // Filters are those that this build knows.
    declared["$defs"]["FilterEntry"] = json!({ "x-kubernetes-preserve-unknown-fields": true });
    let mut policy = structural(&declared, "");
    policy["properties"]["filters"]["items"] = filter(schema);
    let word = |word: &str| json!({ "type": "string", "description": word });
    policy["properties"]["targetRefs"] = json!({
        "type": "array",
        "description": "The Services, HTTPRoutes, GRPCRoutes and Gateways that it is attached to.",
        "minItems": 1,
        "maxItems": 16,
        "items": {
            "type": "object",
            "required": ["kind", "name"],
            "properties": {
                "group": word("The group of the API; empty for Services."),
                "kind": word("The kind."),
                "name": word("The name."),
            },
        },
    });
    policy["required"] = json!(["targetRefs"]);
    policy
}

fn definition<T: Kind>(singular: &str, spec: Value) -> Value {
    let scope = if T::NAMESPACED { "Namespaced" } else { "Cluster" };
    let accepted = json!({
        "name": "Accepted", "type": "string",
        "jsonPath": ".status.conditions[?(@.type==\"Accepted\")].status",
    });
    let status = json!({
        "type": "object",
        "properties": { "conditions": {
            "type": "array",
            "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        } },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{}", T::PLURAL, T::GROUP) },
        "spec": {
            "group": T::GROUP,
            "names": {
                "kind": T::KIND, "listKind": format!("{}List", T::KIND),
                "plural": T::PLURAL, "singular": singular,
            },
            "scope": scope,
            "versions": [{
                "name": T::VERSION, "served": true, "storage": true,
                "subresources": { "status": {} },
                "additionalPrinterColumns": [accepted],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "apiVersion": { "type": "string" },
                        "kind": { "type": "string" },
                        "metadata": { "type": "object" },
                        "spec": spec,
                        "status": status,
                    },
                } },
            }],
        },
    })
}
