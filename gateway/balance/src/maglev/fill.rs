//! Filling the table.
//!
//! The paper's way, which this gives exactly: on its turn an endpoint steps along its walk until it finds a
//! vacant slot. Half of those steps would be spent on the last few hundred slots, with the endpoints stepping
//! over a table that is full but for them; there the walk is turned round, and it is computed for each vacant
//! slot how far along the walk it lies. That halves the time to build a table.

use super::turns::turns;
use crate::endpoint::Ranked;
use crate::hash::hash_seeded;

/// Part of the compatibility promise, as is everything that leads to the table: other seeds, another table.
const OFFSET_SEED: u64 = 0x6f66_6673_6574;
const SKIP_SEED: u64 = 0x736b_6970;

/// Slots that are left to computing. With fewer vacant slots than this a walk has over 500 steps in the usual
/// table, which is where looking at all vacant slots becomes the cheaper way.
const COMPUTED_SLOTS: usize = 128;

/// The table for these endpoints, at least as many slots as there are of them, a prime number.
pub(super) fn fill(ranked: &[Ranked], table_size: u32) -> Box<[u16]> {
    let weights: Vec<u16> = ranked.iter().map(|endpoint| endpoint.weight).collect();
    let mut walks: Vec<Walk> =
        ranked.iter().map(|endpoint| Walk::of(endpoint, table_size)).collect();
    let turns = turns(&weights, table_size);
    let (stepped, computed) = turns.split_at(turns.len().saturating_sub(COMPUTED_SLOTS));

    let mut slots = Slots::vacant(table_size);
    for &rank in stepped {
        slots.claim_stepping(&mut walks[usize::from(rank)]);
    }
    let mut vacant = slots.still_vacant();
    for &rank in computed {
        slots.claim_nearest(&walks[usize::from(rank)], &mut vacant);
    }
    slots.owners.into_boxed_slice()
}

/// Where an endpoint is on its way through all slots. The paper's `(offset + j x skip) mod size`, kept as a
/// running sum: both terms are below the size, so a conditional subtraction does for the division.
struct Walk {
    next: u32,
    skip: u32,
    /// Of the endpoint, in the caller's list.
    index: u16,
}

impl Walk {
    fn of(endpoint: &Ranked, table_size: u32) -> Self {
        let hash = |seed| hash_seeded(endpoint.identity.octets(), seed);
        let size = u64::from(table_size);
        // Remainders of the table size, so they fit; a prime size makes every skip reach every slot.
        let next = (hash(OFFSET_SEED) % size) as u32;
        let skip = (hash(SKIP_SEED) % (size - 1)) as u32 + 1;
        Self { next, skip, index: endpoint.index }
    }

    fn step(&mut self, table_size: u32) -> usize {
        let slot = self.next;
        let sum = slot + self.skip;
        self.next = if sum >= table_size { sum - table_size } else { sum };
        slot as usize
    }
}

/// The table while it is being filled.
struct Slots {
    owners: Vec<u16>,
    /// A bit for each slot that has an owner: 8 KiB for the usual table, which stays in the nearest cache
    /// while the owners' 128 KiB would not.
    taken: Vec<u64>,
}

impl Slots {
    fn vacant(table_size: u32) -> Self {
        let slots = table_size as usize;
        Self { owners: vec![0; slots], taken: vec![0; slots.div_ceil(64)] }
    }

    fn is_taken(&self, slot: usize) -> bool {
        self.taken[slot / 64] >> (slot % 64) & 1 == 1
    }

    fn still_vacant(&self) -> Vec<u32> {
        (0..self.size()).filter(|&slot| !self.is_taken(slot as usize)).collect()
    }

    fn claim_stepping(&mut self, walk: &mut Walk) {
        let size = self.size();
        let mut slot = walk.step(size);
        while self.is_taken(slot) {
            slot = walk.step(size);
        }
        self.taken[slot / 64] |= 1 << (slot % 64);
        self.owners[slot] = walk.index;
    }

    /// Claims the one of these slots, all that are vacant, that comes first on the walk. Slot `s` is
    /// `(s - next) / skip` steps away, in arithmetic modulo the prime table size. The walk need not be moved
    /// on: what lies between is taken.
    fn claim_nearest(&mut self, walk: &Walk, vacant: &mut Vec<u32>) {
        let size = u64::from(self.size());
        let inverse = inverse(u64::from(walk.skip), size);
        let steps_to = |slot: u32| (u64::from(slot) + size - u64::from(walk.next)) * inverse % size;
        if let Some(nearest) = (0..vacant.len()).min_by_key(|&at| steps_to(vacant[at])) {
            self.owners[vacant.swap_remove(nearest) as usize] = walk.index;
        }
    }

    /// It was made from 32 bits.
    fn size(&self) -> u32 {
        self.owners.len() as u32
    }
}

/// `1 / number` modulo a prime, which by Fermat's little theorem is `number ^ (prime - 2)`.
fn inverse(number: u64, prime: u64) -> u64 {
    let (mut base, mut exponent, mut product) = (number, prime - 2, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            product = product * base % prime;
        }
        base = base * base % prime;
        exponent >>= 1;
    }
    product
}

#[cfg(test)]
mod tests;
