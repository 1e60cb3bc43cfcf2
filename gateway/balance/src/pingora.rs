//! The policies as Pingora's `BackendSelection`, for programs that use its `LoadBalancer`.
//!
//! Pingora asks a selection for an iterator and tries what it yields; here the iterator yields every backend
//! once, first choice first. Discovery, health checks and their intervals stay with Pingora. Nothing is
//! decided here: each step asks a [`Balancer`] with the backends already yielded marked as unusable.
//!
//! Least request is not among them, and cannot be: a selection is told the key and nothing else, not which
//! requests began and ended, so it has no load to compare. The gateway keeps those counts and uses
//! [`Balancer`] itself.

use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::sync::Arc;

use pingora_load_balancing::Backend;
use pingora_load_balancing::selection::{BackendIter, BackendSelection};

use crate::{Balancer, ENDPOINTS_MAX, Endpoint, MAGLEV_TABLE_SIZE, Policy, View, hash_key};

/// Maglev with [`MAGLEV_TABLE_SIZE`] slots; keys are hashed with [`hash_key`].
pub type Maglev = Selection<fixed::Maglev>;
/// Ring hash; keys are hashed with [`hash_key`].
pub type RingHash = Selection<fixed::RingHash>;
/// Smooth weighted round robin; the key is ignored. A backend passed over uses up its turn.
pub type RoundRobin = Selection<fixed::RoundRobin>;
/// Weighted random; the key is ignored.
pub type Random = Selection<fixed::Random>;

/// A policy fixed at compile time, which is how Pingora wants its selections.
pub trait FixedPolicy {
    /// The policy.
    const POLICY: Policy;
}

/// The names of the policies that Pingora's contract can carry.
pub mod fixed {
    /// [`Policy::Maglev`](crate::Policy::Maglev) with the usual table.
    #[derive(Debug)]
    pub enum Maglev {}
    /// [`Policy::RingHash`](crate::Policy::RingHash).
    #[derive(Debug)]
    pub enum RingHash {}
    /// [`Policy::RoundRobin`](crate::Policy::RoundRobin).
    #[derive(Debug)]
    pub enum RoundRobin {}
    /// [`Policy::Random`](crate::Policy::Random).
    #[derive(Debug)]
    pub enum Random {}
}

impl FixedPolicy for fixed::Maglev {
    const POLICY: Policy = Policy::Maglev { table_size: MAGLEV_TABLE_SIZE };
}

impl FixedPolicy for fixed::RingHash {
    const POLICY: Policy = Policy::RingHash;
}

impl FixedPolicy for fixed::RoundRobin {
    const POLICY: Policy = Policy::RoundRobin;
}

impl FixedPolicy for fixed::Random {
    const POLICY: Policy = Policy::Random;
}

/// A [`Balancer`] over Pingora's backends.
///
/// Pingora builds selections from whatever discovery found and has no way to be told of a refusal, so what a
/// balancer would refuse is left out instead: backends on Unix sockets, backends of weight 0, and backends
/// past the first [`ENDPOINTS_MAX`]. An address listed with two weights counts once, with the larger. Weights
/// over 65,535 bring all weights down in proportion, to no less than 1. Without any backend left the iterator
/// yields nothing.
#[derive(Debug)]
pub struct Selection<P> {
    backends: Box<[Backend]>,
    balancer: Option<Balancer>,
    policy: PhantomData<fn() -> P>,
}

impl<P: FixedPolicy> BackendSelection for Selection<P> {
    type Iter = Backends<P>;
    type Config = ();

    fn build(backends: &BTreeSet<Backend>) -> Self {
        let backends = selectable(backends);
        let balancer = Balancer::new(P::POLICY, &endpoints(&backends)).ok();
        Self { backends: backends.into_values().collect(), balancer, policy: PhantomData }
    }

    fn iter(self: &Arc<Self>, key: &[u8]) -> Self::Iter {
        Backends { selection: Arc::clone(self), key: hash_key(key), yielded: Yielded::default() }
    }
}

/// Every backend of a [`Selection`] once, the first choice first.
///
/// The first choice costs one selection. Going on costs a short list of what was yielded, and each further
/// step looks through it: meant for the few retries of a request, not for listing thousands of backends.
#[derive(Debug)]
pub struct Backends<P> {
    selection: Arc<Selection<P>>,
    key: u64,
    yielded: Yielded,
}

impl<P: FixedPolicy> BackendIter for Backends<P> {
    fn next(&mut self) -> Option<&Backend> {
        let chosen = self.selection.balancer.as_ref()?.select(self.key, &self.yielded)?;
        self.yielded.0.push(chosen);
        self.selection.backends.get(chosen)
    }
}

/// What a request has been offered already.
#[derive(Debug, Default)]
struct Yielded(Vec<usize>);

impl View for Yielded {
    fn usable(&self, endpoint: usize) -> bool {
        !self.0.contains(&endpoint)
    }
}

/// Pingora's set is ordered by address, then weight: of equal addresses the last, heaviest one stays.
fn selectable(backends: &BTreeSet<Backend>) -> BTreeMap<SocketAddr, Backend> {
    let addressed = |backend: &Backend| Some((*backend.addr.as_inet()?, backend.clone()));
    let weighty = backends.iter().filter(|backend| backend.weight > 0);
    let mut selectable: BTreeMap<SocketAddr, Backend> = weighty.filter_map(addressed).collect();
    if let Some(&past) = selectable.keys().nth(ENDPOINTS_MAX) {
        selectable.split_off(&past);
    }
    selectable
}

fn endpoints(backends: &BTreeMap<SocketAddr, Backend>) -> Vec<Endpoint> {
    let heaviest = backends.values().map(|backend| backend.weight).max().unwrap_or(1);
    let weight = |backend: &Backend| weight_in_proportion(backend.weight, heaviest);
    let endpoint = |(&address, backend): (&SocketAddr, _)| Endpoint {
        address: address.into(),
        weight: weight(backend),
    };
    backends.iter().map(endpoint).collect()
}

fn weight_in_proportion(weight: usize, heaviest: usize) -> u16 {
    u16::try_from(weight).ok().filter(|_| heaviest <= u16::MAX.into()).unwrap_or_else(|| {
        // At most 65,535, since no weight is over the heaviest.
        (weight as u128 * u128::from(u16::MAX) / heaviest as u128).max(1) as u16
    })
}

#[cfg(test)]
mod tests;
