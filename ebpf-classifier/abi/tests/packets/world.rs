//! The classification's world, as tables of the host.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;

use elsa::{FrozenMap, FrozenVec};

use classifier_abi::{
    Address, Datagram, Flow, FlowKey, Fragments, MAGIC, Network, Prefix, Reason, Shared, Slots,
    Source, World, Zone, ZoneKey, ZoneRates,
};

/// A table whose values stay where they are: references to them live as long as the table.
pub(crate) struct Table<K, V> {
    values: FrozenMap<K, Box<V>>,
    keys: RefCell<Vec<K>>,
}

impl<K: Hash + Eq + Copy, V> Table<K, V> {
    fn new() -> Self {
        Self { values: FrozenMap::new(), keys: RefCell::default() }
    }

    fn find(&self, key: &K) -> Option<&V> {
        self.values.get(key)
    }

    /// Sets the value of a key that has none.
    pub(crate) fn put(&self, key: K, value: V) {
        self.keys.borrow_mut().push(key);
        self.values.insert(key, Box::new(value));
    }

    pub(crate) fn entries(&self) -> Vec<(K, &V)> {
        let keys = self.keys.borrow();
        keys.iter().filter_map(|key| Some((*key, self.find(key)?))).collect()
    }
}

pub(crate) struct Host {
    pub(crate) now_ns: Cell<u64>,
    pub(crate) magic: Cell<u32>,
    pub(crate) counters: RefCell<Vec<(u64, u64)>>,
    pub(crate) zones: Table<ZoneKey, Slots<Zone>>,
    pub(crate) networks: FrozenVec<Box<(Prefix, Slots<Network>)>>,
    pub(crate) verdicts: RefCell<HashMap<Address, u64>>,
    pub(crate) sources: Table<Address, Source>,
    pub(crate) flows: Table<FlowKey, Flow>,
    pub(crate) handshakes: Table<Address, Shared>,
    pub(crate) fragments: Table<Datagram, Fragments>,
    pub(crate) ports: RefCell<Vec<u16>>,
    pub(crate) established: Cell<bool>,
    rates: Vec<ZoneRates>,
}

impl Host {
    pub(crate) fn new(now_ns: u64) -> Self {
        Self {
            now_ns: Cell::new(now_ns),
            magic: Cell::new(MAGIC),
            counters: RefCell::new(vec![(0, 0); Reason::COUNTERS as usize]),
            zones: Table::new(),
            networks: FrozenVec::new(),
            verdicts: RefCell::default(),
            sources: Table::new(),
            flows: Table::new(),
            handshakes: Table::new(),
            fragments: Table::new(),
            ports: RefCell::default(),
            established: Cell::new(false),
            rates: (0..256).map(|_| ZoneRates::default()).collect(),
        }
    }
}

fn holds(prefix: &Prefix, address: &Address) -> bool {
    let (a, b) = (u128::from_be_bytes(prefix.octets), u128::from_be_bytes(address.octets()));
    prefix.bits == 0 || (a ^ b) >> (128 - prefix.bits) == 0
}

impl World for Host {
    fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn now_exact_ns(&self) -> u64 {
        self.now_ns.get()
    }

    fn meta(&self) -> Option<(u32, u32)> {
        Some((self.magic.get(), 0))
    }

    fn count(&self, counter: u32, bytes: u64) {
        let counter = &mut self.counters.borrow_mut()[counter as usize];
        *counter = (counter.0 + 1, counter.1 + bytes);
    }

    fn zone(&self, key: &ZoneKey) -> Option<&Slots<Zone>> {
        self.zones.find(key)
    }

    fn zone_rates(&self, id: u16) -> Option<&ZoneRates> {
        self.rates.get(id as usize)
    }

    fn network(&self, address: &Address) -> Option<&Slots<Network>> {
        let holding = self.networks.iter().filter(|(prefix, _)| holds(prefix, address));
        holding.max_by_key(|(prefix, _)| prefix.bits).map(|(_, slots)| slots)
    }

    fn verdict(&self, address: &Address) -> Option<u64> {
        self.verdicts.borrow().get(address).copied()
    }

    fn source(&self, address: &Address) -> Option<&Source> {
        self.sources.find(address)
    }

    fn insert_source(&self, address: &Address) -> Option<&Source> {
        self.sources.put(*address, Source::new());
        self.sources.find(address)
    }

    fn flow(&self, key: &FlowKey) -> Option<&Flow> {
        self.flows.find(key)
    }

    fn insert_flow(&self, key: &FlowKey, flow: Flow) {
        self.flows.put(*key, flow);
    }

    fn has_flows(&self, port: u16, _generation: u32) -> bool {
        self.ports.borrow().contains(&port)
    }

    fn handshake(&self, address: &Address) -> Option<&Shared> {
        self.handshakes.find(address)
    }

    fn insert_handshake(&self, address: &Address, now_ns: u64) {
        self.handshakes.put(*address, Shared::new(now_ns));
    }

    fn is_established(&self, _key: &FlowKey, _v6: bool) -> bool {
        self.established.get()
    }

    fn fragments(&self, datagram: &Datagram) -> Option<&Fragments> {
        self.fragments.find(datagram)
    }

    fn insert_fragments(&self, datagram: &Datagram) -> Option<&Fragments> {
        self.fragments.put(*datagram, Fragments::new());
        self.fragments.find(datagram)
    }
}
