//! The maps: their names, and the layout of every key and value.
//!
//! Everything is `repr(C)` without padding, and its size and offsets are asserted below: the loader,
//! the gateway and the kernel's program may come from different builds, and [`ABI_VERSION`] is what
//! tells them apart. Configuration is held twice ([`Slots`]), so that all of it changes with the one
//! byte that says which half counts.

use core::mem::{offset_of, size_of};

use crate::payload::Protocol;
use crate::rate::Meter;
use crate::reason::Screens;
use crate::shared::Shared;
use crate::sketch::Sketch;

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// The first word of `meta`: "SLYP".
pub const MAGIC: u32 = 0x534c_5950;

/// The version of everything in this module; a change of any layout or meaning raises it.
pub const ABI_VERSION: u32 = 1;

/// Zone ids are below this: the rates of all zones are one array.
pub const ZONES_MAX: u16 = 256;

/// Network ids are at most this.
pub const NETWORK_MAX: u16 = u16::MAX - 1;

/// The names of the maps, which are the names of their pins.
pub mod map {
    /// One [`Meta`](super::Meta).
    pub const META: &str = "meta";
    /// [`ZoneKey`](super::ZoneKey) to [`Slots`](super::Slots) of [`Zone`](super::Zone).
    pub const ZONES: &str = "zones";
    /// [`Prefix`](super::Prefix) to [`Slots`](super::Slots) of [`Network`](super::Network).
    pub const NETWORKS: &str = "networks";
    /// [`Address`](super::Address) to [`Source`](super::Source).
    pub const SOURCES: &str = "sources";
    /// [`FlowKey`](super::FlowKey) to [`Flow`](super::Flow).
    pub const FLOWS: &str = "flows";
    /// [`Address`](super::Address) to [`Verdict`](super::Verdict).
    pub const VERDICTS: &str = "verdicts";
    /// [`Reason::counter`](crate::Reason::counter) to [`Counter`](super::Counter), for each CPU.
    pub const COUNTERS: &str = "counters";
    /// [`Address`](super::Address) to the time (ktime, ns) of its last completed handshake.
    pub const HANDSHAKES: &str = "handshakes";
    /// Zone id to [`ZoneRates`](super::ZoneRates).
    pub const ZONE_RATES: &str = "zone_rates";
    /// The set of TCP ports with flow entries, 64 a word, twice: slot 0 first.
    pub const PORTS: &str = "ports";
    /// [`Datagram`](crate::Datagram) to [`Fragments`](crate::Fragments).
    pub const FRAGMENTS: &str = "fragments";
    /// [`NameKey`](super::NameKey) to [`Name`](super::Name).
    pub const NAMES: &str = "names";

    /// All of them.
    pub const ALL: [&str; 12] = [
        META, ZONES, NETWORKS, SOURCES, FLOWS, VERDICTS, COUNTERS, HANDSHAKES, ZONE_RATES, PORTS,
        FRAGMENTS, NAMES,
    ];
}

/// What both sides look at before anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Meta {
    /// [`MAGIC`].
    pub magic: u32,
    /// [`ABI_VERSION`].
    pub abi: u32,
    /// Counts up with every configuration put in force; its lowest bit says which slot holds.
    pub generation: u32,
    /// 0.
    pub reserved: u32,
    /// When the loader was last at work (ktime, ns); 0 once it has ended.
    pub heartbeat_ns: u64,
}

/// Two versions of a value, of which the lowest bit of [`Meta::generation`] chooses one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Slots<T> {
    /// The version under even generations.
    pub even: T,
    /// The version under odd generations.
    pub odd: T,
}

impl<T> Slots<T> {
    /// The version in force.
    #[inline(always)]
    pub fn of(&self, generation: u32) -> &T {
        if generation & 1 == 0 { &self.even } else { &self.odd }
    }

    /// The version in force, to be written.
    pub fn of_mut(&mut self, generation: u32) -> &mut T {
        if generation & 1 == 0 { &mut self.even } else { &mut self.odd }
    }
}

/// An address as it is compared: IPv6, or IPv4 mapped into it (RFC 4291, 2.5.5.2), in network order.
///
/// Two words instead of sixteen bytes: it is compared, copied and hashed as two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Address {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

impl Address {
    /// An IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn v4(octets: [u8; 4]) -> Self {
        let mapped = u64::from_ne_bytes([0, 0, 0xff, 0xff, 0, 0, 0, 0]);
        // Shifted into the last four bytes as they lie in memory.
        let address = u32::from_ne_bytes(octets) as u64;
        let shift = if cfg!(target_endian = "little") { 32 } else { 0 };
        Self { high: 0, low: mapped | address << shift }
    }

    /// An IPv6 address.
    #[inline(always)]
    #[must_use]
    pub const fn v6(high: [u8; 8], low: [u8; 8]) -> Self {
        Self { high: u64::from_ne_bytes(high), low: u64::from_ne_bytes(low) }
    }

    /// Its sixteen bytes.
    #[inline(always)]
    #[must_use]
    pub const fn octets(self) -> [u8; 16] {
        let [a, b, c, d, e, f, g, h] = self.high.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.low.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    /// Its four 32-bit words, each as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u32; 4] {
        let (first, second) = if cfg!(target_endian = "little") { (0, 32) } else { (32, 0) };
        [
            (self.high >> first) as u32,
            (self.high >> second) as u32,
            (self.low >> first) as u32,
            (self.low >> second) as u32,
        ]
    }
}

#[cfg(not(target_arch = "bpf"))]
impl From<core::net::IpAddr> for Address {
    fn from(address: core::net::IpAddr) -> Self {
        match address {
            core::net::IpAddr::V4(address) => Self::v4(address.octets()),
            core::net::IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.octets();
                Self::v6([a, b, c, d, e, f, g, h], [i, j, k, l, m, n, o, p])
            }
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
impl From<Address> for core::net::IpAddr {
    fn from(address: Address) -> Self {
        Self::V6(address.octets().into()).to_canonical()
    }
}

/// A prefix of addresses, as an LPM trie has its keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Prefix {
    /// How many bits count, of 128; an IPv4 prefix has 96 more than it is written with.
    pub bits: u32,
    /// The address: not an [`Address`], whose alignment would put padding in front of it.
    pub octets: [u8; 16],
}

impl Prefix {
    /// The first `bits` of `address`.
    #[inline(always)]
    #[must_use]
    pub const fn new(address: Address, bits: u32) -> Self {
        Self { bits, octets: address.octets() }
    }
}

/// Where a packet came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct ZoneKey {
    /// The interface.
    pub ifindex: u32,
    /// The outer VLAN; 0 for none, and for all that have no entry of their own.
    pub vlan: u32,
}

/// A zone with its screens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Zone {
    /// Its id; 0 means that there is none.
    pub id: u16,
    /// 0.
    pub reserved: u16,
    /// The screens that are looked at.
    pub watched: Screens,
    /// Those among them that drop.
    pub dropping: Screens,
    /// SYNs of one source and of the zone, in a [window](crate::WINDOW_NS); 0 means no limit.
    pub syn: Limits,
    /// As `syn`, for UDP.
    pub udp: Limits,
    /// As `syn`, for ICMP.
    pub icmp: Limits,
    /// Bits of a [sketch](crate::Sketch) of ports that a source may set; 0 means no limit.
    pub port_bits: u32,
    /// As `port_bits`, for addresses.
    pub address_bits: u32,
}

/// The limits of one kind of packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Limits {
    /// From one source.
    pub source: u32,
    /// Into one zone.
    pub zone: u32,
}

/// What a prefix is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Network {
    /// Its id; 0 means that the prefix is of no network.
    pub id: u16,
    /// A [`NetworkAction`].
    pub action: u16,
}

/// What happens to a network's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u16)]
pub enum NetworkAction {
    /// They are classified and screened.
    #[default]
    Classify = 0,
    /// They pass, whatever else holds.
    Allow = 1,
    /// They do not pass.
    Drop = 2,
}

impl Network {
    /// The action; what is not one classifies.
    #[inline(always)]
    #[must_use]
    pub fn action(self) -> NetworkAction {
        match self.action {
            1 => NetworkAction::Allow,
            2 => NetworkAction::Drop,
            _ => NetworkAction::Classify,
        }
    }
}

/// A network as it was found under one generation, in one word: what is looked up once is kept with
/// the source and the flow for as long as the configuration does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The generation under which it was found.
    pub generation: u32,
    /// What was found.
    pub network: Network,
}

impl Standing {
    /// From its word.
    #[inline(always)]
    #[must_use]
    pub fn from_word(word: u64) -> Self {
        let network = Network { id: (word >> 16) as u16, action: word as u16 };
        Self { generation: (word >> 32) as u32, network }
    }

    /// As a word.
    #[inline(always)]
    #[must_use]
    pub fn word(self) -> u64 {
        (self.generation as u64) << 32 | (self.network.id as u64) << 16 | self.network.action as u64
    }
}

/// What is known of a source: one that sent a SYN, UDP or ICMP that was let through.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
#[repr(C)]
pub struct Source {
    /// Its network: a [`Standing`].
    pub standing: Shared,
    /// The id of the zone it was last seen in.
    pub zone: Shared,
    /// When its entry was made (ktime, ns).
    pub first_ns: Shared,
    /// When it last sent what makes an entry (ktime, ns).
    pub last_ns: Shared,
    /// The screens it tripped, in the low half, and the second (ktime) of the last time, in the high
    /// half. See [`Source::screens`].
    pub tripped: Shared,
    /// SYNs that were let through.
    pub syn: Meter,
    /// UDP packets that were let through.
    pub udp: Meter,
    /// ICMP packets that were let through.
    pub icmp: Meter,
    /// TCP and UDP ports it went to.
    pub ports: Sketch,
    /// Addresses it went to.
    pub addresses: Sketch,
}

/// How long a source is known for a screen that it tripped.
const SCREENS_KEPT_S: u64 = 60;

impl Source {
    /// One of which nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            standing: Shared::new(0),
            zone: Shared::new(0),
            first_ns: Shared::new(0),
            last_ns: Shared::new(0),
            tripped: Shared::new(0),
            syn: Meter::new(),
            udp: Meter::new(),
            icmp: Meter::new(),
            ports: Sketch::new(),
            addresses: Sketch::new(),
        }
    }

    /// Notes screens that it tripped; those of over a minute ago are forgotten.
    #[inline(always)]
    pub fn trip(&self, screens: Screens, now_ns: u64) {
        let second = seconds(now_ns);
        let known = self.screens(now_ns);
        // Two CPUs may forget each other's screen for the moment: the next packet notes it again.
        self.tripped.store(second << 32 | known.with(screens).0 as u64);
    }

    /// The screens that it tripped within the last minute.
    #[inline(always)]
    pub fn screens(&self, now_ns: u64) -> Screens {
        let word = self.tripped.load();
        let fresh = seconds(now_ns).wrapping_sub(word >> 32) <= SCREENS_KEPT_S;
        Screens(word as u32).when(fresh)
    }

    /// Its screens, in the high half, and its SYN level, in the low half.
    #[inline(always)]
    pub fn summary(&self, now_ns: u64) -> u64 {
        (self.screens(now_ns).0 as u64) << 32 | self.syn.level(now_ns) as u64
    }

    /// Its network.
    #[inline(always)]
    pub fn standing(&self) -> Standing {
        Standing::from_word(self.standing.load())
    }
}

/// Seconds to the power of two that costs a shift: 2^30 ns.
#[inline(always)]
fn seconds(now_ns: u64) -> u64 {
    now_ns >> 30
}

/// A TCP connection, as the client sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct FlowKey {
    /// The client's address.
    pub source: Address,
    /// The server's address.
    pub destination: Address,
    /// The client's port in the low half, the server's in the high one: one word, because it is
    /// hashed as one right after it was written.
    pub(crate) ports: u32,
    /// The IP protocol: 6.
    pub(crate) protocol: u32,
}

impl FlowKey {
    /// The key of a TCP connection; ports in host order.
    #[inline(always)]
    #[must_use]
    pub const fn tcp(
        source: Address,
        source_port: u16,
        destination: Address,
        destination_port: u16,
    ) -> Self {
        let ports = source_port as u32 | (destination_port as u32) << 16;
        Self { source, destination, ports, protocol: 6 }
    }

    /// The client's port.
    #[inline(always)]
    #[must_use]
    pub const fn source_port(&self) -> u16 {
        self.ports as u16
    }

    /// The server's port.
    #[inline(always)]
    #[must_use]
    pub const fn destination_port(&self) -> u16 {
        (self.ports >> 16) as u16
    }
}

/// What is known of a connection.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
#[repr(C)]
pub struct Flow {
    /// When its SYN was seen (ktime, ns).
    pub syn_ns: Shared,
    /// The network of its source: a [`Standing`].
    pub standing: Shared,
    /// Zone id, [`Protocol`] and the SYN's TTL: see [`Flow::new`].
    pub state: Shared,
    /// What was known of the source when the SYN came: see [`Source::summary`]. Here as well, so that
    /// one lookup tells a reader all; for user space a lookup is a system call.
    pub sender: Shared,
}

impl Flow {
    /// A flow whose SYN was just seen.
    #[inline(always)]
    #[must_use]
    pub fn new(syn_ns: u64, standing: Standing, zone: u16, ttl: u8, sender: u64) -> Self {
        Self {
            syn_ns: Shared::new(syn_ns),
            standing: Shared::new(standing.word()),
            state: Shared::new((ttl as u64) << 24 | zone as u64),
            sender: Shared::new(sender),
        }
    }

    /// The zone it came in by.
    #[inline(always)]
    pub fn zone(&self) -> u16 {
        self.state.load() as u16
    }

    /// What its first payload was; `None` before there was one.
    #[inline(always)]
    pub fn protocol(&self) -> Option<Protocol> {
        Protocol::from_byte((self.state.load() >> 16) as u8)
    }

    /// Notes what the first payload was.
    #[inline(always)]
    pub fn set_protocol(&self, protocol: Protocol) {
        let state = self.state.load();
        self.state.store(state & !(0xff << 16) | (protocol as u64) << 16);
    }

    /// The screens that the source had tripped when the SYN came.
    #[inline(always)]
    pub fn screens(&self) -> Screens {
        Screens((self.sender.load() >> 32) as u32)
    }

    /// The source's SYNs in a [window](crate::WINDOW_NS), this one among them.
    #[inline(always)]
    pub fn syn_level(&self) -> u32 {
        self.sender.load() as u32
    }

    /// The TTL or hop limit of its SYN.
    #[inline(always)]
    pub fn ttl(&self) -> u8 {
        (self.state.load() >> 24) as u8
    }
}

/// A source that is not to be let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Verdict {
    /// Until when (ktime, ns).
    pub expires_ns: u64,
    /// A [`VerdictReason`].
    pub reason: u32,
    /// 0.
    pub reserved: u32,
}

/// Why a source is not to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum VerdictReason {
    /// Somebody said so.
    Operator = 0,
    /// Too many 4xx responses.
    ClientError = 1,
    /// Too many requests that broke the protocol.
    Refused = 2,
    /// Too many requests over a limit.
    Limit = 3,
    /// A plugin said so.
    Plugin = 4,
}

impl VerdictReason {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::Operator, Self::ClientError, Self::Refused, Self::Limit, Self::Plugin];

    /// Its name in logs, metrics and on the command line.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::ClientError => "4xx",
            Self::Refused => "refused",
            Self::Limit => "limit",
            Self::Plugin => "plugin",
        }
    }

    /// The reason behind a map's number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| *reason as u32 == number)
    }
}

/// Packets and bytes of one reason on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, from the Ethernet header on.
    pub bytes: u64,
}

/// What comes into a zone.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
#[repr(C)]
pub struct ZoneRates {
    /// SYNs that were let through.
    pub syn: Meter,
    /// UDP packets that were let through.
    pub udp: Meter,
    /// ICMP packets that were let through.
    pub icmp: Meter,
}

/// What has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum NameKind {
    /// A network.
    Network = 1,
    /// A zone.
    Zone = 2,
}

/// An id that has a name. A name keeps its id for as long as the maps live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct NameKey {
    /// A [`NameKind`].
    pub kind: u16,
    /// The id.
    pub id: u16,
}

/// The longest name of a zone or network, in bytes.
pub const NAME_BYTES: usize = 32;

/// A name, filled up with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Name(pub [u8; NAME_BYTES]);

impl Name {
    /// A name; `None` if it is too long.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; NAME_BYTES];
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(bytes))
    }

    /// The name as text; `None` if it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        core::str::from_utf8(self.0.get(..end)?).ok()
    }
}

// A size that is the sum of its parts has no padding.
const _: () = {
    assert!(size_of::<Meta>() == 24 && offset_of!(Meta, magic) == 0);
    assert!(offset_of!(Meta, abi) == 4 && offset_of!(Meta, generation) == 8);
    assert!(offset_of!(Meta, heartbeat_ns) == 16);
    assert!(size_of::<Address>() == 16 && size_of::<Prefix>() == 20);
    assert!(offset_of!(Prefix, octets) == 4);
    assert!(size_of::<ZoneKey>() == 8 && offset_of!(ZoneKey, vlan) == 4);
    assert!(size_of::<Zone>() == 44 && size_of::<Slots<Zone>>() == 88);
    assert!(offset_of!(Zone, watched) == 4 && offset_of!(Zone, dropping) == 8);
    assert!(offset_of!(Zone, syn) == 12 && offset_of!(Zone, udp) == 20);
    assert!(offset_of!(Zone, icmp) == 28 && offset_of!(Zone, port_bits) == 36);
    assert!(size_of::<Network>() == 4 && size_of::<Slots<Network>>() == 8);
    assert!(offset_of!(Network, action) == 2);
    assert!(size_of::<Source>() == 64 + 2 * size_of::<Sketch>() && size_of::<Sketch>() == 40);
    assert!(offset_of!(Source, zone) == 8 && offset_of!(Source, first_ns) == 16);
    assert!(offset_of!(Source, last_ns) == 24 && offset_of!(Source, tripped) == 32);
    assert!(offset_of!(Source, syn) == 40 && offset_of!(Source, ports) == 64);
    assert!(size_of::<FlowKey>() == 40 && offset_of!(FlowKey, ports) == 32);
    assert!(offset_of!(FlowKey, destination) == 16 && offset_of!(FlowKey, protocol) == 36);
    assert!(size_of::<Flow>() == 32 && offset_of!(Flow, standing) == 8);
    assert!(offset_of!(Flow, state) == 16 && offset_of!(Flow, sender) == 24);
    assert!(size_of::<Verdict>() == 16 && offset_of!(Verdict, reason) == 8);
    assert!(size_of::<Counter>() == 16 && offset_of!(Counter, bytes) == 8);
    assert!(size_of::<ZoneRates>() == 24);
    assert!(size_of::<NameKey>() == 4 && size_of::<Name>() == NAME_BYTES);
};
