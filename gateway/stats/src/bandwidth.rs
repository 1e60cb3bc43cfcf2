//! What is counted where `bandwidth` bounds how much passes: bytes that passed, bytes that wait, and how long
//! what waited did.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::table::{Row, Table};

// The counters of one direction.
const BYTES: usize = 0;
const WAITING_BYTES: usize = 1;
const WAITS: usize = 2;
const WAIT_NS: usize = 3;
const DIRECTION_WORDS: usize = 4;
const WORDS: usize = DIRECTION_WORDS * Direction::ALL.len();

/// Whose bandwidth it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum BandwidthOf {
    /// An upstream's, by name.
    Upstream(Arc<str>),
    /// That of a route of a virtual host.
    Route(Arc<str>, Arc<str>),
}

/// Which bodies, as `direction` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Direction {
    /// Those of requests.
    Request,
    /// Those of responses.
    Response,
}

impl Direction {
    pub(crate) const ALL: [(Self, &'static str); 2] =
        [(Self::Request, "request"), (Self::Response, "response")];

    fn word(self, word: usize) -> usize {
        self as usize * DIRECTION_WORDS + word
    }
}

pub(crate) fn table(shards: usize) -> Table<BandwidthOf> {
    Table::new(WORDS, shards)
}

/// A handle on what is counted of one bandwidth.
#[derive(Clone)]
pub struct BandwidthStats(Row);

impl fmt::Debug for BandwidthStats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("BandwidthStats").finish_non_exhaustive()
    }
}

/// Bytes that wait; they no longer do when this is dropped.
#[derive(Debug)]
pub struct BandwidthWait {
    stats: BandwidthStats,
    direction: Direction,
    bytes: u64,
}

impl Drop for BandwidthWait {
    fn drop(&mut self) {
        let word = self.direction.word(WAITING_BYTES);
        self.stats.0.cell()[word].fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl BandwidthStats {
    pub(crate) fn new(row: Row) -> Self {
        Self(row)
    }

    /// Counts bytes that pass.
    pub fn passed(&self, direction: Direction, bytes: u64) {
        self.0.cell()[direction.word(BYTES)].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that wait until what this returns is dropped.
    #[must_use]
    pub fn wait(&self, direction: Direction, bytes: u64) -> BandwidthWait {
        self.0.cell()[direction.word(WAITING_BYTES)].fetch_add(bytes, Ordering::Relaxed);
        BandwidthWait { stats: self.clone(), direction, bytes }
    }

    /// Counts a piece that waited for `duration`.
    pub fn waited(&self, direction: Direction, duration: Duration) {
        let cell = self.0.cell();
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        cell[direction.word(WAITS)].fetch_add(1, Ordering::Relaxed);
        cell[direction.word(WAIT_NS)].fetch_add(duration_ns, Ordering::Relaxed);
    }
}

/// What one direction had counted at one moment.
pub(crate) struct DirectionSnapshot {
    pub(crate) label: &'static str,
    pub(crate) bytes: u64,
    pub(crate) waiting_bytes: u64,
    pub(crate) waits: u64,
    pub(crate) waited: Duration,
}

/// What is counted of both directions.
pub(crate) fn directions(row: &Row) -> [DirectionSnapshot; Direction::ALL.len()] {
    Direction::ALL.map(|(direction, label)| DirectionSnapshot {
        label,
        bytes: row.sum(direction.word(BYTES)),
        waiting_bytes: row.level(direction.word(WAITING_BYTES)),
        waits: row.sum(direction.word(WAITS)),
        waited: Duration::from_nanos(row.sum(direction.word(WAIT_NS))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    #[test]
    fn bytes_and_waits_are_exposed_by_direction() {
        let registry = Registry::new(2);
        let names =
            [BandwidthOf::Upstream("api".into()), BandwidthOf::Route("shop".into(), "all".into())];
        let stats = registry.bandwidths(&names);
        stats[0].passed(Direction::Response, 10);
        let waiting = stats[0].wait(Direction::Request, 7);
        let line =
            r#"sallyport_upstream_bandwidth_waiting_bytes{upstream="api",direction="request"}"#;
        assert!(registry.render().contains(&format!("{line} 7\n")));
        drop(waiting);
        stats[1].waited(Direction::Response, Duration::from_millis(1_500));
        let text = registry.render();
        for expected in [
            &format!("{line} 0"),
            r#"sallyport_upstream_bandwidth_bytes_total{upstream="api",direction="response"} 10"#,
            r#"sallyport_route_bandwidth_waits_total{virtual_host="shop",route="all",direction="response"} 1"#,
            r#"sallyport_route_bandwidth_wait_seconds_total{virtual_host="shop",route="all",direction="response"} 1.5"#,
        ] {
            assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
        }
    }
}
