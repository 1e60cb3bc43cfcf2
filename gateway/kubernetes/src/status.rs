//! What objects are told of themselves: conditions, addresses, attached routes.
//!
//! A status belongs to the translation of one delivery and is written once the gateway says what
//! became of that. What the gateway rejected is told in the words of the gateway. One gateway of a
//! fleet writes; the others know all the same what they would write.

mod leader;
mod merge;
mod write;

use std::collections::BTreeMap;

use kube::Client;
use sallyport_config::delivery::Outcome;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::objects::{
    Gateway, GatewayClass, Grpc, Http, Ingress, Key, Kind, Object, Tls, TlsAlpha,
};
use crate::store::Objects;

pub(crate) use self::merge::merge;

/// The status that one object deserves.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ObjectStatus {
    pub(crate) of: StatusOf,
    pub(crate) key: Key,
    /// The object as rejections name it.
    pub(crate) origin: Box<str>,
    /// What is to be found in its status, conditions without their times.
    pub(crate) wanted: Value,
}

/// The kinds whose status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StatusOf {
    Ingress,
    GatewayClass,
    Gateway,
    HttpRoute,
    GrpcRoute,
    TlsRoute,
    TlsAlphaRoute,
}

impl StatusOf {
    /// The status of an object as it was read.
    fn known(self, objects: &Objects, key: &Key) -> Option<Value> {
        fn of<T: Kind>(object: &std::sync::Arc<Object<T>>) -> Value {
            object.status.clone()
        }
        match self {
            Self::Ingress => objects.ingresses.get(key).map(of::<Ingress>),
            Self::GatewayClass => objects.gateway_classes.get(key).map(of::<GatewayClass>),
            Self::Gateway => objects.gateways.get(key).map(of::<Gateway>),
            Self::HttpRoute => objects.http_routes.get(key).map(of::<Http>),
            Self::GrpcRoute => objects.grpc_routes.get(key).map(of::<Grpc>),
            Self::TlsRoute => objects.tls_routes.get(key).map(of::<Tls>),
            Self::TlsAlphaRoute => objects.tls_alpha_routes.get(key).map(of::<TlsAlpha>),
        }
    }
}

impl ObjectStatus {
    /// That of an Ingress: where clients are to go.
    pub(crate) fn ingress(ingress: &Object<Ingress>, addresses: &[String]) -> Self {
        let addresses = addresses.iter().map(|address| {
            let key = if address.parse::<std::net::IpAddr>().is_ok() { "ip" } else { "hostname" };
            json!({ key: address })
        });
        let addresses: Vec<_> = addresses.collect();
        let wanted = match addresses.is_empty() {
            true => json!({}),
            false => json!({ "loadBalancer": { "ingress": addresses } }),
        };
        let (key, origin) = (ingress.key.clone(), ingress.origin());
        Self { of: StatusOf::Ingress, key, origin, wanted }
    }
}

/// A condition, without the time since when it holds.
pub(crate) fn condition(
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    generation: i64,
) -> Value {
    json!({
        "type": kind,
        "status": if holds { "True" } else { "False" },
        "reason": reason,
        "message": message,
        "observedGeneration": generation,
    })
}

/// The writing of all statuses.
pub(crate) struct Statuses {
    /// Those of deliveries that were not looked at yet.
    prepared: BTreeMap<u64, Vec<ObjectStatus>>,
    wanted: watch::Sender<Vec<ObjectStatus>>,
}

impl Statuses {
    /// Starts the task that writes.
    pub(crate) fn start(client: Client) -> Self {
        let (wanted, receiver) = watch::channel(Vec::new());
        let leads = leader::start(client.clone());
        tokio::spawn(write::run(client, receiver, leads));
        Self { prepared: BTreeMap::new(), wanted }
    }

    /// Keeps the statuses that go with a delivery.
    pub(crate) fn prepare(&mut self, version: u64, statuses: Vec<ObjectStatus>) {
        self.prepared.insert(version, statuses);
    }

    /// Has the statuses written that go with what was looked at.
    pub(crate) fn settle(&mut self, outcome: &Outcome, objects: &Objects) {
        let Ok(version) = outcome.version.parse::<u64>() else { return };
        let later = self.prepared.split_off(&(version + 1));
        let Some(mut statuses) = std::mem::replace(&mut self.prepared, later).remove(&version)
        else {
            return;
        };
        for rejection in outcome.rejections.iter() {
            let message = format!("{}, {}", rejection.what, rejection.fix);
            for status in statuses.iter_mut().filter(|it| it.origin == rejection.origin) {
                merge::reject(&mut status.wanted, &message);
            }
        }
        statuses.retain(|status| {
            let known = status.of.known(objects, &status.key);
            known.is_some_and(|known| merge(&known, status, "").is_some())
        });
        self.wanted.send_replace(statuses);
    }
}
