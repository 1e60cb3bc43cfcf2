//! Where a packet's facts are kept while it is looked at.
//!
//! The kernel's verifier follows a program once for every way to reach a line on which it knows
//! something different of a register or of the stack, a million steps at most. Of what is read from a
//! map it knows nothing. So in the kernel this is a value of a map, and whatever has many ways to come
//! about is written here and read again: what follows is then followed once. It also keeps the facts
//! off a stack of 512 bytes. On the host it is a structure like any other.

use core::hint::black_box;

use crate::layout::{Zone, ZoneKey};
use crate::parse::{Chain, Headers};
use crate::reason::Screens;

/// The facts of one packet.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Scratch {
    pub(crate) headers: Headers,
    pub(crate) chain: Chain,
    pub(crate) number: usize,
    pub(crate) tripped: Screens,
    pub(crate) kind: crate::classify::Kind,
    pub(crate) tracked: bool,
    pub(crate) allowed: bool,
    pub(crate) zone: KnownZone,
}

/// The zone of the packet before: most packets in a row come in by the same interface, and this costs
/// three comparisons instead of a lookup. Every change of zones comes with a new generation.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct KnownZone {
    pub(crate) key: ZoneKey,
    pub(crate) generation: u32,
    pub(crate) zone: Zone,
}

/// Writes `value` to `slot` and reads it again, as something of which nothing is known.
#[inline(always)]
pub(crate) fn forget<T: Copy>(slot: &mut T, value: T) -> T {
    *slot = value;
    *black_box(slot)
}
