//! What is known of a source that has not completed a handshake.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, IntoBytes};

use super::source::{trip, tripped};
use crate::reason::Screens;
use crate::shared::Shared;
use crate::sketch::Sketch;
use crate::slots::SenderHash;

/// What is known of a stranger, beyond its rates.
///
/// A slot of a fixed number: whoever forges sources takes slots of others that were seen once, and
/// none of those that went to a second port or address, or tripped a screen.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
#[repr(C)]
pub struct Stranger {
    /// Whose slot this is, by its hash.
    pub(crate) tag: Shared,
    /// As [`Source::tripped`](super::Source::tripped).
    pub tripped: Shared,
    /// TCP and UDP ports it went to.
    pub ports: Sketch,
    /// Addresses it went to.
    pub addresses: Sketch,
    /// Slots begin where cache lines do.
    reserved: [Shared; 4],
}

impl Stranger {
    /// Whether this is the slot of a sender.
    #[inline(always)]
    pub(crate) fn is_of(&self, sender: SenderHash) -> bool {
        self.tag.load() == sender.tag()
    }

    /// The screens that it tripped within the last minute.
    #[inline(always)]
    pub fn screens(&self, now_ns: u64) -> Screens {
        tripped(&self.tripped, now_ns)
    }

    /// Notes screens that it tripped.
    #[inline(always)]
    pub(crate) fn trip(&self, screens: Screens, now_ns: u64) {
        trip(&self.tripped, screens, now_ns);
    }

    /// Whether anything in it still counts.
    #[must_use]
    pub fn is_in_use(&self, now_ns: u64) -> bool {
        self.ports.bits(now_ns) > 0
            || self.addresses.bits(now_ns) > 0
            || !self.screens(now_ns).is_empty()
    }

    /// Gives the slot to `sender`, unless more than one packet's worth is known of who has it.
    #[inline(always)]
    pub(crate) fn take(&self, sender: SenderHash, now_ns: u64) -> bool {
        let kept = self.ports.bits(now_ns) > 1
            || self.addresses.bits(now_ns) > 1
            || !self.screens(now_ns).is_empty();
        if kept {
            return false;
        }
        self.tag.store(sender.tag());
        self.tripped.store(0);
        self.ports.clear();
        self.addresses.clear();
        true
    }
}
