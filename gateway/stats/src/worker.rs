//! Which worker is running: a small number for each thread, handed out on first use.
//!
//! Cells are sharded by it. It stands apart because it is the one piece of state that belongs to
//! the process and not to a registry. Numbers are not given back when a thread ends: a worker
//! lives as long as the process does, and whoever shards by them takes a remainder.

use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

static NEXT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(UNNUMBERED) };
}

/// What a thread has before it first asks; no process starts this many threads.
const UNNUMBERED: usize = usize::MAX;

/// The calling thread's number: 0 for the first thread that ever asked, 1 for the second, and the
/// same for as long as the thread lives.
#[inline]
pub fn index() -> usize {
    let index = INDEX.get();
    if index == UNNUMBERED { number() } else { index }
}

#[cold]
fn number() -> usize {
    let index = NEXT.fetch_add(1, Ordering::Relaxed);
    INDEX.set(index);
    index
}

#[cfg(test)]
mod tests;
