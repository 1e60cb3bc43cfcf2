//! The configuration in force, swapped as one and read without waiting.
//!
//! Readers must neither wait for a reload nor share a counter with each other: every request takes a
//! reference to the snapshot it began with, and one reference count touched by all workers would be
//! the busiest cache line of the process. So each thread keeps an `Arc` of its own around the shared
//! one and counts on that.

use std::cell::RefCell;
use std::sync::Arc;

use arc_swap::ArcSwap;
use thread_local::ThreadLocal;

use crate::snapshot::Snapshot;

/// A snapshot as one request holds it. The outer count is the thread's own.
pub type Pinned = Arc<Arc<Snapshot>>;

/// The one place where the current snapshot is held.
#[derive(Debug)]
pub struct Live {
    current: Arc<ArcSwap<Snapshot>>,
    cached: ThreadLocal<RefCell<Cached>>,
}

#[derive(Debug)]
struct Cached {
    cache: arc_swap::Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    pinned: Pinned,
}

impl Live {
    /// Begins with `snapshot`.
    #[must_use]
    pub fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { current: Arc::new(ArcSwap::new(snapshot)), cached: ThreadLocal::new() }
    }

    /// The current snapshot, for one request. Takes one relaxed load and no lock while nothing
    /// changes.
    pub fn pin(&self) -> Pinned {
        let mut cached = self.cached.get_or(|| RefCell::new(self.cached())).borrow_mut();
        let Cached { cache, pinned } = &mut *cached;
        let current = cache.load();
        if !Arc::ptr_eq(current, pinned) {
            *pinned = Arc::new(current.clone());
        }
        pinned.clone()
    }

    fn cached(&self) -> Cached {
        let mut cache = arc_swap::Cache::new(self.current.clone());
        let pinned = Arc::new(cache.load().clone());
        Cached { cache, pinned }
    }

    /// The current snapshot, for whoever is not a request.
    #[must_use]
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts `snapshot` in force. Requests that began before keep theirs.
    pub fn swap(&self, snapshot: Arc<Snapshot>) {
        self.current.store(snapshot);
    }
}
