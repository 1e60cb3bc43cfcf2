//! What is known of a connection.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::address::Address;
use super::config::Standing;
use crate::payload::Protocol;
use crate::reason::Screens;
use crate::shared::Shared;

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

/// The bit of [`Flow::state`] that says that the source was learnt.
const LEARNT: u64 = 1 << 32;
/// Looks at whether the kernel has the connection by now, in the bits above.
const LOOKS_SHIFT: u32 = 33;
const LOOKS_MAX: u64 = 15;

/// What is known of a connection.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
#[repr(C)]
pub struct Flow {
    /// When its SYN was seen (ktime, ns).
    pub syn_ns: Shared,
    /// The network of its source: a [`Standing`].
    pub standing: Shared,
    /// Zone id, [`Protocol`] and the SYN's TTL: see [`Flow::new`]; and whether the source was learnt.
    pub state: Shared,
    /// What was known of the source when the SYN came: see [`Source::summary`](super::Source::summary). Here as well, so that
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
        self.state.load() as u16 & 0xfff
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

    /// Whether its handshake was seen to have ended since its SYN.
    #[inline(always)]
    pub(crate) fn is_learnt(&self) -> bool {
        self.state.load() & LEARNT != 0
    }

    /// Notes that it was.
    #[inline(always)]
    pub(crate) fn set_learnt(&self) {
        self.state.store(self.state.load() | LEARNT);
    }

    /// Counts a look at the kernel's connections; returns whether there was one left since its SYN.
    #[inline(always)]
    pub(crate) fn may_look(&self) -> bool {
        let state = self.state.load();
        let left = state >> LOOKS_SHIFT < LOOKS_MAX;
        if left {
            self.state.store(state + (1 << LOOKS_SHIFT));
        }
        left
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
