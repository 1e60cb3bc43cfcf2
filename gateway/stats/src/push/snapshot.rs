//! What a pipeline says of itself: what was kept, what was lost and why, and what it takes.

use std::sync::Arc;

use prometheus::proto::MetricFamily;

use super::{
    breaker::BreakerState,
    core::Core,
    meter::{LossReason, Reading},
};

/// A pipeline's own statistics at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PushSnapshot {
    /// Samples kept since the start.
    pub kept: u64,
    /// Samples lost since the start, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// Samples in the buffer.
    pub waiting: usize,
    /// Samples it has room for.
    pub capacity: usize,
    /// What the buffer takes, in bytes.
    pub buffer_bytes: usize,
    /// What samples put together take.
    pub window_bytes: usize,
    /// What the catalogue takes.
    pub catalog_bytes: usize,
    /// Series in the catalogue.
    pub series: usize,
    /// Requests for a handle that were answered with one of overflow.
    pub overflowed: u64,
    /// Flushes since the start.
    pub batches: u64,
    /// One for each exporter.
    pub exporters: Vec<ExporterSnapshot>,
}

/// One exporter's statistics.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ExporterSnapshot {
    /// Its name.
    pub name: Arc<str>,
    /// Points sent.
    pub points: u64,
    /// Batches sent.
    pub batches: u64,
    /// Bytes sent, headers not counted.
    pub bytes: u64,
    /// Datagrams, records or requests sent.
    pub sends: u64,
    /// Attempts that failed.
    pub errors: u64,
    /// Panics caught; each means that the exporter was made anew.
    pub panics: u64,
    /// What was lost, by reason, in points and events; reasons that did not occur with zero.
    pub dropped: Vec<(LossReason, u64)>,
    /// The circuit breaker's state.
    pub breaker: BreakerState,
    /// Batches waiting for it.
    pub queued_batches: usize,
    /// What they take, in bytes. Exporters share their batches, so the sum over all is too high.
    pub queued_bytes: usize,
    /// The last error or panic, in words.
    pub last_error: Option<String>,
}

impl ExporterSnapshot {
    pub(super) fn new(
        name: Arc<str>,
        reading: Reading,
        queued_batches: usize,
        queued_bytes: usize,
    ) -> Self {
        Self {
            name,
            points: reading.points,
            batches: reading.batches,
            bytes: reading.bytes,
            sends: reading.sends,
            errors: reading.errors,
            panics: reading.panics,
            dropped: LossReason::ALL.into_iter().zip(reading.lost).collect(),
            breaker: BreakerState::ALL[reading.breaker.min(BreakerState::ALL.len() - 1)],
            queued_batches,
            queued_bytes,
            last_error: reading.last_error,
        }
    }

    /// How much was lost for `reason`.
    pub fn lost(&self, reason: LossReason) -> u64 {
        self.dropped[reason as usize].1
    }
}

impl PushSnapshot {
    pub(super) fn new(core: &Core, exporters: Vec<ExporterSnapshot>) -> Self {
        let losses = core.ring.losses();
        let counts = core.counts();
        let waiting = core.ring.len();
        let refused = counts.window.full + counts.window.unknown;
        let dropped = vec![
            ("buffer_full", losses.newest),
            ("buffer_oldest", losses.oldest),
            ("invalid", losses.invalid),
            ("window_full", counts.window.full),
            ("unknown_series", counts.window.unknown),
            ("event_full", counts.events_lost),
        ];
        Self {
            kept: (counts.drained + waiting as u64).saturating_sub(refused),
            dropped,
            waiting,
            capacity: core.ring.shards() * core.ring.shard_capacity(),
            buffer_bytes: core.ring.bytes(),
            window_bytes: counts.window_bytes,
            catalog_bytes: core.catalog.bytes(),
            series: core.catalog.len(),
            overflowed: core.catalog.overflowed(),
            batches: counts.batches,
            exporters,
        }
    }

    /// Samples lost before any exporter saw them.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().map(|(_, count)| count).sum()
    }

    /// Memory in use: buffer, windows, catalogue and queues, in bytes.
    pub fn bytes(&self) -> usize {
        let queues: usize = self.exporters.iter().map(|exporter| exporter.queued_bytes).sum();
        self.buffer_bytes + self.window_bytes + self.catalog_bytes + queues
    }

    /// The exporter called `name`.
    pub fn exporter(&self, name: &str) -> Option<&ExporterSnapshot> {
        self.exporters.iter().find(|exporter| *exporter.name == *name)
    }

    /// As Prometheus families named `sallyport_push_*`, to be given to
    /// [`Registry::render_with`](crate::Registry::render_with).
    pub fn families(&self) -> Vec<MetricFamily> {
        crate::exposition::push_families(self)
    }
}
