//! What objects are told of themselves: conditions, addresses, attached routes.
//!
//! A status belongs to the translation of one delivery and is written once the gateway says what
//! became of that. What the gateway rejected is told in the words of the gateway. One gateway of a
//! fleet writes; the others know all the same what they would write.

mod events;
mod leader;
mod merge;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use kube::Client;
use sallyport_config::delivery::{Outcome, Rejection};
use serde_json::{Value, json};
use tokio::sync::watch;

use self::events::Told;
use crate::objects::{Ingress, Key, Kind, Object};
use crate::store::{Objects, Table};

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
    /// The objects that it is made of besides itself, as rejections name them.
    pub(crate) made_of: BTreeSet<Box<str>>,
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
    Filter,
    Policy,
}

/// What is known of an object whose status is written.
struct Known {
    /// Its status as it was read.
    status: Value,
    uid: Box<str>,
    /// Group and version, and kind.
    kind: (String, &'static str),
}

impl Known {
    fn of<T: Kind>(objects: &Table<T>, key: &Key) -> Option<Self> {
        let object = objects.get(key)?;
        let kind = (format!("{}/{}", T::GROUP, T::VERSION), T::KIND);
        Some(Self { status: object.status.clone(), uid: object.uid.clone(), kind })
    }
}

impl StatusOf {
    /// The object, as it was read.
    fn known(self, objects: &Objects, key: &Key) -> Option<Known> {
        match self {
            Self::Ingress => Known::of(&objects.ingresses, key),
            Self::GatewayClass => Known::of(&objects.gateway_classes, key),
            Self::Gateway => Known::of(&objects.gateways, key),
            Self::HttpRoute => Known::of(&objects.http_routes, key),
            Self::GrpcRoute => Known::of(&objects.grpc_routes, key),
            Self::TlsRoute => Known::of(&objects.tls_routes, key),
            Self::TlsAlphaRoute => Known::of(&objects.tls_alpha_routes, key),
            Self::Filter => Known::of(&objects.filters, key),
            Self::Policy => Known::of(&objects.policies, key),
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
        Self { of: StatusOf::Ingress, key, origin, wanted, made_of: BTreeSet::new() }
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

/// The writing of all statuses, and of events.
pub(crate) struct Statuses {
    /// Those of deliveries that were not looked at yet, and what was rejected of them before.
    prepared: BTreeMap<u64, (Vec<ObjectStatus>, Vec<Rejection>)>,
    wanted: watch::Sender<Vec<ObjectStatus>>,
    told: watch::Sender<Vec<Told>>,
}

impl Statuses {
    /// Starts the tasks that write. `controller` is the name that events are from.
    pub(crate) fn start(client: Client, controller: String) -> Self {
        let (wanted, receiver) = watch::channel(Vec::new());
        let (told, listener) = watch::channel(Vec::new());
        let leads = leader::start(client.clone());
        tokio::spawn(events::run(client.clone(), controller, listener, leads.clone()));
        tokio::spawn(write::run(client, receiver, leads));
        Self { prepared: BTreeMap::new(), wanted, told }
    }

    /// Keeps the statuses that go with a delivery, and what of it cannot be used.
    pub(crate) fn prepare(
        &mut self,
        version: u64,
        statuses: Vec<ObjectStatus>,
        problems: Vec<Rejection>,
    ) {
        self.prepared.insert(version, (statuses, problems));
    }

    /// Has the statuses written that go with what was looked at, and every rejection told.
    pub(crate) fn settle(&mut self, outcome: &Outcome, objects: &Objects) {
        let Ok(version) = outcome.version.parse::<u64>() else { return };
        let later = self.prepared.split_off(&(version + 1));
        let Some((mut statuses, problems)) =
            std::mem::replace(&mut self.prepared, later).remove(&version)
        else {
            return;
        };
        for rejection in outcome.rejections.iter() {
            let message = message(rejection);
            for status in &mut statuses {
                if status.origin == rejection.origin {
                    merge::reject(&mut status.wanted, &message);
                } else if status.made_of.contains(&rejection.origin) {
                    let message = format!("{}: {message}", rejection.origin);
                    merge::unresolve(&mut status.wanted, &message);
                }
            }
        }
        let rejections = problems.iter().chain(outcome.rejections.iter());
        self.told.send_replace(told(rejections, &statuses, objects));
        statuses.retain(|status| {
            let known = status.of.known(objects, &status.key);
            known.is_some_and(|known| merge(&known.status, status, "").is_some())
        });
        self.wanted.send_replace(statuses);
    }
}

fn message(rejection: &Rejection) -> String {
    format!("{}, {}", rejection.what, rejection.fix)
}

/// The events that tell objects what of them was rejected, and why.
fn told<'r>(
    rejections: impl Iterator<Item = &'r Rejection>,
    statuses: &[ObjectStatus],
    objects: &Objects,
) -> Vec<Told> {
    let of_origin: HashMap<&str, &ObjectStatus> =
        statuses.iter().map(|status| (&*status.origin, status)).collect();
    let told = rejections.filter_map(|rejection| {
        let status = of_origin.get(&*rejection.origin)?;
        let Known { uid, kind, .. } = status.of.known(objects, &status.key)?;
        Some(Told { kind, key: status.key.clone(), uid, note: message(rejection) })
    });
    told.collect()
}
