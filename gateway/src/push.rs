//! Statistics that are pushed: a thread reads what is counted anyway and hands on what was added.
//!
//! Nothing of it is on a request's path. `push/task.rs` is a reading and its exporters; here is who
//! it belongs to: the thread that calls it, its orders from reloads, and its end.

mod task;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use prometheus::proto::MetricFamily;
use sallyport_plugin::Metrics;
use sallyport_stats::Registry;
use sallyport_stats::push::Monitor;

use self::task::Task;
use crate::config::Push;
use crate::process::Process;

/// What is read.
#[derive(Clone, Debug)]
pub struct Sources {
    /// The gateway's own counters.
    pub registry: Arc<Registry>,
    /// Those of filters.
    pub filters: Metrics,
    /// What the process takes.
    pub process: Process,
}

/// The one place where pushing is turned on, changed and ended.
#[derive(Debug)]
pub struct Pushing {
    sources: Sources,
    running: Mutex<Option<Running>>,
}

/// A thread at work. It ends when it is told to, or when nobody can tell it any more.
#[derive(Debug)]
struct Running {
    orders: Sender<Order>,
    monitor: Arc<Mutex<Monitor>>,
    /// Nothing is ever sent: the other end is dropped when the thread is over.
    ended: Receiver<()>,
}

#[derive(Debug)]
enum Order {
    Change(Push),
    /// Send what there is, within this time, and end.
    End(Duration),
}

impl Pushing {
    /// Nothing is pushed yet.
    #[must_use]
    pub fn new(sources: Sources) -> Self {
        Self { sources, running: Mutex::default() }
    }

    /// Applies what the configuration says now. Exporters that did not change go on with what they
    /// have queued; those that are gone are given some seconds to send it. Where nothing was pushed
    /// before, what was counted until now never is.
    ///
    /// That a thread cannot be had is logged, and what ran before runs on.
    pub fn configure(&self, push: Option<&Push>) {
        let mut running = self.lock();
        match (push, running.as_ref()) {
            (Some(push), Some(thread)) => {
                if thread.orders.send(Order::Change(push.clone())).is_err() {
                    tracing::error!("push: the thread has ended");
                }
            }
            (Some(push), None) => match Running::start(push, &self.sources) {
                Ok(thread) => *running = Some(thread),
                Err(error) => tracing::error!(%error, "push: nothing is pushed"),
            },
            (None, Some(thread)) => {
                // An error is a thread that has ended, which is what is wanted.
                thread.orders.send(Order::End(task::FAREWELL)).ok();
                *running = None;
            }
            (None, None) => {}
        }
    }

    /// What pushing says of itself, for `/metrics`; nothing while nothing is pushed.
    #[must_use]
    pub fn families(&self) -> Vec<MetricFamily> {
        let monitor = self.lock().as_ref().map(|running| locked(&running.monitor).clone());
        monitor.map(|monitor| monitor.snapshot().families()).unwrap_or_default()
    }

    /// Sends what was counted until now and ends. Takes no more than `patience` for the sending and
    /// a second for the rest.
    pub fn shutdown(&self, patience: Duration) {
        const REST: Duration = Duration::from_secs(1);
        let Some(thread) = self.lock().take() else { return };
        thread.orders.send(Order::End(patience)).ok();
        if let Err(RecvTimeoutError::Timeout) = thread.ended.recv_timeout(patience + REST) {
            tracing::warn!("push: statistics were left unsent");
        }
    }

    /// Only whole threads are put in and taken out.
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        locked(&self.running)
    }
}

impl Running {
    fn start(push: &Push, sources: &Sources) -> anyhow::Result<Self> {
        let task = Task::start(push.clone(), sources.clone())?;
        let monitor = Arc::new(Mutex::new(task.monitor()));
        let (orders, ordered) = mpsc::channel();
        let (hold, ended) = mpsc::channel();
        let shown = monitor.clone();
        let work = move || {
            work(task, &ordered, &shown);
            drop(hold);
        };
        thread::Builder::new().name("push".to_owned()).spawn(work)?;
        Ok(Self { orders, monitor, ended })
    }
}

/// The thread's life.
fn work(mut task: Task, orders: &Receiver<Order>, monitor: &Mutex<Monitor>) {
    let mut next = Instant::now() + task.every();
    loop {
        match orders.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Order::Change(push)) => {
                task.change(push);
                *locked(monitor) = task.monitor();
                next = next.min(Instant::now() + task.every());
            }
            Ok(Order::End(patience)) => return task.end(patience),
            Err(RecvTimeoutError::Timeout) => {
                task.read();
                // From now on, not from when it was due: one reading makes up for any number missed.
                next = Instant::now() + task.every();
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What these locks guard is replaced as a whole.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
