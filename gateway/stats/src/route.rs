//! What is counted for a route: requests by class of status code, those under way, errors by
//! kind, and how long requests took.
//!
//! A route is named together with its virtual host. Requests that match nothing have a row like
//! any other, for the route `none` in the virtual host `none`, which the caller names itself.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    histogram::{self, BUCKETS},
    outcome::{CodeClass, ErrorKind},
    status_codes::StatusCodes,
    table::{Row, Table},
};

/// A virtual host and a route in it.
pub(crate) type RouteName = (Arc<str>, Arc<str>);

// A cell's counters. All but the histogram fit one 128-byte line.
const ACTIVE: usize = 0;
const SUM_NS: usize = 1;
const CLASSES: usize = 2;
const ERRORS: usize = CLASSES + CodeClass::ALL.len();
const HISTOGRAM: usize = ERRORS + ErrorKind::ALL.len();
// Behind the histogram, so that what every request writes stays on the first line.
const REQUEST_BYTES: usize = HISTOGRAM + BUCKETS;
const RESPONSE_BYTES: usize = REQUEST_BYTES + 1;
const WORDS: usize = RESPONSE_BYTES + 1;

/// How often a cell is read again that was written to meanwhile. A worker takes nanoseconds to
/// record a request and microseconds to come to the next, so the second try nearly always does.
const READS_MAX: usize = 4;

pub(crate) fn table(shards: usize) -> Table<RouteName> {
    Table::new(WORDS, shards).staying_while(ACTIVE)
}

/// A handle on one route's counters.
///
/// Copies count into the same row and keep it alive across reloads. Copying is an atomic
/// increment on a line that all workers share: a request should rather borrow the handle from the
/// configuration it began with.
#[derive(Clone)]
pub struct RouteStats {
    row: Row,
    /// Where responses are counted by exact code as well.
    codes: Option<StatusCodes>,
}

impl fmt::Debug for RouteStats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("RouteStats").field(&self.snapshot()).finish()
    }
}

impl RouteStats {
    pub(crate) fn new(row: Row, codes: Option<StatusCodes>) -> Self {
        Self { row, codes }
    }

    /// A request for this route has begun. Must be followed by one [`finish`](Self::finish), on
    /// whichever thread.
    #[inline]
    pub fn begin(&self) {
        self.row.cell()[ACTIVE].fetch_add(1, Ordering::Relaxed);
    }

    /// The request is over: it was answered with `status`, or with nothing if that is 0, and took
    /// `duration`.
    ///
    /// Where `error` is not given, a 4xx or 5xx status is counted as an error of its own kind.
    /// Five additions to the worker's own cell at most, or six where codes are counted singly; no lock, no
    /// allocation.
    #[inline]
    pub fn finish(&self, status: u16, error: Option<ErrorKind>, duration: Duration) {
        let cell = self.row.cell();
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        cell[ACTIVE].fetch_sub(1, Ordering::Relaxed);
        cell[SUM_NS].fetch_add(duration_ns, Ordering::Relaxed);
        if let Some(kind) = error.or(ErrorKind::of(status)) {
            cell[ERRORS + kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        cell[CLASSES + CodeClass::of(status) as usize].fetch_add(1, Ordering::Relaxed);
        if let Some(codes) = &self.codes {
            codes.count(status);
        }
        // Last, and releasing: who sees a duration counted also sees its class counted.
        cell[HISTOGRAM + histogram::bucket(duration_ns)].fetch_add(1, Ordering::Release);
    }

    /// Adds the bytes of a request's body and of its response's: what a client sent and was sent,
    /// without heads and framing. None of either is not written.
    #[inline]
    pub fn record_body_bytes(&self, request: u64, response: u64) {
        if request + response > 0 {
            let cell = self.row.cell();
            cell[REQUEST_BYTES].fetch_add(request, Ordering::Relaxed);
            cell[RESPONSE_BYTES].fetch_add(response, Ordering::Relaxed);
        }
    }

    /// Requests begun and not over. Cheaper than a whole [`snapshot`](Self::snapshot).
    pub fn active(&self) -> u64 {
        self.row.level(ACTIVE)
    }

    /// What was counted so far, by all workers.
    pub fn snapshot(&self) -> RouteSnapshot {
        RouteSnapshot::of(&self.row)
    }

    /// What was counted so far but for durations: reads one line of memory for each worker, where a
    /// [`snapshot`](Self::snapshot) reads kilobytes.
    pub fn totals(&self) -> RouteTotals {
        let classes = CLASSES..CLASSES + CodeClass::ALL.len();
        let client_errors = self.row.sum(ERRORS + ErrorKind::ClientError as usize);
        let errors: u64 = (ERRORS..HISTOGRAM).map(|word| self.row.sum(word)).sum();
        RouteTotals {
            requests: classes.map(|word| self.row.sum(word)).sum(),
            errors: errors.saturating_sub(client_errors),
            client_errors,
            active: self.active(),
        }
    }

    /// Adds the counts of the histogram's buckets to `counts`, as [`histogram`] divides them.
    pub fn add_durations(&self, counts: &mut [u64; BUCKETS]) {
        add_buckets(&self.row, HISTOGRAM, counts);
    }
}

/// Adds a row's histogram, which begins at the counter `first`, to `counts`.
pub(crate) fn add_buckets(row: &Row, first: usize, counts: &mut [u64; BUCKETS]) {
    for cell in row.cells() {
        for (sum, count) in counts.iter_mut().zip(&cell[first..]) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

/// What a route has counted, without its durations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouteTotals {
    /// Requests finished.
    pub requests: u64,
    /// Those that failed for a reason that is not the client's.
    pub errors: u64,
    /// Those that were answered with 4xx.
    pub client_errors: u64,
    /// Requests begun and not finished.
    pub active: u64,
}

/// Requests begun and not over, one figure for each worker that has cells, summed over `rows`.
/// Below zero where one worker began a request and another finished it.
pub(crate) fn active_by_worker<'rows>(rows: impl Iterator<Item = &'rows Row>) -> Vec<i64> {
    let mut active = Vec::new();
    for (worker, cell) in rows.flat_map(|row| row.cells().enumerate()) {
        if worker >= active.len() {
            active.resize(worker + 1, 0);
        }
        active[worker] += cell[ACTIVE].load(Ordering::Relaxed).cast_signed();
    }
    active
}

/// What a route had counted at one moment.
#[derive(Debug, Clone)]
pub struct RouteSnapshot {
    requests: [u64; CodeClass::ALL.len()],
    errors: [u64; ErrorKind::ALL.len()],
    active: u64,
    sum_ns: u64,
    request_bytes: u64,
    response_bytes: u64,
    buckets: Vec<u64>,
}

impl RouteSnapshot {
    pub(crate) fn of(row: &Row) -> Self {
        let mut snapshot = Self {
            requests: Default::default(),
            errors: std::array::from_fn(|kind| row.sum(ERRORS + kind)),
            active: row.level(ACTIVE),
            sum_ns: row.sum(SUM_NS),
            request_bytes: row.sum(REQUEST_BYTES),
            response_bytes: row.sum(RESPONSE_BYTES),
            buckets: vec![0; BUCKETS],
        };
        for cell in row.cells() {
            Reading::settled(cell).add_to(&mut snapshot);
        }
        snapshot
    }

    /// Requests finished with a status of `class`.
    pub fn requests(&self, class: CodeClass) -> u64 {
        self.requests[class as usize]
    }

    /// Requests that ended in an error of `kind`.
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }

    /// Requests begun and not finished.
    pub fn active(&self) -> u64 {
        self.active
    }

    /// Bytes of the bodies of finished requests.
    pub fn request_bytes(&self) -> u64 {
        self.request_bytes
    }

    /// Bytes of the bodies of their responses.
    pub fn response_bytes(&self) -> u64 {
        self.response_bytes
    }

    /// Requests finished: exactly the sum over the classes.
    pub fn count(&self) -> u64 {
        self.requests.iter().sum()
    }

    /// How long all finished requests took together. To the nanosecond, though durations recorded
    /// during the reading may be in it whose requests are not yet in the count.
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.sum_ns)
    }

    /// The duration below which a share `q` of the requests lay, since the row began; `None` when
    /// there were none. Within 1/32 of the true one: see [`histogram`].
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        histogram::quantile(&self.buckets, q)
    }

    /// The counts of the histogram's buckets, as [`histogram`] divides them.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// The exposed edges of the histogram in seconds, each with the count of requests that took
    /// no longer.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        histogram::cumulative(&self.buckets)
    }
}

/// One cell's classes and buckets.
///
/// The class is written before the bucket and read after it, so there are never fewer requests
/// than durations. Where a request was caught between the two even after several reads, it is in
/// the count and not yet below any edge; the next reading has it where it belongs. No figure ever
/// goes down because of it.
struct Reading {
    buckets: [u64; BUCKETS],
    requests: [u64; CodeClass::ALL.len()],
}

impl Reading {
    fn settled(cell: &[AtomicU64]) -> Self {
        let mut reading = Self::of(cell);
        for _ in 1..READS_MAX {
            if reading.is_settled() {
                break;
            }
            reading = Self::of(cell);
        }
        reading
    }

    fn of(cell: &[AtomicU64]) -> Self {
        let buckets = std::array::from_fn(|i| cell[HISTOGRAM + i].load(Ordering::Acquire));
        let requests = std::array::from_fn(|i| cell[CLASSES + i].load(Ordering::Relaxed));
        Self { buckets, requests }
    }

    fn is_settled(&self) -> bool {
        self.buckets.iter().sum::<u64>() == self.requests.iter().sum::<u64>()
    }

    fn add_to(&self, snapshot: &mut RouteSnapshot) {
        snapshot.buckets.iter_mut().zip(&self.buckets).for_each(|(sum, count)| *sum += count);
        snapshot.requests.iter_mut().zip(&self.requests).for_each(|(sum, count)| *sum += count);
    }
}

#[cfg(test)]
mod tests;
