//! The process: listeners that come and go with the configuration, the workers behind them, and a
//! shutdown that lets requests finish.
//!
//! Pingora's own `Server` and services are not used: listeners would be fixed at the start, a port in
//! use would be a panic, and the end would wait a fixed time instead of for requests. What is used of
//! it begins with a request.

mod admin;
mod plan;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pingora_core::apps::{HttpServerApp as _, HttpServerOptions};
use pingora_core::server::configuration::ServerConf;
use pingora_proxy::http_proxy;
use sallyport_config::Found;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::admin::AdminListener;
pub use self::plan::Plan;
use self::plan::Planned;
use crate::accept::{Acceptor, Bound, ListenerState, Slot, Slots, WorkerConnections};
use crate::admin::AdminSocket;
use crate::config::{Admin, Listener};
use crate::connection::{App, OnDemand};
use crate::engine::Engine;
use crate::proxy::{Proxy, Shared};
use crate::service::Store;
use crate::snapshot::Snapshot;
use crate::turns::InTurns;
use crate::upgrade::heir::{Heritage, Inherited};
use crate::upgrade::{Handed, SocketName};
use crate::workers::Workers;

/// How long requests may still take once somebody is in a hurry.
const HASTE: Duration = Duration::from_secs(1);

/// The workers and the listeners that bring them connections.
#[derive(Debug)]
pub struct Server {
    workers: Mutex<Option<Workers>>,
    slots: Arc<Slots>,
    shared: Shared,
    listeners: Mutex<Listeners>,
    admin: Mutex<AdminListener>,
    /// What the process that this one replaces has left to it, until it is made use of.
    inherited: Mutex<Vec<Inherited>>,
    /// What the service manager keeps for a process after this one.
    stored: Mutex<Store>,
}

/// The listeners at work.
#[derive(Debug, Default)]
struct Listeners {
    running: Vec<Running>,
    /// Whether the process accepts no more.
    stopped: bool,
}

/// What listens where, by name.
pub type Addresses = BTreeMap<String, String>;

/// A listener at work.
#[derive(Debug)]
struct Running {
    name: Arc<str>,
    /// As the configuration has it; its port may be 0.
    configured: SocketAddr,
    bound: Bound,
    state: Arc<ListenerState>,
    stop: watch::Sender<bool>,
}

impl Running {
    /// Begins to accept on the sockets of `bound`, one on each worker.
    fn start(shared: &Shared, slots: &Arc<Slots>, planned: Planned) -> Self {
        let Planned { name, configured, bound } = planned;
        let stats = shared.registry.connections(&name);
        let state = ListenerState::new(name.clone(), configured, bound.address(), stats);
        let state = Arc::new(state.with_announced(shared.drain.announced()));
        let stop = watch::Sender::new(false);
        for (own, socket) in bound.sockets().iter().enumerate() {
            let (listener, slots) = (state.clone(), slots.clone());
            let own = own % slots.len();
            let runtime = slots[own].runtime().clone();
            let acceptor = Acceptor { listener, slots, own, shared: shared.clone() };
            runtime.spawn(acceptor.run(socket.clone(), stop.subscribe()));
        }
        Self { name, configured, bound, state, stop }
    }

    fn handed(&self) -> io::Result<Vec<Handed>> {
        let name = SocketName {
            listener: self.name.to_string(),
            is_admin: false,
            configured: self.configured.to_string(),
            bound: self.bound.address().to_string(),
        };
        let copies = self.bound.sockets().iter().map(|socket| socket.try_clone());
        copies.map(|copy| Ok(Handed { name: name.clone(), socket: copy?.into() })).collect()
    }
}

impl Server {
    /// Workers that no listener brings connections to yet.
    #[must_use]
    pub fn new(workers: Workers, shared: &Shared) -> Self {
        let snapshot = shared.live.current();
        let app = || app(shared, &snapshot);
        let slots = workers.handles().map(|runtime| Slot::new(runtime.clone(), app()));
        let slots = Arc::new(slots.collect());
        Self {
            workers: Mutex::new(Some(workers)),
            slots,
            shared: shared.clone(),
            listeners: Mutex::default(),
            admin: Mutex::default(),
            inherited: Mutex::default(),
            stored: Mutex::default(),
        }
    }

    /// Takes over the sockets that another process has left to this one, as far as the first plan has
    /// a use for them.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn inherit(&self, heritage: &mut Heritage) -> anyhow::Result<()> {
        *self.inherited() = heritage.listeners(self.slots.len())?;
        if let Some((configured, socket)) = heritage.admin() {
            self.admin().inherit(configured, socket);
        }
        Ok(())
    }

    /// Uses sockets that a service manager hands over where they are where a listener is to be, and
    /// has it keep those in use for a process after this one.
    ///
    /// # Errors
    /// If they cannot be used.
    pub fn activate(&self, mut sockets: Vec<(String, OwnedFd)>) -> anyhow::Result<()> {
        *self.stored() = Store::holding(sockets.iter().map(|(name, _)| name.clone()));
        if let Some((_, socket)) = sockets.extract_if(.., |(name, _)| name == "admin").next() {
            match AdminSocket::place(&socket) {
                Some(configured) => self.admin().inherit(configured, socket),
                None => tracing::warn!("the socket \"admin\" is neither of TCP nor has it a path"),
            }
        }
        *self.inherited() = Inherited::activated(sockets, self.slots.len())?;
        Ok(())
    }

    fn stored(&self) -> MutexGuard<'_, Store> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the service manager keep the sockets that are in use now.
    fn store(&self) {
        match self.handed() {
            Ok(handed) => self.stored().keep(&handed),
            Err(error) => tracing::debug!(%error, "no sockets for the service manager to keep"),
        }
    }

    /// The runtime of each worker.
    #[must_use]
    pub fn runtimes(&self) -> Vec<Handle> {
        self.slots.iter().map(|slot| slot.runtime().clone()).collect()
    }

    fn inherited(&self) -> MutexGuard<'_, Vec<Inherited>> {
        self.inherited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Binds what `listeners` and `admin` need beyond what is bound already. Nothing changes for
    /// anybody until the plan is put in force.
    ///
    /// # Errors
    /// One for each listener that cannot be bound; nothing is bound then.
    pub fn prepare(
        &self,
        listeners: &[Listener],
        admin: Option<&Admin>,
    ) -> Result<Plan, Vec<Found>> {
        let running = self.listeners();
        let running = running.running.iter().map(|it| (&*it.name, it.configured, &it.bound));
        let inherited = self.inherited();
        let running =
            running.chain(inherited.iter().map(|it| (&*it.name, it.configured, &it.bound)));
        let (listeners, problems) = plan::plan(running, listeners, self.slots.len());
        if !problems.is_empty() {
            return Err(problems);
        }
        // Last, since a Unix socket leaves a file behind.
        let admin = self.admin().prepare(admin).map_err(|problem| vec![problem])?;
        Ok(Plan { listeners, admin })
    }

    /// Serves requests of listeners that are not in `plan` by `last`, the configuration that has them
    /// still. To be called before another is put in force.
    pub fn retire(&self, plan: &Plan, last: &Arc<Snapshot>) {
        let last = Arc::new(last.clone());
        for running in &self.listeners().running {
            let mut planned = plan.listeners.iter();
            if !planned.any(|it| running.state.is(&it.name, it.configured)) {
                running.state.retire(last.clone());
            }
        }
    }

    /// Begins to accept where `plan` says, and no longer where it does not. Connections of listeners
    /// that are gone end when they are idle. Returns what is new, by name.
    pub fn apply(&self, plan: Plan) -> Addresses {
        let Plan { listeners: planned, admin } = plan;
        let mut listeners = self.listeners();
        let mut addresses = Addresses::new();
        if listeners.stopped {
            return addresses;
        }
        // What is not planned is closed; the process that it came from has it still.
        self.inherited().clear();
        let mut before = std::mem::take(&mut listeners.running);
        let running = &mut listeners.running;
        for planned in planned {
            let is_same = |it: &Running| it.state.is(&planned.name, planned.configured);
            if let Some(same) = before.iter().position(is_same) {
                let mut same = before.swap_remove(same);
                if same.name != planned.name {
                    same.state.count_by(self.shared.registry.connections(&planned.name));
                    same.name = planned.name;
                }
                running.push(same);
                continue;
            }
            addresses.insert(planned.name.to_string(), planned.bound.address().to_string());
            running.push(Running::start(&self.shared, &self.slots, planned));
        }
        for gone in before {
            let (name, address) = (&gone.name, gone.bound.address());
            tracing::info!(%name, %address, "no longer listening");
            gone.stop.send_replace(true);
            gone.state.end();
        }
        drop(listeners);
        let admin = self.admin().apply(admin);
        addresses.extend(admin.map(|address| ("admin".to_owned(), address)));
        self.store();
        addresses
    }

    /// Sets how the admin listener is served: on its socket, until the flag is raised.
    pub fn serve_admin_by(
        &self,
        serve: impl Fn(AdminSocket, watch::Receiver<bool>) -> JoinHandle<()> + Send + 'static,
    ) {
        self.admin().serve_by(Box::new(serve));
    }

    /// Ends the admin listener and waits until its answers are written.
    pub fn end_admin(&self) {
        self.admin().finish();
    }

    fn admin(&self) -> MutexGuard<'_, AdminListener> {
        self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops accepting new connections. Those that are open are served on.
    pub fn stop_accepting(&self) {
        let mut listeners = self.listeners();
        listeners.stopped = true;
        for listener in &mut listeners.running {
            listener.stop.send_replace(true);
            // The acceptors close their copies when the backlog is empty.
            listener.bound.release();
        }
    }

    /// Copies of all listening sockets, for another process.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub fn handed(&self) -> io::Result<Vec<Handed>> {
        let listeners = self.listeners();
        let each = listeners.running.iter().map(Running::handed);
        let mut handed: Vec<_> =
            each.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect();
        handed.extend(self.admin().handed()?);
        Ok(handed)
    }

    /// Leaves the admin listener to another process that has its socket: when this returns, none but
    /// that accepts.
    pub fn leave_admin(&self) {
        self.admin().leave();
    }

    /// Whether connections may still come: a backlog is emptied after accepting was stopped.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        self.listeners().running.iter().any(|listener| listener.stop.receiver_count() > 0)
    }

    /// Connections that are open.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.listeners().running.iter().map(|listener| listener.state.open()).sum()
    }

    /// How many connections each worker has.
    #[must_use]
    pub fn worker_connections(&self) -> WorkerConnections {
        WorkerConnections::of(&self.slots)
    }

    /// Ends connections that are idle, and the others with the request under way, whose response says
    /// so.
    pub fn end_connections(&self) {
        for listener in &self.listeners().running {
            listener.state.end();
        }
        for slot in self.slots.iter() {
            let app = slot.app().clone();
            slot.runtime().spawn(async move { app.inner().http_cleanup().await });
        }
    }

    /// Stops accepting and waits until no request is in flight, but no longer than `within`, and no
    /// longer than a second from when somebody `is_hasty`. The workers end with it.
    ///
    /// Returns the number of requests that were cut off.
    pub fn drain(
        &self,
        within: Duration,
        in_flight: impl Fn() -> u64,
        is_hasty: impl Fn() -> bool,
    ) -> u64 {
        self.stop_accepting();
        self.end_connections();
        let mut deadline = Instant::now() + within;
        let mut was_hasty = false;
        while (in_flight() > 0 || self.is_accepting()) && Instant::now() < deadline {
            if !was_hasty && is_hasty() {
                was_hasty = true;
                deadline = deadline.min(Instant::now() + HASTE);
            }
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
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
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
    let idle_connections = snapshot.limits.upstream_idle_connections as usize;
    let engine = Engine::new(shared.clone(), idle_connections);
    OnDemand::new(InTurns::new(proxy), engine, shared.clone())
}
