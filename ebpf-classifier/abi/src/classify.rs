//! What becomes of a packet.
//!
//! In order: a verdict on its source may settle it, before anything behind the addresses is read; its
//! network may; then the screens look at it, rates are measured, and what is let through is noted for
//! the gateway. Entries that senders choose the keys of are made only after a handshake, which no
//! forged packet completes; until then what is known is in slots of a fixed number.

mod learn;
mod notes;
mod rates;
mod sender;

use core::hint::black_box;

use crate::fragment::{Datagram, Fragments};
use crate::layout::{
    Address, Flow, FlowKey, MAGIC, Meta, Network, NetworkAction, Pending, Slots, Source, Standing,
    Stranger, Zone, ZoneKey, ZoneRates,
};
use crate::marks::Marks;
use crate::packet::Packet;
use crate::parse::{Fault, Headers, Kind as Protocol, Located, locate, parse};
use crate::rate::{Meter, Rate};
use crate::reason::{Reason, Screens};
use crate::scratch::{CachedNetwork, KnownZone, Scratch, forget};
use crate::screen;
use crate::shared::Shared;
use crate::slots::SenderHash;

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on to the network stack.
    Pass,
    /// It ends here.
    Drop,
    /// It is a SYN, and is answered with a SYN cookie instead of going on.
    Cookie,
}

/// The maps and clocks that a packet meets. In the kernel these are BPF maps; on the host, tables.
///
/// References stay valid for the packet's time, even if another CPU removes the entry.
pub trait World {
    /// The time (ktime, ns), exact to some milliseconds, and cheap.
    fn now_ns(&self) -> u64;
    /// The time (ktime, ns), exact.
    fn now_exact_ns(&self) -> u64;
    /// What holds for all packets.
    fn meta(&self) -> Option<&Meta>;
    /// Counts a packet of `bytes` bytes under [`Reason::counter`].
    fn count(&self, counter: u32, bytes: u64);
    /// Counts a packet of `bytes` bytes for the network `id`, if that is counted.
    fn count_network(&self, id: u16, bytes: u64);
    /// The zone of an interface and VLAN.
    fn zone(&self, key: &ZoneKey) -> Option<&Slots<Zone>>;
    /// The rates of the zone with this id.
    fn zone_rates(&self, id: u16) -> Option<&ZoneRates>;
    /// The longest prefix of `address`.
    fn network(&self, address: &Address) -> Option<&Slots<Network>>;
    /// What this CPU has looked up of networks lately, at the slot `index`.
    fn cached_network(&self, index: u32) -> Option<&CachedNetwork>;
    /// Whether the mark of verdicts at `index` is set.
    fn has_verdicts(&self, index: u32) -> bool;
    /// A word of marks of sources that completed a handshake.
    fn learnt(&self, index: u32) -> Option<&Marks>;
    /// When the verdict on the source `sender` expires.
    fn verdict(&self, sender: &Address) -> Option<u64>;
    /// When the verdict on the longest prefix of `address` expires.
    fn verdict_on_prefix(&self, address: &Address) -> Option<u64>;
    /// What is known of a source.
    fn source(&self, sender: &Address) -> Option<&Source>;
    /// Makes an empty entry for a source, unless there is one.
    fn insert_source(&self, sender: &Address) -> Option<&Source>;
    /// The slot of a stranger.
    fn stranger(&self, index: u32) -> Option<&Stranger>;
    /// A meter of the sketch.
    fn cell(&self, index: u32) -> Option<&Meter>;
    /// What is known of a connection.
    fn flow(&self, key: &FlowKey) -> Option<&Flow>;
    /// Makes an entry for a connection.
    fn insert_flow(&self, key: &FlowKey, flow: Flow);
    /// A slot of the connections without a handshake.
    fn pending(&self, index: u32) -> Option<&Pending>;
    /// Whether connections to this port get entries under `generation`.
    fn has_flows(&self, port: u16, generation: u32) -> bool;
    /// When a source last completed a handshake.
    fn handshake(&self, sender: &Address) -> Option<&Shared>;
    /// Notes that a source has completed a handshake.
    fn insert_handshake(&self, sender: &Address, now_ns: u64);
    /// The state of this host's TCP connection for `key`, as the kernel numbers them; 0 where there is
    /// none. `v6` says which kind the addresses are.
    fn connection(&self, key: &FlowKey, v6: bool) -> u32;
    /// Whether this host has a UDP socket that `key` reaches.
    fn has_udp_socket(&self, key: &FlowKey, v6: bool) -> bool;
    /// Whether SYN cookies can be had.
    fn has_cookies(&self) -> bool;
    /// Whether the segment's acknowledgement number is a SYN cookie that its source was sent.
    fn is_cookie(&self, headers: &Headers) -> bool;
    /// What was seen of a datagram.
    fn fragments(&self, datagram: &Datagram) -> Option<&Fragments>;
    /// Makes an empty entry for a datagram.
    fn insert_fragments(&self, datagram: &Datagram) -> Option<&Fragments>;
}

/// Classifies a frame that came in by the interface `ifindex`, counts it, and says what to do.
///
/// Cannot fail. Takes time bounded by the frame's headers.
#[inline(always)]
pub fn classify<W: World, P: Packet + ?Sized>(
    world: &W,
    packet: &P,
    ifindex: u32,
    scratch: &mut Scratch,
) -> Action {
    let Some(meta) = world.meta() else { return Action::Pass };
    if meta.magic != MAGIC {
        return Action::Pass;
    }
    let bytes = packet.bytes() as u64;
    let generation = meta.generation;
    let v6 = match locate(packet, scratch) {
        Located::V4 => false,
        Located::V6 => true,
        Located::NotIp => return pass_unread(world, Reason::NotIp, bytes),
        Located::Cut => return pass_unread(world, Reason::Malformed, bytes),
        Located::Hidden => {
            scratch.dropped = Reason::Unparsable.counter(true);
            scratch.headers.key.source = Address::default();
            world.count(Reason::Unparsable.counter(true), bytes);
            return Action::Drop;
        }
    };
    // Of the source alone, so that nothing that stands behind it can get around this.
    let source = scratch.headers.key.source;
    let sender = if v6 { source.masked(&meta.ipv6_mask) } else { source };
    let hash = SenderHash::of(&sender, meta.seed);
    scratch.sender = sender;
    scratch.hash = hash;
    if sender::is_under_verdict(world, &source, &sender, hash, generation) {
        scratch.dropped = Reason::Verdict.counter(true);
        world.count(Reason::Verdict.counter(true), bytes);
        return Action::Drop;
    }
    scratch.fault = parse(packet, v6, scratch);
    let scratch = black_box(scratch);
    scratch.tracked = matches!(scratch.headers.transport.kind, Protocol::Tcp | Protocol::Segment)
        && world.has_flows(scratch.headers.key.destination_port(), generation);
    let scratch = black_box(scratch);
    let Scratch {
        headers,
        sender,
        hash,
        fault,
        tracked,
        tripped,
        allowed,
        exempt,
        zone,
        dropped,
        ..
    } = scratch;
    let visit = Visit {
        world,
        headers,
        sender,
        hash: *hash,
        seed: meta.seed,
        ifindex,
        generation,
        bytes,
        rate: headers.transport.rate,
        fault: *fault,
        tracked: *tracked,
    };
    match visit.decide(packet, tripped, allowed, exempt, zone) {
        Some(counter) => {
            *dropped = counter;
            world.count(counter, bytes);
            if counter == Reason::SynCookie.counter(true) { Action::Cookie } else { Action::Drop }
        }
        None => {
            world.count(Reason::Passed.counter(false), bytes);
            Action::Pass
        }
    }
}

#[inline(always)]
fn pass_unread<W: World>(world: &W, reason: Reason, bytes: u64) -> Action {
    world.count(reason.counter(false), bytes);
    world.count(Reason::Passed.counter(false), bytes);
    Action::Pass
}

/// One packet on its way through the maps.
struct Visit<'a, W> {
    world: &'a W,
    headers: &'a Headers,
    /// What stands for the source in the maps.
    sender: &'a Address,
    hash: SenderHash,
    seed: u64,
    ifindex: u32,
    generation: u32,
    bytes: u64,
    rate: Rate,
    fault: Fault,
    /// Whether its destination port gets flow entries.
    tracked: bool,
}

/// What the maps hold of the sender.
#[derive(Clone, Copy)]
struct Known<'a> {
    source: Option<&'a Source>,
    flow: Option<&'a Flow>,
    standing: Standing,
    /// The time, if it was asked for; else 0.
    now_ns: u64,
}

impl<W: World> Visit<'_, W> {
    /// The counter of the reason to drop the packet for, if there is one.
    #[inline(always)]
    fn decide<P: Packet + ?Sized>(
        &self,
        packet: &P,
        tripped: &mut Screens,
        allowed: &mut bool,
        exempt: &mut bool,
        known_zone: &mut KnownZone,
    ) -> Option<u32> {
        self.fetch();
        let known = self.known();
        let network = known.standing.network;
        if network.is_counted() {
            self.world.count_network(network.id, self.bytes);
        }
        let action = network.action();
        if action == NetworkAction::Drop {
            return Some(Reason::Network.counter(true));
        }
        let allowed = forget(allowed, action == NetworkAction::Allow);
        if allowed {
            self.note(Reason::Allowed);
        }
        let exempt = forget(exempt, action == NetworkAction::Exempt);
        if exempt {
            self.note(Reason::Exempt);
        }
        let stateless = match self.fault {
            Fault::None => screen::stateless(self.headers),
            Fault::Malformed => Screens::NONE,
            Fault::Unparsable => Screens::of(Reason::Unparsable),
        };
        if self.fault == Fault::Malformed {
            self.note(Reason::Malformed);
        }
        let stateless = forget(tripped, stateless);
        if self.is_settled(known.flow, stateless) {
            self.note_data(packet, known);
            return None;
        }
        let now_ns = if known.now_ns == 0 { self.world.now_ns() } else { known.now_ns };
        let zone = self.zone(known_zone);
        if let Some(zone) = zone {
            let tripped = self.tripped(zone, known.source, stateless, exempt, now_ns, tripped);
            if !tripped.is_empty()
                && let Some(counter) = self.answer(zone, tripped, known.source, allowed, now_ns)
            {
                return Some(counter);
            }
        } else {
            self.note(Reason::UnknownZone);
        }
        self.note_passing(packet, known, zone, exempt, now_ns);
        None
    }

    /// Whether there is nothing to ask a zone about: data of a flow that came in by one.
    #[inline(always)]
    fn is_settled(&self, flow: Option<&Flow>, stateless: Screens) -> bool {
        self.rate != Rate::Syn
            && self.rate != Rate::SynAck
            && stateless.is_empty()
            && self.fault == Fault::None
            && !self.headers.fragment.is_part()
            && flow.is_some_and(|flow| flow.zone() != 0)
    }

    /// Every watched screen that the packet trips.
    #[inline(always)]
    fn tripped(
        &self,
        zone: &Zone,
        source: Option<&Source>,
        mut tripped: Screens,
        exempt: bool,
        now_ns: u64,
        scratch: &mut Screens,
    ) -> Screens {
        let fragment = &self.headers.fragment;
        if fragment.is_part() && self.fault == Fault::None {
            let tear_drop = Screens::of(Reason::TearDrop);
            if !zone.watched.and(tear_drop).is_empty() {
                let datagram = Datagram::of(self.headers, fragment);
                let seen = match self.world.fragments(&datagram) {
                    Some(seen) => Some(seen),
                    None => self.world.insert_fragments(&datagram),
                };
                let overlaps = seen.is_some_and(|seen| seen.add(fragment, now_ns));
                tripped = tripped.with(tear_drop.when(overlaps));
            }
        }
        if !exempt {
            tripped = tripped.with(self.rates(zone, source, now_ns));
        }
        forget(scratch, tripped).and(zone.watched)
    }

    /// Counts what was tripped; returns the counter of the first screen that drops.
    #[inline(always)]
    fn answer(
        &self,
        zone: &Zone,
        tripped: Screens,
        source: Option<&Source>,
        allowed: bool,
        now_ns: u64,
    ) -> Option<u32> {
        self.trip(source, tripped, now_ns);
        let mut dropping = tripped.and(zone.dropping);
        if zone.has(Zone::UNPARSABLE_TCP) && !self.may_reach_a_listener() {
            dropping = dropping.without(Screens::of(Reason::Unparsable));
        }
        let dropping = if allowed { Screens::NONE } else { dropping };
        let mut noted = tripped.without(dropping);
        for _ in Reason::SCREENS {
            if noted.is_empty() {
                break;
            }
            self.world.count(noted.first().counter(false), self.bytes);
            noted = noted.without(noted.first());
        }
        if dropping.is_empty() {
            return None;
        }
        if self.is_answered(zone, dropping, now_ns) {
            return Some(Reason::SynCookie.counter(true));
        }
        Some(dropping.first().counter(true))
    }

    /// Whether what was not read may be TCP to a port with flow entries.
    #[inline(always)]
    fn may_reach_a_listener(&self) -> bool {
        match self.headers.transport.kind {
            Protocol::Unread => true,
            Protocol::Segment => self.tracked || self.headers.key.ports == 0,
            _ => false,
        }
    }

    /// Whether a SYN that the zone does not take is answered with a SYN cookie.
    #[inline(always)]
    fn is_answered(&self, zone: &Zone, dropping: Screens, now_ns: u64) -> bool {
        let (_, of_zone) = Screens::floods(Rate::Syn);
        let answered = zone.has(Zone::COOKIES)
            && dropping.0 == of_zone.0
            && self.tracked
            && self.world.has_cookies();
        if answered && let Some(rates) = self.world.zone_rates(zone.id) {
            rates.cookie_ns.store(now_ns);
        }
        answered
    }

    /// The zone of the packet's interface and VLAN; a VLAN without an entry is in its interface's.
    #[inline(always)]
    fn zone<'z>(&self, known: &'z mut KnownZone) -> Option<&'z Zone> {
        let key = ZoneKey { ifindex: self.ifindex, vlan: self.headers.vlan as u32 };
        if known.key != key || known.generation != self.generation {
            let slots = match self.world.zone(&key) {
                None if key.vlan != 0 => self.world.zone(&ZoneKey { vlan: 0, ..key }),
                found => found,
            };
            let zone = slots.map(|slots| *slots.of(self.generation)).unwrap_or_default();
            *known = KnownZone { key, generation: self.generation, zone };
        }
        Some(&known.zone).filter(|zone| zone.id != 0)
    }

    #[inline(always)]
    fn note(&self, reason: Reason) {
        self.world.count(reason.counter(false), self.bytes);
    }
}
