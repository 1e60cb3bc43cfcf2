//! What waits to be sent: bounded, without a lock, and closed where nothing is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use crossbeam_queue::ArrayQueue;
use opentelemetry_proto::tonic::trace::v1::Span;
use sallyport_stats::{SpanLoss, TracingFigures};

use super::Order;

/// Spans that are finished, of one request or of a call that was made for one.
#[derive(Debug)]
pub struct Finished {
    /// The spans.
    pub spans: Vec<Span>,
    /// What is noted of the request besides, where they are a request's of a route.
    pub request: Option<FinishedRequest>,
}

/// A request that can be looked up by its trace.
#[derive(Debug)]
pub struct FinishedRequest {
    /// Its virtual host.
    pub virtual_host: Arc<str>,
    /// Its route.
    pub route: Arc<str>,
    /// Its trace.
    pub trace_id: u128,
    /// How long it took.
    pub duration: Duration,
    /// When it was over.
    pub at: SystemTime,
}

/// Where finished spans are put. It is there for as long as the process is; there is a ring in it
/// while somebody sends them.
#[derive(Debug, Default)]
pub struct SpanQueue {
    ring: ArcSwapOption<Ring>,
    counters: Arc<Counters>,
}

/// What becomes of spans.
#[derive(Debug, Default)]
pub(super) struct Counters {
    waiting: AtomicU64,
    exported: AtomicU64,
    dropped: [AtomicU64; SpanLoss::ALL.len()],
    failures: AtomicU64,
}

/// What waits for one thread. What is left of it in the end is counted as lost.
#[derive(Debug)]
pub(super) struct Ring {
    queue: ArrayQueue<Box<Finished>>,
    orders: Sender<Order>,
    /// Whether the thread was told that much is waiting, and has not looked yet.
    is_woken: AtomicBool,
    counters: Arc<Counters>,
}

impl SpanQueue {
    /// Takes spans from now on, of up to `capacity` requests and calls at a time; `orders` is told
    /// when half of that waits.
    pub(super) fn open(&self, capacity: usize, orders: Sender<Order>) -> Arc<Ring> {
        let ring = Arc::new(Ring {
            queue: ArrayQueue::new(capacity.max(1)),
            orders,
            is_woken: AtomicBool::new(false),
            counters: self.counters.clone(),
        });
        self.ring.store(Some(ring.clone()));
        ring
    }

    /// Takes nothing from now on.
    pub(super) fn close(&self) {
        self.ring.store(None);
    }

    /// Puts spans behind those that wait. They are dropped, and counted, where there is no room.
    pub fn push(&self, finished: Box<Finished>) {
        match &*self.ring.load() {
            Some(ring) => ring.push(finished),
            None => self.counters.dropped(SpanLoss::Ended, finished.count()),
        }
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// What is counted of all this.
    #[must_use]
    pub fn figures(&self) -> TracingFigures {
        let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let counters = &self.counters;
        TracingFigures {
            exported: read(&counters.exported),
            dropped: std::array::from_fn(|loss| read(&counters.dropped[loss])),
            failures: read(&counters.failures),
            waiting: read(&counters.waiting),
        }
    }
}

impl Finished {
    fn count(&self) -> u64 {
        self.spans.len() as u64
    }
}

impl Ring {
    fn push(&self, finished: Box<Finished>) {
        let count = finished.count();
        self.counters.waiting.fetch_add(count, Ordering::Relaxed);
        if self.queue.push(finished).is_err() {
            self.counters.waiting.fetch_sub(count, Ordering::Relaxed);
            return self.counters.dropped(SpanLoss::QueueFull, count);
        }
        let is_half_full = self.queue.len() >= self.queue.capacity().div_ceil(2);
        if is_half_full && !self.is_woken.swap(true, Ordering::Relaxed) {
            // The thread may be ending, and then needs no waking.
            self.orders.send(Order::Wake).ok();
        }
    }

    /// The spans that have waited longest.
    pub(super) fn pop(&self) -> Option<Box<Finished>> {
        let finished = self.queue.pop()?;
        self.counters.waiting.fetch_sub(finished.count(), Ordering::Relaxed);
        Some(finished)
    }

    /// The thread looks at what waits: it may be told again.
    pub(super) fn looked(&self) {
        self.is_woken.store(false, Ordering::Relaxed);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while let Some(finished) = self.pop() {
            self.counters.dropped(SpanLoss::Ended, finished.count());
        }
    }
}

impl Counters {
    /// Counts spans that the receiver took.
    pub(super) fn exported(&self, spans: u64) {
        self.exported.fetch_add(spans, Ordering::Relaxed);
    }

    /// Counts a request to the receiver that failed.
    pub(super) fn failed(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts spans that were lost.
    pub(super) fn dropped(&self, loss: SpanLoss, spans: u64) {
        self.dropped[loss as usize].fetch_add(spans, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
