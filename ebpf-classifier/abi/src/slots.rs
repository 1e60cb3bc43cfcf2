//! Where a source is in maps of a fixed number of slots.
//!
//! All its places come from one hash, which is made once for each packet. Two of them are marks: many
//! sources share one, and it says whether a lookup can find anything, at a tenth of the lookup's cost.

use crate::hash::hash;
use crate::layout::{
    Address, CELLS_IN_A_ROW, LEARNT_SLOTS, STRANGER_SLOTS, VERDICT_KINDS, VERDICT_SLOTS,
};
use crate::marks::MARKS;
use crate::rate::Rate;

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

    /// The word in `learnt`, and the mark in it, that tell whether it, or another that shares the mark,
    /// completed a handshake lately. A source without a mark is a stranger until its next handshake.
    #[inline(always)]
    #[must_use]
    pub fn learnt_mark(self) -> (u32, u32) {
        let word = (self.0 >> 24) as u32 & (LEARNT_SLOTS - 1);
        (word, ((self.0 & 0xffff) as u32 * MARKS) >> 16)
    }

    /// What tells a stranger from every other one.
    #[inline(always)]
    pub(crate) fn tag(self) -> u64 {
        self.0
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
