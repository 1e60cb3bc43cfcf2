//! The two variants of the protocol as one: the state of the world, and what changed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::rpc::Status;
use prost_reflect::DynamicMessage;

use super::state::Incoming;
use crate::descriptors;
use crate::resources::ResourceKind;

/// The prefix of the types of messages within `Any`.
const TYPES: &str = "type.googleapis.com/";

/// A resource that may come wrapped, with a time to live.
const WRAPPER: &str = "envoy.service.discovery.v3.Resource";

/// `INVALID_ARGUMENT` of gRPC: what Envoy says with a NACK too.
const INVALID_ARGUMENT: i32 = 3;

/// The kind of resources of this type.
pub(crate) fn kind_of(type_url: &str) -> Option<ResourceKind> {
    let name = type_url.strip_prefix(TYPES)?;
    ResourceKind::ALL.into_iter().find(|kind| kind.type_name() == name)
}

fn type_url(kind: ResourceKind) -> String {
    format!("{TYPES}{}", kind.type_name())
}

/// What a control plane says of resources of one kind.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) kind: ResourceKind,
    pub(crate) nonce: String,
    pub(crate) version: String,
    pub(crate) resources: Vec<Incoming>,
    pub(crate) removed: Vec<String>,
    /// Whether what is not among the resources is gone.
    pub(crate) is_whole: bool,
    /// What cannot be read.
    pub(crate) problems: Vec<String>,
}

/// Reads a response of the state of the world.
pub(crate) fn whole(response: DiscoveryResponse) -> Option<Update> {
    let kind = kind_of(&response.type_url)?;
    let mut update = Update {
        kind,
        nonce: response.nonce,
        version: response.version_info,
        resources: Vec::new(),
        removed: Vec::new(),
        // Of other kinds those come that were asked for, in one response or in several.
        is_whole: matches!(kind, ResourceKind::Listener | ResourceKind::Cluster),
        problems: Vec::new(),
    };
    for any in response.resources {
        let version = update.version.clone();
        match read(kind, any) {
            Ok(read) => update.resources.push(Incoming { version, ..read }),
            Err(problem) => update.problems.push(problem),
        }
    }
    Some(update)
}

/// Reads a response of what changed.
pub(crate) fn changed(response: DeltaDiscoveryResponse) -> Option<Update> {
    let kind = kind_of(&response.type_url)?;
    let mut update = Update {
        kind,
        nonce: response.nonce,
        version: response.system_version_info,
        resources: Vec::new(),
        removed: response.removed_resources,
        is_whole: false,
        problems: Vec::new(),
    };
    for resource in response.resources {
        let ttl = resource.ttl.and_then(|ttl| {
            Some(Duration::new(ttl.seconds.try_into().ok()?, ttl.nanos.try_into().ok()?))
        });
        let (name, version) = (resource.name, resource.version);
        let Some(any) = resource.resource else {
            // A heartbeat: what is known is still so.
            update.resources.push(Incoming { name, version, message: None, ttl });
            continue;
        };
        match read(kind, any) {
            Ok(read) => {
                let name = if name.is_empty() { read.name } else { name };
                update.resources.push(Incoming { name, version, message: read.message, ttl });
            }
            Err(problem) => update.problems.push(problem),
        }
    }
    Some(update)
}

/// Reads a resource, wrapped or not.
fn read(kind: ResourceKind, any: Any) -> Result<Incoming, String> {
    let decode = |name: &str, bytes: &[u8]| {
        let descriptor =
            descriptors::message(name).ok_or_else(|| format!("{name} is not known"))?;
        let what = kind.short_name();
        DynamicMessage::decode(descriptor, bytes).map_err(|error| format!("is no {what}: {error}"))
    };
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    if name == WRAPPER {
        let wrapper = decode(WRAPPER, &any.value)?;
        let field = |name: &str| wrapper.get_field_by_name(name);
        let text = |name: &str| field(name).and_then(|value| value.as_str().map(str::to_owned));
        let ttl = field("ttl").filter(|_| wrapper.has_field_by_name("ttl"));
        let ttl = ttl.and_then(|ttl| {
            let part = |name| ttl.as_message()?.get_field_by_name(name).map(|it| it.into_owned());
            let seconds = part("seconds")?.as_i64()?;
            let nanos = part("nanos")?.as_i32()?;
            Some(Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanos).ok()?))
        });
        let inner = field("resource").filter(|_| wrapper.has_field_by_name("resource"));
        let message = match inner.as_deref().and_then(|inner| inner.as_message()) {
            None => None,
            Some(inner) => {
                let bytes = inner.get_field_by_name("value");
                let bytes = bytes.and_then(|bytes| bytes.as_bytes().cloned()).unwrap_or_default();
                Some(Arc::new(decode(kind.type_name(), &bytes)?))
            }
        };
        let own = message.as_ref().map(|message| name_of(kind, message));
        let name = text("name").filter(|name| !name.is_empty()).or(own).unwrap_or_default();
        return Ok(Incoming { name, version: String::new(), message, ttl });
    }
    if name != kind.type_name() {
        return Err(format!("{name} came as {}", kind.type_name()));
    }
    let message = decode(name, &any.value)?;
    let name = name_of(kind, &message);
    Ok(Incoming { name, version: String::new(), message: Some(Arc::new(message)), ttl: None })
}

fn name_of(kind: ResourceKind, message: &DynamicMessage) -> String {
    let name = message.get_field_by_name(kind.name_field());
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

/// What a stream has asked for of one kind, and what it answers next.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscription {
    /// The names that were asked for; `None` before the first request.
    pub(crate) names: Option<BTreeSet<String>>,
    /// The version that was accepted last, of the state of the world.
    pub(crate) version: String,
    pub(crate) nonce: String,
}

/// A request of either variant.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Whole(Box<DiscoveryRequest>),
    Changed(Box<DeltaDiscoveryRequest>),
}

impl Request {
    /// As a request of the state of the world, which a stream of that variant is given.
    pub(crate) fn into_whole(self) -> DiscoveryRequest {
        if let Self::Whole(request) = self { *request } else { DiscoveryRequest::default() }
    }

    /// As a request of what changes, which a stream of that variant is given.
    pub(crate) fn into_changed(self) -> DeltaDiscoveryRequest {
        if let Self::Changed(request) = self { *request } else { DeltaDiscoveryRequest::default() }
    }
}

/// Why an update is rejected.
fn status(problem: &str) -> Status {
    Status { code: INVALID_ARGUMENT, message: problem.to_owned(), details: Vec::new() }
}

impl Subscription {
    /// A request of the state of the world: for other names, or an answer to an update.
    pub(crate) fn whole(
        &self,
        kind: ResourceKind,
        node: Option<Node>,
        problem: Option<&str>,
    ) -> Request {
        Request::Whole(Box::new(DiscoveryRequest {
            version_info: self.version.clone(),
            node,
            resource_names: self.names.iter().flatten().cloned().collect(),
            type_url: type_url(kind),
            response_nonce: self.nonce.clone(),
            error_detail: problem.map(status),
            ..DiscoveryRequest::default()
        }))
    }

    /// A request of what changes, for names that were not asked for and no longer for others.
    pub(crate) fn changed(
        &self,
        kind: ResourceKind,
        node: Option<Node>,
        (more, fewer): (Vec<String>, Vec<String>),
        versions: Vec<(String, String)>,
    ) -> Request {
        Request::Changed(Box::new(DeltaDiscoveryRequest {
            node,
            type_url: type_url(kind),
            resource_names_subscribe: more,
            resource_names_unsubscribe: fewer,
            initial_resource_versions: versions.into_iter().collect(),
            ..DeltaDiscoveryRequest::default()
        }))
    }

    /// The answer to an update of what changed.
    pub(crate) fn answer(&self, kind: ResourceKind, nonce: &str, problem: Option<&str>) -> Request {
        Request::Changed(Box::new(DeltaDiscoveryRequest {
            type_url: type_url(kind),
            response_nonce: nonce.to_owned(),
            error_detail: problem.map(status),
            ..DeltaDiscoveryRequest::default()
        }))
    }
}
