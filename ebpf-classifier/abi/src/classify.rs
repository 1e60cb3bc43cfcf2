//! What becomes of a packet.
//!
//! In order: its network may settle it, a verdict may, then the screens look at it, rates are
//! measured, and what is let through is noted for the gateway. Only what is let through makes an
//! entry, so that a flood which is dropped cannot wash out what is known.

mod notes;
mod rates;

use core::hint::black_box;

use crate::fragment::{Datagram, Fragments};
use crate::layout::{
    Address, Flow, FlowKey, MAGIC, Network, NetworkAction, Slots, Source, Standing, Zone, ZoneKey,
    ZoneRates,
};
use crate::packet::Packet;
use crate::parse::{Headers, Kind as Protocol, Parsed, Transport, flag, parse};
use crate::reason::{Reason, Screens};
use crate::scratch::{KnownZone, Scratch, forget};
use crate::screen;
use crate::shared::Shared;

/// What is done with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on to the network stack.
    Pass,
    /// It ends here.
    Drop,
}

/// The maps and clocks that a packet meets. In the kernel these are BPF maps; on the host, tables.
///
/// References stay valid for the packet's time, even if another CPU removes the entry.
pub trait World {
    /// The time (ktime, ns), exact to some milliseconds, and cheap.
    fn now_ns(&self) -> u64;
    /// The time (ktime, ns), exact.
    fn now_exact_ns(&self) -> u64;
    /// The first word of `meta` and the generation in force.
    fn meta(&self) -> Option<(u32, u32)>;
    /// Counts a packet of `bytes` bytes under [`Reason::counter`].
    fn count(&self, counter: u32, bytes: u64);
    /// The zone of an interface and VLAN.
    fn zone(&self, key: &ZoneKey) -> Option<&Slots<Zone>>;
    /// The rates of the zone with this id.
    fn zone_rates(&self, id: u16) -> Option<&ZoneRates>;
    /// The longest prefix of `address`.
    fn network(&self, address: &Address) -> Option<&Slots<Network>>;
    /// When the verdict on `address` expires.
    fn verdict(&self, address: &Address) -> Option<u64>;
    /// What is known of a source.
    fn source(&self, address: &Address) -> Option<&Source>;
    /// Makes an empty entry for a source, unless there is one.
    fn insert_source(&self, address: &Address) -> Option<&Source>;
    /// What is known of a connection.
    fn flow(&self, key: &FlowKey) -> Option<&Flow>;
    /// Makes an entry for a connection.
    fn insert_flow(&self, key: &FlowKey, flow: Flow);
    /// Whether connections to this port get entries under `generation`.
    fn has_flows(&self, port: u16, generation: u32) -> bool;
    /// When a source last completed a handshake.
    fn handshake(&self, address: &Address) -> Option<&Shared>;
    /// Notes that a source has completed a handshake.
    fn insert_handshake(&self, address: &Address, now_ns: u64);
    /// Whether this host has an established connection for `key`: a handshake that the kernel has
    /// seen to its end, which no forged packet can bring about. `v6` says which kind the addresses are.
    fn is_established(&self, key: &FlowKey, v6: bool) -> bool;
    /// What was seen of a datagram.
    fn fragments(&self, datagram: &Datagram) -> Option<&Fragments>;
    /// Makes an empty entry for a datagram.
    fn insert_fragments(&self, datagram: &Datagram) -> Option<&Fragments>;
}

/// Classifies a frame that came in by the interface `ifindex`, counts it, and says what to do.
///
/// Cannot fail: what is not understood passes. Takes time bounded by the frame's headers.
#[inline(always)]
pub fn classify<W: World, P: Packet + ?Sized>(
    world: &W,
    packet: &P,
    ifindex: u32,
    scratch: &mut Scratch,
) -> Action {
    let Some((MAGIC, generation)) = world.meta() else { return Action::Pass };
    let bytes = packet.bytes() as u64;
    let note = |reason: Reason| world.count(reason.counter(false), bytes);
    match parse(packet, scratch) {
        Ok(Parsed::Ip) => {}
        Ok(Parsed::NotIp) => {
            note(Reason::NotIp);
            note(Reason::Passed);
            return Action::Pass;
        }
        Err(_) => {
            note(Reason::Malformed);
            note(Reason::Passed);
            return Action::Pass;
        }
    }
    let Scratch { headers, tripped, kind, tracked, allowed, zone, .. } = black_box(scratch);
    let kind = forget(kind, Kind::of(&headers.transport));
    let tracked = forget(
        tracked,
        headers.transport.kind == Protocol::Tcp
            && world.has_flows(headers.key.destination_port(), generation),
    );
    let visit = Visit { world, headers, ifindex, generation, bytes, kind, tracked };
    match visit.decide(packet, tripped, allowed, zone) {
        Some(counter) => {
            world.count(counter, bytes);
            Action::Drop
        }
        None => {
            note(Reason::Passed);
            Action::Pass
        }
    }
}

/// What rates are measured of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A TCP segment that asks for a connection. A SYN-ACK does not.
    Syn,
    Udp,
    Icmp,
    /// Everything that makes no entry.
    #[default]
    Other,
}

impl Kind {
    #[inline(always)]
    fn of(transport: &Transport) -> Self {
        match transport.kind {
            Protocol::Tcp if transport.flags & (flag::SYN | flag::ACK) == flag::SYN => Self::Syn,
            Protocol::Udp => Self::Udp,
            Protocol::Icmp => Self::Icmp,
            _ => Self::Other,
        }
    }
}

/// One packet on its way through the maps.
struct Visit<'a, W> {
    world: &'a W,
    headers: &'a Headers,
    ifindex: u32,
    generation: u32,
    bytes: u64,
    kind: Kind,
    /// Whether its destination port gets flow entries.
    tracked: bool,
}

/// What the maps hold of the sender.
#[derive(Clone, Copy)]
struct Known<'a> {
    source: Option<&'a Source>,
    flow: Option<&'a Flow>,
    standing: Standing,
}

impl<W: World> Visit<'_, W> {
    /// The counter of the reason to drop the packet for, if there is one.
    #[inline(always)]
    fn decide<P: Packet + ?Sized>(
        &self,
        packet: &P,
        tripped: &mut Screens,
        allowed: &mut bool,
        known_zone: &mut KnownZone,
    ) -> Option<u32> {
        // First, because whoever is under a verdict is to cost the least.
        if let Some(until) = self.world.verdict(&self.headers.key.source)
            && until > self.world.now_ns()
            && self.look_up_network().network.action() == NetworkAction::Classify
        {
            return Some(Reason::Verdict.counter(true));
        }
        let known = self.known();
        let action = known.standing.network.action();
        if action == NetworkAction::Drop {
            return Some(Reason::Network.counter(true));
        }
        let allowed = forget(allowed, action == NetworkAction::Allow);
        if allowed {
            self.note(Reason::Allowed);
        }
        let stateless = forget(tripped, screen::stateless(self.headers));
        if self.is_settled(known.flow, stateless) {
            self.note_data(packet, known);
            return None;
        }
        let now_ns = match self.kind {
            // The one reading serves the flow as well.
            Kind::Syn => self.world.now_exact_ns(),
            _ => self.world.now_ns(),
        };
        let zone = self.zone(known_zone);
        if let Some(zone) = zone {
            let tripped = self.tripped(zone, known.source, stateless, now_ns, tripped);
            if !tripped.is_empty()
                && let Some(counter) = self.answer(zone, tripped, known.source, allowed, now_ns)
            {
                return Some(counter);
            }
        } else {
            self.note(Reason::UnknownZone);
        }
        self.note_passing(packet, known, zone, now_ns);
        None
    }

    /// Whether there is nothing to ask a zone about: data of a flow that came in by one.
    #[inline(always)]
    fn is_settled(&self, flow: Option<&Flow>, stateless: Screens) -> bool {
        self.kind == Kind::Other
            && stateless.is_empty()
            && !self.headers.fragment.is_part()
            && flow.is_some_and(|flow| flow.zone() != 0)
    }

    #[inline(always)]
    fn known(&self) -> Known<'_> {
        let source = match self.kind {
            Kind::Other => None,
            _ => self.world.source(&self.headers.key.source),
        };
        let flow = if self.tracked { self.world.flow(&self.headers.key) } else { None };
        Known { source, flow, standing: self.standing(source, flow) }
    }

    /// The network of the source, by the nearest way: it is kept with flows and sources.
    #[inline(always)]
    fn standing(&self, source: Option<&Source>, flow: Option<&Flow>) -> Standing {
        let word = match (source, flow) {
            (Some(source), _) => source.standing.load(),
            (None, Some(flow)) => flow.standing.load(),
            (None, None) => return self.look_up_network(),
        };
        let known = Standing::from_word(word);
        if known.generation == self.generation { known } else { self.look_up_network() }
    }

    #[inline(always)]
    fn look_up_network(&self) -> Standing {
        let slots = self.world.network(&self.headers.key.source);
        let network = slots.map(|slots| *slots.of(self.generation)).unwrap_or_default();
        Standing { generation: self.generation, network }
    }

    /// Every watched screen that the packet trips.
    #[inline(always)]
    fn tripped(
        &self,
        zone: &Zone,
        source: Option<&Source>,
        mut tripped: Screens,
        now_ns: u64,
        scratch: &mut Screens,
    ) -> Screens {
        let fragment = &self.headers.fragment;
        if fragment.is_part() {
            let tear_drop = Screens::of(Reason::TearDrop);
            if !zone.watched.and(tear_drop).is_empty() {
                let datagram = Datagram::of(self.headers, fragment);
                let seen = match self.world.fragments(&datagram) {
                    Some(seen) => Some(seen),
                    None => self.world.insert_fragments(&datagram),
                };
                let overlaps = seen.is_some_and(|seen| seen.overlaps(fragment));
                tripped = tripped.with(tear_drop.when(overlaps));
            }
        }
        if self.kind != Kind::Other {
            tripped = forget(scratch, tripped.with(self.rates(zone, source, now_ns)));
        }
        tripped.and(zone.watched)
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
        // Sources of TCP segments that make no entry are looked up only here, where it is rare.
        let source = match source {
            Some(source) => Some(source),
            None => self.world.source(&self.headers.key.source),
        };
        if let Some(source) = source {
            source.trip(tripped, now_ns);
        }
        let dropping = if allowed { Screens::NONE } else { tripped.and(zone.dropping) };
        let mut noted = tripped.without(dropping);
        for _ in Reason::SCREENS {
            if noted.is_empty() {
                break;
            }
            self.world.count(noted.first().counter(false), self.bytes);
            noted = noted.without(noted.first());
        }
        if dropping.is_empty() { None } else { Some(dropping.first().counter(true)) }
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

#[cfg(test)]
mod tests;
