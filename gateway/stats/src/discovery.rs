//! What is counted of looking endpoints up: failures by reason, and sets that were replaced.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Why endpoints could not be looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiscoveryFailure {
    /// The name does not exist (NXDOMAIN).
    NoName,
    /// The name has no record of the kind.
    NoAddress,
    /// The server could not say (SERVFAIL).
    ServerFailure,
    /// No server answered in time.
    Timeout,
    /// There is no server to ask, or none that could be reached.
    NoServer,
    /// A file of endpoints could not be read or is wrong.
    File,
    /// Anything else.
    Other,
}

impl DiscoveryFailure {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::NoName,
        Self::NoAddress,
        Self::ServerFailure,
        Self::Timeout,
        Self::NoServer,
        Self::File,
        Self::Other,
    ];

    /// Its label in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::NoName => "nxdomain",
            Self::NoAddress => "no_address",
            Self::ServerFailure => "servfail",
            Self::Timeout => "timeout",
            Self::NoServer => "no_server",
            Self::File => "file",
            Self::Other => "other",
        }
    }
}

/// What is counted of one upstream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lookups {
    pub(crate) failures: [u64; DiscoveryFailure::ALL.len()],
    pub(crate) updates: u64,
}

/// What is counted, with the upstream's name.
pub(crate) type UpstreamLookups = (Arc<str>, Lookups);

/// Counts of upstreams whose endpoints are looked up. None is on a request's path, so a lock will do.
#[derive(Debug, Default)]
pub struct DiscoveryStats(Mutex<BTreeMap<Arc<str>, Lookups>>);

impl DiscoveryStats {
    /// Shows these upstreams and no others; those that stay keep their counts.
    pub fn keep(&self, upstreams: HashSet<Arc<str>>) {
        let mut all = self.lock();
        all.retain(|name, _| upstreams.contains(name));
        for name in upstreams {
            all.entry(name).or_default();
        }
    }

    /// Counts a lookup that failed.
    pub fn failed(&self, upstream: &Arc<str>, reason: DiscoveryFailure) {
        if let Some(lookups) = self.lock().get_mut(upstream) {
            lookups.failures[reason as usize] += 1;
        }
    }

    /// Counts a set of endpoints that was replaced.
    pub fn updated(&self, upstream: &Arc<str>) {
        if let Some(lookups) = self.lock().get_mut(upstream) {
            lookups.updates += 1;
        }
    }

    pub(crate) fn figures(&self) -> Vec<UpstreamLookups> {
        self.lock().iter().map(|(name, lookups)| (name.clone(), *lookups)).collect()
    }

    /// Counts are whole at all times, whoever panicked.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Lookups>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_that_stay_keep_their_counts_and_others_leave() {
        let stats = DiscoveryStats::default();
        let [api, web]: [Arc<str>; 2] = ["api", "web"].map(Arc::from);
        stats.failed(&api, DiscoveryFailure::Timeout);
        assert!(stats.figures().is_empty(), "nobody looks its endpoints up");
        stats.keep([api.clone(), web.clone()].into());
        stats.failed(&api, DiscoveryFailure::Timeout);
        stats.updated(&api);
        stats.keep([api.clone()].into());
        let figures = stats.figures();
        assert_eq!(figures.len(), 1);
        let lookups = figures[0].1;
        assert_eq!(lookups.failures[DiscoveryFailure::Timeout as usize], 1);
        assert_eq!((lookups.failures.iter().sum::<u64>(), lookups.updates), (1, 1));
    }
}
