//! Which worker a new connection goes to.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::runtime::Handle;

use crate::connection::App;

/// A worker with more connections than the one with the fewest passes new ones on, unless the
/// difference is less than this share of its own: passing on takes a wake-up of the other's thread,
/// and among many connections a small difference is no injustice.
const TOLERATED_SHARE: usize = 16;

/// One worker, as a place for connections.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Inner>);

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Slot").field(&self.0.load).finish_non_exhaustive()
    }
}

struct Inner {
    runtime: Handle,
    app: Arc<App>,
    load: Arc<Load>,
}

/// How many connections a worker has.
#[derive(Debug, Default)]
pub(super) struct Load(AtomicUsize);

impl Load {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    pub(super) fn remove(&self) {
        self.0.fetch_sub(1, Relaxed);
    }

    fn get(&self) -> usize {
        self.0.load(Relaxed)
    }
}

impl Slot {
    pub(crate) fn new(runtime: Handle, app: App) -> Self {
        Self(Arc::new(Inner { runtime, app: Arc::new(app), load: Arc::default() }))
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        &self.0.app
    }

    pub(super) fn load(&self) -> &Arc<Load> {
        &self.0.load
    }
}

/// How many connections each worker has, for whoever looks.
#[derive(Clone, Debug)]
pub struct WorkerConnections(Arc<Slots>);

impl WorkerConnections {
    pub(crate) fn of(slots: &Arc<Slots>) -> Self {
        Self(slots.clone())
    }

    /// In the order of the workers.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        self.0.iter().map(|slot| slot.0.load.get()).collect()
    }
}

/// All workers.
#[derive(Debug)]
pub(crate) struct Slots(Box<[Slot]>);

impl FromIterator<Slot> for Slots {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        Self(slots.into_iter().collect())
    }
}

impl Deref for Slots {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        &self.0
    }
}

impl Slots {
    /// The index of the worker that a connection accepted by the one with the index `own` goes to.
    pub(super) fn choose(&self, own: usize) -> usize {
        choose(self.iter().map(|slot| slot.0.load.get()), own)
    }
}

/// Reads every load once: others change them meanwhile, and two readings of one may differ.
fn choose(loads: impl Iterator<Item = usize>, own: usize) -> usize {
    let (mut mine, mut least) = (0, (own, usize::MAX));
    for (index, load) in loads.enumerate() {
        if index == own {
            mine = load;
        }
        if load < least.1 {
            least = (index, load);
        }
    }
    if mine.saturating_sub(least.1) > mine / TOLERATED_SHARE { least.0 } else { own }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::choose;

    #[test]
    fn few_connections_are_spread_evenly_and_many_nearly() {
        let to = |loads: &[usize], own| choose(loads.iter().copied(), own);
        assert_eq!(
            to(&[0, 0], 1),
            1,
            "the worker that accepted it, if it has not more than others"
        );
        assert_eq!(to(&[1, 0], 0), 1);
        assert_eq!(to(&[1, 0], 1), 1);
        assert_eq!(to(&[320, 300], 0), 0, "a small difference among many is tolerated");
        assert_eq!(to(&[340, 300], 0), 1);
    }

    #[test]
    fn loads_that_change_while_they_are_read_are_no_panic() {
        // Each reading is one less than the one before, as when connections end.
        let falling = std::cell::Cell::new(3_usize);
        let read = |_| {
            falling.set(falling.get().saturating_sub(1));
            falling.get()
        };
        assert_eq!(choose((0..2).map(read), 0), 1);
        assert_eq!(falling.get(), 1, "each was read once");
    }

    proptest! {
        #[test]
        fn wherever_they_are_accepted_twelve_are_spread_evenly(
            accepted in prop::collection::vec(0..4_usize, 12),
        ) {
            let mut loads = [0; 4];
            for own in accepted {
                loads[choose(loads.into_iter(), own)] += 1;
            }
            prop_assert_eq!(loads, [3; 4]);
        }
    }
}
