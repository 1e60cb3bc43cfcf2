//! The process: listeners that come and go with the configuration, the workers behind them, and a
//! shutdown that lets requests finish.
//!
//! Pingora's own `Server` and services are not used: listeners would be fixed at the start, a port in
//! use would be a panic, and the end would wait a fixed time instead of for requests. What is used of
//! it begins with a request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pingora_core::apps::{HttpServerApp as _, HttpServerOptions};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::http_proxy;
use tokio::sync::watch;

use crate::accept::{Accepting, Acceptor, Bound, ListenerState, Slot, Slots};
use crate::connection::{App, OnDemand};
use crate::proxy::{Proxy, Shared};
use crate::snapshot::Snapshot;
use crate::turns::InTurns;
use crate::workers::Workers;

/// How long requests may take to finish once the process was told to end.
const DRAIN: Duration = Duration::from_secs(30);

/// The workers and the listeners that bring them connections.
#[derive(Debug)]
pub struct Server {
    workers: Mutex<Option<Workers>>,
    slots: Arc<Slots>,
    listeners: Mutex<Vec<Running>>,
}

/// A listener at work.
#[derive(Debug)]
struct Running {
    state: Arc<ListenerState>,
    accepting: watch::Sender<Accepting>,
}

impl Running {
    /// Begins to accept on the sockets of `bound`, one on each worker.
    fn start(shared: &Shared, slots: &Arc<Slots>, name: Arc<str>, bound: &Bound) -> Self {
        let stats = shared.registry.connections(&name);
        let state = Arc::new(ListenerState::new(name, bound.address(), stats));
        let accepting = watch::Sender::new(Accepting::On);
        for (own, socket) in bound.sockets().iter().enumerate() {
            let (listener, slots) = (state.clone(), slots.clone());
            let own = own % slots.len();
            let runtime = slots[own].runtime().clone();
            let acceptor = Acceptor { listener, slots, own, shared: shared.clone() };
            runtime.spawn(acceptor.run(socket.clone(), accepting.subscribe()));
        }
        Self { state, accepting }
    }
}

impl Server {
    /// Begins to accept on `sockets`, of which there is a `Bound` for each listener of the snapshot in
    /// force, in order.
    pub fn start(workers: Workers, shared: &Shared, sockets: &[Bound]) -> Self {
        let snapshot = shared.live.current();
        let app = || app(shared, &snapshot);
        let slots = workers.handles().map(|runtime| Slot::new(runtime.clone(), app()));
        let slots: Arc<Slots> = Arc::new(slots.collect());
        let listeners = snapshot.listeners.iter().zip(sockets);
        let listeners = listeners
            .map(|(listener, bound)| Running::start(shared, &slots, listener.name.clone(), bound))
            .collect();
        let (workers, listeners) = (Mutex::new(Some(workers)), Mutex::new(listeners));
        Self { workers, slots, listeners }
    }

    /// Stops accepting new connections. Those that are open are served on.
    pub fn stop_accepting(&self) {
        for listener in &*self.listeners() {
            listener.accepting.send_replace(Accepting::Rest);
        }
    }

    /// Ends connections that are idle, and the others with the request under way, whose response says
    /// so.
    pub fn end_connections(&self) {
        for listener in &*self.listeners() {
            listener.state.end();
        }
        for slot in self.slots.iter() {
            let app = slot.app().clone();
            slot.runtime().spawn(async move { app.inner().http_cleanup().await });
        }
    }

    /// Stops accepting and waits until no request is in flight, but no longer than 30 s. The workers
    /// end with it.
    ///
    /// Returns the number of requests that were cut off.
    pub fn drain(&self, in_flight: impl Fn() -> u64) -> u64 {
        self.stop_accepting();
        self.end_connections();
        let deadline = Instant::now() + DRAIN;
        while in_flight() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = in_flight();
        let workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(workers) = workers {
            // Responses are counted out when their last byte is written; sockets close right after.
            workers.end(Duration::from_millis(100));
        }
        left
    }

    /// A panic elsewhere leaves the list as it was before or after one of its changes.
    fn listeners(&self) -> MutexGuard<'_, Vec<Running>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What serves the connections of one worker.
fn app(shared: &Shared, snapshot: &Snapshot) -> App {
    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        // The policy of the route decides; this is for connections from the pool that are found closed, one
        // after the other.
        max_retries: 64,
        upstream_keepalive_pool_size: snapshot.limits.upstream_idle_connections as usize,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), Proxy::new(shared.clone()));
    // Refused like anything else that is refused, instead of by an answer of Pingora's own.
    let mut options = HttpServerOptions::default();
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    OnDemand::new(InTurns::new(proxy), shared.clone())
}

/// Binds every listener with a socket for each of `workers`.
///
/// # Errors
/// The first that cannot be bound.
pub fn bind_all(snapshot: &Snapshot, workers: usize) -> anyhow::Result<Vec<Bound>> {
    let listeners = snapshot.listeners.iter();
    listeners.map(|listener| Bound::new(&listener.name, listener.address, workers)).collect()
}

/// What listens where, by name, for the line that a person reads first.
#[must_use]
pub fn addresses(snapshot: &Snapshot, sockets: &[Bound]) -> BTreeMap<String, String> {
    let listeners = snapshot.listeners.iter().zip(sockets);
    let named =
        listeners.map(|(listener, bound)| (listener.name.to_string(), bound.address().to_string()));
    named.collect()
}
