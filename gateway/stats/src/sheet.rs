//! A sheet of counters: rows by shards, each crossing a *cell*, a run of 64-bit counters.
//!
//! It owns the memory that everything else here counts in, and the two promises made about it.
//! Workers never share a cache line: a shard is an allocation of its own, its cells start on
//! 128-byte boundaries (two lines, since processors fetch them in pairs) and span whole ones.
//! And a row that is never written costs address space only: shards come zeroed from the system
//! and are not touched, and rows are numbered densely in the order in which they are first
//! written, so that a few busy rows among many do not each bring in a page, or a huge page, of
//! idle neighbours.
//!
//! It does not know what the counters mean, and it never shrinks: its memory goes when the last
//! handle on it does.

use std::{
    alloc::{Layout, handle_alloc_error},
    sync::{
        OnceLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use zerocopy::FromZeros;

use crate::worker;

/// Counters in 128 bytes, the unit cells are aligned to and padded to.
const LINE_WORDS: usize = 16;
const LINE_BYTES: usize = LINE_WORDS * size_of::<AtomicU64>();

/// Rows of counters, one cell for each row and shard.
pub(crate) struct Sheet {
    shards: Box<[Shard]>,
    /// For each row its place within every shard, given when the row is first written.
    places: Box<[OnceLock<u32>]>,
    taken: AtomicU32,
    words: usize,
}

/// One worker's counters; `first` is where its first aligned cell begins.
struct Shard {
    counters: Box<[AtomicU64]>,
    first: usize,
}

impl Sheet {
    /// A sheet of `rows` rows whose cells hold `words` counters, all zero.
    ///
    /// Where the system refuses the address space for `shards` shards the sheet makes do with as
    /// many as it was given: workers then share cells, which is slower and as exact. Not even one
    /// is treated as Rust treats any failed allocation.
    pub(crate) fn new(rows: usize, words: usize, shards: usize) -> Self {
        let counters = rows * stride(words);
        let shards: Box<[_]> = (0..shards.max(1)).map_while(|_| Shard::new(counters)).collect();
        if shards.is_empty() {
            handle_alloc_error(Layout::new::<Shard>());
        }
        let places = (0..rows).map(|_| OnceLock::new()).collect();
        Self { shards, places, taken: AtomicU32::new(0), words }
    }

    /// The calling worker's cell of `row`.
    ///
    /// The first call for a row settles its place; should two workers do so at once, one of them
    /// waits for the other's few instructions. Every later call is a load and an addition.
    #[inline]
    pub(crate) fn cell(&self, row: usize) -> &[AtomicU64] {
        let place = *self.places[row].get_or_init(|| self.taken.fetch_add(1, Ordering::Relaxed));
        self.shards[self.shard()].cell(place, self.words)
    }

    /// Every shard's cell of `row`; none if the row was never written.
    pub(crate) fn cells(&self, row: usize) -> impl Iterator<Item = &[AtomicU64]> {
        let place = self.places[row].get();
        place.into_iter().flat_map(move |&place| {
            self.shards.iter().map(move |shard| shard.cell(place, self.words))
        })
    }

    /// Whether `row` was ever written.
    pub(crate) fn is_visited(&self, row: usize) -> bool {
        self.places[row].get().is_some()
    }

    /// Dividing is the dearest instruction there would be here, and workers rarely outnumber shards.
    #[inline]
    fn shard(&self) -> usize {
        let index = worker::index();
        let shards = self.shards.len();
        if index < shards { index } else { index % shards }
    }
}

impl Shard {
    fn new(counters: usize) -> Option<Self> {
        let room = counters + LINE_WORDS - 1;
        let counters = <[AtomicU64]>::new_box_zeroed_with_elems(room).ok()?;
        let first = counters.as_ptr().align_offset(LINE_BYTES).min(LINE_WORDS - 1);
        Some(Self { counters, first })
    }

    #[inline]
    fn cell(&self, place: u32, words: usize) -> &[AtomicU64] {
        let start = self.first + place as usize * stride(words);
        &self.counters[start..start + words]
    }
}

#[inline]
const fn stride(words: usize) -> usize {
    words.next_multiple_of(LINE_WORDS)
}

#[cfg(test)]
mod tests;
