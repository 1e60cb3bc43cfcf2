//! The screens that a source's past decides: rates, port scans, address sweeps.

use super::{Kind, Visit, World};
use crate::layout::{Address, Limits, Source, Zone, ZoneRates};
use crate::rate::Meter;
use crate::reason::{Reason, Screens};
use crate::sketch::spread;

/// How long a completed handshake speaks for its source: ten minutes.
const HANDSHAKE_KEPT_NS: u64 = 600_000_000_000;

impl<W: World> Visit<'_, W> {
    /// The screens that the rates of this source and this zone trip. Counts nothing but the ports and
    /// addresses: what is dropped is in no rate, so that a limit admits that many and no more.
    #[inline(always)]
    pub(super) fn rates(&self, zone: &Zone, source: Option<&Source>, now_ns: u64) -> Screens {
        let limits = self.limits(zone);
        let (of_source, of_zone) = self.screens();
        let mut tripped = Screens::NONE;
        if let Some(source) = source {
            if limits.source != 0 && self.meter(source).level(now_ns) >= limits.source {
                tripped = tripped.with(of_source);
            }
            tripped = tripped.with(self.scans(zone, source, now_ns));
        }
        if limits.zone != 0
            && let Some(rates) = self.world.zone_rates(zone.id)
            && self.zone_meter(rates).level(now_ns) >= limits.zone
            && !self.is_known(now_ns)
        {
            tripped = tripped.with(of_zone);
        }
        tripped
    }

    /// The meters of this packet's kind.
    #[inline(always)]
    pub(super) fn meter<'s>(&self, source: &'s Source) -> &'s Meter {
        match self.kind {
            Kind::Udp => &source.udp,
            Kind::Icmp => &source.icmp,
            _ => &source.syn,
        }
    }

    #[inline(always)]
    pub(super) fn zone_meter<'s>(&self, rates: &'s ZoneRates) -> &'s Meter {
        match self.kind {
            Kind::Udp => &rates.udp,
            Kind::Icmp => &rates.icmp,
            _ => &rates.syn,
        }
    }

    /// The limits of this packet's kind.
    #[inline(always)]
    pub(super) fn limits<'z>(&self, zone: &'z Zone) -> &'z Limits {
        match self.kind {
            Kind::Udp => &zone.udp,
            Kind::Icmp => &zone.icmp,
            _ => &zone.syn,
        }
    }

    /// The screens of its two limits, the source's and the zone's.
    #[inline(always)]
    fn screens(&self) -> (Screens, Screens) {
        let (of_source, of_zone) = match self.kind {
            Kind::Udp => (Reason::UdpFloodSource, Reason::UdpFloodZone),
            Kind::Icmp => (Reason::IcmpFloodSource, Reason::IcmpFloodZone),
            _ => (Reason::SynFloodSource, Reason::SynFloodZone),
        };
        (Screens::of(of_source), Screens::of(of_zone))
    }

    /// Whether a source may go on where strangers may not: it lately completed a handshake.
    #[inline(always)]
    fn is_known(&self, now_ns: u64) -> bool {
        self.kind == Kind::Syn
            && self
                .world
                .handshake(&self.headers.key.source)
                .is_some_and(|last| now_ns.saturating_sub(last.load()) < HANDSHAKE_KEPT_NS)
    }

    #[inline(always)]
    fn scans(&self, zone: &Zone, source: &Source, now_ns: u64) -> Screens {
        let mut tripped = Screens::NONE;
        let port = self.headers.key.destination_port();
        if zone.port_bits != 0
            && self.kind != Kind::Icmp
            && source.ports.add(spread(port as u32), now_ns) > zone.port_bits
        {
            tripped = tripped.with(Screens::of(Reason::PortScan));
        }
        if zone.address_bits != 0
            && source.addresses.add(self.destination_hash(), now_ns) > zone.address_bits
        {
            tripped = tripped.with(Screens::of(Reason::AddressSweep));
        }
        tripped
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
