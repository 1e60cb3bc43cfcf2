//! The new process's side: what it is given by the one that it replaces.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context as _;
use sallyport_config::process::{NotifyState, notify};

use super::HEIR_VARIABLE;
use super::frame::{Frame, SocketName, receive, send};
use super::state::StatePart;
use crate::accept::Bound;

/// How long the old process may take to hand its sockets over.
const PATIENCE: Duration = Duration::from_secs(30);

/// The sockets of a listener that an old process has left to this one.
#[derive(Debug)]
pub struct Inherited {
    /// The listener's name.
    pub name: String,
    /// Where its configuration had it; the port may be 0.
    pub configured: SocketAddr,
    /// The sockets.
    pub bound: Bound,
}

impl Inherited {
    /// The sockets of listeners that a service manager hands over, for `workers`: each is for the
    /// listener that has its address. Others than those of TCP are left out.
    ///
    /// # Errors
    /// If one does not listen.
    pub fn activated(sockets: Vec<(String, OwnedFd)>, workers: usize) -> anyhow::Result<Vec<Self>> {
        let mut by_address: BTreeMap<(String, SocketAddr), Vec<TcpListener>> = BTreeMap::new();
        for (name, socket) in sockets {
            let socket = TcpListener::from(socket);
            match socket.local_addr() {
                Ok(address) => by_address.entry((name, address)).or_default().push(socket),
                Err(error) => tracing::warn!(%name, %error, "a socket is of no use to listeners"),
            }
        }
        let inherited = by_address.into_iter().map(|((name, configured), sockets)| {
            let bound = Bound::inherited(sockets, workers);
            let bound = bound.with_context(|| format!("the socket {name:?} cannot be used"))?;
            Ok(Self { name, configured, bound })
        });
        inherited.collect()
    }
}

/// What an old process has left to this one.
#[derive(Debug)]
pub struct Heritage {
    stream: UnixStream,
    sockets: Vec<(SocketName, OwnedFd)>,
    state: Vec<StatePart>,
}

impl Heritage {
    /// What this process was given, if it was started by another to replace it.
    ///
    /// # Errors
    /// If it was, and cannot be given anything.
    pub fn take() -> anyhow::Result<Option<Self>> {
        if std::env::var_os(HEIR_VARIABLE).is_none() {
            return Ok(None);
        }
        let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // It stays the standard input as well, which nobody else reads.
        stream.set_read_timeout(Some(PATIENCE))?;
        let (mut sockets, mut state) = (Vec::new(), Vec::new());
        loop {
            let received = receive(&stream).context("the old process hands nothing over")?;
            match received.context("the old process has gone")? {
                (Frame::Socket(name), Some(socket)) => sockets.push((name, socket)),
                (Frame::State(part), _) => state.push(part),
                (Frame::End, _) => break,
                _ => {}
            }
        }
        Ok(Some(Self { stream, sockets, state }))
    }

    /// The sockets of listeners for `workers`, each with its name and the address that the old process
    /// had it at in its configuration.
    ///
    /// # Errors
    /// If one is not what it is said to be, or has too few sockets and no more can be bound.
    pub fn listeners(&mut self, workers: usize) -> anyhow::Result<Vec<Inherited>> {
        let mut by_name: BTreeMap<(String, String), Vec<TcpListener>> = BTreeMap::new();
        for (name, socket) in self.sockets.extract_if(.., |(name, _)| !name.is_admin) {
            let sockets = by_name.entry((name.listener, name.configured)).or_default();
            sockets.push(socket.into());
        }
        let bound = by_name.into_iter().map(|((name, configured), sockets)| {
            let bound = Bound::inherited(sockets, workers);
            let bound = bound.with_context(|| format!("listener {name:?} cannot be taken over"))?;
            Ok(Inherited { name, configured: configured.parse()?, bound })
        });
        bound.collect()
    }

    /// The socket of the admin listener, and where the old process had it in its configuration.
    #[must_use]
    pub fn admin(&mut self) -> Option<(String, OwnedFd)> {
        let found = self.sockets.extract_if(.., |(name, _)| name.is_admin).next();
        found.map(|(name, socket)| (name.configured, socket))
    }

    /// What the old process knew, once.
    #[must_use]
    pub fn state(&mut self) -> Vec<StatePart> {
        std::mem::take(&mut self.state)
    }

    /// Says that this process serves, to the old one and to the service manager.
    pub fn serves(self) {
        notify(NotifyState::MainPid(std::process::id()));
        if let Err(error) = send(&self.stream, &Frame::Ready, None) {
            tracing::warn!(%error, "the old process could not be told that this one serves");
        }
    }

    /// Says why this process cannot serve.
    pub fn fails(stream: &UnixStream, reason: &str) {
        const REASON_BYTES_MAX: usize = 16 << 10;
        let end = reason.floor_char_boundary(REASON_BYTES_MAX.min(reason.len()));
        // One that is gone has no use for it.
        send(stream, &Frame::Failed(reason[..end].to_owned()), None).ok();
    }

    /// Where failures are told.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn telling(&self) -> io::Result<UnixStream> {
        self.stream.try_clone()
    }
}
