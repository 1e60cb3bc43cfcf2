//! What a resource names: the resources that must be there before it can be used, and those that it
//! sends requests to.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::descriptors;
use crate::resources::ResourceKind;

/// Messages within one another; Envoy's have about twenty.
const DEPTH_MAX: usize = 64;

/// Something that a resource names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
}

/// All that `message` names, each once.
pub(crate) fn of(message: &DynamicMessage) -> Vec<Reference> {
    let mut found = Vec::new();
    walk(message, &mut found, 0);
    found.sort();
    found.dedup();
    found
}

fn text(message: &DynamicMessage, field: &str) -> Option<String> {
    let value = message.get_field_by_name(field)?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn walk(message: &DynamicMessage, found: &mut Vec<Reference>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    let descriptor = message.descriptor();
    let full_name = descriptor.full_name();
    let mut add = |kind, name: Option<String>| {
        found.extend(name.map(|name| Reference { kind, name }));
    };
    match full_name.rsplit('.').next().unwrap_or_default() {
        "Any" => {
            if let Some(inner) = unpacked(message) {
                walk(&inner, found, depth + 1);
            }
            return;
        }
        "Rds" => add(ResourceKind::RouteConfiguration, text(message, "route_config_name")),
        "SdsSecretConfig" => add(ResourceKind::Secret, text(message, "name")),
        "HttpFilter" if message.has_field_by_name("config_discovery") => {
            add(ResourceKind::Extension, text(message, "name"));
        }
        "Cluster" if full_name == ResourceKind::Cluster.type_name() => {
            let eds = message.get_field_by_name("eds_cluster_config");
            let service = eds.as_ref().and_then(|eds| text(eds.as_message()?, "service_name"));
            // 3 is EDS.
            let kind = message.get_field_by_name("type");
            if kind.and_then(|kind| kind.as_enum_number()) == Some(3) {
                let name = service.or_else(|| text(message, "name"));
                add(ResourceKind::ClusterLoadAssignment, name);
            }
        }
        "RouteAction" | "RequestMirrorPolicy" | "HttpUri" => {
            add(ResourceKind::Cluster, text(message, "cluster"));
        }
        "ClusterWeight" => add(ResourceKind::Cluster, text(message, "name")),
        _ => {}
    }
    for (_, value) in message.fields() {
        within(value, found, depth + 1);
    }
}

fn within(value: &Value, found: &mut Vec<Reference>, depth: usize) {
    match value {
        Value::Message(message) => walk(message, found, depth),
        Value::List(items) => items.iter().for_each(|item| within(item, found, depth)),
        Value::Map(entries) => entries.values().for_each(|item| within(item, found, depth)),
        _ => {}
    }
}

/// The message within one that may be any, if its type is known.
fn unpacked(any: &DynamicMessage) -> Option<DynamicMessage> {
    let url = text(any, "type_url")?;
    let descriptor = descriptors::message(url.rsplit('/').next()?)?;
    let value = any.get_field_by_name("value")?;
    DynamicMessage::decode(descriptor, value.as_bytes()?.clone()).ok()
}
