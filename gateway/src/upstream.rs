//! An upstream at run time: which endpoint a request gets, and what is known of each.
//!
//! The algorithms are [`sallyport_balance`]'s and know nothing of health; this module knows who is
//! in flight where, who answers and who was just found dead, and lends that knowledge to them
//! (`upstream/set.rs`). What requests find out belongs to the endpoint and survives reloads and
//! changes of the set; what probes find out belongs to the upstream that probes, and ends with it.

pub mod account;
pub mod admission;
pub mod attempt;
pub mod endpoint;
pub mod gate;
pub mod health;
mod outlier;
pub mod retry;
pub mod set;
pub mod sticky;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{ErrorType, OrErr as _};
use sallyport_balance::{Address, BuildError};
use sallyport_stats::{EndpointStats, HealthSink, Registry};
use socket2::SockRef;

use crate::config;
use crate::live::{Live, Pinned};

pub use account::Account;
pub use admission::{Admission, OverLimit};
pub use attempt::{Attempts, Time};
pub use endpoint::Endpoint;
pub use gate::Tenant;
pub use health::Health;
pub use retry::{Failure, Resend};
pub use set::{EndpointSet, Member};
pub use sticky::{Signer, Token};

/// How much of a request may wait in the kernel before it is on its way to the origin: as much as of an answer.
/// Without a bound it is megabytes for an origin that does not read.
const UNSENT_BYTES: u32 = 128 << 10;

/// A resolved upstream with its endpoints as they are now.
#[derive(Debug)]
pub struct Upstream {
    /// What the configuration says of it.
    pub spec: config::Upstream,
    /// What is kept of it across configurations.
    pub account: Arc<Account>,
    set: Live<EndpointSet>,
    /// Held by whoever replaces the set or changes what probes found of it.
    changes: Mutex<()>,
}

/// An endpoint that was chosen for one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its index in the set.
    pub endpoint: usize,
    /// Whether this attempt decides for everybody if an endpoint that was set aside is back.
    pub trial: bool,
}

/// Where an endpoint was found and what it is in its set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its address.
    pub address: Address,
    /// Its share in relation to the others' weights.
    pub weight: u16,
}

impl Upstream {
    /// Builds the set of `found`, each with its counters. Of `before`, endpoints that stay keep their
    /// state, and what its probes found is taken over where they asked the same.
    ///
    /// # Errors
    /// Whatever the balancing crate refuses; a resolved configuration contains none of it.
    pub fn new(
        spec: config::Upstream,
        found: Vec<(Found, EndpointStats)>,
        account: Arc<Account>,
        before: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let set = before.map(Self::endpoints);
        let keeps_health = before.is_some_and(|before| before.probes_as(&spec));
        let set = build(&spec, found, &account, set.as_deref(), keeps_health)?;
        Ok(Self { spec, account, set: Live::new(Arc::new(set)), changes: Mutex::default() })
    }

    /// The endpoints as they are now, for one request.
    #[must_use]
    pub fn pin(&self) -> Pinned<EndpointSet> {
        self.set.pin()
    }

    /// The endpoints as they are now, for whoever is not a request.
    #[must_use]
    pub fn endpoints(&self) -> Arc<EndpointSet> {
        self.set.current()
    }

    /// Whether one of its endpoints is found healthy and is not set aside.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.pin().is_available()
    }

    /// Puts the set of `found` in the place of the one there is; endpoints that stay keep their state.
    ///
    /// # Errors
    /// Whatever the balancing crate refuses. Nothing changes then.
    pub fn replace(&self, found: Vec<Found>, registry: &Registry) -> Result<(), BuildError> {
        let _changing = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let addresses: Vec<Arc<str>> =
            found.iter().map(|found| found.address.to_string().into()).collect();
        let stats = registry.endpoints_of(&self.spec.name, &addresses);
        let found = found.into_iter().zip(stats).collect();
        let set = build(&self.spec, found, &self.account, Some(&self.endpoints()), true)?;
        self.set.swap(Arc::new(set));
        Ok(())
    }

    /// Notes what a probe found of an endpoint, in whichever set it is now.
    pub fn set_healthy(&self, health: &Health, healthy: bool) {
        let _changing = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        health.set(healthy);
        let set = self.endpoints();
        set.count_healthy();
        if healthy {
            let found = set.members().iter().find(|member| std::ptr::eq(&*member.health, health));
            found.inspect(|member| member.endpoint.begin_slow_start());
        }
    }

    /// Whether `spec` asks the same question of its endpoints; how often it asks does not count.
    fn probes_as(&self, spec: &config::Upstream) -> bool {
        match (&self.spec.health_check, &spec.health_check) {
            (Some(before), Some(now)) => before.probe == now.probe,
            _ => false,
        }
    }
}

/// Tells `sink` of the health of all endpoints that something is known of: what probes found, and whether requests have
/// ejected them.
pub fn read_health(upstreams: &[Arc<Upstream>], sink: &mut HealthSink<'_>) {
    for upstream in upstreams {
        let probes = upstream.spec.health_check.is_some();
        for member in upstream.endpoints().members() {
            let is_known = probes && member.health.is_probed() || member.endpoint.is_observed();
            let is_out = !member.health.is_healthy() || member.endpoint.is_set_aside();
            if is_known || is_out {
                sink(&upstream.spec.name, &member.endpoint.address.to_string(), !is_out);
            }
        }
    }
}

/// The endpoints that `spec` has now.
#[must_use]
pub fn found(spec: &config::Upstream) -> Vec<Found> {
    let found = |endpoint: &sallyport_balance::Endpoint| Found {
        address: endpoint.address.clone(),
        weight: endpoint.weight,
    };
    spec.endpoints.iter().map(found).collect()
}

fn build(
    spec: &config::Upstream,
    found: Vec<(Found, EndpointStats)>,
    account: &Arc<Account>,
    before: Option<&EndpointSet>,
    keeps_health: bool,
) -> Result<EndpointSet, BuildError> {
    let sticky = spec.resilience.sticky.as_ref();
    let signer = sticky.map(|sticky| Signer::new(sticky.secret.bytes(), &spec.name));
    // Where there are none yet, nobody has to take a newcomer's share.
    let joins = before.is_some_and(|set| !set.members().is_empty());
    let members = before.iter().flat_map(|set| set.members());
    let known: HashMap<&Address, &Member> =
        members.map(|member| (&member.endpoint.address, member)).collect();
    let members = found.into_iter().map(|(found, stats)| {
        let known = known.get(&found.address);
        let health = known.filter(|_| keeps_health).map(|known| known.health.clone());
        let peer = peer(&found.address, &spec.timeouts);
        let endpoint = known.map(|known| known.endpoint.clone());
        let endpoint = endpoint.unwrap_or_else(|| {
            let endpoint = Endpoint::new(found.address.clone(), stats);
            if joins {
                endpoint.begin_slow_start();
            }
            Arc::new(endpoint)
        });
        let sticky = signer.as_ref().map_or(0, |signer| signer.id(&found.address.to_string()));
        let health = health.unwrap_or_default();
        Member { endpoint, health, weight: found.weight, sticky, peer }
    });
    let members: Vec<_> = members.collect();
    EndpointSet::new(spec, members, account.clone(), signer)
}

fn peer(address: &Address, timeouts: &config::UpstreamTimeouts) -> HttpPeer {
    let mut peer = match address {
        Address::Inet(address) => HttpPeer::new(*address, false, String::new()),
        Address::Unix(path) => {
            let path = path.to_str().expect("an address is read from text");
            HttpPeer::new_uds(path, false, String::new()).expect("an address has a path that fits")
        }
    };
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(timeouts.idle);
    peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::new(|socket| {
        let bounded = SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES);
        bounded.or_err(ErrorType::SocketError, "cannot bound what waits to be sent")
    }));
    peer
}

#[cfg(test)]
pub(crate) mod tests;
