//! What is counted for an endpoint of an upstream: requests sent to it, those under way, errors by
//! kind, and connections that could not be made; and for an upstream how often a connection was
//! used again.
//!
//! Reuse has a row per upstream rather than being summed over the endpoints, so that the figure
//! does not fall when a reload removes an endpoint: a counter that falls reads as a restart.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    outcome::ErrorKind,
    table::{Row, Table},
};

/// An upstream and the address of an endpoint in it, as written.
pub(crate) type EndpointName = (Arc<str>, Arc<str>);

// An endpoint's counters.
const ACTIVE: usize = 0;
const REQUESTS: usize = 1;
const CONNECT_FAILURES: usize = 2;
const ERRORS: usize = 3;
const EJECTIONS: usize = ERRORS + ErrorKind::ALL.len();
const ENDPOINT_WORDS: usize = EJECTIONS + EjectionReason::ALL.len();

// An upstream's counters.
const FRESH: usize = 0;
const REUSED: usize = 1;
const UPSTREAM_WORDS: usize = 2;

pub(crate) fn endpoint_table(shards: usize) -> Table<EndpointName> {
    Table::new(ENDPOINT_WORDS, shards)
}

pub(crate) fn upstream_table(shards: usize) -> Table<Arc<str>> {
    Table::new(UPSTREAM_WORDS, shards)
}

/// Why an endpoint was ejected, as `reason` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum EjectionReason {
    /// Connections to it could not be made.
    Connect,
    /// New connections to it broke before anything was answered.
    Reset,
    /// It answered with errors, or not in time, several times in a row.
    ConsecutiveErrors,
    /// Its success rate was below the upstream's mean.
    SuccessRate,
}

impl EjectionReason {
    /// Every reason, in the order of the exposition.
    pub const ALL: [Self; 4] =
        [Self::Connect, Self::Reset, Self::ConsecutiveErrors, Self::SuccessRate];

    /// The value of the label `reason`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::ConsecutiveErrors => "consecutive_errors",
            Self::SuccessRate => "success_rate",
        }
    }
}

/// A handle on one endpoint's counters and on its upstream's. Copies count into the same rows; see
/// [`RouteStats`](crate::RouteStats) on what copying costs.
#[derive(Clone)]
pub struct EndpointStats {
    endpoint: Row,
    upstream: Row,
}

impl fmt::Debug for EndpointStats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("EndpointStats").field(&self.snapshot()).finish()
    }
}

impl EndpointStats {
    pub(crate) fn new(endpoint: Row, upstream: Row) -> Self {
        Self { endpoint, upstream }
    }

    /// A request is being sent to this endpoint. Must be followed by one
    /// [`finish`](Self::finish), on whichever thread.
    #[inline]
    pub fn begin(&self) {
        self.endpoint.cell()[ACTIVE].fetch_add(1, Ordering::Relaxed);
    }

    /// The endpoint is done with the request, or the gateway is with the endpoint.
    #[inline]
    pub fn finish(&self, error: Option<ErrorKind>) {
        let cell = self.endpoint.cell();
        cell[ACTIVE].fetch_sub(1, Ordering::Relaxed);
        cell[REQUESTS].fetch_add(1, Ordering::Relaxed);
        if let Some(kind) = error {
            cell[ERRORS + kind as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A connection is there to send on: one kept from before, or a new one.
    #[inline]
    pub fn connected(&self, reused: bool) {
        let word = if reused { REUSED } else { FRESH };
        self.upstream.cell()[word].fetch_add(1, Ordering::Relaxed);
    }

    /// No connection to this endpoint could be made.
    #[inline]
    pub fn connect_failed(&self) {
        self.endpoint.cell()[CONNECT_FAILURES].fetch_add(1, Ordering::Relaxed);
    }

    /// This endpoint was ejected.
    pub fn ejected(&self, reason: EjectionReason) {
        self.endpoint.cell()[EJECTIONS + reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// What was counted so far, by all workers.
    pub fn snapshot(&self) -> EndpointSnapshot {
        EndpointSnapshot::of(&self.endpoint)
    }
}

/// What an endpoint had counted at one moment.
#[derive(Debug, Clone)]
pub struct EndpointSnapshot {
    requests: u64,
    active: u64,
    connect_failures: u64,
    errors: [u64; ErrorKind::ALL.len()],
    ejections: [u64; EjectionReason::ALL.len()],
}

impl EndpointSnapshot {
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            requests: row.sum(REQUESTS),
            active: row.level(ACTIVE),
            connect_failures: row.sum(CONNECT_FAILURES),
            errors: std::array::from_fn(|kind| row.sum(ERRORS + kind)),
            ejections: std::array::from_fn(|reason| row.sum(EJECTIONS + reason)),
        }
    }

    /// Requests finished.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Requests begun and not finished.
    pub fn active(&self) -> u64 {
        self.active
    }

    /// Connections that could not be made.
    pub fn connect_failures(&self) -> u64 {
        self.connect_failures
    }

    /// Ejections for `reason`.
    pub fn ejections(&self, reason: EjectionReason) -> u64 {
        self.ejections[reason as usize]
    }

    /// Requests that ended in an error of `kind`.
    pub fn errors(&self, kind: ErrorKind) -> u64 {
        self.errors[kind as usize]
    }
}

/// How often an upstream's connections were used again, and how often not.
pub(crate) struct Reuse {
    pub(crate) reused: u64,
    pub(crate) fresh: u64,
}

impl Reuse {
    pub(crate) fn of(row: &Row) -> Self {
        Self { reused: row.sum(REUSED), fresh: row.sum(FRESH) }
    }
}

#[cfg(test)]
mod tests;
