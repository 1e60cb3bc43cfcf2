//! The objects of a cluster as they are now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::objects::{
    BackendTlsPolicy, ConfigMap, EndpointSlice, ExtensionFilter, ExtensionPolicy, Gateway,
    GatewayClass, Grpc, Http, Ingress, IngressClass, Key, Kind, Namespace, Object, ReferenceGrant,
    Secret, Service, Tls, TlsAlpha,
};

/// The label by which a slice of endpoints belongs to a Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// All objects of one kind.
pub(crate) type Table<T> = BTreeMap<Key, Arc<Object<T>>>;

/// All objects that are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects {
    pub(crate) ingress_classes: Table<IngressClass>,
    pub(crate) ingresses: Table<Ingress>,
    pub(crate) services: Table<Service>,
    pub(crate) slices: Table<EndpointSlice>,
    pub(crate) secrets: Table<Secret>,
    pub(crate) config_maps: Table<ConfigMap>,
    pub(crate) namespaces: Table<Namespace>,
    pub(crate) gateway_classes: Table<GatewayClass>,
    pub(crate) gateways: Table<Gateway>,
    pub(crate) http_routes: Table<Http>,
    pub(crate) grpc_routes: Table<Grpc>,
    pub(crate) tls_routes: Table<Tls>,
    pub(crate) tls_alpha_routes: Table<TlsAlpha>,
    pub(crate) filters: Table<ExtensionFilter>,
    pub(crate) policies: Table<ExtensionPolicy>,
    pub(crate) grants: Table<ReferenceGrant>,
    pub(crate) tls_policies: Table<BackendTlsPolicy>,
    /// Objects that cannot be read, by kind and name, and why.
    pub(crate) unreadable: BTreeMap<(&'static str, Key), String>,
    /// The slices of each Service.
    pub(crate) slices_of: BTreeMap<Key, BTreeSet<Key>>,
}

/// What a change has to do with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// Nothing that is used.
    Nothing,
    /// The endpoints of this Service.
    Endpoints(Key),
    /// The tables, and the endpoints of this Service.
    Service(Key),
    /// The tables.
    Tables,
}

/// A kind whose objects are kept.
pub(crate) trait Held: Kind {
    fn table(objects: &mut Objects) -> &mut Table<Self>;
}

macro_rules! held {
    ($($type:ty: $field:ident;)*) => {$(
        impl Held for $type {
            fn table(objects: &mut Objects) -> &mut Table<Self> {
                &mut objects.$field
            }
        }
    )*};
}

held! {
    IngressClass: ingress_classes;
    Ingress: ingresses;
    Service: services;
    EndpointSlice: slices;
    Secret: secrets;
    ConfigMap: config_maps;
    Namespace: namespaces;
    GatewayClass: gateway_classes;
    Gateway: gateways;
    Http: http_routes;
    Grpc: grpc_routes;
    Tls: tls_routes;
    TlsAlpha: tls_alpha_routes;
    ExtensionFilter: filters;
    ExtensionPolicy: policies;
    ReferenceGrant: grants;
    BackendTlsPolicy: tls_policies;
}

impl Objects {
    /// Takes an object that is new or was changed.
    pub(crate) fn apply<T: Held>(&mut self, object: Object<T>) -> Touched {
        self.unreadable.remove(&(T::KIND, object.key.clone()));
        let service = service_of(&object);
        let key = object.key.clone();
        let before = T::table(self).insert(key.clone(), Arc::new(object));
        let now = &T::table(self)[&key];
        let is_same = before.as_ref().is_some_and(|before| {
            before.body == now.body
                && before.labels == now.labels
                && before.annotations == now.annotations
                && before.generation == now.generation
        });
        if is_same {
            return Touched::Nothing;
        }
        let before = before.as_ref().and_then(|before| service_of(before));
        self.touched::<T>(key, before, service)
    }

    /// Forgets an object.
    pub(crate) fn delete<T: Held>(&mut self, key: &Key) -> Touched {
        let was_told = self.unreadable.remove(&(T::KIND, key.clone())).is_some();
        match T::table(self).remove(key) {
            Some(before) => self.touched::<T>(key.clone(), service_of(&before), None),
            None if was_told => Touched::Tables,
            None => Touched::Nothing,
        }
    }

    /// Notes that an object cannot be read. What was read of it before is not true any more.
    pub(crate) fn refuse<T: Held>(&mut self, key: Key, why: String) -> Touched {
        self.delete::<T>(&key);
        self.unreadable.insert((T::KIND, key), why);
        Touched::Tables
    }

    fn touched<T: Held>(&mut self, key: Key, before: Option<Key>, now: Option<Key>) -> Touched {
        match T::KIND {
            EndpointSlice::KIND => {
                if let Some(service) = before.clone().filter(|_| before != now)
                    && let Some(slices) = self.slices_of.get_mut(&service)
                {
                    slices.remove(&key);
                    if slices.is_empty() {
                        self.slices_of.remove(&service);
                    }
                }
                if let Some(service) = &now {
                    self.slices_of.entry(service.clone()).or_default().insert(key);
                }
                now.or(before).map_or(Touched::Nothing, Touched::Endpoints)
            }
            Service::KIND => Touched::Service(key),
            _ => Touched::Tables,
        }
    }
}

/// The Service that a slice of endpoints belongs to.
fn service_of<T: Kind>(object: &Object<T>) -> Option<Key> {
    let name = object.labels.get(SERVICE_NAME).filter(|_| T::KIND == EndpointSlice::KIND)?;
    Some(Key { namespace: object.key.namespace.clone(), name: name.as_str().into() })
}
