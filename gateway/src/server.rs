//! The process: sockets bound before anything else can fail, Pingora's services on them, and a
//! shutdown that lets requests finish.
//!
//! Pingora's own `Server` is not used: it binds inside its runtime, where a port in use is a panic,
//! does not tell which port 0 became, and waits a fixed time instead of for requests. Its services
//! take sockets that are already bound, and that is all this needs.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use pingora_core::apps::HttpServerOptions;
use pingora_core::listeners::{L4BufferSettings, ListenerConfig};
use pingora_core::server::configuration::ServerConf;
use pingora_core::server::{Fds, ListenFds};
use pingora_core::services::Service as _;
use pingora_core::services::listening::Service;
use pingora_proxy::http_proxy;
use socket2::{Domain, SockRef, Socket, Type};
use tokio::sync::watch;

use crate::config::Listener;
use crate::connection::{HeadLimits, Http2, OnDemand, Terms};
use crate::proxy::{Proxy, Shared};
use crate::snapshot::Snapshot;
use crate::turns::InTurns;
use crate::verdicts::Door;
use crate::workers::Workers;

/// The read buffer of a client connection. Pingora's default of 64 KiB is most of what an idle
/// connection costs; measured against 0 to 64 KiB, see `docs/performance.md`.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// How much of an answer may wait in the kernel before it is on its way. Without a bound the kernel
/// takes megabytes of a long download at a time, and small requests of the same worker wait for the
/// copying; measured in `docs/performance.md`.
const UNSENT_BYTES: u32 = 128 << 10;

/// How long requests may take to finish once the process was told to end.
const DRAIN: Duration = Duration::from_secs(30);

/// Sockets that are bound and listening on one address, though nobody accepts yet.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<TcpListener>,
    address: SocketAddr,
}

impl Bound {
    /// Binds so many sockets and listens on `address`; `name` is for the message. The kernel spreads new
    /// connections over them (`SO_REUSEPORT`).
    ///
    /// # Errors
    /// If the address is in use, not of this host, or not permitted.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn new(name: &str, address: SocketAddr, count: usize) -> anyhow::Result<Self> {
        let bind = || -> io::Result<Self> {
            // By itself it fails where a process of the same user listens; sockets that share would
            // take a part of its connections. The standard library sets SO_REUSEADDR, so that a restart does not
            // wait for old sockets.
            let alone = TcpListener::bind(address)?;
            if count == 1 {
                return Self::of(vec![alone]);
            }
            drop(alone);
            let first = sharing(address)?;
            // Port 0 has become one that is free.
            let address = first.local_addr()?;
            let others = (1..count).map(|_| sharing(address));
            Self::of(std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?)
        };
        bind().with_context(|| format!("listener {name:?} cannot listen on {address}"))
    }

    fn of(sockets: Vec<TcpListener>) -> io::Result<Self> {
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            // Accepted sockets inherit it.
            SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        }
        let address = sockets[0].local_addr()?;
        Ok(Self { sockets, address })
    }

    /// The address, with the port that 0 became.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The first of the sockets.
    #[must_use]
    pub fn into_socket(mut self) -> TcpListener {
        self.sockets.swap_remove(0)
    }
}

/// A socket that listens where others of its kind do.
fn sharing(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    // Pingora sets what may queue up when it takes a socket over.
    socket.listen(128)?;
    Ok(socket.into())
}

/// The proxy services at work.
pub struct Server {
    workers: Workers,
    shutdown: watch::Sender<bool>,
}

impl Server {
    /// Begins to accept on `sockets`, of which there is a `Bound` for each listener of the snapshot in
    /// force, in order, and in it a socket for each worker.
    pub fn start(workers: Workers, shared: &Shared, sockets: Vec<Bound>) -> Self {
        let (shutdown, watch) = watch::channel(false);
        let snapshot = shared.live.current();
        for (index, (listener, bound)) in snapshot.listeners.iter().zip(sockets).enumerate() {
            let address = bound.address;
            for (worker, socket) in workers.handles().zip(bound.sockets) {
                let mut service = service(shared, &snapshot, index, listener, address);
                let fds = inherited(address, socket);
                let watch = watch.clone();
                worker.spawn(async move { service.start_service(Some(fds), watch, 1).await });
            }
        }
        Self { workers, shutdown }
    }

    /// Stops accepting and waits until no request is in flight, but no longer than 30 s.
    ///
    /// Returns the number of requests that were cut off.
    pub fn drain(self, in_flight: impl Fn() -> u64) -> u64 {
        // Nobody listening means that every service has already ended.
        self.shutdown.send_replace(true);
        let deadline = Instant::now() + DRAIN;
        while in_flight() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        let left = in_flight();
        // Responses are counted out when their last byte is written; sockets close right after.
        self.workers.end(Duration::from_millis(100));
        left
    }
}

fn service(
    shared: &Shared,
    snapshot: &Snapshot,
    index: usize,
    listener: &Listener,
    address: SocketAddr,
) -> Service<OnDemand<InTurns<pingora_proxy::HttpProxy<Proxy>>>> {
    let conf = ServerConf {
        threads: 1,
        work_stealing: false,
        upstream_keepalive_pool_size: snapshot.limits.upstream_idle_connections as usize,
        ..ServerConf::default()
    };
    let mut proxy = http_proxy(&Arc::new(conf), Proxy::new(shared.clone(), index));
    // Refused like anything else that is refused, instead of by an answer of Pingora's own.
    let mut options = HttpServerOptions::default();
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let live = shared.live.clone();
    let terms = move || {
        let snapshot = live.pin();
        let limits = &snapshot.limits;
        let head =
            HeadLimits { bytes: limits.request_header_bytes, fields: limits.request_headers };
        Terms { timeouts: snapshot.listeners[index].timeouts.clone(), head }
    };
    let http2 = listener.h2c.then(|| Http2::new(shared.clone(), index));
    let app = OnDemand::new(InTurns::new(proxy), terms, http2);
    let mut service = Service::new(listener.name.to_string(), app);
    // The write buffer stays as it is: without one, a response takes a system call more.
    let buffers = L4BufferSettings::default().read(READ_BUFFER_BYTES);
    service.add_listener(ListenerConfig::tcp(address.to_string()).l4_buffer(buffers));
    service.set_connection_filter(Arc::new(Door::new(shared.verdicts.clone())));
    service
}

/// Hands the socket over by the address under which Pingora looks for one to take over.
fn inherited(address: SocketAddr, socket: TcpListener) -> ListenFds {
    let mut fds = Fds::new();
    fds.add(address.to_string(), socket.into_raw_fd());
    // Pingora's own lock type, which it does not re-export; `From` spells it without naming it.
    Arc::new(fds.into())
}

/// Binds every listener with a socket for each of `workers` and, last, the admin listener.
///
/// # Errors
/// The first that cannot be bound.
pub fn bind_all(
    snapshot: &Snapshot,
    workers: usize,
) -> anyhow::Result<(Vec<Bound>, Option<Bound>)> {
    let listeners = snapshot.listeners.iter();
    let sockets = listeners
        .map(|listener| Bound::new(&listener.name, listener.address, workers))
        .collect::<Result<_, _>>()?;
    let admin =
        snapshot.admin.as_ref().map(|admin| Bound::new("admin", admin.address, 1)).transpose()?;
    Ok((sockets, admin))
}

/// What listens where, by name, for the line that a person reads first.
#[must_use]
pub fn addresses(
    snapshot: &Snapshot,
    sockets: &[Bound],
    admin: Option<&Bound>,
) -> BTreeMap<String, SocketAddr> {
    let listeners = snapshot.listeners.iter().zip(sockets);
    let mut addresses: BTreeMap<_, _> =
        listeners.map(|(listener, bound)| (listener.name.to_string(), bound.address())).collect();
    addresses.extend(admin.map(|admin| ("admin".to_owned(), admin.address())));
    addresses
}
