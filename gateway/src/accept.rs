//! From a listening socket to a connection at work: who is let in, how many, and on which worker.
//!
//! Every worker accepts from a socket of its own that the kernel spreads new connections to
//! (`SO_REUSEPORT`). The kernel goes by a hash and not by load, so a worker that has more than its
//! share passes a new connection on to the one that has least. Verdicts and bounds are checked
//! before anything is read. What is read then, and what becomes of it, is
//! [`connection`](crate::connection)'s.

mod admission;
mod placement;
mod socket;

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use sallyport_stats::ConnectionRefusal;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::connection::{ClientSocket, Connection};
use crate::descriptors;
use crate::proxy::Shared;

pub use self::admission::{ListenerState, Seat};
pub use self::placement::WorkerConnections;
pub(crate) use self::placement::{Slot, Slots};
pub use self::socket::Bound;

/// How long a worker waits before it accepts again when the process or the host is out of
/// descriptors or memory: the connection stays in the backlog, and the socket stays readable.
const BACK_OFF_MIN: Duration = Duration::from_millis(5);
const BACK_OFF_MAX: Duration = Duration::from_millis(500);

/// Accepts the connections of one listener on one worker.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listener: Arc<ListenerState>,
    pub(crate) slots: Arc<Slots>,
    /// The index of the worker that this runs on.
    pub(crate) own: usize,
    pub(crate) shared: Shared,
}

impl Acceptor {
    /// Accepts from `socket` until it is told to `stop`, and then what is in the backlog: it would be
    /// reset with the socket.
    pub(crate) async fn run(
        self,
        socket: Arc<std::net::TcpListener>,
        mut stop: watch::Receiver<bool>,
    ) {
        let socket = match socket.try_clone().and_then(TcpListener::from_std) {
            Ok(socket) => socket,
            Err(error) => {
                let address = self.listener.address();
                tracing::error!(%address, %error, "a worker cannot accept connections");
                return;
            }
        };
        let mut back_off = BACK_OFF_MIN;
        loop {
            // The future yields to others after some accepted connections, by tokio's budget.
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = socket.accept() => accepted,
            };
            if self.took(accepted) {
                back_off = BACK_OFF_MIN;
                continue;
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(back_off) => {}
            }
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
        let next = || poll_fn(|context| Poll::Ready(socket.poll_accept(context)));
        while let Poll::Ready(accepted) = next().await {
            if !self.took(accepted) {
                break;
            }
        }
    }

    /// Takes a connection, if there is one. Returns whether accepting may go on at once.
    fn took(&self, accepted: io::Result<(TcpStream, SocketAddr)>) -> bool {
        match accepted {
            Ok((stream, peer)) => self.take(stream, peer),
            Err(error) if descriptors::is_exhaustion(&error) => {
                descriptors::report_exhaustion();
                return false;
            }
            // accept(2): errors of the new connection, which is gone; the next may be there.
            Err(error) => tracing::debug!(%error, "a connection could not be accepted"),
        }
        true
    }

    /// Lets a connection in, or closes it by dropping it.
    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        if descriptors::is_reserved(stream.as_raw_fd()) {
            // There is no descriptor for an origin either.
            descriptors::report_exhaustion();
            return self.listener.refused(ConnectionRefusal::Descriptors);
        }
        let Shared { live, verdicts, .. } = &self.shared;
        if verdicts.holds(peer.ip()) {
            return verdicts.refuse_connection();
        }
        let Some((snapshot, index)) = self.listener.pin(live) else { return };
        let settings = &snapshot.listeners[index];
        let target = self.slots.choose(self.own);
        let slot = &self.slots[target];
        let seat = match self.listener.admit(peer.ip(), settings, verdicts.ipv6_prefix(), slot) {
            Ok(seat) => seat,
            Err(reason) => return self.listener.refused(reason),
        };
        let Ok(local) = self.listener.local_address(&stream) else { return };
        let connection = Connection::new(self.listener.clone(), peer, local);
        if target == self.own {
            tokio::spawn(serve(slot.clone(), stream, connection, seat));
        } else {
            pass_on(slot, stream, connection, seat);
        }
    }
}

/// Not an `async fn`, which would keep room for its arguments as long as the connection lives.
fn serve(
    slot: Slot,
    stream: TcpStream,
    connection: Connection,
    seat: Seat,
) -> impl Future<Output = ()> + Send {
    let arrived = Box::new((ClientSocket::new(stream, seat), connection));
    async move { slot.app().serve(arrived).await }
}

/// Moves a connection to the worker of `slot`, whose reactor tells of it from then on.
fn pass_on(slot: &Slot, stream: TcpStream, connection: Connection, seat: Seat) {
    let to = slot.clone();
    match stream.into_std() {
        Ok(stream) => {
            slot.runtime().spawn(async move {
                match TcpStream::from_std(stream) {
                    Ok(stream) => serve(to, stream, connection, seat).await,
                    Err(error) => report(&error),
                }
            });
        }
        Err(error) => report(&error),
    }
}

fn report(error: &io::Error) {
    if descriptors::is_exhaustion(error) {
        descriptors::report_exhaustion();
    } else {
        tracing::debug!(%error, "a connection could not be passed on to another worker");
    }
}
