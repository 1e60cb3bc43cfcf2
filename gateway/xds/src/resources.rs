//! The resources of a configuration: Envoy's messages by kind and name.

use std::collections::BTreeMap;
use std::sync::Arc;

use prost_reflect::DynamicMessage;

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// CDS.
    Cluster,
    /// EDS.
    ClusterLoadAssignment,
    /// LDS.
    Listener,
    /// RDS.
    RouteConfiguration,
    /// SDS.
    Secret,
    /// ECDS.
    Extension,
    /// RTDS.
    Runtime,
}

impl ResourceKind {
    /// All kinds, those first that others stand on: make before break.
    pub const ALL: [Self; 7] = [
        Self::Runtime,
        Self::Secret,
        Self::Cluster,
        Self::ClusterLoadAssignment,
        Self::Extension,
        Self::Listener,
        Self::RouteConfiguration,
    ];

    /// The full name of its message.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Cluster => "envoy.config.cluster.v3.Cluster",
            Self::ClusterLoadAssignment => "envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Extension => "envoy.config.core.v3.TypedExtensionConfig",
            Self::Runtime => "envoy.service.runtime.v3.Runtime",
        }
    }

    /// The last part of its message's name, as places begin with it.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        self.type_name().rsplit('.').next().unwrap_or_default()
    }

    /// The field that holds its name.
    #[must_use]
    pub fn name_field(self) -> &'static str {
        if self == Self::ClusterLoadAssignment { "cluster_name" } else { "name" }
    }
}

/// One resource and where it was found.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its message.
    pub message: Arc<DynamicMessage>,
    /// What the places of its fields begin with.
    pub place: String,
}

/// Resources by kind and name.
#[derive(Clone, Debug, Default)]
pub struct Resources(BTreeMap<ResourceKind, BTreeMap<String, Resource>>);

impl Resources {
    /// Adds a resource; one of the same kind and name is replaced and returned.
    pub fn insert(
        &mut self,
        kind: ResourceKind,
        name: impl Into<String>,
        resource: Resource,
    ) -> Option<Resource> {
        self.0.entry(kind).or_default().insert(name.into(), resource)
    }

    /// Removes a resource.
    pub fn remove(&mut self, kind: ResourceKind, name: &str) -> Option<Resource> {
        self.0.get_mut(&kind)?.remove(name)
    }

    /// The resource of this kind and name.
    #[must_use]
    pub fn find(&self, kind: ResourceKind, name: &str) -> Option<&Resource> {
        self.0.get(&kind)?.get(name)
    }

    /// Whether `others`, which are part of these or were before them, are translated in the same way.
    pub(crate) fn translate_as(&self, others: &Self) -> bool {
        let is_same = |one: &Resource, other: &Resource| Arc::ptr_eq(&one.message, &other.message);
        ResourceKind::ALL.into_iter().all(|kind| {
            let mut of_others = others.of(kind);
            let is_here = |(name, other): (&str, &Resource)| {
                self.find(kind, name).is_some_and(|one| is_same(one, other))
            };
            match kind {
                // Endpoints are no part of a translation.
                ResourceKind::ClusterLoadAssignment => true,
                // All of them are translated.
                ResourceKind::Cluster | ResourceKind::Listener | ResourceKind::Runtime => {
                    self.of(kind).count() == others.of(kind).count() && of_others.all(is_here)
                }
                // Those that are named are, and what is named is here.
                _ => of_others.all(is_here),
            }
        })
    }

    /// All resources of a kind, by name.
    pub fn of(&self, kind: ResourceKind) -> impl Iterator<Item = (&str, &Resource)> {
        self.0.get(&kind).into_iter().flatten().map(|(name, resource)| (&**name, resource))
    }
}
