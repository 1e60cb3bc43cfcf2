//! The maps: their names, and the layout of every key and value.
//!
//! Everything is `repr(C)` without padding, and its size and offsets are asserted below: the loader,
//! the gateway and the kernel's program may come from different builds, and [`ABI_VERSION`] is what
//! tells them apart. Configuration is held twice ([`Slots`]), so that all of it changes with the one
//! byte that says which half counts.

mod address;
mod config;
mod drops;
mod flow;
mod pending;
mod source;
mod stranger;
mod verdict;

use core::mem::{offset_of, size_of};

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::rate::{Meter, Rate};
use crate::shared::Shared;
use crate::sketch::Sketch;

pub use address::{Address, Prefix};
pub use config::{
    Limits, NAME_BYTES, Name, NameKey, NameKind, Network, NetworkAction, Standing, Zone, ZoneKey,
};
pub use drops::{SAMPLE_BYTES, Sample, SampleRate, Watch};
pub use flow::{Flow, FlowKey};
pub use pending::Pending;
pub use source::Source;
pub use stranger::Stranger;
pub use verdict::{Verdict, VerdictReason};

/// The first word of `meta`: "SLYP".
pub const MAGIC: u32 = 0x534c_5950;

/// The version of everything in this module; a change of any layout or meaning raises it.
pub const ABI_VERSION: u32 = 5;

/// Zone ids are below this: the rates of all zones are one array.
pub const ZONES_MAX: u16 = 256;

/// Connections that can wait for their handshake at once.
pub const PENDING_SLOTS: u32 = 65_536;

/// Strangers of whom more than a rate is known at once.
pub const STRANGER_SLOTS: u32 = 16_384;

/// The meters of a row of the sketch in which the rates of strangers are kept; there are two rows.
pub const CELLS_IN_A_ROW: u32 = 65_536;

/// Words of marks of sources that completed a handshake.
pub const LEARNT_SLOTS: u32 = 32_768;

/// The marks of `verdict_marks` that stand for all verdicts of a kind: on sources, on other prefixes.
pub const VERDICT_KINDS: u32 = 2;

/// The marks behind them that stand for the verdicts on some sources.
pub const VERDICT_SLOTS: u32 = 4_096;

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
    /// [`Address`](super::Address) to [`Verdict`](super::Verdict): IPv4 addresses, and IPv6 ones
    /// of which [`Meta::ipv6_mask`](super::Meta::ipv6_mask) has left the prefix.
    pub const VERDICTS: &str = "verdicts";
    /// [`Prefix`](super::Prefix) to [`Verdict`](super::Verdict): every other length.
    pub const VERDICT_PREFIXES: &str = "verdict_prefixes";
    /// Words that say whether there may be anything in `verdicts`, in `verdict_prefixes`, and in
    /// `verdicts` on the sources of a [mark](crate::SenderHash::verdict_mark).
    pub const VERDICT_MARKS: &str = "verdict_marks";
    /// [`Pending::slot`](super::Pending::slot) to [`Pending`](super::Pending).
    pub const PENDING: &str = "pending";
    /// A slot to [`Stranger`](super::Stranger).
    pub const STRANGERS: &str = "strangers";
    /// [`SenderHash::learnt_mark`](crate::SenderHash::learnt_mark) to [`Marks`](crate::Marks) of sources
    /// that completed a handshake: without one there is nothing in `sources` and `handshakes`.
    pub const LEARNT: &str = "learnt";
    /// Two rows of meters, in which the rates of strangers are kept (a count-min sketch).
    pub const CELLS: &str = "cells";
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
    /// The id of a network to [`Counter`](super::Counter), for each CPU: networks that are
    /// [counted](super::Network::COUNTED).
    pub const NETWORK_COUNTERS: &str = "network_counters";
    /// A ring buffer of [`Sample`](super::Sample).
    pub const DROPS: &str = "drops";
    /// One [`Watch`](super::Watch).
    pub const DROPS_WATCH: &str = "drops_watch";
    /// One [`SampleRate`](super::SampleRate) for each CPU.
    pub const DROPS_RATE: &str = "drops_rate";

    /// All of them.
    pub const ALL: [&str; 22] = [
        META,
        ZONES,
        NETWORKS,
        SOURCES,
        FLOWS,
        VERDICTS,
        VERDICT_PREFIXES,
        VERDICT_MARKS,
        COUNTERS,
        HANDSHAKES,
        ZONE_RATES,
        PORTS,
        FRAGMENTS,
        NAMES,
        PENDING,
        STRANGERS,
        CELLS,
        LEARNT,
        NETWORK_COUNTERS,
        DROPS,
        DROPS_WATCH,
        DROPS_RATE,
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
    /// The length of the prefix that stands for an IPv6 source, in bits. Fixed for as long as the maps
    /// live, as keys were made with it.
    pub ipv6_prefix: u32,
    /// When the loader was last at work (ktime, ns); 0 once it has ended.
    pub heartbeat_ns: u64,
    /// The bits of `ipv6_prefix`, as an address.
    pub ipv6_mask: Address,
    /// Chosen by nobody outside: hashes of what senders choose begin with it.
    pub seed: u64,
    /// [`Meta::COOKIES`]; in its third 16 bits and its fourth [`Meta::attached`] and
    /// [`Meta::interfaces`].
    pub flags: u64,
}

impl Meta {
    /// The program answers with SYN cookies where a zone asks for them.
    pub const COOKIES: u64 = 1;

    /// The number of interfaces that the program is on, as the loader saw it last.
    #[must_use]
    pub const fn attached(&self) -> u16 {
        (self.flags >> 32) as u16
    }

    /// The number of interfaces that the configuration names.
    #[must_use]
    pub const fn interfaces(&self) -> u16 {
        (self.flags >> 48) as u16
    }

    /// With these numbers of interfaces.
    #[must_use]
    pub const fn with_interfaces(self, attached: u16, interfaces: u16) -> Self {
        let counts = (interfaces as u64) << 16 | attached as u64;
        Self { flags: self.flags & 0xffff_ffff | counts << 32, ..self }
    }

    /// What stands for `address` in `sources`, `handshakes` and `verdicts`: an IPv4 address itself, of
    /// an IPv6 one the prefix.
    #[must_use]
    pub fn source(&self, address: Address) -> Address {
        if address.is_v4() { address } else { address.masked(&self.ipv6_mask) }
    }
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
    /// Packets that were let through, by [`Rate`].
    pub meters: [Meter; Rate::COUNT],
    /// When a SYN was last answered with a cookie (ktime, ns).
    pub cookie_ns: Shared,
}

// A size that is the sum of its parts has no padding.
const _: () = {
    assert!(size_of::<Meta>() == 56 && offset_of!(Meta, magic) == 0);
    assert!(offset_of!(Meta, abi) == 4 && offset_of!(Meta, generation) == 8);
    assert!(offset_of!(Meta, heartbeat_ns) == 16 && offset_of!(Meta, ipv6_mask) == 24);
    assert!(offset_of!(Meta, seed) == 40);
    assert!(size_of::<Address>() == 16 && size_of::<Prefix>() == 20);
    assert!(offset_of!(Prefix, octets) == 4);
    assert!(size_of::<ZoneKey>() == 8 && offset_of!(ZoneKey, vlan) == 4);
    assert!(size_of::<Zone>() == 92 && size_of::<Slots<Zone>>() == 184);
    assert!(offset_of!(Zone, watched) == 4 && offset_of!(Zone, dropping) == 8);
    assert!(offset_of!(Zone, limits) == 12 && offset_of!(Zone, port_bits) == 84);
    assert!(size_of::<Network>() == 4 && size_of::<Slots<Network>>() == 8);
    assert!(offset_of!(Network, action) == 2);
    assert!(size_of::<Source>() == 64 + 2 * size_of::<Sketch>() && size_of::<Sketch>() == 40);
    assert!(offset_of!(Source, zone) == 8 && offset_of!(Source, first_ns) == 16);
    assert!(offset_of!(Source, last_ns) == 24 && offset_of!(Source, tripped) == 32);
    assert!(offset_of!(Source, meters) == 40 && offset_of!(Source, ports) == 64);
    assert!(size_of::<FlowKey>() == 40 && offset_of!(FlowKey, ports) == 32);
    assert!(offset_of!(FlowKey, destination) == 16 && offset_of!(FlowKey, protocol) == 36);
    assert!(size_of::<Flow>() == 32 && offset_of!(Flow, standing) == 8);
    assert!(offset_of!(Flow, state) == 16 && offset_of!(Flow, sender) == 24);
    assert!(size_of::<Verdict>() == 16 && offset_of!(Verdict, reason) == 8);
    assert!(size_of::<Counter>() == 16 && offset_of!(Counter, bytes) == 8);
    assert!(size_of::<ZoneRates>() == 80 && size_of::<Pending>() == 24);
    // What the first packet of a stranger touches is one cache line.
    assert!(size_of::<Stranger>() == 128 && offset_of!(Stranger, addresses) + 8 == 64);
    assert!(size_of::<Watch>() == 48 && size_of::<SampleRate>() == 16);
    assert!(size_of::<Sample>() == 24 + SAMPLE_BYTES && offset_of!(Sample, data) == 24);
    assert!(size_of::<NameKey>() == 4 && size_of::<Name>() == NAME_BYTES);
};
