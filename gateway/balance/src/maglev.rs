//! Maglev: consistent hashing through one table lookup.
//!
//! Every endpoint walks the slots of a table in an order of its own, and the endpoints take turns claiming
//! the next slot of their walk that is still vacant (Eisenbud et al., "Maglev: A Fast and Reliable Software
//! Network Load Balancer", NSDI 2016, section 3.4). The table comes out nearly even, and when an endpoint
//! leaves, nearly only its slots change hands. What the paper leaves open is decided here: a turn for weight,
//! the order of retries, and an order of the endpoints that no list can influence. Whether an endpoint is
//! healthy does not enter the table: health changes by the second, and a table that followed it would move
//! keys that had no reason to move.

mod fill;
mod turns;

use crate::cycle;
use crate::endpoint::{BuildError, Endpoint, rank};
use crate::view::View;
use fill::fill;

/// The usual number of slots, the paper's own: prime, 128 KiB of table, and even to about 1 % with 500
/// endpoints.
pub const MAGLEV_TABLE_SIZE: u32 = 65_537;

/// The most slots a table may have: the first prime with a hundred slots for each of 65,535 endpoints, at
/// which they are even to 1 %. More would be memory (this is 13 MiB) without use.
pub const MAGLEV_TABLE_SIZE_MAX: u32 = 6_553_511;

/// A Maglev table.
///
/// The table for given addresses, weights and table size is the same on every machine, in every order of the
/// list and in every version of this crate: that is a compatibility promise. Every endpoint owns at least one
/// slot, and its slots are within one of `f x weight`, the factor `f` being the same for all endpoints.
#[derive(Debug)]
pub struct Maglev {
    table: Box<[u16]>,
    endpoints: usize,
}

impl Maglev {
    /// Fills a table of `table_size` slots, or of one slot for a lone endpoint, which needs no more.
    ///
    /// Takes on the order of `table_size x ln(table_size)` steps, whatever the weights: one to three
    /// milliseconds for the usual table.
    ///
    /// # Errors
    /// [`BuildError::TableSizeNotPrime`], [`BuildError::TableTooSmall`] for the endpoints,
    /// [`BuildError::TableTooLarge`] past [`MAGLEV_TABLE_SIZE_MAX`], and whatever is wrong with the list.
    pub fn new(endpoints: &[Endpoint], table_size: u32) -> Result<Self, BuildError> {
        let ranked = rank(endpoints)?;
        check_size(table_size, endpoints.len())?;
        let table = match *ranked {
            [_] => Box::new([0]),
            _ => fill(&ranked, table_size),
        };
        Ok(Self { table, endpoints: endpoints.len() })
    }

    /// The endpoint that owns this key: a division and one load.
    pub fn lookup(&self, key: u64) -> usize {
        self.table[self.slot(key)].into()
    }

    /// The slots in order, each with the index of its endpoint in the list the table was built from. A key
    /// belongs to slot `key % table().len()`.
    pub fn table(&self) -> &[u16] {
        &self.table
    }

    /// The owner of the key, or of the first slot after its own whose owner is usable. Neighbouring slots
    /// have unrelated owners, so the keys of an endpoint that is down spread over all others.
    pub(crate) fn select(&self, key: u64, view: &(impl View + ?Sized)) -> Option<usize> {
        let slot = self.slot(key);
        let first = usize::from(self.table[slot]);
        if view.usable(first) {
            return Some(first);
        }
        let found = cycle::first_usable(&self.table, slot, self.endpoints, view)?;
        Some(self.table[found].into())
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        size_of_val(&*self.table)
    }

    fn slot(&self, key: u64) -> usize {
        // Smaller than the table, so it fits whatever the width of usize.
        (key % self.table.len() as u64) as usize
    }
}

pub(crate) fn check_size(table_size: u32, endpoints: usize) -> Result<(), BuildError> {
    if table_size > MAGLEV_TABLE_SIZE_MAX {
        return Err(BuildError::TableTooLarge(table_size));
    }
    if !is_prime(table_size) {
        return Err(BuildError::TableSizeNotPrime(table_size));
    }
    if (table_size as usize) < endpoints {
        return Err(BuildError::TableTooSmall);
    }
    Ok(())
}

fn is_prime(number: u32) -> bool {
    let mut divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number >= 2 && !divisors.any(|divisor| number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests;
