//! Dropped packets as somebody who asks for them gets them.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Address;

/// How much of a packet a sample has, in bytes: every header and some of what follows.
pub const SAMPLE_BYTES: usize = 128;

/// Who asks for samples, and of which packets. All zeros: nobody does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct Watch {
    /// Until when (ktime, ns). Whoever asks renews this, so that nothing is copied for somebody who
    /// has ended without saying so.
    pub until_ns: u64,
    /// What the bits of `mask` of the source are.
    pub source: Address,
    /// The bits of the source that are compared.
    pub mask: Address,
    /// The [counter](crate::Reason::counter) of the reason, or [`Watch::EVERY_REASON`].
    pub counter: u32,
    /// 0.
    pub reserved: u32,
}

impl Watch {
    /// Packets dropped for any reason.
    pub const EVERY_REASON: u32 = u32::MAX;

    /// Whether a packet from `source` that was counted under `counter` is asked for.
    #[inline(always)]
    #[must_use]
    pub fn asks_for(&self, counter: u32, source: &Address) -> bool {
        (self.counter == Self::EVERY_REASON || self.counter == counter)
            && source.masked(&self.mask) == self.source
    }
}

/// How many samples a CPU has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable))]
#[repr(C)]
pub struct SampleRate {
    /// When the next one is due if none is to be in advance (ktime, ns).
    pub due_ns: u64,
    /// Packets that were asked for and of which there is no sample: over the rate, or without room.
    pub missed: u64,
}

impl SampleRate {
    /// The time from one sample to the next: 10,000 a second.
    const EVERY_NS: u64 = 100_000;
    /// How far they may be in advance: 100 in a row.
    const BURST_NS: u64 = 100 * Self::EVERY_NS;

    /// Whether one may be taken now; if so, it is.
    #[inline(always)]
    pub fn take(&mut self, now_ns: u64) -> bool {
        let earliest = now_ns.saturating_sub(Self::BURST_NS);
        let due_ns = if self.due_ns < earliest { earliest } else { self.due_ns };
        if due_ns >= now_ns {
            return false;
        }
        self.due_ns = due_ns + Self::EVERY_NS;
        true
    }
}

/// A dropped packet.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes, Immutable, KnownLayout))]
#[repr(C)]
pub struct Sample {
    /// When it came (ktime, ns).
    pub ktime_ns: u64,
    /// Its length, from the Ethernet header on.
    pub bytes: u32,
    /// How much of `data` is of the packet.
    pub captured: u32,
    /// The [counter](crate::Reason::counter) of the reason.
    pub counter: u32,
    /// The interface that it came in by.
    pub ifindex: u32,
    /// Its first bytes.
    pub data: [u8; SAMPLE_BYTES],
}
