//! What is counted of clients' connections, by listener.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU64, Ordering},
};

/// Why a connection was closed before it was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// The listener has as many connections as it may have.
    Listener,
    /// The source has as many connections as it may have.
    Source,
    /// The process has no descriptor left for it.
    Descriptors,
    /// Its PROXY header is missing, malformed, late, or not expected.
    ProxyProtocol,
}

impl ConnectionRefusal {
    /// Every reason.
    pub const ALL: [Self; 4] =
        [Self::Listener, Self::Source, Self::Descriptors, Self::ProxyProtocol];

    /// Its label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Source => "source",
            Self::Descriptors => "descriptors",
            Self::ProxyProtocol => "proxy_protocol",
        }
    }
}

/// The counts of one listener. Exposed for as long as somebody holds them.
#[derive(Debug)]
pub struct ConnectionStats {
    listener: Arc<str>,
    total: AtomicU64,
    closed: AtomicU64,
    refused: [AtomicU64; ConnectionRefusal::ALL.len()],
}

impl ConnectionStats {
    /// Counts a connection that was accepted. Returns how many are open with it.
    pub fn opened(&self) -> u64 {
        let total = self.total.fetch_add(1, Ordering::Relaxed) + 1;
        total.saturating_sub(self.closed.load(Ordering::Relaxed))
    }

    /// Counts the end of one that was accepted.
    pub fn closed(&self) {
        self.closed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that was refused.
    pub fn refused(&self, reason: ConnectionRefusal) {
        self.refused[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were accepted so far.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// How many were refused so far, by reason.
    #[must_use]
    pub fn refusals(&self) -> [(ConnectionRefusal, u64); ConnectionRefusal::ALL.len()] {
        ConnectionRefusal::ALL
            .map(|reason| (reason, self.refused[reason as usize].load(Ordering::Relaxed)))
    }

    /// How many are open.
    #[must_use]
    pub fn active(&self) -> u64 {
        // In this order, so that one that comes and goes meanwhile is not negative.
        let closed = self.closed.load(Ordering::Relaxed);
        self.total.load(Ordering::Relaxed).saturating_sub(closed)
    }
}

/// What is exposed of one listener.
#[derive(Debug)]
pub(crate) struct ConnectionFigures {
    pub(crate) listener: Arc<str>,
    pub(crate) total: u64,
    pub(crate) active: u64,
    pub(crate) refused: [(ConnectionRefusal, u64); ConnectionRefusal::ALL.len()],
}

impl ConnectionFigures {
    fn of(stats: &ConnectionStats) -> Self {
        Self {
            listener: Arc::clone(&stats.listener),
            active: stats.active(),
            total: stats.total(),
            refused: stats.refusals(),
        }
    }
}

/// The listeners that are counted.
#[derive(Debug, Default)]
pub(crate) struct ConnectionTable(Mutex<Vec<Weak<ConnectionStats>>>);

impl ConnectionTable {
    /// The counts of the listener called `name`: those that somebody still holds, or new ones.
    pub(crate) fn install(&self, name: &Arc<str>) -> Arc<ConnectionStats> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|stats| stats.strong_count() > 0);
        let held = table.iter().filter_map(Weak::upgrade).find(|stats| stats.listener == *name);
        held.unwrap_or_else(|| {
            let stats = Arc::new(ConnectionStats {
                listener: Arc::clone(name),
                total: AtomicU64::new(0),
                closed: AtomicU64::new(0),
                refused: Default::default(),
            });
            table.push(Arc::downgrade(&stats));
            stats
        })
    }

    pub(crate) fn figures(&self) -> Vec<ConnectionFigures> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.iter().filter_map(Weak::upgrade).map(|stats| ConnectionFigures::of(&stats)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_last_for_as_long_as_somebody_holds_them() {
        let table = ConnectionTable::default();
        let web: Arc<str> = "web".into();
        let stats = table.install(&web);
        assert_eq!((stats.opened(), stats.opened()), (1, 2));
        stats.closed();
        stats.refused(ConnectionRefusal::Source);
        let again = table.install(&"web".into());
        assert!(Arc::ptr_eq(&stats, &again));
        let figures = table.figures();
        assert_eq!((figures[0].total, figures[0].active), (2, 1));
        assert_eq!(figures[0].refused[1], (ConnectionRefusal::Source, 1));
        drop((stats, again));
        assert!(table.figures().is_empty());
        assert_eq!(table.install(&web).active(), 0);
    }
}
