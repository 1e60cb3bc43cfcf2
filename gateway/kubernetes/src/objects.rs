//! What is kept of the objects of a cluster: the fields that are used, and no others.
//!
//! Decoding is lenient: what is not known is left out, and words are kept as text. A cluster may
//! have newer kinds of everything than this gateway, and one object that cannot be read must not
//! hide the rest.

mod core;
mod extension;
mod gateway;
mod route;

use std::collections::BTreeMap;
use std::sync::Arc;

use kube::core::DynamicObject;
use serde::de::DeserializeOwned;

pub(crate) use self::core::{
    Backend, ConfigMap, EndpointSlice, Ingress, IngressClass, Namespace, Pair, Secret, Service,
    ServicePort,
};
pub(crate) use self::extension::{ExtensionFilter, ExtensionPolicy, PolicyTargetRef};
pub(crate) use self::gateway::{
    BackendTlsPolicy, CertificateRef, Gateway, GatewayClass, GatewayListener, ReferenceGrant,
};
pub(crate) use self::route::{
    BackendRef, Cors, ExtensionRef, FieldMatch, Filter, Grpc, GrpcMethod, HeaderChanges, Http,
    MethodMatch, NameValue, ParentRef, PathModifier, RequestMirror, RequestRedirect, Route,
    RouteKind, RouteMatch, Rule, Tls, TlsAlpha, UrlRewrite,
};

/// An object of a cluster: what all kinds have, and what this kind says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Object<T> {
    /// Where and what it is called.
    pub(crate) key: Key,
    /// Tells it from others of its name, before and after it.
    pub(crate) uid: Box<str>,
    /// Counts up with every edit of what it says.
    pub(crate) generation: i64,
    /// When it was made, as seconds of Unix time; 0 where that is not said.
    pub(crate) created_s: i64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// What it says.
    pub(crate) body: T,
    /// Its status as it was read, for kinds whose status this gateway writes.
    pub(crate) status: serde_json::Value,
}

/// A namespace, empty for what has none, and a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    pub(crate) fn of(object: &DynamicObject) -> Self {
        let text = |text: &Option<String>| text.as_deref().unwrap_or_default().into();
        Self { namespace: text(&object.metadata.namespace), name: text(&object.metadata.name) }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &*self.namespace {
            "" => out.write_str(&self.name),
            namespace => write!(out, "{namespace}/{}", self.name),
        }
    }
}

/// A kind of objects that is read.
pub(crate) trait Kind:
    DeserializeOwned + Default + PartialEq + Send + Sync + 'static
{
    /// The group of its API; empty for the first one.
    const GROUP: &'static str;
    /// The version that is asked for.
    const VERSION: &'static str;
    /// Its name.
    const KIND: &'static str;
    /// Its name in paths.
    const PLURAL: &'static str;
    /// Whether its objects are in namespaces.
    const NAMESPACED: bool = true;
    /// Whether a cluster may well not have it: it is a custom resource.
    const OPTIONAL: bool = false;
    /// Whether this gateway writes its status, and so has to know it.
    const HAS_STATUS: bool = false;
    /// Which of its objects are asked for, as a field selector.
    const FIELDS: Option<&'static str> = None;
    /// What of the object holds what it says: `spec`, or the whole.
    const SPEC: bool = true;
}

impl<T: Kind> Object<T> {
    /// Reads an object.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(object: DynamicObject) -> Result<Self, String> {
        let key = Key::of(&object);
        let metadata = object.metadata;
        let mut data = object.data;
        let status = match T::HAS_STATUS {
            true => data.get_mut("status").map(serde_json::Value::take).unwrap_or_default(),
            false => serde_json::Value::Null,
        };
        let said = match T::SPEC {
            true => data.get_mut("spec").map(serde_json::Value::take).unwrap_or_default(),
            false => data,
        };
        let body = match said {
            serde_json::Value::Null => T::default(),
            said => serde_json::from_value(said).map_err(|error| error.to_string())?,
        };
        Ok(Self {
            key,
            uid: metadata.uid.unwrap_or_default().into(),
            generation: metadata.generation.unwrap_or_default(),
            created_s: metadata.creation_timestamp.map_or(0, |time| time.0.as_second()),
            labels: metadata.labels.unwrap_or_default(),
            annotations: metadata.annotations.unwrap_or_default(),
            body,
            status,
        })
    }

    /// Its kind and key, as messages name it.
    pub(crate) fn origin(&self) -> Box<str> {
        format!("{} {}", T::KIND, self.key).into()
    }

    /// What decides between two that want the same: the older one, then the first by name.
    pub(crate) fn age(&self) -> (i64, &Key) {
        (self.created_s, &self.key)
    }
}

/// Declares how kinds are asked for.
macro_rules! kinds {
    ($($type:ty: $group:literal, $version:literal, $kind:literal, $plural:literal
        $(, $key:ident = $value:expr)*;)*) => {$(
        impl $crate::objects::Kind for $type {
            const GROUP: &'static str = $group;
            const VERSION: &'static str = $version;
            const KIND: &'static str = $kind;
            const PLURAL: &'static str = $plural;
            $(const $key: kinds!(@type $key) = $value;)*
        }
    )*};
    (@type FIELDS) => { Option<&'static str> };
    (@type $key:ident) => { bool };
}
pub(crate) use kinds;
