//! The pipeline without its threads: samples in, batches out. What the workers run, and what a
//! test can run in their place.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use crossbeam_queue::ArrayQueue;

use super::{
    batch::{Batch, Event, Point},
    catalog::Catalog,
    clock::{Clock, Timeline},
    config::PipelineConfig,
    pace::Found,
    ring::Ring,
    series::SeriesId,
    window::{Taken, Window, WindowLosses},
};

/// Events waiting for the next flush. They are rare, and a kilobyte each.
const EVENTS_MAX: usize = 64;

/// Ring, windows, and what they were set to.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) ring: Ring,
    pub(super) catalog: Arc<Catalog>,
    pub(super) clock: Arc<dyn Clock>,
    windows: Box<[Mutex<Window>]>,
    events: ArrayQueue<Event>,
    events_lost: AtomicU64,
    /// Series that have ended since the last flush.
    retired: Mutex<Vec<SeriesId>>,
    drained: AtomicU64,
    batches: AtomicU64,
    /// Rises with every batch of samples, and tells the later of two gauges.
    stamp: AtomicU64,
    flush: Mutex<Flush>,
}

#[derive(Debug)]
struct Flush {
    merged: Window,
    timeline: Timeline,
    start_ms: u64,
    unknown: u64,
}

/// What a pipeline has counted of itself before its exporters.
#[derive(Debug, Clone, Default)]
pub(super) struct CoreCounts {
    pub(super) drained: u64,
    pub(super) batches: u64,
    pub(super) events_lost: u64,
    pub(super) window: WindowLosses,
    pub(super) window_bytes: usize,
}

impl Core {
    pub(super) fn new(
        config: &PipelineConfig,
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let workers = config.workers.clamp(1, 64);
        let ring = Ring::new(config.capacity, config.shards.max(workers), config.overflow);
        let series_max = catalog.series_max();
        let share = config.window_bytes_max / workers;
        let window = |bytes| Window::new(config.distributions, series_max, bytes);
        let mut timeline = Timeline::default();
        let start_ms = timeline.stamp_ms(&*clock);
        let flush = Flush { merged: window(usize::MAX), timeline, start_ms, unknown: 0 };
        Self {
            ring,
            catalog,
            clock,
            windows: (0..workers).map(|_| Mutex::new(window(share))).collect(),
            events: ArrayQueue::new(EVENTS_MAX),
            events_lost: AtomicU64::new(0),
            retired: Mutex::default(),
            drained: AtomicU64::new(0),
            batches: AtomicU64::new(0),
            stamp: AtomicU64::new(0),
            flush: Mutex::new(flush),
        }
    }

    pub(super) fn workers(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn event(&self, event: Event) -> bool {
        let kept = self.events.push(event.bounded()).is_ok();
        self.events_lost.fetch_add(u64::from(!kept), Ordering::Relaxed);
        kept
    }

    /// Tells exporters with the next flush that these series have ended.
    pub(super) fn retire(&self, series: impl IntoIterator<Item = SeriesId>) {
        lock(&self.retired).extend(series);
    }

    /// Moves up to `most` samples of each of a worker's shards into its window.
    ///
    /// The lock is taken before the samples are, so that two threads doing a worker's work do not
    /// mix up their order.
    pub(super) fn drain(&self, worker: usize, most: usize) -> Found {
        let mut window = lock(&self.windows[worker]);
        let stamp = self.stamp.fetch_add(1, Ordering::Relaxed);
        let mut found = Found { waiting: 0, drained: 0, capacity: self.ring.shard_capacity() };
        for shard in (worker..self.ring.shards()).step_by(self.workers()) {
            let waiting = self.ring.waiting(shard);
            let mut drained = 0;
            while drained < most.min(waiting)
                && let Some(sample) = self.ring.pop(shard)
            {
                window.add(sample, stamp);
                drained += 1;
            }
            // The fullest shard sets the pace.
            if waiting >= found.waiting {
                found = Found { waiting, drained, ..found };
            }
            self.drained.fetch_add(drained as u64, Ordering::Relaxed);
        }
        found
    }

    /// Everything recorded before this call, as far as it was kept, as one batch.
    pub(super) fn flush(&self) -> Arc<Batch> {
        for worker in 0..self.workers() {
            self.drain(worker, usize::MAX);
        }
        let mut flush = lock(&self.flush);
        for window in &self.windows {
            let taken = lock(window).take();
            flush.merged.merge(taken);
        }
        let events: Vec<_> = std::iter::from_fn(|| self.events.pop()).take(EVENTS_MAX).collect();
        let end_ms = flush.timeline.stamp_ms(&*self.clock);
        let start_ms = std::mem::replace(&mut flush.start_ms, end_ms);
        let taken = flush.merged.take();
        self.batches.fetch_add(1, Ordering::Relaxed);
        Arc::new(self.batch(taken, events, (start_ms, end_ms), &mut flush.unknown))
    }

    fn batch(
        &self,
        taken: Taken,
        events: Vec<Event>,
        (start_ms, end_ms): (u64, u64),
        unknown: &mut u64,
    ) -> Batch {
        let Taken { mut entries, samples } = taken;
        entries.sort_unstable_by_key(|entry| entry.id.index());
        let event_bytes: usize = events.iter().map(Event::bytes).sum();
        let bytes = event_bytes + entries.iter().map(|entry| entry.bytes()).sum::<usize>();
        let mut points = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.catalog.series(entry.id.index()) {
                Some(series) if series.kind() == entry.id.kind() => {
                    points.push(Point { series, value: entry.value });
                }
                // A handle of another catalogue.
                _ => *unknown += 1,
            }
        }
        let retired = std::mem::take(&mut *lock(&self.retired));
        let retired = retired.iter().filter_map(|id| self.catalog.series(id.index())).collect();
        Batch { start_ms, end_ms, points, events, retired, samples, bytes }
    }

    pub(super) fn counts(&self) -> CoreCounts {
        let mut counts = CoreCounts {
            drained: self.drained.load(Ordering::Relaxed),
            batches: self.batches.load(Ordering::Relaxed),
            events_lost: self.events_lost.load(Ordering::Relaxed),
            ..CoreCounts::default()
        };
        for window in &self.windows {
            let window = lock(window);
            counts.window.full += window.losses().full;
            counts.window.unknown += window.losses().unknown;
            counts.window_bytes += window.bytes();
        }
        let flush = lock(&self.flush);
        counts.window.unknown += flush.unknown;
        counts.window_bytes += flush.merged.bytes();
        counts
    }
}

/// A panic under these locks leaves sums that are at worst short of a sample.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
