//! Limits that gateways share: in Redis, or as a service knows them.
//!
//! In Redis the server keeps the bucket of a key, and each gateway fetches tokens from it in batches.
//! [`Leases`](leases::Leases) decides which request takes a token that was fetched, waits for the next
//! batch or is refused, and how large that batch is; it knows neither a clock nor a server.
//! [`Store`](store::Store) is the server, with the connection to it. [`SharedLimit`](shared_limit::SharedLimit)
//! is the filter between them, and bounds how long a request waits. Which limit is full is decided by
//! the server alone, in one script (`take.lua`), by its own clock.
//!
//! [`ServiceLimit`](service::ServiceLimit) asks a service of each request, through an upstream.

use std::sync::Arc;

use sallyport_config::{Fields, Node, Place, Sink, Value, decode, scalar};

use super::limit;
use crate::filter::Filter;
use crate::kind::Setting;

mod backoff;
mod circuit;
#[cfg(feature = "redis")]
mod config;
mod figures;
#[cfg(feature = "redis")]
mod leases;
#[cfg(feature = "redis")]
mod server;
mod service;
#[cfg(feature = "redis")]
mod shared_limit;
mod spec;
#[cfg(feature = "redis")]
mod store;

pub use spec::{
    DescriptorEntry, Fallback, RedisCertificate, RedisSpec, RedisTls, SentinelSpec, ServiceSpec,
    SharedSpec,
};

/// Keys of a limit that a service knows by itself.
const OF_A_LIMIT: [&str; 5] = ["key", "requests", "per", "burst", "keys"];

/// Reads a `rate_limit` with `shared`.
pub(super) fn read(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    let asks_service = match fields.value("shared") {
        Some(Value::Mapping(shared)) => shared.contains_key("service"),
        _ => false,
    };
    match asks_service {
        true => service(fields, sink, setting),
        false => redis(fields, sink, setting),
    }
}

fn service(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    let around = fields.node();
    let mut is_good = true;
    for key in OF_A_LIMIT {
        if fields.value(key).is_some() {
            let what = "has no effect with `shared.service`, which knows the limits";
            Place::Key(&around.place, key).refuse::<()>(sink, what, "leave it out");
            is_good = false;
        }
    }
    let tells = fields.optional(sink, "headers", scalar::flag).unwrap_or(true);
    let filter = fields.optional(sink, "shared", |node, sink| {
        decode::build(node, sink, |spec: &SharedSpec, place, sink| {
            one_of(spec, place, sink)?;
            let place = Place::Key(place, "service");
            service::ServiceLimit::read(spec.service.as_ref()?, tells, &place, sink, setting)
        })
    })?;
    is_good.then(|| Arc::new(filter) as _)
}

fn one_of(spec: &SharedSpec, place: &Place<'_>, sink: &mut Sink) -> Option<()> {
    let [redis, service] = SharedSpec::BACKENDS;
    place.exactly_one(sink, &[(redis, spec.redis.is_some()), (service, spec.service.is_some())])
}

#[cfg(feature = "redis")]
fn redis(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    let limit = limit(fields, sink, setting.name);
    let redis = fields.optional(sink, "shared", |node: Node<'_>, sink| {
        decode::build(node, sink, |spec: &SharedSpec, place, sink| {
            one_of(spec, place, sink)?;
            let place = Place::Key(place, "redis");
            config::read(spec.redis.as_ref()?, &place, sink, setting)
        })
    });
    Some(Arc::new(shared_limit::SharedLimit::new(limit?, redis?, setting)))
}

#[cfg(not(feature = "redis"))]
fn redis(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    setting: &mut Setting<'_>,
) -> Option<Arc<dyn Filter>> {
    drop(limit(fields, sink, setting.name));
    fields.optional(sink, "shared", |node: Node<'_>, sink| {
        let fix = "run a build with cargo's feature `redis`, as the packages are";
        node.refuse(sink, "this build cannot share limits in Redis", fix)
    })
}
