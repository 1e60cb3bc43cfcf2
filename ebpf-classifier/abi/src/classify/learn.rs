//! Handshakes that have ended: what a forged source cannot bring about, and what entries are made for.

use super::{Known, Visit, World};
use crate::layout::{Flow, Pending, Zone};
use crate::packet::Packet;
use crate::parse::flag;
use crate::payload::protocol;
use crate::reason::Reason;

/// How long after its SYN cookie the kernel takes the answer to it: two minutes.
const COOKIE_KEPT_NS: u64 = 120_000_000_000;

impl<W: World> Visit<'_, W> {
    /// A segment of a connection without an entry. If its handshake has ended it gets one.
    ///
    /// The segment that ends the handshake comes before the kernel has a connection, and the first data
    /// may come in one batch with it, or instead of it where it was lost: so every segment is looked
    /// at, up to a bound for each SYN, until one finds the connection.
    #[inline(always)]
    pub(super) fn note_answer<P: Packet + ?Sized>(
        &self,
        packet: &P,
        known: Known<'_>,
        zone: Option<&Zone>,
        now_ns: u64,
    ) {
        let (slot, tag) = Pending::slot(&self.headers.key, self.seed);
        let Some(pending) = self.world.pending(slot) else { return };
        if !pending.is_of(tag) {
            return self.note_cookie(known, zone, now_ns);
        }
        let (at, bytes) = (self.headers.transport.payload_at, self.headers.transport.payload_bytes);
        if bytes != 0 {
            pending.set_protocol(protocol(packet, at, bytes));
        }
        if !pending.may_look() || !self.is_established() {
            return;
        }
        let flow = pending.flow(known.standing);
        flow.set_learnt();
        let zone = flow.zone();
        self.world.insert_flow(&self.headers.key, flow);
        self.learn(known, zone, now_ns);
    }

    /// A segment that returns the cookie which its source was sent by us.
    #[inline(always)]
    fn note_cookie(&self, known: Known<'_>, zone: Option<&Zone>, now_ns: u64) {
        let Some(zone) = zone else { return };
        let Some(rates) = self.world.zone_rates(zone.id) else { return };
        let sent = rates.cookie_ns.load();
        let may_be = sent != 0
            && now_ns.saturating_sub(sent) < COOKIE_KEPT_NS
            && self.headers.transport.flags & flag::ACK != 0;
        if !may_be || !self.world.is_cookie(self.headers) {
            return;
        }
        self.note(Reason::CookieProven);
        let flow = Flow::new(now_ns, known.standing, zone.id, self.headers.ttl, 0);
        flow.set_learnt();
        self.world.insert_flow(&self.headers.key, flow);
        self.learn(known, zone.id, now_ns);
    }

    /// Whether this host has the connection: its handshake has ended then, and forged segments cannot
    /// have brought that about.
    #[inline(always)]
    pub(super) fn is_established(&self) -> bool {
        // By the kernel's numbers: established, both FIN-WAITs, CLOSE-WAIT, LAST-ACK and CLOSING.
        const ESTABLISHED: u32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;
        let state = self.world.connection(&self.headers.key, self.headers.v6);
        state < 32 && ESTABLISHED >> state & 1 != 0
    }

    /// Makes the entries of a source whose handshake has ended.
    #[inline(always)]
    pub(super) fn learn(&self, known: Known<'_>, zone: u16, now_ns: u64) {
        // The mark first: what is looked up by it is there then, or not yet.
        let (word, mark) = self.hash.learnt_mark();
        if let Some(marks) = self.world.learnt(word) {
            marks.set(mark, now_ns);
        }
        self.world.insert_handshake(self.sender, now_ns);
        let Some(source) = self.world.insert_source(self.sender) else { return };
        if source.first_ns.load() == 0 {
            source.first_ns.store(now_ns);
            self.take_over(source, now_ns);
        }
        source.last_ns.store(now_ns);
        source.zone.store(zone as u64);
        source.standing.store(known.standing.word());
    }
}
