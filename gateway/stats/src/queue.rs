//! What is counted for the queue of an upstream: requests that wait, how long those waited that were served, and
//! those that were not.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use crate::{
    histogram::{self, BUCKETS},
    table::{Row, Table},
};

// A queue's counters.
const LENGTH: usize = 0;
const SUM_NS: usize = 1;
const REJECTED: usize = 2;
const HISTOGRAM: usize = REJECTED + QueueRejection::ALL.len();
const WORDS: usize = HISTOGRAM + BUCKETS;

/// Why a request that had to wait was not served, as `reason` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum QueueRejection {
    /// The queue was full.
    Full,
    /// It waited too long.
    Deadline,
}

impl QueueRejection {
    const ALL: [(Self, &'static str); 2] = [(Self::Full, "full"), (Self::Deadline, "deadline")];
}

pub(crate) fn table(shards: usize) -> Table<Arc<str>> {
    Table::new(WORDS, shards)
}

/// A handle on what is counted of one upstream's queue.
#[derive(Clone)]
pub struct QueueStats(Row);

impl fmt::Debug for QueueStats {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("QueueStats").finish_non_exhaustive()
    }
}

/// A request that waits; it no longer does when this is dropped.
#[derive(Debug)]
pub struct QueueWait<'s>(&'s QueueStats);

impl Drop for QueueWait<'_> {
    fn drop(&mut self) {
        self.0.0.cell()[LENGTH].fetch_sub(1, Ordering::Relaxed);
    }
}

impl QueueStats {
    pub(crate) fn new(row: Row) -> Self {
        Self(row)
    }

    /// Requests that wait now.
    pub fn length(&self) -> u64 {
        self.0.level(LENGTH)
    }

    /// Requests that were not served so far, by the value of `reason`.
    pub fn rejections(&self) -> [(&'static str, u64); QueueRejection::ALL.len()] {
        QueueRejection::ALL.map(|(reason, label)| (label, self.0.sum(REJECTED + reason as usize)))
    }

    /// A request waits until what this returns is dropped.
    pub fn wait(&self) -> QueueWait<'_> {
        self.0.cell()[LENGTH].fetch_add(1, Ordering::Relaxed);
        QueueWait(self)
    }

    /// Counts a request that was served after it waited for `duration`.
    pub fn served(&self, duration: Duration) {
        let cell = self.0.cell();
        let duration_ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        cell[SUM_NS].fetch_add(duration_ns, Ordering::Relaxed);
        cell[HISTOGRAM + histogram::bucket(duration_ns)].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was not served.
    pub fn rejected(&self, reason: QueueRejection) {
        self.0.cell()[REJECTED + reason as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// What a queue had counted at one moment.
pub(crate) struct QueueSnapshot {
    pub(crate) length: u64,
    pub(crate) rejected: [(&'static str, u64); QueueRejection::ALL.len()],
    pub(crate) sum: Duration,
    pub(crate) buckets: Vec<u64>,
}

impl QueueSnapshot {
    pub(crate) fn of(row: &Row) -> Self {
        Self {
            length: row.level(LENGTH),
            rejected: QueueRejection::ALL
                .map(|(reason, label)| (label, row.sum(REJECTED + reason as usize))),
            sum: Duration::from_nanos(row.sum(SUM_NS)),
            buckets: (0..BUCKETS).map(|bucket| row.sum(HISTOGRAM + bucket)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Registry;

    #[test]
    fn waits_and_rejections_are_exposed() {
        let registry = Registry::new(2);
        let queues = registry.queues(&[Arc::from("api")]);
        let waits = queues[0].wait();
        let text = registry.render();
        assert!(text.contains("sallyport_queue_length{upstream=\"api\"} 1\n"), "{text}");
        drop(waits);
        queues[0].served(Duration::from_millis(3));
        queues[0].rejected(QueueRejection::Deadline);
        let text = registry.render();
        for expected in [
            r#"sallyport_queue_length{upstream="api"} 0"#,
            r#"sallyport_queue_wait_seconds_count{upstream="api"} 1"#,
            r#"sallyport_queue_rejected_total{upstream="api",reason="full"} 0"#,
            r#"sallyport_queue_rejected_total{upstream="api",reason="deadline"} 1"#,
        ] {
            assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
        }
    }
}
