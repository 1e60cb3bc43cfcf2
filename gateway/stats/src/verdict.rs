//! What is counted of verdicts. They are rare, so these are ordinary numbers behind a lock, except
//! for the connections that they refuse.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Verdicts given and refused, and the connections that they turned away.
#[derive(Default)]
pub struct VerdictStats {
    connections_refused: AtomicU64,
    counts: Mutex<VerdictFigures>,
}

/// What is exposed of verdicts; nothing before the first was asked for or rules were configured.
#[derive(Debug, Clone, Default)]
pub(crate) struct VerdictFigures {
    pub(crate) given: BTreeMap<&'static str, u64>,
    pub(crate) refused: BTreeMap<&'static str, u64>,
    pub(crate) active: Option<u64>,
    pub(crate) connections_refused: u64,
}

impl VerdictStats {
    /// Begins every count at zero, so that a rate has something to start from.
    pub fn begin(&self, reasons: &[&'static str], refusals: &[&'static str]) {
        let mut counts = self.lock();
        for reason in reasons {
            counts.given.entry(reason).or_default();
        }
        for why in refusals {
            counts.refused.entry(why).or_default();
        }
        counts.active.get_or_insert(0);
    }

    /// A verdict was given.
    pub fn given(&self, reason: &'static str) {
        *self.lock().given.entry(reason).or_default() += 1;
    }

    /// A verdict was asked for and not given.
    pub fn refused(&self, why: &'static str) {
        *self.lock().refused.entry(why).or_default() += 1;
    }

    /// So many verdicts are in force.
    pub fn set_active(&self, active: usize) {
        self.lock().active = Some(active as u64);
    }

    /// A connection of a source under a verdict was turned away or closed.
    pub fn connection_refused(&self) {
        self.connections_refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Connections that verdicts refused so far.
    #[must_use]
    pub fn connections_refused(&self) -> u64 {
        self.figures().connections_refused
    }

    pub(crate) fn figures(&self) -> VerdictFigures {
        let mut figures = self.lock().clone();
        figures.connections_refused = self.connections_refused.load(Ordering::Relaxed);
        figures
    }

    /// Every change is one assignment, so a panic elsewhere cannot have left it half done.
    fn lock(&self) -> MutexGuard<'_, VerdictFigures> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
