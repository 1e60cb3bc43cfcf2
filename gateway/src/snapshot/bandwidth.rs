//! The bandwidths of a configuration: those of its upstreams belong to their accounts, those of its routes to the
//! routes' names.

use std::collections::HashMap;
use std::sync::Arc;

use sallyport_stats::{BandwidthOf, Registry};

use super::Snapshot;
use crate::config::{Bandwidth, Upstream, VirtualHost};
use crate::shaping::{Shaped, Share};
use crate::upstream::{self, Tenant};

/// The bandwidth that the requests of a route share.
#[derive(Debug)]
pub struct RouteBandwidth {
    /// What the configuration says of it.
    pub spec: Bandwidth,
    shaped: Arc<Shaped>,
}

impl RouteBandwidth {
    /// The share of `class` by the configuration with this version.
    #[must_use]
    pub fn share(&self, class: Tenant, version: u64) -> Share {
        Share { shaped: self.shaped.clone(), rate: self.spec.rate(), version, class }
    }
}

/// What has passed of each bandwidth, by whose it is.
pub(super) struct Bandwidths(HashMap<BandwidthOf, Arc<Shaped>>);

impl Bandwidths {
    /// Those of these hosts' routes and of these upstreams; what was there in `previous` goes on.
    pub(super) fn new(
        hosts: &[VirtualHost],
        upstreams: &[Upstream],
        previous: Option<&Snapshot>,
        registry: &Registry,
    ) -> Self {
        let mut names = Vec::new();
        for host in hosts {
            let routes = host.routes.iter().filter(|route| route.bandwidth.is_some());
            names.extend(
                routes.map(|route| BandwidthOf::Route(host.name.clone(), route.name.clone())),
            );
        }
        let bounded = upstreams.iter().filter(|upstream| upstream.resilience.bandwidth.is_some());
        names.extend(bounded.map(|upstream| BandwidthOf::Upstream(upstream.name.clone())));
        let before = of_routes(previous);
        let stats = registry.bandwidths(&names);
        let shaped = names.into_iter().zip(stats).map(|(name, stats)| {
            let shaped = before.get(&name).cloned();
            (name, shaped.unwrap_or_else(|| Arc::new(Shaped::new(stats))))
        });
        Self(shaped.collect())
    }

    /// The bandwidth of a route with this specification.
    pub(super) fn of_route(
        &self,
        spec: Bandwidth,
        host: &Arc<str>,
        route: &Arc<str>,
    ) -> Option<RouteBandwidth> {
        let shaped = self.0.get(&BandwidthOf::Route(host.clone(), route.clone()))?.clone();
        Some(RouteBandwidth { spec, shaped })
    }

    /// Gives each upstream its own, unless its account has one from before.
    pub(super) fn hand_to(&self, upstreams: &[Arc<upstream::Upstream>]) {
        for upstream in upstreams {
            if let Some(shaped) = self.0.get(&BandwidthOf::Upstream(upstream.spec.name.clone())) {
                upstream.account.share_bandwidth(shaped);
            }
        }
    }
}

fn of_routes(previous: Option<&Snapshot>) -> HashMap<BandwidthOf, Arc<Shaped>> {
    let hosts = previous.map_or(&[][..], |previous| &previous.hosts);
    let routes = hosts.iter().flat_map(|host| host.routes.iter().map(move |route| (host, route)));
    let shaped = routes.filter_map(|(host, route)| {
        let bandwidth = route.bandwidth.as_ref()?;
        let name = BandwidthOf::Route(host.name.clone(), route.name.clone());
        Some((name, bandwidth.shaped.clone()))
    });
    shaped.collect()
}
