//! The classification's world, as tables of the host.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::Hash;

use elsa::{FrozenMap, FrozenVec};

use classifier_abi::{
    Address, CELLS_IN_A_ROW, CachedNetwork, Datagram, Flow, FlowKey, Fragments, Headers,
    LEARNT_SLOTS, MAGIC, Marks, Meta, Meter, Network, PENDING_SLOTS, Pending, Prefix, Reason,
    STRANGER_SLOTS, SenderHash, Shared, Slots, Source, Stranger, World, Zone, ZoneKey, ZoneRates,
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

/// An array whose values are made when they are asked for.
struct Array<V> {
    values: FrozenMap<u32, Box<V>>,
    entries: u32,
}

impl<V: Default> Array<V> {
    fn new(entries: u32) -> Self {
        Self { values: FrozenMap::new(), entries }
    }

    fn at(&self, index: u32) -> Option<&V> {
        if index >= self.entries {
            return None;
        }
        Some(self.values.get(&index).unwrap_or_else(|| self.values.insert(index, Box::default())))
    }
}

pub(crate) struct Host {
    pub(crate) now_ns: Cell<u64>,
    pub(crate) meta: Meta,
    pub(crate) counters: RefCell<Vec<(u64, u64)>>,
    pub(crate) network_counters: RefCell<HashMap<u16, (u64, u64)>>,
    pub(crate) zones: Table<ZoneKey, Slots<Zone>>,
    pub(crate) networks: FrozenVec<Box<(Prefix, Slots<Network>)>>,
    pub(crate) verdicts: RefCell<HashMap<Address, u64>>,
    pub(crate) verdict_prefixes: RefCell<Vec<(Prefix, u64)>>,
    pub(crate) sources: Table<Address, Source>,
    pub(crate) flows: Table<FlowKey, Flow>,
    pub(crate) handshakes: Table<Address, Shared>,
    pub(crate) fragments: Table<Datagram, Fragments>,
    pub(crate) ports: RefCell<Vec<u16>>,
    /// The state of every connection that is asked for; 0 for none.
    pub(crate) connection: Cell<u32>,
    pub(crate) udp_socket: Cell<bool>,
    pub(crate) cookies: Cell<bool>,
    /// Whether segments return a cookie.
    pub(crate) cookie: Cell<bool>,
    /// How often the kernel's connections were looked at.
    pub(crate) looks: Cell<u32>,
    strangers: Array<Stranger>,
    pending: Array<Pending>,
    cells: Array<Meter>,
    learnt: Array<Marks>,
    rates: Vec<ZoneRates>,
}

impl Host {
    /// What a handshake leaves, but for the source's entry.
    pub(crate) fn complete_handshake(&self, source: &Address, at_ns: u64) {
        let (word, mark) = SenderHash::of(source, self.meta.seed).learnt_mark();
        self.learnt.at(word).unwrap().set(mark, at_ns);
        self.handshakes.put(*source, Shared::new(at_ns));
    }

    pub(crate) fn new(now_ns: u64) -> Self {
        Self {
            now_ns: Cell::new(now_ns),
            meta: Meta {
                magic: MAGIC,
                ipv6_prefix: 64,
                ipv6_mask: Address::mask(64),
                seed: 0x5a17,
                ..Meta::default()
            },
            counters: RefCell::new(vec![(0, 0); Reason::COUNTERS as usize]),
            network_counters: RefCell::default(),
            zones: Table::new(),
            networks: FrozenVec::new(),
            verdicts: RefCell::default(),
            verdict_prefixes: RefCell::default(),
            sources: Table::new(),
            flows: Table::new(),
            handshakes: Table::new(),
            fragments: Table::new(),
            ports: RefCell::default(),
            connection: Cell::new(0),
            udp_socket: Cell::new(false),
            cookies: Cell::new(false),
            cookie: Cell::new(false),
            looks: Cell::new(0),
            strangers: Array::new(STRANGER_SLOTS),
            pending: Array::new(PENDING_SLOTS),
            cells: Array::new(2 * CELLS_IN_A_ROW),
            learnt: Array::new(LEARNT_SLOTS),
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

    fn meta(&self) -> Option<&Meta> {
        Some(&self.meta)
    }

    fn count(&self, counter: u32, bytes: u64) {
        let counter = &mut self.counters.borrow_mut()[counter as usize];
        *counter = (counter.0 + 1, counter.1 + bytes);
    }

    fn count_network(&self, id: u16, bytes: u64) {
        let mut networks = self.network_counters.borrow_mut();
        let counter = networks.entry(id).or_default();
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

    fn cached_network(&self, _index: u32) -> Option<&CachedNetwork> {
        None
    }

    fn has_verdicts(&self, index: u32) -> bool {
        let hash = |source: &Address| SenderHash::of(source, self.meta.seed);
        match index {
            0 => !self.verdicts.borrow().is_empty(),
            1 => !self.verdict_prefixes.borrow().is_empty(),
            mark => self.verdicts.borrow().keys().any(|one| hash(one).verdict_mark() == mark),
        }
    }

    fn learnt(&self, index: u32) -> Option<&Marks> {
        self.learnt.at(index)
    }

    fn verdict_on_prefix(&self, address: &Address) -> Option<u64> {
        let prefixes = self.verdict_prefixes.borrow();
        let holding = prefixes.iter().filter(|(prefix, _)| holds(prefix, address));
        holding.max_by_key(|(prefix, _)| prefix.bits).map(|(_, expires)| *expires)
    }

    fn stranger(&self, index: u32) -> Option<&Stranger> {
        self.strangers.at(index)
    }

    fn cell(&self, index: u32) -> Option<&Meter> {
        self.cells.at(index)
    }

    fn pending(&self, index: u32) -> Option<&Pending> {
        self.pending.at(index)
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

    fn connection(&self, _key: &FlowKey, _v6: bool) -> u32 {
        self.looks.set(self.looks.get() + 1);
        self.connection.get()
    }

    fn has_udp_socket(&self, _key: &FlowKey, _v6: bool) -> bool {
        self.udp_socket.get()
    }

    fn has_cookies(&self) -> bool {
        self.cookies.get()
    }

    fn is_cookie(&self, _headers: &Headers) -> bool {
        self.cookie.get()
    }

    fn fragments(&self, datagram: &Datagram) -> Option<&Fragments> {
        self.fragments.find(datagram)
    }

    fn insert_fragments(&self, datagram: &Datagram) -> Option<&Fragments> {
        self.fragments.put(*datagram, Fragments::new());
        self.fragments.find(datagram)
    }
}
