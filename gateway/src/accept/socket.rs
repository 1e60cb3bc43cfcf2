//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, SockRef, Socket, Type};

/// How much of an answer may wait in the kernel before it is on its way. Without a bound the kernel
/// takes megabytes of a long download at a time, and small requests of the same worker wait for the
/// copying; measured in `docs/performance.md`.
const UNSENT_BYTES: u32 = 128 << 10;

/// Connections that may wait to be accepted. The kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Sockets that are bound and listening on one address, though nobody accepts yet.
#[derive(Clone, Debug)]
pub struct Bound {
    sockets: Vec<Arc<TcpListener>>,
    address: SocketAddr,
}

impl Bound {
    /// Binds `count` sockets and listens on `address`. The kernel spreads new connections over them
    /// (`SO_REUSEPORT`).
    ///
    /// # Errors
    /// If the address is in use, not of this host, or not permitted.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn new(address: SocketAddr, count: usize) -> io::Result<Self> {
        // By itself it fails where a process of the same user listens; sockets that share would take
        // a part of its connections. The standard library sets SO_REUSEADDR, so that a restart does
        // not wait for old sockets.
        drop(TcpListener::bind(address)?);
        Self::sharing(address, count)
    }

    /// As [`Self::new`], on an address that sockets of this process take a part of already.
    ///
    /// # Errors
    /// As [`Self::new`], but sockets of the same user that share are no obstacle.
    pub fn sharing(address: SocketAddr, count: usize) -> io::Result<Self> {
        let first = sharing(address)?;
        // Port 0 has become one that is free.
        let address = first.local_addr()?;
        let others = (1..count).map(|_| sharing(address));
        Self::of(std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?)
    }

    /// Takes over `sockets`, which listen on one address already, for `count` workers. Where they are
    /// fewer, others are bound beside them, or workers share them where that cannot be.
    ///
    /// # Errors
    /// If they are not listening sockets, or none; or if others are needed and cannot be bound.
    pub fn inherited(sockets: Vec<TcpListener>, count: usize) -> io::Result<Self> {
        let mut bound = Self::of(sockets)?;
        let missing = count.saturating_sub(bound.sockets.len());
        if missing == 0 {
            return Ok(bound);
        }
        match Self::sharing(bound.address, missing) {
            Ok(others) => bound.sockets.extend(others.sockets),
            // One that a service manager opened need not share its address, and may be at a port that
            // this process may not bind: workers share it then.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
                ) =>
            {
                for index in 0..missing {
                    let copy = bound.sockets[index].try_clone()?;
                    bound.sockets.push(Arc::new(copy));
                }
            }
            Err(error) => return Err(error),
        }
        Ok(bound)
    }

    fn of(sockets: Vec<TcpListener>) -> io::Result<Self> {
        for socket in &sockets {
            socket.set_nonblocking(true)?;
            let socket = SockRef::from(socket);
            socket.listen(BACKLOG)?;
            // Accepted sockets inherit both.
            socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
            socket.set_tcp_nodelay(true)?;
        }
        let address = sockets.first().ok_or(io::ErrorKind::InvalidInput)?.local_addr()?;
        Ok(Self { sockets: sockets.into_iter().map(Arc::new).collect(), address })
    }

    /// The address, with the port that 0 became.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets go of the sockets: they close when nobody else holds them.
    pub(crate) fn release(&mut self) {
        self.sockets.clear();
    }

    /// Whether these are the sockets of `other`.
    #[must_use]
    pub fn shares_sockets(&self, other: &Self) -> bool {
        let pairs = self.sockets.iter().zip(&other.sockets);
        pairs.into_iter().any(|(one, other)| Arc::ptr_eq(one, other))
    }

    /// The sockets.
    #[must_use]
    pub fn sockets(&self) -> &[Arc<TcpListener>] {
        &self.sockets
    }
}

/// A socket that listens where others of its kind do.
fn sharing(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_sockets_have_the_options_of_the_listening_one() {
        let bound = Bound::new("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let client = std::net::TcpStream::connect(bound.address()).unwrap();
        let accepted = std::iter::repeat_with(|| bound.sockets())
            .flatten()
            .find_map(|socket| socket.accept().ok())
            .unwrap();
        assert!(accepted.0.nodelay().unwrap());
        assert_eq!(SockRef::from(&accepted.0).tcp_notsent_lowat().unwrap(), UNSENT_BYTES);
        drop(client);
    }

    #[test]
    fn sockets_that_are_taken_over_are_enough_for_all_workers() {
        for (before, after, expected) in [(2, 2, 2), (3, 2, 3), (2, 4, 4), (1, 3, 3), (1, 1, 1)] {
            let old = Bound::new("127.0.0.1:0".parse().unwrap(), before).unwrap();
            let copies = old.sockets().iter().map(|socket| socket.try_clone().unwrap()).collect();
            let new = Bound::inherited(copies, after).unwrap();
            assert_eq!(new.sockets().len(), expected, "{before} for {after}");
            assert_eq!(new.address(), old.address());
        }
        let alone = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Bound::inherited(vec![alone], 3).unwrap();
        assert_eq!(shared.sockets().len(), 3);
        assert!(Bound::inherited(Vec::new(), 1).is_err());
    }

    #[test]
    fn an_address_that_somebody_listens_on_is_refused_even_if_it_can_be_shared() {
        let first = Bound::new("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let error = Bound::new(first.address(), 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        Bound::sharing(first.address(), 2).unwrap();
    }
}
