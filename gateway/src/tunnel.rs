//! Tunnels: what a connection is after `101 Switching Protocols`.
//!
//! Pingora passes a tunnel through its request and response bodies. Such a body ends when either side closes,
//! so neither a half-close nor a reset reaches the other side, and the timeouts are those of bodies. Here the
//! request that asks for an upgrade goes to the origin over a socket of its own (`tunnel/socket.rs`), which keeps
//! back all that follows the response's head. When the 101 has gone out, the client's stream (`connection/client_stream.rs`) takes
//! the origin's socket from it and relays both ways by itself; Pingora waits on two silent streams meanwhile.
//!
//! Only a connection without TLS to the origin can be taken over like this: with TLS, the socket is below the
//! encryption. There is none yet.

mod relay;
mod socket;

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use pingora_core::protocols::Stream;
use pingora_core::upstreams::peer::HttpPeer;
use tokio::net::TcpStream;

pub(crate) use self::relay::{Side, relay};
use self::socket::{Connect, Socket};
use crate::config::ReadAhead;

/// Keeps connections of upgrades apart in Pingora's pool: their sockets have an owner.
const POOL_KEY: u64 = 0x7475_6e6e_656c;

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Both sides closed in order.
    Closed,
    /// Nothing passed for as long as `upgraded` allows.
    Idle,
    /// The client reset its connection.
    ClientReset,
    /// The origin reset its connection.
    OriginReset,
}

/// What a tunnel did.
#[derive(Clone, Copy, Debug)]
pub struct Relayed {
    /// How it ended.
    pub end: End,
    /// Bytes that went to the origin.
    pub up_bytes: u64,
    /// Bytes that went to the client.
    pub down_bytes: u64,
}

/// One attempt to open a tunnel: the origin's socket, and what is known of the tunnel later.
#[derive(Debug)]
pub struct Tunnel {
    socket: Mutex<Socket>,
    /// Both sides may be silent for this long.
    idle: Duration,
    relayed: OnceLock<Relayed>,
}

impl Tunnel {
    /// Makes `peer` connect by a socket that can become a tunnel. It has no read timeout, since Pingora's would
    /// go on in the tunnel: `upstream_response_filter` limits how long an answer may take.
    pub fn prepare(peer: &mut HttpPeer, idle: Duration, read_ahead: ReadAhead) -> Arc<Self> {
        peer.options.read_timeout = None;
        let socket = Mutex::new(Socket::new(read_ahead.upgrade_piece_bytes));
        let tunnel = Arc::new(Self { socket, idle, relayed: OnceLock::new() });
        let connect = Connect::new(tunnel.clone(), peer.options.connection_timeout);
        peer.options.custom_l4 = Some(Arc::new(connect));
        peer.group_key ^= POOL_KEY;
        tunnel
    }

    /// Notes that the origin's 101 is passed on: what follows is the tunnel.
    pub fn switch(&self) {
        self.lock().switch();
    }

    /// Notes that the origin answered with something else: what follows is a response.
    pub fn decline(&self) {
        self.lock().decline();
    }

    /// Notes that the head was an interim one: another follows.
    pub fn expect_head(&self) {
        self.lock().expect_head();
    }

    /// What the tunnel did, once it is over.
    pub fn relayed(&self) -> Option<Relayed> {
        self.relayed.get().copied()
    }

    /// Notes that the request is over: the origin's connection serves no other.
    pub fn close(&self) {
        self.lock().close();
    }

    fn lock(&self) -> MutexGuard<'_, Socket> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Relays between `client`, of which `ahead` was read already, and the origin of `tunnel`, until both sides
/// are done. Both connections are closed then, as they ended.
pub async fn run(tunnel: Arc<Tunnel>, client: Stream, ahead: Bytes) {
    let taken = tunnel.lock().take();
    let Some((origin, from_origin)) = taken else { return };
    let relayed = relay((client, ahead), (origin, from_origin), tunnel.idle, |_, _| {}).await;
    // The only place that sets it.
    tunnel.relayed.set(relayed).ok();
}

impl Side for Stream {
    fn descriptor(&self) -> i32 {
        self.id()
    }

    fn close_by_reset(&self) -> io::Result<()> {
        reset_on_close(self.id())
    }
}

impl Side for TcpStream {
    fn descriptor(&self) -> i32 {
        self.as_raw_fd()
    }

    fn close_by_reset(&self) -> io::Result<()> {
        socket2::SockRef::from(self).set_linger(Some(Duration::ZERO))
    }
}

/// Makes the socket `descriptor` of this process send a reset when it is closed.
///
/// Pingora keeps the sockets of its listeners to itself and tells the descriptor's number only. The kernel
/// gives a second descriptor of the same socket for it, and options belong to the socket.
pub(crate) fn reset_on_close(descriptor: i32) -> io::Result<()> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let own = pidfd_open(getpid(), PidfdFlags::empty())?;
    let socket = pidfd_getfd(own, descriptor, PidfdGetfdFlags::empty())?;
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}

/// Wakes whoever waits, if anybody does.
fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}
