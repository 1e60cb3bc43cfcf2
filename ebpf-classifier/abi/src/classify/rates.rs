//! The screens that a source's past decides: rates, port scans, address sweeps.

use super::{Visit, World};
use crate::layout::{Address, Source, Zone};
use crate::parse::Kind as Protocol;
use crate::rate::Rate;
use crate::reason::{Reason, Screens};
use crate::sketch::{Sketch, spread};

/// How long a completed handshake speaks for its source: ten minutes.
const HANDSHAKE_KEPT_NS: u64 = 600_000_000_000;

impl<W: World> Visit<'_, W> {
    /// The screens that the rates of this source and this zone trip. Counts nothing but the ports and
    /// addresses: what is dropped is in no rate, so that a limit admits that many and no more.
    #[inline(always)]
    pub(super) fn rates(&self, zone: &Zone, source: Option<&Source>, now_ns: u64) -> Screens {
        let mut tripped = Screens::NONE;
        let Some(limits) = zone.limits.get(self.rate.index()) else { return tripped };
        let (of_source, of_zone) = Screens::floods(self.rate);
        if limits.source != 0 && self.level(source, now_ns) >= limits.source {
            tripped = tripped.with(of_source);
        }
        if limits.zone != 0
            && let Some(rates) = self.world.zone_rates(zone.id)
            && let Some(meter) = rates.meters.get(self.rate.index())
            && meter.level(now_ns) >= limits.zone
            && !self.is_known(now_ns)
        {
            tripped = tripped.with(of_zone);
        }
        if !tripped.is_empty() {
            return if self.is_of_a_connection() { Screens::NONE } else { tripped };
        }
        if zone.port_bits | zone.address_bits != 0 && self.opens() {
            tripped = self.scans(zone, source, now_ns);
        }
        tripped
    }

    /// Whether a source may go on where strangers may not: it lately completed a handshake.
    #[inline(always)]
    fn is_known(&self, now_ns: u64) -> bool {
        self.rate == Rate::Syn
            && self.is_learnt(now_ns)
            && self
                .world
                .handshake(self.sender)
                .is_some_and(|last| now_ns.saturating_sub(last.load()) < HANDSHAKE_KEPT_NS)
    }

    /// Whether a segment is of a connection that this host has, though it has no entry: one that we
    /// opened, one of a port without flow entries, one from before the maps were made.
    #[inline(always)]
    fn is_of_a_connection(&self) -> bool {
        /// `BPF_TCP_LISTEN`.
        const LISTEN: u32 = 10;
        let asked = matches!(self.rate, Rate::Ack | Rate::Rst | Rate::SynAck);
        if !asked {
            return false;
        }
        let state = self.world.connection(&self.headers.key, self.headers.v6);
        state != 0 && state != LISTEN
    }

    /// Whether the packet may open something: what only answers is no scan.
    #[inline(always)]
    fn opens(&self) -> bool {
        self.rate.is_of_sources()
    }

    #[inline(always)]
    fn scans(&self, zone: &Zone, source: Option<&Source>, now_ns: u64) -> Screens {
        let mut tripped = Screens::NONE;
        let (ports, addresses) = match source {
            Some(source) => (&source.ports, &source.addresses),
            None => match self.stranger_or_new(now_ns) {
                Some(slot) => (&slot.ports, &slot.addresses),
                None => return tripped,
            },
        };
        let port = spread(self.headers.key.destination_port() as u32);
        if zone.port_bits != 0
            && self.rate != Rate::Icmp
            && self.is_over(ports, port, zone.port_bits, now_ns)
        {
            tripped = tripped.with(Screens::of(Reason::PortScan));
        }
        if zone.address_bits != 0
            && self.is_over(addresses, self.destination_hash(), zone.address_bits, now_ns)
        {
            tripped = tripped.with(Screens::of(Reason::AddressSweep));
        }
        tripped
    }

    /// Adds a port or an address, unless the packet is an answer to a socket of ours.
    #[inline(always)]
    fn is_over(&self, seen: &Sketch, hash: u32, limit: u32, now_ns: u64) -> bool {
        if seen.has(hash, now_ns) {
            return seen.bits(now_ns) > limit;
        }
        // Asked only where it would count: once for each of 256 bits in a span.
        if self.headers.transport.kind == Protocol::Udp
            && self.world.has_udp_socket(&self.headers.key, self.headers.v6)
        {
            return false;
        }
        seen.add(hash, now_ns) > limit
    }

    #[inline(always)]
    fn destination_hash(&self) -> u32 {
        let Address { high, low } = self.headers.key.destination;
        // Two odd constants, so that halves which change together do not cancel each other out.
        let mixed =
            high.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ low.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        let mixed = (mixed >> 32) as u32;
        spread(mixed)
    }
}
