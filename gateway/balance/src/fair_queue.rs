//! A fair queue: what waits is served by virtual finish time across tenants.
//!
//! One queue in the order of arrival gives most of its service to whoever asks most. Here each tenant has a queue
//! of its own, and the next item is the one whose tenant would finish first if all tenants were served at once,
//! each at a rate proportional to its weight (Demers, Keshav and Shenker, "Analysis and Simulation of a Fair
//! Queueing Algorithm", 1989). The virtual time follows the finish of what is served, so that a tenant that was
//! idle begins with those that were not and has saved up nothing.
//!
//! Memory is bounded by the length: a tenant exists while it waits. A full queue makes room at the expense of
//! the tenant that holds most of it for its weight, so that nobody can keep others out by filling it. The clock
//! is the caller's, and so is waking whoever waits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::num::NonZeroU16;

/// Virtual time that one unit of cost takes a tenant with weight 1. It is more than the largest weight, so
/// that all weights are told apart.
const UNIT: u128 = 1 << 32;

/// Items of many tenants that wait, at most a given number of them.
///
/// Every operation costs a few look-ups in ordered trees: logarithmic in the number of tenants and of items.
#[derive(Debug)]
pub struct FairQueue<K, T> {
    length_max: usize,
    length: usize,
    virtual_time: u128,
    /// Counts up with each item and each service.
    sequence: u64,
    tenants: HashMap<K, Tenant<T>>,
    /// The tenants by who is served next.
    next: BTreeSet<(Turn, K)>,
    /// The tenants by how much of the queue they hold for their weight.
    fullest: BTreeSet<(u64, K)>,
}

/// When a tenant is served: by virtual finish time, and among equals the one that was served longest ago.
type Turn = (u128, u64);

#[derive(Debug)]
struct Tenant<T> {
    weight: NonZeroU16,
    /// The virtual time at which its first item begins.
    start: u128,
    /// The sequence number of its latest service; 0 before the first.
    served: u64,
    /// When it is served: its place in `next`.
    turn: Turn,
    /// By sequence number, which is the order of arrival.
    items: BTreeMap<u64, Item<T>>,
}

#[derive(Debug)]
struct Item<T> {
    cost: u32,
    deadline_ms: u64,
    value: T,
}

/// Where an item waits, to take it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket<K> {
    tenant: K,
    sequence: u64,
}

/// What became of an item that was pushed.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed<K, T> {
    /// It waits.
    Waits(Ticket<K>),
    /// It waits in place of the latest item of the tenant that held most of the queue.
    Displaced(Ticket<K>, T),
    /// It does not: the queue is full, and no tenant holds more of it than this one.
    Full(T),
}

impl<K: Clone + Eq + Hash + Ord, T> FairQueue<K, T> {
    /// Creates an empty queue of at most `length_max` items.
    #[must_use]
    pub fn new(length_max: usize) -> Self {
        Self {
            length_max,
            length: 0,
            virtual_time: 0,
            sequence: 0,
            tenants: HashMap::new(),
            next: BTreeSet::new(),
            fullest: BTreeSet::new(),
        }
    }

    /// Changes how many items may wait. Those that wait stay.
    pub fn set_length_max(&mut self, length_max: usize) {
        self.length_max = length_max;
    }

    /// Returns the number of items that wait, those past their deadline included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// Returns whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Lets `value` wait for `tenant` until `deadline_ms`. A tenant has the weight of its latest item.
    pub fn push(
        &mut self,
        tenant: K,
        weight: NonZeroU16,
        deadline_ms: u64,
        value: T,
    ) -> Pushed<K, T> {
        self.push_with_cost(tenant, weight, 1, deadline_ms, value)
    }

    /// As [`push`](Self::push), for an item whose service takes `cost` units: tenants share units by their
    /// weights, and not items.
    pub fn push_with_cost(
        &mut self,
        tenant: K,
        weight: NonZeroU16,
        cost: u32,
        deadline_ms: u64,
        value: T,
    ) -> Pushed<K, T> {
        let mut displaced = None;
        if self.length >= self.length_max {
            match self.make_room(&tenant, weight) {
                Some(latest) => displaced = Some(latest),
                None => return Pushed::Full(value),
            }
        }
        self.sequence += 1;
        let sequence = self.sequence;
        self.change(&tenant, weight, |waiting| {
            waiting.items.insert(sequence, Item { cost, deadline_ms, value });
        });
        self.length += 1;
        let ticket = Ticket { tenant, sequence };
        match displaced {
            Some(latest) => Pushed::Displaced(ticket, latest),
            None => Pushed::Waits(ticket),
        }
    }

    /// Takes the next item out for service. Items past their deadline are dropped and cost their tenant nothing.
    pub fn pop(&mut self, now_ms: u64) -> Option<T> {
        while let Some((_, tenant)) = self.next.first().cloned() {
            let waiting = self.detach(&tenant)?;
            if let Some(value) = self.serve(tenant, waiting, now_ms) {
                return Some(value);
            }
        }
        None
    }

    /// Takes back an item that waits; `None` if it was served, displaced or dropped.
    pub fn cancel(&mut self, ticket: &Ticket<K>) -> Option<T> {
        let holds = |waiting: &Tenant<T>| waiting.items.contains_key(&ticket.sequence);
        if !self.tenants.get(&ticket.tenant).is_some_and(holds) {
            return None;
        }
        let mut waiting = self.detach(&ticket.tenant)?;
        let item = waiting.items.remove(&ticket.sequence)?;
        self.length -= 1;
        self.attach(ticket.tenant.clone(), waiting);
        Some(item.value)
    }

    /// Serves the first item of `tenant` that is in time, and puts the tenant back with its next turn.
    fn serve(&mut self, tenant: K, mut waiting: Tenant<T>, now_ms: u64) -> Option<T> {
        let mut served = None;
        while let Some((_, item)) = waiting.items.pop_first() {
            self.length -= 1;
            if now_ms < item.deadline_ms {
                let finish = waiting.start + duration(item.cost, waiting.weight);
                self.sequence += 1;
                self.virtual_time = self.virtual_time.max(finish);
                (waiting.start, waiting.served) = (finish, self.sequence);
                served = Some(item.value);
                break;
            }
        }
        self.attach(tenant, waiting);
        served
    }

    /// Takes the latest item of the tenant that holds most of the queue, unless nobody holds more than `tenant`
    /// would with one more.
    fn make_room(&mut self, tenant: &K, weight: NonZeroU16) -> Option<T> {
        let (most, fullest) = self.fullest.last().cloned()?;
        let own = self.tenants.get(tenant).map_or(0, |waiting| waiting.items.len());
        if most <= backlog(own + 1, weight) || fullest == *tenant {
            return None;
        }
        let mut waiting = self.detach(&fullest)?;
        let (_, latest) = waiting.items.pop_last()?;
        self.length -= 1;
        self.attach(fullest, waiting);
        Some(latest.value)
    }

    /// Changes a tenant's items; one that is not there yet begins at the present virtual time.
    fn change(&mut self, tenant: &K, weight: NonZeroU16, change: impl FnOnce(&mut Tenant<T>)) {
        let mut waiting = self.detach(tenant).unwrap_or_else(|| Tenant {
            weight,
            start: self.virtual_time,
            served: 0,
            turn: Turn::default(),
            items: BTreeMap::new(),
        });
        waiting.weight = weight;
        change(&mut waiting);
        self.attach(tenant.clone(), waiting);
    }

    fn detach(&mut self, tenant: &K) -> Option<Tenant<T>> {
        let (tenant, waiting) = self.tenants.remove_entry(tenant)?;
        self.fullest.remove(&(backlog(waiting.items.len(), waiting.weight), tenant.clone()));
        self.next.remove(&(waiting.turn, tenant));
        Some(waiting)
    }

    /// A tenant without items is forgotten: it has nothing that one who comes for the first time has not.
    fn attach(&mut self, tenant: K, mut waiting: Tenant<T>) {
        let Some((_, first)) = waiting.items.first_key_value() else { return };
        waiting.turn = (waiting.start + duration(first.cost, waiting.weight), waiting.served);
        self.next.insert((waiting.turn, tenant.clone()));
        self.fullest.insert((backlog(waiting.items.len(), waiting.weight), tenant.clone()));
        self.tenants.insert(tenant, waiting);
    }
}

/// The virtual time that `cost` units take a tenant with this weight.
fn duration(cost: u32, weight: NonZeroU16) -> u128 {
    UNIT * u128::from(cost) / u128::from(weight.get())
}

/// The share of the queue that a tenant with `items` holds, in relation to its `weight`.
fn backlog(items: usize, weight: NonZeroU16) -> u64 {
    ((items as u64) << 32) / u64::from(weight.get())
}

#[cfg(test)]
mod tests;
