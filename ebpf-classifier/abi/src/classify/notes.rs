//! What is kept of a packet that was let through: its source, its flow, its protocol.

use super::{Known, Visit, World};
use crate::layout::{Flow, Pending, Zone};
use crate::packet::Packet;
use crate::payload::protocol;
use crate::rate::Rate;

impl<W: World> Visit<'_, W> {
    #[inline(always)]
    pub(super) fn note_passing<P: Packet + ?Sized>(
        &self,
        packet: &P,
        known: Known<'_>,
        zone: Option<&Zone>,
        exempt: bool,
        now_ns: u64,
    ) {
        let limits = zone.and_then(|zone| zone.limits.get(self.rate.index()));
        let (of_source, of_zone) = limits.map_or((0, 0), |limits| (limits.source, limits.zone));
        // A rate that nobody limits is not worth a word that all CPUs write to, unless it is a hint.
        if self.rate == Rate::Syn || of_source != 0 {
            self.meter(known.source, now_ns);
        }
        if of_zone != 0
            && !exempt
            && let Some(zone) = zone
            && let Some(rates) = self.world.zone_rates(zone.id)
            && let Some(meter) = rates.meters.get(self.rate.index())
        {
            meter.add(now_ns);
        }
        if let Some(source) = known.source {
            source.last_ns.store(now_ns);
            source.standing.store(known.standing.word());
            if let Some(zone) = zone {
                source.zone.store(zone.id as u64);
            }
        }
        if !self.tracked || self.headers.fragment.offset > 0 {
            return;
        }
        match self.rate {
            Rate::Syn => self.note_syn(known, zone, now_ns),
            Rate::Ack if known.flow.is_some() => self.note_data(packet, known),
            Rate::Ack => self.note_answer(packet, known, zone, now_ns),
            _ => {}
        }
    }

    /// A SYN begins a connection, also where its ports were used before.
    #[inline(always)]
    fn note_syn(&self, known: Known<'_>, zone: Option<&Zone>, now_ns: u64) {
        let zone = zone.map_or(0, |zone| zone.id);
        let (level, screens) = match known.source {
            Some(source) => (source.syn_level(now_ns), source.screens(now_ns)),
            None => (
                self.level(None, now_ns),
                self.stranger().map(|slot| slot.screens(now_ns)).unwrap_or_default(),
            ),
        };
        let sender = (screens.0 as u64) << 32 | level as u64;
        let syn_ns = self.world.now_exact_ns();
        let flow = Flow::new(syn_ns, known.standing, zone, self.headers.ttl, sender);
        // In place: what a retransmitted SYN asks for, and a connection that follows another one. No
        // stranger has one.
        if known.source.is_some()
            && let Some(known) = self.world.flow(&self.headers.key)
        {
            known.syn_ns.store(syn_ns);
            known.standing.store(flow.standing.load());
            known.state.store(flow.state.load());
            known.sender.store(sender);
            return;
        }
        let (slot, tag) = Pending::slot(&self.headers.key, self.seed);
        if let Some(pending) = self.world.pending(slot) {
            pending.begin(tag, &flow);
        }
    }

    /// The first payload tells the protocol. Any segment may tell that the handshake has ended.
    #[inline(always)]
    pub(super) fn note_data<P: Packet + ?Sized>(&self, packet: &P, known: Known<'_>) {
        let Some(flow) = known.flow else { return };
        let standing = known.standing.word();
        if flow.standing.load() != standing {
            flow.standing.store(standing);
        }
        let (at, bytes) = (self.headers.transport.payload_at, self.headers.transport.payload_bytes);
        if bytes != 0 && flow.protocol().is_none() {
            flow.set_protocol(protocol(packet, at, bytes));
        }
        if !flow.is_learnt() && flow.may_look() && self.is_established() {
            flow.set_learnt();
            self.learn(known, flow.zone(), self.world.now_ns());
        }
    }
}
