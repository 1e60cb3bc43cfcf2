//! Where a packet's facts are kept while it is looked at.
//!
//! The kernel's verifier follows a program once for every way to reach a line on which it knows
//! something different of a register or of the stack, a million steps at most. Of what is read from a
//! map it knows nothing. So in the kernel this is a value of a map, and whatever has many ways to come
//! about is written here and read again: what follows is then followed once. It also keeps the facts
//! off a stack of 512 bytes. On the host it is a structure like any other.

use core::hint::black_box;

use crate::layout::{Address, Standing, Zone, ZoneKey};
use crate::parse::{Chain, Fault, Headers};
use crate::reason::Screens;
use crate::shared::Shared;
use crate::slots::SenderHash;

/// The facts of one packet.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Scratch {
    pub(crate) headers: Headers,
    pub(crate) chain: Chain,
    pub(crate) number: usize,
    /// What stands for the source in the maps.
    pub(crate) sender: Address,
    pub(crate) hash: SenderHash,
    pub(crate) fault: Fault,
    pub(crate) tripped: Screens,
    pub(crate) tracked: bool,
    pub(crate) allowed: bool,
    pub(crate) exempt: bool,
    pub(crate) zone: KnownZone,
    /// The counter under which it was dropped.
    pub(crate) dropped: u32,
}

impl Scratch {
    /// The counter of the reason for which the last packet was dropped that was.
    #[inline(always)]
    #[must_use]
    pub fn dropped(&self) -> u32 {
        self.dropped
    }

    /// The source of the packet that was classified last; nobody where it has none.
    #[inline(always)]
    #[must_use]
    pub fn source(&self) -> &Address {
        &self.headers.key.source
    }

    /// The headers of the packet that was classified last.
    #[inline(always)]
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }
}

/// The network of an address that was looked up lately: the trie is the dearest lookup there is.
#[derive(Debug, Default)]
#[repr(C)]
pub struct CachedNetwork {
    address: [Shared; 2],
    /// A [`Standing`]; 0 where nothing was looked up.
    standing: Shared,
}

impl CachedNetwork {
    /// How many there are for each CPU.
    pub const SLOTS: u32 = 1_024;

    /// What was found for `address` under `generation`, if that is here.
    #[inline(always)]
    pub(crate) fn of(&self, address: &Address, generation: u32) -> Option<Standing> {
        let word = self.standing.load();
        let standing = Standing::from_word(word);
        let [high, low] = &self.address;
        let found = high.load() == address.high && low.load() == address.low;
        (found && word != 0 && standing.generation == generation).then_some(standing)
    }

    /// Keeps what was found.
    #[inline(always)]
    pub(crate) fn keep(&self, address: &Address, standing: Standing) {
        let [high, low] = &self.address;
        high.store(address.high);
        low.store(address.low);
        self.standing.store(standing.word());
    }
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
