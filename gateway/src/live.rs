//! What is swapped as one and read without waiting: the configuration in force, and each upstream's endpoints.
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

/// A value as one request holds it. The outer count is the thread's own.
pub type Pinned<T = Snapshot> = Arc<Arc<T>>;

/// The one place where the current value is held.
#[derive(Debug)]
pub struct Live<T = Snapshot>
where
    T: Send + Sync,
{
    current: Arc<ArcSwap<T>>,
    cached: ThreadLocal<RefCell<Cached<T>>>,
}

#[derive(Debug)]
struct Cached<T> {
    cache: arc_swap::Cache<Arc<ArcSwap<T>>, Arc<T>>,
    pinned: Pinned<T>,
}

impl<T: Send + Sync> Live<T> {
    /// Begins with `value`.
    #[must_use]
    pub fn new(value: Arc<T>) -> Self {
        Self { current: Arc::new(ArcSwap::new(value)), cached: ThreadLocal::new() }
    }

    /// The current value, for one request. Takes one relaxed load and no lock while nothing
    /// changes.
    pub fn pin(&self) -> Pinned<T> {
        let mut cached = self.cached.get_or(|| RefCell::new(self.cached())).borrow_mut();
        let Cached { cache, pinned } = &mut *cached;
        let current = cache.load();
        if !Arc::ptr_eq(current, pinned) {
            *pinned = Arc::new(current.clone());
        }
        pinned.clone()
    }

    fn cached(&self) -> Cached<T> {
        let mut cache = arc_swap::Cache::new(self.current.clone());
        let pinned = Arc::new(cache.load().clone());
        Cached { cache, pinned }
    }

    /// The current value, for whoever is not a request.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Puts `value` in force. Requests that began before keep theirs.
    pub fn swap(&self, value: Arc<T>) {
        self.current.store(value);
    }
}
