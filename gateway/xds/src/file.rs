//! Files that Envoy reads or writes: a bootstrap, and a dump of the configuration in force.
//!
//! Both are YAML or JSON in the names of Envoy's messages. What is no field, or of a type that is
//! not known, is told with its place; the rest is read all the same.

mod bootstrap;
mod prune;

use std::sync::Arc;

use prost_reflect::DynamicMessage;
use sallyport_config::Value;

use crate::descriptors;
use crate::findings::{Findings, Outcome};
use crate::resources::{Resource, ResourceKind, Resources};

/// What a file holds.
#[derive(Debug, Default)]
pub struct EnvoyFile {
    /// The resources in it.
    pub resources: Resources,
    /// What was found while reading.
    pub findings: Findings,
    /// `admin` of ours, where the file sets one up that we can have.
    pub admin: Option<Value>,
}

/// Lists of a dump: the type of the section, the list, the message within an item, and its kind.
const LISTS: [(&str, &str, &[&str], ResourceKind); 10] = [
    ("ListenersConfigDump", "static_listeners", &["listener"], ResourceKind::Listener),
    (
        "ListenersConfigDump",
        "dynamic_listeners",
        &["active_state", "listener"],
        ResourceKind::Listener,
    ),
    ("ClustersConfigDump", "static_clusters", &["cluster"], ResourceKind::Cluster),
    ("ClustersConfigDump", "dynamic_active_clusters", &["cluster"], ResourceKind::Cluster),
    (
        "RoutesConfigDump",
        "dynamic_route_configs",
        &["route_config"],
        ResourceKind::RouteConfiguration,
    ),
    ("SecretsConfigDump", "static_secrets", &["secret"], ResourceKind::Secret),
    ("SecretsConfigDump", "dynamic_active_secrets", &["secret"], ResourceKind::Secret),
    (
        "EndpointsConfigDump",
        "static_endpoint_configs",
        &["endpoint_config"],
        ResourceKind::ClusterLoadAssignment,
    ),
    (
        "EndpointsConfigDump",
        "dynamic_endpoint_configs",
        &["endpoint_config"],
        ResourceKind::ClusterLoadAssignment,
    ),
    ("EcdsConfigDump", "ecds_filters", &["ecds_filter"], ResourceKind::Extension),
];

/// Reads a file as a tree of values.
///
/// # Errors
/// If it is neither a bootstrap nor a dump, with what it should be.
pub fn read(tree: &Value) -> Result<EnvoyFile, String> {
    let mut file = EnvoyFile::default();
    let Value::Mapping(root) = tree else {
        return Err(
            "is no mapping, write Envoy's bootstrap or the answer of its /config_dump".to_owned()
        );
    };
    match root.get("configs").and_then(Value::as_sequence) {
        Some(configs) => {
            for (index, config) in configs.iter().enumerate() {
                section(&mut file, config, &format!("configs[{index}]"));
            }
        }
        None if ["static_resources", "dynamic_resources", "admin", "node"]
            .iter()
            .chain(&["staticResources", "dynamicResources"])
            .any(|key| root.contains_key(key)) =>
        {
            bootstrap::read(&mut file, tree, "");
        }
        None => {
            return Err(
                "has neither `static_resources` nor `configs`, write Envoy's bootstrap or the \
                        answer of its /config_dump"
                    .to_owned(),
            );
        }
    }
    Ok(file)
}

/// Reads one section of a dump.
fn section(file: &mut EnvoyFile, config: &Value, place: &str) {
    let Value::Mapping(map) = config else { return };
    let of_type = map.get("@type").and_then(Value::as_str).unwrap_or_default();
    let short = of_type.rsplit('.').next().unwrap_or_default().to_owned();
    if let Some(bootstrap) = map.get("bootstrap") {
        bootstrap::read(file, bootstrap, &format!("{place}.bootstrap"));
    }
    for (_, list, path, kind) in LISTS.iter().filter(|(section, ..)| *section == short) {
        let items = map.get(list).and_then(Value::as_sequence);
        for (index, item) in items.into_iter().flatten().enumerate() {
            let found = path.iter().try_fold(item, |value, key| match value {
                Value::Mapping(map) => map.get(key),
                _ => None,
            });
            if let Some(value) = found {
                let place = format!("{place}.{list}[{index}].{}", path.join("."));
                // A bootstrap's own resources are in the dump twice.
                file.add(*kind, value, &place, true);
            }
        }
    }
    if short == "ScopedRoutesConfigDump" && map.keys().count() > 1 {
        let what = "a listener has one route configuration";
        file.findings.note(Outcome::Refused, place, what);
    }
}

impl EnvoyFile {
    /// Adds a resource; one of a name that is there is told, unless it may be `again`.
    fn add(&mut self, kind: ResourceKind, value: &Value, place: &str, again: bool) {
        let Some(message) = self.message(kind.type_name(), value, place) else { return };
        let name = message.get_field_by_name(kind.name_field());
        let name = name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default();
        let key = if name.is_empty() { place.to_owned() } else { name };
        if self.resources.find(kind, &key).is_some() {
            if !again {
                let what = format!("is the second {} called {key:?}", kind.short_name());
                self.findings.note(Outcome::Refused, place, what);
            }
            return;
        }
        let resource = Resource { message: Arc::new(message), place: place.to_owned() };
        self.resources.insert(kind, key, resource);
    }

    /// Reads a message of this type.
    fn message(&self, type_name: &str, value: &Value, place: &str) -> Option<DynamicMessage> {
        let descriptor = descriptors::message(type_name)?;
        let pruned = prune::message(value, &descriptor, place, &self.findings);
        match DynamicMessage::deserialize(descriptor, &pruned) {
            Ok(message) => Some(message),
            Err(error) => {
                let what =
                    format!("is no {}: {error}", type_name.rsplit('.').next().unwrap_or_default());
                self.findings.note(Outcome::Refused, place, what);
                None
            }
        }
    }
}
