//! A rate of bytes that classes share by their weights.
//!
//! A token bucket says when the next piece may pass, and a [`FairQueue`] says whose it is: a piece costs its
//! bytes, so that classes share the rate and not the number of pieces. The bucket may be in debt by one piece,
//! which spares it a look at what comes next: over any time, at most the rate, the burst and one piece pass,
//! and what a timer that fires late lets pass at once.
//!
//! Memory is that of the pieces that wait; how many those are is the caller's to bound. So are the clock and
//! waking whoever waits.

use std::hash::Hash;
use std::num::NonZeroU16;

use crate::{FairQueue, Pushed, Ticket};

const SECOND_NS: u128 = 1_000_000_000;

/// What a timer may be late by without loss to those who wait. It is what timers of a loaded machine are off
/// by.
const LATE_NS: u64 = 20_000_000;

/// How many bytes may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bytes of a second; 0 counts as 1.
    pub bytes_per_s: u64,
    /// Bytes that pass at once after a time in which fewer passed.
    pub burst_bytes: u64,
}

impl Rate {
    fn duration_ns(self, bytes: u64) -> u64 {
        let ns = u128::from(bytes) * SECOND_NS / u128::from(self.bytes_per_s.max(1));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }
}

/// Pieces of many classes that share a rate, each with a value of the caller's while it waits.
///
/// A piece that need not wait costs a comparison; one that does, what [`FairQueue`] costs.
#[derive(Debug)]
pub struct Shaper<K, T> {
    /// When all that has passed is paid for, in nanoseconds of the caller's clock.
    paid_at_ns: u64,
    waiting: FairQueue<K, (u32, T)>,
}

impl<K: Clone + Eq + Hash + Ord, T> Default for Shaper<K, T> {
    fn default() -> Self {
        Self { paid_at_ns: 0, waiting: FairQueue::new(usize::MAX) }
    }
}

impl<K: Clone + Eq + Hash + Ord, T> Shaper<K, T> {
    /// Returns the number of pieces that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets a piece of `bytes` pass now, if it may and nothing waits. Returns whether it passes.
    #[must_use]
    pub fn try_pass(&mut self, bytes: u32, rate: Rate, now_ns: u64) -> bool {
        let passes = self.waiting.is_empty() && self.is_open(rate, now_ns);
        if passes {
            self.pay(bytes, rate, now_ns);
        }
        passes
    }

    /// Lets a piece of `bytes` wait for the turn of `class`, which has the weight of its latest piece.
    pub fn wait(
        &mut self,
        class: K,
        weight: NonZeroU16,
        bytes: u32,
        value: T,
    ) -> Option<Ticket<K>> {
        match self.waiting.push_with_cost(class, weight, bytes, u64::MAX, (bytes, value)) {
            Pushed::Waits(ticket) | Pushed::Displaced(ticket, _) => Some(ticket),
            Pushed::Full(_) => None,
        }
    }

    /// Takes the next piece out, if it may pass now.
    pub fn release(&mut self, rate: Rate, now_ns: u64) -> Option<T> {
        if !self.is_open(rate, now_ns) {
            return None;
        }
        let (bytes, value) = self.waiting.pop(0)?;
        // It could have passed when the bucket opened, which may be a moment ago.
        self.pay(bytes, rate, now_ns.saturating_sub(LATE_NS));
        Some(value)
    }

    /// Returns when the next piece may pass; `None` if nothing waits.
    #[must_use]
    pub fn next_ns(&self, rate: Rate) -> Option<u64> {
        let burst_ns = rate.duration_ns(rate.burst_bytes);
        (!self.is_empty()).then(|| self.paid_at_ns.saturating_sub(burst_ns))
    }

    /// Takes back a piece that waits; `None` if it has passed.
    pub fn cancel(&mut self, ticket: &Ticket<K>) -> Option<T> {
        self.waiting.cancel(ticket).map(|(_, value)| value)
    }

    fn is_open(&self, rate: Rate, now_ns: u64) -> bool {
        self.paid_at_ns <= now_ns.saturating_add(rate.duration_ns(rate.burst_bytes))
    }

    fn pay(&mut self, bytes: u32, rate: Rate, since_ns: u64) {
        let begins_ns = self.paid_at_ns.max(since_ns);
        self.paid_at_ns = begins_ns.saturating_add(rate.duration_ns(bytes.into()));
    }
}

#[cfg(test)]
mod tests;
