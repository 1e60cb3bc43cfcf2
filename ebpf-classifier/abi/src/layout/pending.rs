//! Connections whose handshake was not seen to its end yet.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, IntoBytes};

use super::PENDING_SLOTS;
use super::config::Standing;
use super::flow::{Flow, FlowKey};
use crate::hash::hash;
use crate::shared::Shared;

/// What a SYN told, until its connection has an entry.
///
/// A slot of a fixed number, which the next SYN that falls to it takes: a flood of forged ones costs
/// others their hints at worst, never the entry of a connection that is open.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
#[repr(C)]
pub struct Pending {
    /// As [`Flow::state`], with the connection's tag in the high half: one word, so that nobody reads
    /// one connection's tag with another's zone.
    pub state: Shared,
    /// As [`Flow::syn_ns`].
    pub syn_ns: Shared,
    /// As [`Flow::sender`].
    pub sender: Shared,
}

/// Lookups of the kernel's connection that one SYN pays for. Without a bound, a sender of segments that
/// belong to no connection would cause one with each of them.
const LOOKS_MAX: u64 = 15;
const LOOKS_SHIFT: u32 = 12;

impl Pending {
    /// The slot of a connection, and its tag.
    #[inline(always)]
    #[must_use]
    pub fn slot(key: &FlowKey, seed: u64) -> (u32, u32) {
        let hash = hash(&[
            key.source.high ^ seed,
            key.source.low,
            key.destination.high,
            key.destination.low ^ key.ports as u64,
        ]);
        // Bits of their own for each.
        ((hash >> 32) as u32 & (PENDING_SLOTS - 1), hash as u32 | 1)
    }

    /// Notes a SYN.
    #[inline(always)]
    pub(crate) fn begin(&self, tag: u32, flow: &Flow) {
        self.syn_ns.store(flow.syn_ns.load());
        self.sender.store(flow.sender.load());
        self.state.store((tag as u64) << 32 | flow.state.load() & 0xffff_ffff);
    }

    /// Whether this is the connection with `tag`.
    #[inline(always)]
    #[must_use]
    pub fn is_of(&self, tag: u32) -> bool {
        (self.state.load() >> 32) as u32 == tag
    }

    /// What was noted, as a flow of the network `standing`.
    #[inline(always)]
    #[must_use]
    pub fn flow(&self, standing: Standing) -> Flow {
        let flow = Flow::default();
        flow.syn_ns.store(self.syn_ns.load());
        flow.standing.store(standing.word());
        flow.state.store(self.state.load() & 0xffff_0fff);
        flow.sender.store(self.sender.load());
        flow
    }

    /// Counts a look at the kernel's connections; returns whether there was one left.
    #[inline(always)]
    pub(crate) fn may_look(&self) -> bool {
        let state = self.state.load();
        if state >> LOOKS_SHIFT & LOOKS_MAX == LOOKS_MAX {
            return false;
        }
        self.state.store(state + (1 << LOOKS_SHIFT));
        true
    }

    /// Notes what the first payload was, unless it is noted.
    #[inline(always)]
    pub(crate) fn set_protocol(&self, protocol: crate::payload::Protocol) {
        let state = self.state.load();
        if state >> 16 & 0xff == 0 {
            self.state.store(state | (protocol as u64) << 16);
        }
    }
}
