//! What is kept of a packet that was let through: its source, its flow, its protocol.

use super::{Kind, Known, Visit, World};
use crate::layout::{Flow, Source, Zone};
use crate::packet::Packet;
use crate::payload::protocol;

impl<W: World> Visit<'_, W> {
    #[inline(always)]
    pub(super) fn note_passing<P: Packet + ?Sized>(
        &self,
        packet: &P,
        known: Known<'_>,
        zone: Option<&Zone>,
        now_ns: u64,
    ) {
        let mut sender = 0;
        if self.kind != Kind::Other
            && let Some(source) = self.note_source(known, zone, now_ns)
        {
            sender = source.summary(now_ns);
        }
        if self.kind == Kind::Syn && self.tracked {
            self.begin_flow(known, zone, now_ns, sender);
        } else {
            self.note_data(packet, known);
        }
    }

    #[inline(always)]
    fn note_source<'s>(
        &'s self,
        known: Known<'s>,
        zone: Option<&Zone>,
        now_ns: u64,
    ) -> Option<&'s Source> {
        let source = match known.source {
            Some(source) => source,
            None => self.world.insert_source(&self.headers.key.source)?,
        };
        if source.first_ns.load() == 0 {
            source.first_ns.store(now_ns);
        }
        source.last_ns.store(now_ns);
        source.standing.store(known.standing.word());
        self.meter(source).add(now_ns);
        let Some(zone) = zone else { return Some(source) };
        source.zone.store(zone.id as u64);
        // A rate that nobody limits is not worth a word that all CPUs write to.
        if self.limits(zone).zone != 0
            && let Some(rates) = self.world.zone_rates(zone.id)
        {
            self.zone_meter(rates).add(now_ns);
        }
        Some(source)
    }

    /// A SYN begins a flow anew, also one whose ports were used before.
    #[inline(always)]
    fn begin_flow(&self, known: Known<'_>, zone: Option<&Zone>, now_ns: u64, sender: u64) {
        let zone = zone.map_or(0, |zone| zone.id);
        let flow = Flow::new(now_ns, known.standing, zone, self.headers.ttl, sender);
        match known.flow {
            // In place: cheaper than a second entry, and what a retransmitted SYN asks for.
            Some(known) => {
                known.syn_ns.store(flow.syn_ns.load());
                known.standing.store(flow.standing.load());
                known.state.store(flow.state.load());
                known.sender.store(sender);
            }
            None => self.world.insert_flow(&self.headers.key, flow),
        }
    }

    /// The first payload tells the protocol, and that the handshake was completed: the kernel has a
    /// connection by then, or the payload was forged.
    #[inline(always)]
    pub(super) fn note_data<P: Packet + ?Sized>(&self, packet: &P, known: Known<'_>) {
        let Some(flow) = known.flow else { return };
        let standing = known.standing.word();
        if flow.standing.load() != standing {
            flow.standing.store(standing);
        }
        let (at, bytes) = (self.headers.transport.payload_at, self.headers.transport.payload_bytes);
        if bytes == 0 || flow.protocol().is_some() {
            return;
        }
        flow.set_protocol(protocol(packet, at, bytes));
        if self.world.is_established(&self.headers.key, self.headers.v6) {
            self.world.insert_handshake(&self.headers.key.source, self.world.now_ns());
        }
    }
}
