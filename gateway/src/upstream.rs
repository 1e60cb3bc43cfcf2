//! An upstream at run time: which endpoint a request gets, and what is known of each.
//!
//! The algorithms are [`sallyport_balance`]'s and know nothing of health; this module knows who is
//! in flight where, who answers and who was just found dead, and lends that knowledge to them
//! (`upstream/set.rs`). What requests find out belongs to the endpoint and survives reloads and
//! changes of the set; what probes find out belongs to the upstream that probes, and ends with it.

pub mod account;
pub mod admission;
pub mod attempt;
pub mod destination;
pub mod discovery;
pub mod endpoint;
pub mod gate;
pub mod health;
pub mod introduction;
mod outlier;
pub(crate) mod peer;
mod priority;
pub mod retry;
pub mod set;
pub mod sticky;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sallyport_balance::{Address, BuildError, ENDPOINTS_MAX, Policy};
use sallyport_stats::{EndpointStats, HealthSink, Registry};

use self::discovery::Answers;
use crate::config::{self, Location};
use crate::live::{Live, Pinned};

pub use account::Account;
pub use admission::{Admission, OverLimit};
pub use attempt::{Attempts, Time};
pub use destination::Destination;
pub use endpoint::Endpoint;
pub use gate::Tenant;
pub use health::Health;
pub use retry::{Failure, Resend};
pub use set::{EndpointSet, Member};
pub use sticky::{Signer, Token};

/// A resolved upstream with its endpoints as they are now.
#[derive(Debug)]
pub struct Upstream {
    /// What the configuration says of it.
    pub spec: config::Upstream,
    /// What is kept of it across configurations.
    pub account: Arc<Account>,
    set: Live<EndpointSet>,
    /// Held by whoever replaces the set or changes what probes found of it.
    changes: Mutex<Changing>,
}

/// What the set was made of.
#[derive(Debug, Default)]
struct Changing {
    /// What was looked up last.
    answers: Answers,
    /// What the set was made of.
    found: Vec<Found>,
    /// Failures in a row to find the list of endpoints.
    list_failures: u32,
    /// Whether another configuration is in force: what is found from now on is nobody's.
    retired: bool,
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
    /// Its level.
    pub priority: u8,
    /// The name it was found by, if by any.
    pub name: Option<Arc<str>>,
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
        let answers = before.map(Self::answers).unwrap_or_default();
        let settled = answers.settled && before.is_some_and(|it| it.spec.finds_as(&spec));
        let changing = Changing {
            answers: Answers { settled, ..answers },
            found: found.iter().map(|(found, _)| found.clone()).collect(),
            ..Changing::default()
        };
        let set = build(&spec, found, &account, set.as_deref(), keeps_health)?;
        Ok(Self { spec, account, set: Live::new(Arc::new(set)), changes: Mutex::new(changing) })
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

    /// Whether endpoints of it have to be found.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        let is_name = |endpoint: &config::Endpoint| matches!(endpoint.location, Location::Name(_));
        self.spec.discovery.is_some() || self.spec.endpoints.iter().any(is_name)
    }

    /// Whether every name was asked for and every list read once, whatever came of it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !self.is_dynamic() || self.changing().answers.settled
    }

    /// What was looked up last.
    fn answers(&self) -> Answers {
        self.changing().answers.clone()
    }

    /// Notes what was looked up, and puts the set that follows from it in the place of the one there
    /// is, unless it would be the same.
    fn found(&self, answers: Answers, registry: &Registry) {
        let mut changing = self.changing();
        let found = found(&self.spec, &answers);
        changing.answers = answers;
        if changing.retired || changing.found == found {
            return;
        }
        let endpoints = found.len();
        match self.replace_set(found.clone(), registry) {
            Ok(()) => changing.found = found,
            Err(error) => {
                tracing::error!(upstream = &*self.spec.name, %error, "endpoints are not usable");
                return;
            }
        }
        registry.discovery().updated(&self.spec.name);
        tracing::debug!(upstream = &*self.spec.name, endpoints, "endpoints changed");
    }

    /// Takes the endpoints that were told before there was a task that listens.
    pub fn introduce(&self, endpoints: &[config::Endpoint], registry: &Registry) {
        let known = self.answers();
        if known.listed.as_deref() == Some(endpoints) {
            return;
        }
        let settled = endpoints.iter().all(|it| matches!(it.location, Location::At(_)));
        self.found(Answers { listed: Some(endpoints.to_vec()), settled, ..known }, registry);
    }

    /// Puts the set of `found` in the place of the one there is; endpoints that stay keep their state.
    ///
    /// # Errors
    /// Whatever the balancing crate refuses. Nothing changes then.
    pub fn replace(&self, found: Vec<Found>, registry: &Registry) -> Result<(), BuildError> {
        let mut changing = self.changing();
        self.replace_set(found.clone(), registry)?;
        changing.found = found;
        Ok(())
    }

    fn replace_set(&self, found: Vec<Found>, registry: &Registry) -> Result<(), BuildError> {
        let stats = registry.endpoints_of(&self.spec.name, &labels(&found));
        let found = found.into_iter().zip(stats).collect();
        let set = build(&self.spec, found, &self.account, Some(&self.endpoints()), true)?;
        self.set.swap(Arc::new(set));
        Ok(())
    }

    /// Lets statistics show the endpoints that there are now.
    fn expose(&self, registry: &Registry) {
        let changing = self.changing();
        registry.endpoints_of(&self.spec.name, &labels(&changing.found));
    }

    /// Notes that another configuration is in force.
    fn retire(&self) {
        self.changing().retired = true;
    }

    /// Counts an attempt to find the list of endpoints; returns the failures in a row.
    fn list_failures(&self, failed: bool) -> u32 {
        let mut changing = self.changing();
        changing.list_failures = if failed { changing.list_failures.saturating_add(1) } else { 0 };
        changing.list_failures
    }

    fn changing(&self) -> MutexGuard<'_, Changing> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a probe found of an endpoint, in whichever set it is now.
    pub fn set_healthy(&self, health: &Health, healthy: bool) {
        let _changing = self.changing();
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

/// The endpoints that `spec` has by what `before`, an upstream of the same name, found.
#[must_use]
pub fn known(spec: &config::Upstream, before: Option<&Upstream>) -> Vec<Found> {
    found(spec, &before.map(Upstream::answers).unwrap_or_default())
}

/// The endpoints that `spec` has by these answers. An address is one endpoint, however often it was
/// found: as it was found first.
fn found(spec: &config::Upstream, answers: &Answers) -> Vec<Found> {
    let listed = answers.listed.iter().filter(|_| spec.discovery.is_some()).flatten();
    let mut seen = HashSet::new();
    let mut all = Vec::new();
    for endpoint in spec.endpoints.iter().chain(listed) {
        let (weight, priority) = (endpoint.weight, endpoint.priority);
        let mut add = |address: Address, name: Option<Arc<str>>| {
            if all.len() < endpoints_max(spec.policy) && seen.insert(address.clone()) {
                all.push(Found { address, weight, priority, name });
            }
        };
        match &endpoint.location {
            Location::At(address) => add(address.clone(), None),
            Location::Name(name) => {
                let addresses = answers.names.get(name).into_iter().flat_map(|it| it.iter());
                addresses.for_each(|ip| add((ip, name.port).into(), Some(name.host.clone())));
            }
        }
    }
    all
}

/// Endpoints that a balancer of this policy takes; what was found beyond is left out.
fn endpoints_max(policy: Policy) -> usize {
    match policy {
        Policy::Maglev { table_size } => ENDPOINTS_MAX.min(table_size as usize),
        _ => ENDPOINTS_MAX,
    }
}

/// How statistics name endpoints.
#[must_use]
pub fn labels(found: &[Found]) -> Vec<Arc<str>> {
    found.iter().map(|found| found.address.to_string().into()).collect()
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
    let config = destination::client_config(spec, before);
    let members = found.into_iter().map(|(found, stats)| {
        let known = known.get(&found.address);
        let health = known.filter(|_| keeps_health).map(|known| known.health.clone());
        let peer = peer::peer(spec, &found.address, found.name.as_deref());
        let destination = Destination::new(spec, &found.address, &peer, config.as_ref());
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
        let (weight, priority) = (found.weight, found.priority);
        let destination = Arc::new(destination);
        Member { endpoint, health, weight, priority, sticky, peer, destination }
    });
    let members: Vec<_> = members.collect();
    EndpointSet::new(spec, members, account.clone(), signer)
}

#[cfg(test)]
pub(crate) mod tests;
