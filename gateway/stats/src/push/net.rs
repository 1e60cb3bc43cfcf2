//! Where exporters send to: addresses, names and how they are resolved.
//!
//! A name is resolved when it is first needed, again after a while, and again after an error, since
//! the receiver may have moved. One that stops resolving is sent to where it was last.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use super::{clock::Clock, exporter::ExportError};

pub(super) mod datagram;
#[cfg(feature = "statsd")]
pub(super) mod packer;
#[cfg(feature = "emf")]
pub(super) mod stream;

/// Finds the addresses of a name.
pub trait Resolver: Send + Sync + fmt::Debug {
    /// The addresses of `host`, at `port`, best first.
    ///
    /// # Errors
    /// If there are none, or they cannot be found.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver. It may take seconds, in which its exporter waits and no one else.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<_> = (host, port).to_socket_addrs()?.collect();
        match addresses.is_empty() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(addresses),
        }
    }
}

/// Where a receiver is. Written `host:port`, `udp://host:port`, `tcp://host:port` or
/// `unix:///path`; an IPv6 address stands in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Datagrams over UDP.
    Udp(String, u16),
    /// A stream over TCP.
    Tcp(String, u16),
    /// Datagrams to a socket in the file system.
    Unix(PathBuf),
}

/// What is no address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an address is host:port, udp://host:port, tcp://host:port or unix:///path")]
pub struct AddressError;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix://") {
            let absolute = path.starts_with('/');
            return absolute.then(|| Self::Unix(path.into())).ok_or(AddressError);
        }
        let tcp = text.strip_prefix("tcp://");
        let place = tcp.or_else(|| text.strip_prefix("udp://")).unwrap_or(text);
        let (host, port) = place.rsplit_once(':').ok_or(AddressError)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(host) => host,
            None if host.contains([':', '/']) => return Err(AddressError),
            None => host,
        };
        let port = port.parse().ok().filter(|port| *port != 0).ok_or(AddressError)?;
        match (host.is_empty(), tcp) {
            (true, _) => Err(AddressError),
            (false, Some(_)) => Ok(Self::Tcp(host.to_owned(), port)),
            (false, None) => Ok(Self::Udp(host.to_owned(), port)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Unix(path) => return write!(out, "unix://{}", path.display()),
            Self::Udp(host, port) => ("udp", host, port),
            Self::Tcp(host, port) => ("tcp", host, port),
        };
        match host.contains(':') {
            true => write!(out, "{scheme}://[{host}]:{port}"),
            false => write!(out, "{scheme}://{host}:{port}"),
        }
    }
}

/// How an exporter deals with its sockets.
#[derive(Debug, Clone)]
pub struct LinkConfig {
    /// Sockets to one receiver, used in turns: with several, one that spreads its work over sockets
    /// can. 1 to 64.
    pub sockets: usize,
    /// How long connecting or one send may take.
    pub deadline: Duration,
    /// How often a name is resolved anew.
    pub resolve_every: Duration,
    /// What resolves it.
    pub resolver: Arc<dyn Resolver>,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
}

impl Default for LinkConfig {
    /// One socket; 250 ms, which no receiver on this machine or the next takes; 30 seconds, as
    /// long as a name's records usually live.
    fn default() -> Self {
        Self {
            sockets: 1,
            deadline: Duration::from_millis(250),
            resolve_every: Duration::from_secs(30),
            resolver: Arc::new(SystemResolver),
            clock: Arc::new(super::clock::SystemClock::default()),
        }
    }
}

/// A name and where it was last.
#[derive(Debug)]
pub(super) struct Name {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
    /// Which of the addresses is used; errors move it on.
    chosen: usize,
    fresh_until: Option<Duration>,
}

impl Name {
    pub(super) fn new(host: &str, port: u16) -> Self {
        let host = host.to_owned();
        Self { host, port, addresses: Vec::new(), chosen: 0, fresh_until: None }
    }

    /// Where to send now.
    pub(super) fn address(&mut self, link: &LinkConfig) -> Result<SocketAddr, ExportError> {
        let now = link.clock.now();
        if self.fresh_until.is_none_or(|until| now >= until) {
            self.fresh_until = Some(now.saturating_add(link.resolve_every));
            match link.resolver.resolve(&self.host, self.port) {
                Ok(found) if !found.is_empty() => self.found(found),
                // Where it was last.
                _ if !self.addresses.is_empty() => {}
                Ok(_) => return Err(self.nowhere(io::ErrorKind::NotFound.into())),
                Err(error) => return Err(self.nowhere(error)),
            }
        }
        Ok(self.addresses[self.chosen % self.addresses.len()])
    }

    /// Sending there failed: asks anew next time, and prefers another address.
    pub(super) fn failed(&mut self) {
        self.fresh_until = None;
        self.chosen = self.chosen.wrapping_add(1);
    }

    fn found(&mut self, found: Vec<SocketAddr>) {
        if found != self.addresses {
            self.addresses = found;
            self.chosen = 0;
        }
    }

    fn nowhere(&mut self, source: io::Error) -> ExportError {
        self.fresh_until = None;
        ExportError::Resolve { name: self.host.clone(), source }
    }
}

#[cfg(test)]
mod tests;
