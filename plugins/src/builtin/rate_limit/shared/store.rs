//! The server that holds the buckets: one connection for all filters that name the same server, kept by
//! a task of its own. No request waits for a connection: while there is none, that is what it is told.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use prometheus::{IntGauge, IntGaugeVec};
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind};
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{sleep, timeout};

use super::backoff::Backoff;
use super::figures::{Failure, Trips};
use super::leases::Grant;
use super::server::{COMMANDS_MAX, CONNECT_TIMEOUT, Client, Connection, Server};
use crate::host::Host;

const TAKE: &str = include_str!("take.lua");

/// Commands in a row that were late, after which the connection counts as dead: one is late when the
/// server forks, or sweeps.
const LATE_MAX: u32 = 5;

/// A connection that lived for so long shows that the server is well.
const SOUND_AFTER: Duration = Duration::from_secs(10);

/// The stores of one process, by their server.
#[derive(Clone, Default)]
pub(super) struct Stores(Arc<Mutex<ByServer>>);

type ByServer = HashMap<Server, Weak<Store>>;

/// What is asked of a bucket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Its key, without what all keys begin with.
    pub(super) digest: [u8; 16],
    pub(super) interval_ns: u64,
    pub(super) burst: u64,
    pub(super) wanted: u32,
    pub(super) deadline: Duration,
}

/// A server and the connection to it.
pub(super) struct Store {
    server: Server,
    client: Client,
    script: Script,
    connection: ArcSwapOption<Connection>,
    /// Wakes the task that connects.
    lost: Arc<Notify>,
    is_started: AtomicBool,
    late: AtomicU32,
    under_way: Semaphore,
    /// `sallyport_shared_limit_connected`, by server.
    connected: IntGauge,
    all_connected: IntGaugeVec,
    /// Where it is found.
    stores: Weak<Mutex<ByServer>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Store").field(&self.server).finish()
    }
}

impl Stores {
    /// The store at `server`, which filters share.
    ///
    /// # Errors
    /// If a certificate cannot be used.
    pub(super) fn at(&self, server: &Server, host: &Host) -> RedisResult<Arc<Store>> {
        let mut stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stores.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = stores.get(server).and_then(Weak::upgrade) {
            return Ok(store);
        }
        let store = Arc::new(Store::new(server.clone(), self, host)?);
        stores.insert(server.clone(), Arc::downgrade(&store));
        Ok(store)
    }
}

impl Store {
    fn new(server: Server, stores: &Stores, host: &Host) -> RedisResult<Self> {
        let help = "1 while there is a connection to the server of a shared limit.";
        let connected = host.metrics.gauges("sallyport_shared_limit_connected", help, &["server"]);
        Ok(Self {
            client: server.client()?,
            script: Script::new(TAKE),
            connection: ArcSwapOption::empty(),
            lost: Arc::default(),
            is_started: AtomicBool::new(false),
            late: AtomicU32::new(0),
            under_way: Semaphore::new(COMMANDS_MAX),
            connected: connected.with_label_values(&[&server.to_string()]),
            all_connected: connected,
            stores: Arc::downgrade(&stores.0),
            server,
        })
    }

    /// Begins to keep a connection, unless that has begun, and waits up to `patience` for the first.
    pub(super) fn start(self: &Arc<Self>, background: &Handle, patience: Duration) {
        if self.is_started.swap(true, Ordering::Relaxed) {
            return;
        }
        let (first, tried) = channel();
        background.spawn(keep_connected(Arc::downgrade(self), self.lost.clone(), first));
        // Requests are served in any case.
        if tried.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            tracing::debug!(server = %self.server, "no connection yet");
        }
    }

    /// Takes tokens out of a bucket.
    ///
    /// # Errors
    /// If there is no answer within the deadline.
    pub(super) async fn take(&self, ask: &Ask, trips: &Trips) -> Result<Grant, Failure> {
        let connection = self.connection.load_full().ok_or(Failure::Away)?;
        let _permit = self.under_way.try_acquire().map_err(|_| Failure::Busy)?;
        let began = Instant::now();
        let result = timeout(ask.deadline, self.call(&connection, ask, trips)).await;
        trips.observe(began.elapsed());
        match result {
            Ok(Ok(grant)) => {
                self.late.store(0, Ordering::Relaxed);
                trips.ok.inc();
                Ok(grant)
            }
            Ok(Err(error)) => {
                trips.error.inc();
                tracing::debug!(server = %self.server, %error, "a shared limit cannot be asked");
                if is_fatal(&error) {
                    self.lose(&connection, &error);
                }
                Err(Failure::Error)
            }
            Err(late) => {
                trips.timeout.inc();
                if self.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_MAX {
                    self.lose(&connection, &late);
                }
                Err(Failure::Deadline)
            }
        }
    }

    async fn call(&self, connection: &Connection, ask: &Ask, trips: &Trips) -> RedisResult<Grant> {
        let by_hash = command("EVALSHA", self.script.get_hash(), ask);
        match connection.send(by_hash).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                // The server has been restarted, or is a new one: it remembers the script from now on.
                trips.error.inc();
                connection.send(command("EVAL", TAKE, ask)).await
            }
            answer => answer,
        }
    }

    /// Drops `connection`, if it is still the one in use.
    fn lose(&self, connection: &Arc<Connection>, why: &dyn fmt::Display) {
        let seen = self.connection.compare_and_swap(connection, None);
        if seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, connection)) {
            self.connected.set(0);
            self.late.store(0, Ordering::Relaxed);
            tracing::warn!(server = %self.server, %why, "the server of a shared limit is lost");
            self.lost.notify_one();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Another with the same name has another login, or other certificates.
        let name = self.server.to_string();
        let is_used = self.stores.upgrade().is_some_and(|stores| {
            let stores = stores.lock().unwrap_or_else(PoisonError::into_inner);
            let mut alive = stores.iter().filter(|(_, store)| store.strong_count() > 0);
            alive.any(|(server, _)| server.to_string() == name)
        });
        if !is_used && self.all_connected.remove_label_values(&[&name]).is_err() {
            tracing::debug!(server = name, "its series was gone already");
        }
        // The task that connects sees that the store is gone.
        self.lost.notify_one();
    }
}

/// Keeps a connection for `store` as long as that lives.
async fn keep_connected(store: Weak<Store>, lost: Arc<Notify>, first: Sender<()>) {
    let mut backoff = Backoff::default();
    // Whoever waits for the first try sees that it is dropped.
    let mut first = Some(first);
    let mut has_failed = false;
    loop {
        let Some(held) = store.upgrade() else { return };
        let connected = match timeout(CONNECT_TIMEOUT, held.client.connect()).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(late) => Err(late.to_string()),
        };
        drop(first.take());
        match connected {
            Ok(connection) => {
                held.connection.store(Some(Arc::new(connection)));
                held.connected.set(1);
                tracing::info!(server = %held.server, "connected to the server of a shared limit");
                has_failed = false;
                drop(held);
                let began = Instant::now();
                lost.notified().await;
                if began.elapsed() > SOUND_AFTER {
                    backoff.reset();
                }
            }
            Err(why) => {
                // Once for each time that it is away.
                if !std::mem::replace(&mut has_failed, true) {
                    tracing::warn!(
                        server = %held.server, %why, "the server of a shared limit is not to be had"
                    );
                }
            }
        }
        sleep(backoff.next()).await;
    }
}

/// Whether the connection is of no more use: it is broken, or leads to a server that is not the one to
/// write to any more.
fn is_fatal(error: &RedisError) -> bool {
    let kinds = [ServerErrorKind::ReadOnly, ServerErrorKind::MasterDown];
    error.is_unrecoverable_error()
        || error.is_io_error()
        || kinds.iter().any(|kind| error.kind() == ErrorKind::Server(*kind))
}

fn command(name: &str, script: &str, ask: &Ask) -> Cmd {
    let mut key = String::from("sallyport:");
    key.extend(ask.digest.iter().map(|byte| format!("{byte:02x}")));
    let mut command = redis::cmd(name);
    // Microseconds, with the fractions of a rate that no whole number is.
    let interval = ask.interval_ns as f64 / 1000.0;
    command.arg(script).arg(1).arg(key).arg(interval).arg(ask.burst).arg(ask.wanted);
    command
}

impl Connection {
    async fn send(&self, command: Cmd) -> RedisResult<Grant> {
        let (tokens, remaining, wait_us): (u32, u64, u64) = match self.clone() {
            Self::One(mut connection) => command.query_async(&mut connection).await?,
            Self::Cluster(mut connection) => command.query_async(&mut connection).await?,
        };
        Ok(Grant { tokens, remaining, wait_ns: wait_us.saturating_mul(1000) })
    }
}

#[cfg(test)]
mod tests;
