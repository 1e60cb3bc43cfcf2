//! Limits that gateways share: the bucket of a key is kept in Redis, and each gateway fetches tokens
//! from it in batches.
//!
//! [`Leases`](leases::Leases) decides which request takes a token that was fetched, waits for the next
//! batch or is refused, and how large that batch is; it knows neither a clock nor a server.
//! [`Store`](store::Store) is the server, with the connection to it. [`SharedLimit`](limit::SharedLimit)
//! is the filter between them, and bounds how long a request waits. Which limit is full is decided by
//! the server alone, in one script (`take.lua`), by its own clock.

use std::sync::Arc;

use sallyport_config::{Node, Sink};

use super::Limit;
use crate::filter::Filter;
use crate::kind::Setting;

#[cfg(feature = "redis")]
mod backoff;
#[cfg(feature = "redis")]
mod config;
#[cfg(feature = "redis")]
mod figures;
#[cfg(feature = "redis")]
mod leases;
#[cfg(feature = "redis")]
mod limit;
#[cfg(feature = "redis")]
mod server;
mod spec;
#[cfg(feature = "redis")]
mod store;

pub use spec::{Fallback, RedisCertificate, RedisSpec, RedisTls, SentinelSpec, SharedSpec};

/// Where a limit is kept, as it was read.
pub(super) enum Shared {
    #[cfg(feature = "redis")]
    Redis(config::Redis),
}

#[cfg(feature = "redis")]
pub(super) fn read(node: Node<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<Shared> {
    config::read(node, sink, setting)
}

#[cfg(not(feature = "redis"))]
pub(super) fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Shared> {
    let fix = "run a build with cargo's feature `redis`, as the packages are";
    node.refuse(sink, "this build cannot share limits", fix)
}

impl Shared {
    /// The filter that holds requests to `limit`.
    pub(super) fn filter(self, limit: Limit, setting: &Setting<'_>) -> Option<Arc<dyn Filter>> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(redis) => Some(Arc::new(limit::SharedLimit::new(limit, redis, setting))),
            #[cfg(not(feature = "redis"))]
            _ => {
                drop((limit, setting));
                None
            }
        }
    }
}
