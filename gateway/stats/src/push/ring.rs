//! The buffer between whoever records and the workers: bounded, lock-free, in memory from the
//! start.
//!
//! It is cut into shards, each a queue of its own from `crossbeam-queue`. A thread always writes to
//! the same shard and a shard is always read by the same worker: writers rarely meet, and what one
//! thread records of one series is seen in the order in which it was recorded. What is ours here
//! is the choice of the shard and the count of what is lost; nothing waits, ever.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use super::sample::Sample;
use crate::worker;

/// What is lost when the buffer is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overflow {
    /// The sample that finds no room.
    #[default]
    DropNewest,
    /// The oldest sample of the same shard, which makes room. Some 20 ns more for each.
    DropOldest,
}

/// Samples on their way.
#[derive(Debug)]
pub(super) struct Ring {
    shards: Box<[Shard]>,
    overflow: Overflow,
    closed: AtomicBool,
}

/// Two cache lines at least for each, since the counters of full shards are written often.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    queue: ArrayQueue<Sample>,
    newest: AtomicU64,
    oldest: AtomicU64,
    invalid: AtomicU64,
}

/// What a ring has lost, in samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RingLosses {
    pub(super) newest: u64,
    pub(super) oldest: u64,
    pub(super) invalid: u64,
}

impl Ring {
    /// Room for `capacity` samples in `shards` shards; both are rounded up to powers of two, and
    /// no shard is smaller than 64.
    pub(super) fn new(capacity: usize, shards: usize, overflow: Overflow) -> Self {
        let shards = shards.clamp(1, 256).next_power_of_two();
        let each = (capacity.clamp(1, 1 << 24).next_power_of_two() / shards).max(64);
        let shard = |_| Shard {
            queue: ArrayQueue::new(each),
            newest: AtomicU64::new(0),
            oldest: AtomicU64::new(0),
            invalid: AtomicU64::new(0),
        };
        Self { shards: (0..shards).map(shard).collect(), overflow, closed: AtomicBool::new(false) }
    }

    /// Adds a sample; `false` if it is lost.
    #[inline]
    pub(super) fn push(&self, sample: Sample) -> bool {
        let shard = self.own();
        if self.closed.load(Ordering::Relaxed) {
            return lost(&shard.newest);
        }
        match self.overflow {
            Overflow::DropNewest => shard.queue.push(sample).is_ok() || lost(&shard.newest),
            Overflow::DropOldest => {
                if shard.queue.force_push(sample).is_some() {
                    lost(&shard.oldest);
                }
                true
            }
        }
    }

    /// Counts a sample whose value means nothing. Always `false`.
    #[cold]
    pub(super) fn refuse(&self) -> bool {
        lost(&self.own().invalid)
    }

    /// From here on nothing is accepted, save what is being pushed at this moment.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(super) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Samples that one shard has room for.
    pub(super) fn shard_capacity(&self) -> usize {
        self.shards[0].queue.capacity()
    }

    /// Samples waiting in one shard.
    pub(super) fn waiting(&self, shard: usize) -> usize {
        self.shards[shard].queue.len()
    }

    /// Samples waiting in all of them.
    pub(super) fn len(&self) -> usize {
        (0..self.shards()).map(|shard| self.waiting(shard)).sum()
    }

    #[inline]
    pub(super) fn pop(&self, shard: usize) -> Option<Sample> {
        self.shards[shard].queue.pop()
    }

    pub(super) fn losses(&self) -> RingLosses {
        self.shards.iter().fold(RingLosses::default(), |sum, shard| RingLosses {
            newest: sum.newest + shard.newest.load(Ordering::Relaxed),
            oldest: sum.oldest + shard.oldest.load(Ordering::Relaxed),
            invalid: sum.invalid + shard.invalid.load(Ordering::Relaxed),
        })
    }

    /// What it takes in memory: a slot is a sample and a stamp.
    pub(super) fn bytes(&self) -> usize {
        let slot = size_of::<Sample>() + size_of::<usize>();
        self.shards.len() * (size_of::<Shard>() + self.shard_capacity() * slot)
    }

    #[inline]
    fn own(&self) -> &Shard {
        match &*self.shards {
            // Whoever records here needs no number, and so leaves the low ones to others.
            [only] => only,
            shards => &shards[worker::index() & (shards.len() - 1)],
        }
    }
}

#[cold]
fn lost(counter: &AtomicU64) -> bool {
    counter.fetch_add(1, Ordering::Relaxed);
    false
}

#[cfg(test)]
mod tests;
