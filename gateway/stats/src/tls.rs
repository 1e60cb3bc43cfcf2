//! What is counted of TLS handshakes, by listener, and when certificates expire.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Upper edges of the histogram: a resumed handshake on the same host takes less than the first, and
/// a handshake's deadline is 10 s by default.
pub(crate) const EDGES_US: [u64; 14] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000,
];

/// Versions by their label: the one that nobody could tell is empty, as if there were no label.
const VERSIONS: [&str; 3] = ["1.2", "1.3", ""];

/// The result of a handshake that was finished.
const SUCCESS: &str = "success";

/// The counts of one listener. Exposed for as long as somebody holds them.
#[derive(Debug)]
pub struct TlsStats {
    listener: Arc<str>,
    results: Vec<(&'static str, [AtomicU64; VERSIONS.len()])>,
    resumed: AtomicU64,
    under_way: AtomicU64,
    durations: [AtomicU64; EDGES_US.len() + 1],
    duration_us: AtomicU64,
}

impl TlsStats {
    fn new(listener: Arc<str>, failures: impl IntoIterator<Item = &'static str>) -> Self {
        let results = [SUCCESS].into_iter().chain(failures);
        Self {
            listener,
            results: results.map(|result| (result, Default::default())).collect(),
            resumed: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            durations: Default::default(),
            duration_us: AtomicU64::new(0),
        }
    }

    /// Notes that a handshake begins, if fewer than `most` are under way.
    pub fn begin(self: &Arc<Self>, most: u64) -> Option<TlsHandshake> {
        let handshake = TlsHandshake(Arc::clone(self));
        let before = self.under_way.fetch_add(1, Ordering::Relaxed);
        (before < most).then_some(handshake)
    }

    /// Counts a handshake of `version` (`1.2` or `1.3`) that was finished after `took`.
    pub fn succeeded(&self, version: &str, resumed: bool, took: Duration) {
        self.count(SUCCESS, Some(version));
        self.resumed.fetch_add(u64::from(resumed), Ordering::Relaxed);
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = EDGES_US.partition_point(|edge| *edge < took_us);
        self.durations[bucket].fetch_add(1, Ordering::Relaxed);
        self.duration_us.fetch_add(took_us, Ordering::Relaxed);
    }

    /// Counts one that failed, by the version that the client offered if that is known.
    pub fn failed(&self, kind: &str, version: Option<&str>) {
        self.count(kind, version);
    }

    /// Handshakes so far, as (version, result, count): successes always, failures that there were. The
    /// version is empty where nobody could tell.
    #[must_use]
    pub fn handshakes(&self) -> Vec<(&'static str, &'static str, u64)> {
        let mut handshakes = Vec::new();
        for (result, counts) in &self.results {
            for (version, count) in VERSIONS.iter().zip(counts) {
                let count = count.load(Ordering::Relaxed);
                // Successes begin at 0, so that a rate sees the first one.
                if count > 0 || (*result == SUCCESS && !version.is_empty()) {
                    handshakes.push((*version, *result, count));
                }
            }
        }
        handshakes
    }

    fn count(&self, result: &str, version: Option<&str>) {
        let version = version.unwrap_or("");
        let index = VERSIONS.iter().position(|known| *known == version);
        let counts = self.results.iter().find(|(known, _)| *known == result);
        if let (Some(index), Some((_, counts))) = (index, counts) {
            counts[index].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A handshake under way: counted until this is dropped.
#[derive(Debug)]
pub struct TlsHandshake(Arc<TlsStats>);

impl Drop for TlsHandshake {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// When a certificate expires.
#[derive(Clone, Debug, PartialEq)]
pub struct CertificateExpiry {
    /// The listener that serves it.
    pub listener: Arc<str>,
    /// The DNS name that it is for.
    pub name: String,
    /// Seconds since 1970.
    pub unix_s: u64,
}

/// A certificate that an authority issues, and what became of asking for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuance {
    /// The account with the authority.
    pub account: String,
    /// The first name that it is for.
    pub domain: String,
    /// How often it was issued to this process.
    pub issued: u64,
    /// How often it was not.
    pub failed: u64,
    /// How often in a row, until now.
    pub failing: u32,
    /// When it is going to be renewed, in seconds since 1970; `None` where there is none.
    pub renewal_unix_s: Option<u64>,
}

/// What is exposed of one listener.
#[derive(Debug)]
pub(crate) struct ListenerTls {
    pub(crate) listener: Arc<str>,
    /// Version, result and count, of those that say something.
    pub(crate) handshakes: Vec<(&'static str, &'static str, u64)>,
    pub(crate) resumed: u64,
    pub(crate) under_way: u64,
    /// In the buckets of [`EDGES_US`], and one beyond.
    pub(crate) durations: [u64; EDGES_US.len() + 1],
    pub(crate) duration: Duration,
}

impl ListenerTls {
    fn of(stats: &TlsStats) -> Self {
        Self {
            listener: Arc::clone(&stats.listener),
            handshakes: stats.handshakes(),
            resumed: stats.resumed.load(Ordering::Relaxed),
            under_way: stats.under_way.load(Ordering::Relaxed),
            durations: std::array::from_fn(|index| stats.durations[index].load(Ordering::Relaxed)),
            duration: Duration::from_micros(stats.duration_us.load(Ordering::Relaxed)),
        }
    }
}

/// What is exposed of TLS.
#[derive(Debug)]
pub(crate) struct TlsFigures {
    pub(crate) listeners: Vec<ListenerTls>,
    pub(crate) certificates: Vec<CertificateExpiry>,
    pub(crate) issuances: Vec<Issuance>,
}

/// The listeners that are counted, and the certificates in force.
#[derive(Debug, Default)]
pub(crate) struct TlsTable {
    listeners: Mutex<Vec<Weak<TlsStats>>>,
    certificates: Mutex<Vec<CertificateExpiry>>,
    issuances: Mutex<Vec<Issuance>>,
}

impl TlsTable {
    /// The counts of the listener called `name`: those that somebody still holds, or new ones for
    /// these kinds of failures.
    pub(crate) fn install(
        &self,
        name: &Arc<str>,
        failures: impl IntoIterator<Item = &'static str>,
    ) -> Arc<TlsStats> {
        let mut table = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        table.retain(|stats| stats.strong_count() > 0);
        let held = table.iter().filter_map(Weak::upgrade).find(|stats| stats.listener == *name);
        held.unwrap_or_else(|| {
            let stats = Arc::new(TlsStats::new(Arc::clone(name), failures));
            table.push(Arc::downgrade(&stats));
            stats
        })
    }

    /// Replaces the certificates.
    pub(crate) fn certificates(&self, certificates: Vec<CertificateExpiry>) {
        *self.certificates.lock().unwrap_or_else(PoisonError::into_inner) = certificates;
    }

    /// Replaces the certificates that authorities issue.
    pub(crate) fn issuances(&self, issuances: Vec<Issuance>) {
        *self.issuances.lock().unwrap_or_else(PoisonError::into_inner) = issuances;
    }

    pub(crate) fn figures(&self) -> TlsFigures {
        let table = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let certificates = self.certificates.lock().unwrap_or_else(PoisonError::into_inner);
        TlsFigures {
            listeners: table
                .iter()
                .filter_map(Weak::upgrade)
                .map(|stats| ListenerTls::of(&stats))
                .collect(),
            certificates: certificates.clone(),
            issuances: self.issuances.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_are_counted_by_version_and_result() {
        let table = TlsTable::default();
        let stats = table.install(&"web".into(), ["timeout", "http"]);
        stats.succeeded("1.3", true, Duration::from_millis(2));
        stats.succeeded("1.3", false, Duration::from_secs(60));
        stats.failed("timeout", Some("1.2"));
        stats.failed("http", None);
        stats.failed("unheard_of", None);
        let figures = table.figures();
        let web = &figures.listeners[0];
        let expected =
            [("1.2", "success", 0), ("1.3", "success", 2), ("1.2", "timeout", 1), ("", "http", 1)];
        assert_eq!(web.handshakes, expected);
        assert_eq!((web.resumed, web.duration), (1, Duration::from_micros(60_002_000)));
        assert_eq!((web.durations[3], web.durations[EDGES_US.len()]), (1, 1));
    }

    #[test]
    fn handshakes_under_way_are_bounded() {
        let stats = TlsTable::default().install(&"web".into(), []);
        let first = stats.begin(1);
        assert!(first.is_some() && stats.begin(1).is_none());
        drop(first);
        assert!(stats.begin(1).is_some());
        assert_eq!(ListenerTls::of(&stats).under_way, 0);
    }
}
