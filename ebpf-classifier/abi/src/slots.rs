//! Where a source is in maps of a fixed number of slots.
//!
//! All its places come from one hash, which is made once for each packet. Two of them are marks: a word
//! that many sources share and that says whether a lookup can find anything, at a tenth of the lookup's
//! cost.

use crate::hash::hash;
use crate::layout::{
    Address, CELLS_IN_A_ROW, LEARNT_SLOTS, STRANGER_SLOTS, VERDICT_KINDS, VERDICT_SLOTS,
};
use crate::rate::Rate;

/// How long a mark of a handshake holds: 2^42 ns, 73 minutes. Without an end, all slots would be marked
/// in time. A source without a mark is a stranger until its next handshake.
const LEARNT_KEPT_SHIFT: u32 = 42;

/// The hash of a source.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct SenderHash(u64);

impl SenderHash {
    /// Of the source `sender`, begun with the seed of `meta`.
    #[inline(always)]
    #[must_use]
    pub fn of(sender: &Address, seed: u64) -> Self {
        Self(hash(&[sender.high ^ seed, sender.low]))
    }

    /// The mark in `verdict_marks` that is set while there is a verdict on the source.
    #[inline(always)]
    #[must_use]
    pub fn verdict_mark(self) -> u32 {
        VERDICT_KINDS + ((self.0 >> 40) as u32 & (VERDICT_SLOTS - 1))
    }

    /// The slot in `learnt` that tells when it, or another of the slot, completed a handshake.
    #[inline(always)]
    #[must_use]
    pub fn learnt_slot(self) -> u32 {
        (self.0 >> 24) as u32 & (LEARNT_SLOTS - 1)
    }

    /// By the address alone: a stranger has one slot, whatever it sends.
    #[inline(always)]
    pub(crate) fn stranger_slot(self) -> u32 {
        (self.0 >> 16) as u32 & (STRANGER_SLOTS - 1)
    }

    /// The two meters of the sketch that a stranger's packets of one rate are counted in; the lower one
    /// is closer to the truth. Each rate begins elsewhere in the rows, by distances that have nothing in
    /// common.
    #[inline(always)]
    #[must_use]
    pub fn cells(self, rate: Rate) -> [u32; 2] {
        let (mask, rate) = (CELLS_IN_A_ROW - 1, rate as u32);
        let first = (self.0 as u32).wrapping_add(rate * 7_243) & mask;
        let second = ((self.0 >> 32) as u32).wrapping_add(rate * 5_479) & mask;
        [first, CELLS_IN_A_ROW + second]
    }
}

/// Whether a mark that was made at `marked_ns` holds at `now_ns`; 0 is none.
#[inline(always)]
pub(crate) fn is_marked(marked_ns: u64, now_ns: u64) -> bool {
    marked_ns != 0 && now_ns.saturating_sub(marked_ns) >> LEARNT_KEPT_SHIFT == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_holds_for_an_hour() {
        let at = 5_000_000_000_000;
        assert!(is_marked(at, at) && is_marked(at, at + 3_600_000_000_000));
        assert!(is_marked(at, at - 1), "another CPU's clock may be behind");
        assert!(!is_marked(at, at + 4_500_000_000_000) && !is_marked(0, at));
    }
}
