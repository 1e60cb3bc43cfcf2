//! What is counted for the attempts at an upstream: how long each took, why some were made again, and
//! requests that a limit turned away.
//!
//! An attempt is one exchange with one endpoint, so that a request that was sent twice has two
//! durations here and one under its route. The figures are an upstream's and not an endpoint's:
//! a retry leaves the endpoint that is to blame.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    histogram::{self, BUCKETS},
    route::add_buckets,
    table::{Row, Table},
};

/// The statuses that an attempt may be made again for.
pub const RETRY_STATUSES: std::ops::RangeInclusive<u16> = 400..=599;

const STATUSES: usize = 200;
const KNOWN_WORDS: usize = STATUSES.div_ceil(64);

// An upstream's counters.
const SUM_NS: usize = 0;
const LIMITED: usize = 1;
const MIRRORED: usize = LIMITED + Limited::ALL.len();
const RETRIES: usize = MIRRORED + Mirrored::ALL.len();
const STATUS_RETRIES: usize = RETRIES + RetryReason::WORDS.len();
/// Which statuses are exposed though none was counted: one bit each, the same in every cell that has it.
const KNOWN: usize = STATUS_RETRIES + STATUSES;
const HISTOGRAM: usize = KNOWN + KNOWN_WORDS;
const WORDS: usize = HISTOGRAM + BUCKETS;

/// Why an attempt was made again, as `reason` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryReason {
    /// No connection could be made.
    Connect,
    /// The connection broke before anything was answered.
    Reset,
    /// Nothing was answered in time.
    Timeout,
    /// The origin refused the stream, which says that it did nothing with it.
    RefusedStream,
    /// The answer was late, and a second attempt was made beside the first.
    Hedge,
    /// The origin answered with this status.
    Status(u16),
}

impl RetryReason {
    const WORDS: [(Self, &'static str); 5] = [
        (Self::Connect, "connect"),
        (Self::Reset, "reset"),
        (Self::Timeout, "timeout"),
        (Self::RefusedStream, "refused_stream"),
        (Self::Hedge, "hedge"),
    ];

    fn word(self) -> Option<usize> {
        match self {
            Self::Status(status) => status_index(status).map(|index| STATUS_RETRIES + index),
            _ => Self::WORDS.iter().position(|(reason, _)| *reason == self).map(|at| RETRIES + at),
        }
    }
}

/// Which limit turned a request away, as `reason` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Limited {
    /// The upstream has as many requests as it may.
    Requests,
    /// As many requests wait for a connection as may.
    Pending,
    /// The upstream has as many connections as it may.
    Connections,
}

impl Limited {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Requests, "requests"),
        (Self::Pending, "pending"),
        (Self::Connections, "connections"),
    ];
}

/// What became of a copy of a request, as `result` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Mirrored {
    /// It was answered, with whatever status.
    Answered,
    /// It was sent and not answered.
    Failed,
    /// It was not sent: too many were under way.
    Full,
    /// It was not sent: its body is too large.
    TooLarge,
}

impl Mirrored {
    const ALL: [(Self, &'static str); 4] = [
        (Self::Answered, "answered"),
        (Self::Failed, "failed"),
        (Self::Full, "full"),
        (Self::TooLarge, "too_large"),
    ];
}

pub(crate) fn table(shards: usize) -> Table<Arc<str>> {
    Table::new(WORDS, shards)
}

fn status_index(status: u16) -> Option<usize> {
    RETRY_STATUSES.contains(&status).then(|| usize::from(status - RETRY_STATUSES.start()))
}

/// A handle on what is counted of one upstream's attempts; see [`RouteStats`](crate::RouteStats) on what
/// copying costs.
#[derive(Clone)]
pub struct AttemptStats(Row);

impl fmt::Debug for AttemptStats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("AttemptStats").finish_non_exhaustive()
    }
}

impl AttemptStats {
    pub(crate) fn new(row: Row) -> Self {
        Self(row)
    }

    /// Makes retries for `status` show from now on, at 0 until there is one.
    pub fn expect(&self, status: u16) {
        if let Some(index) = status_index(status) {
            self.0.cell()[KNOWN + index / 64].fetch_or(1 << (index % 64), Ordering::Relaxed);
        }
    }

    /// Counts an attempt that is over, after `duration`.
    #[inline]
    pub fn finish(&self, duration: Duration) {
        let cell = self.0.cell();
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        cell[SUM_NS].fetch_add(duration_ns, Ordering::Relaxed);
        cell[HISTOGRAM + histogram::bucket(duration_ns)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an attempt that is made because the one before failed for `reason`.
    pub fn retried(&self, reason: RetryReason) {
        if let Some(word) = reason.word() {
            self.0.cell()[word].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts a request that a limit turned away.
    pub fn limited(&self, limit: Limited) {
        self.0.cell()[LIMITED + limit as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl AttemptStats {
    /// Counts a copy of a request that was meant for this upstream.
    pub fn mirrored(&self, result: Mirrored) {
        self.0.cell()[MIRRORED + result as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl AttemptStats {
    /// Adds the counts of the durations' buckets to `counts`, as [`histogram`] divides them.
    pub fn add_durations(&self, counts: &mut [u64; BUCKETS]) {
        add_buckets(&self.0, HISTOGRAM, counts);
    }

    /// Attempts that were made again so far, by the value of `reason`; those that never were and that
    /// nobody expects are left out.
    pub fn retries(&self) -> Vec<(String, u64)> {
        AttemptSnapshot::of(&self.0).retries
    }

    /// Requests that were turned away so far, by limit.
    pub fn turned_away(&self) -> [(&'static str, u64); Limited::ALL.len()] {
        Limited::ALL.map(|(limit, label)| (label, self.0.sum(LIMITED + limit as usize)))
    }
}

/// What an upstream's attempts had counted at one moment.
pub(crate) struct AttemptSnapshot {
    /// By the value of `reason`.
    pub(crate) retries: Vec<(String, u64)>,
    pub(crate) limited: [(&'static str, u64); Limited::ALL.len()],
    /// `None` where no copies were meant for it.
    pub(crate) mirrored: Option<[(&'static str, u64); Mirrored::ALL.len()]>,
    pub(crate) sum: Duration,
    pub(crate) buckets: Vec<u64>,
}

impl AttemptSnapshot {
    pub(crate) fn of(row: &Row) -> Self {
        let words = RetryReason::WORDS.iter().enumerate();
        let words = words.map(|(at, (_, label))| ((*label).to_owned(), row.sum(RETRIES + at)));
        let known: [u64; KNOWN_WORDS] = std::array::from_fn(|word| {
            row.cells().fold(0, |all, cell| all | cell[KNOWN + word].load(Ordering::Relaxed))
        });
        let statuses = RETRY_STATUSES.enumerate().filter_map(|(index, status)| {
            let count = row.sum(STATUS_RETRIES + index);
            let is_known = known[index / 64] >> (index % 64) & 1 == 1;
            (count > 0 || is_known).then(|| (status.to_string(), count))
        });
        Self {
            retries: words.chain(statuses).collect(),
            limited: Limited::ALL.map(|(limit, label)| (label, row.sum(LIMITED + limit as usize))),
            mirrored: Some(
                Mirrored::ALL.map(|(it, label)| (label, row.sum(MIRRORED + it as usize))),
            )
            .filter(|all| all.iter().any(|(_, count)| *count > 0)),
            sum: Duration::from_nanos(row.sum(SUM_NS)),
            buckets: (0..BUCKETS).map(|bucket| row.sum(HISTOGRAM + bucket)).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
