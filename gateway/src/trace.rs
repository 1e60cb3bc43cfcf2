//! Traces: which requests are recorded, what is said of them, and how that leaves.
//!
//! A request decides once, when its route is known, whether it is recorded; `proxy/trace.rs` is
//! where it does. Its spans are OpenTelemetry's own messages from the beginning, wait in a bounded
//! queue and are sent by one thread: a receiver that is slow or gone costs spans, which are
//! counted, and no request anything. What is here is no OpenTelemetry SDK: its processor does not
//! say what it has dropped, and its exporter takes addresses and secrets from the environment,
//! which this file does not show.

pub mod b3;
pub mod context;
mod export;
mod queue;
pub mod span;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use prometheus::proto::MetricFamily;
use sallyport_stats::Registry;

pub use self::queue::{Finished, FinishedRequest, SpanQueue};

use self::export::Export;
use self::queue::Ring;
use crate::config::Tracing as Settings;

/// How long a receiver that is no longer wanted may take for what waits.
const FAREWELL: Duration = Duration::from_secs(2);

/// The one place where the sending of traces is turned on, changed and ended.
#[derive(Debug)]
pub struct Tracing {
    spans: Arc<SpanQueue>,
    registry: Arc<Registry>,
    running: Mutex<Option<Running>>,
}

/// A thread at work. It ends when it is told to, or when nobody can tell it any more.
#[derive(Debug)]
struct Running {
    orders: Sender<Order>,
    /// The size of its queue.
    capacity: usize,
    /// Nothing is ever sent: the other end is dropped when the thread is over.
    ended: Receiver<()>,
}

/// What the thread is told.
#[derive(Debug)]
enum Order {
    /// Much is waiting.
    Wake,
    /// Send to another receiver, and take from another ring where the size of the queue has
    /// changed.
    Change(Box<Settings>, Option<Arc<Ring>>),
    /// Send what there is, within this time, and end.
    End(Duration),
}

impl Tracing {
    /// Nothing is sent yet. Which request of each bucket of durations can be looked up is noted in
    /// `registry`.
    #[must_use]
    pub fn new(spans: Arc<SpanQueue>, registry: Arc<Registry>) -> Self {
        Self { spans, registry, running: Mutex::default() }
    }

    /// Applies what the configuration says now. What waits goes to the receiver of the new one, or,
    /// where there is none any more, to the old one for some seconds.
    ///
    /// That a thread cannot be had is logged, and what ran before runs on.
    pub fn configure(&self, settings: Option<&Settings>) {
        let mut running = self.lock();
        match (settings, running.as_mut()) {
            (Some(settings), Some(thread)) => self.change(thread, settings),
            (Some(settings), None) => match self.start(settings) {
                Ok(thread) => *running = Some(thread),
                Err(error) => tracing::error!(%error, "tracing: nothing is sent"),
            },
            (None, Some(thread)) => {
                self.spans.close();
                // An error is a thread that has ended, which is what is wanted.
                thread.orders.send(Order::End(FAREWELL)).ok();
                *running = None;
            }
            (None, None) => {}
        }
    }

    fn change(&self, thread: &mut Running, settings: &Settings) {
        let resized = thread.capacity != settings.queue;
        let ring = resized.then(|| self.spans.open(settings.queue, thread.orders.clone()));
        thread.capacity = settings.queue;
        if thread.orders.send(Order::Change(Box::new(settings.clone()), ring)).is_err() {
            tracing::error!("tracing: the thread has ended");
        }
    }

    fn start(&self, settings: &Settings) -> std::io::Result<Running> {
        let (orders, ordered) = mpsc::channel();
        let (hold, ended) = mpsc::channel();
        let ring = self.spans.open(settings.queue, orders.clone());
        let counters = self.spans.counters().clone();
        let export = Export::new(settings.clone(), ring, counters, self.registry.clone());
        let work = move || {
            export.run(&ordered);
            drop(hold);
        };
        let spawned = thread::Builder::new().name("traces".to_owned()).spawn(work);
        if let Err(error) = spawned {
            self.spans.close();
            return Err(error);
        }
        Ok(Running { orders, capacity: settings.queue, ended })
    }

    /// What tracing says of itself, for `/metrics`; nothing while there is none.
    #[must_use]
    pub fn families(&self) -> Vec<MetricFamily> {
        let is_running = self.lock().is_some();
        if is_running { self.spans.figures().families() } else { Vec::new() }
    }

    /// Sends what waits and ends. Takes no more than `patience`, and a little for the rest.
    pub fn shutdown(&self, patience: Duration) {
        const REST: Duration = Duration::from_millis(500);
        let Some(thread) = self.lock().take() else { return };
        thread.orders.send(Order::End(patience)).ok();
        if let Err(RecvTimeoutError::Timeout) = thread.ended.recv_timeout(patience + REST) {
            tracing::warn!("tracing: spans were left unsent");
        }
    }

    /// Only whole threads are put in and taken out.
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
