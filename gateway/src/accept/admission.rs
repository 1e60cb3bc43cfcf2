//! A listener at work: how many connections it has, from whom, and whether it goes on.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use sallyport_stats::{ConnectionRefusal, ConnectionStats};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::placement::{Load, Slot};
use crate::config::Listener;
use crate::live::{Live, Pinned};

/// What the connections of one listener share, for as long as there is one.
///
/// A listener is known by its address: an entry of the configuration that has the same address and
/// another name is the same listener. Where the port is 0, its name tells it from others.
#[derive(Debug)]
pub struct ListenerState {
    name: Arc<str>,
    configured: SocketAddr,
    address: SocketAddr,
    stats: ArcSwap<ConnectionStats>,
    /// Connections by source, those that count.
    sources: Mutex<HashMap<Source, u64>>,
    ending: watch::Sender<bool>,
    /// Whether the gateway has said that nothing new is wanted.
    announced: watch::Receiver<bool>,
    /// The last configuration that has this listener, once it is removed.
    last: OnceLock<Pinned>,
}

/// A source as connections are counted by it: an IPv4 address, or the prefix of an IPv6 one.
type Source = Ipv6Addr;

impl ListenerState {
    /// The listener that is called `name`, has the address `configured` in the configuration, and
    /// listens on `address`.
    #[must_use]
    pub fn new(
        name: Arc<str>,
        configured: SocketAddr,
        address: SocketAddr,
        stats: Arc<ConnectionStats>,
    ) -> Self {
        Self {
            name,
            configured,
            address,
            stats: ArcSwap::new(stats),
            sources: Mutex::default(),
            ending: watch::Sender::new(false),
            announced: watch::channel(false).1,
            last: OnceLock::new(),
        }
    }

    /// As this listener, whose connections are to end when `announced` says that nothing new is wanted.
    #[must_use]
    pub fn with_announced(self, announced: watch::Receiver<bool>) -> Self {
        Self { announced, ..self }
    }

    /// Whether it is what a configuration calls `name` and has at `configured`.
    #[must_use]
    pub fn is(&self, name: &str, configured: SocketAddr) -> bool {
        self.configured == configured && (configured.port() != 0 || *self.name == *name)
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Counts new connections under another name.
    pub(crate) fn count_by(&self, stats: Arc<ConnectionStats>) {
        self.stats.store(stats);
    }

    /// The configuration in force and the index of this listener in it. That of a listener that was
    /// removed is the last one that had it.
    #[must_use]
    pub fn pin(&self, live: &Live) -> Option<(Pinned, usize)> {
        self.find(live.pin()).or_else(|| self.find(self.last.get()?.clone()))
    }

    fn find(&self, snapshot: Pinned) -> Option<(Pinned, usize)> {
        let mut listeners = snapshot.listeners.iter();
        let index = listeners.position(|listener| self.is(&listener.name, listener.address))?;
        Some((snapshot, index))
    }

    /// Told when connections are to end: idle ones at once, others with the request under way.
    #[must_use]
    pub fn ending(&self) -> watch::Receiver<bool> {
        self.ending.subscribe()
    }

    /// Whether connections are to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Whether connections are to end with their next response, though new ones are taken.
    #[must_use]
    pub fn is_announced(&self) -> bool {
        *self.announced.borrow()
    }

    /// Told when nothing new is wanted, and when it is again.
    #[must_use]
    pub fn announced(&self) -> watch::Receiver<bool> {
        self.announced.clone()
    }

    /// Serves requests by `last` once the configuration in force no longer has this listener.
    pub fn retire(&self, last: Pinned) {
        // It is removed once.
        self.last.set(last).ok();
    }

    /// Ends its connections: idle ones at once, the others with the request under way.
    pub(crate) fn end(&self) {
        self.ending.send_replace(true);
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.stats.load().active()
    }

    /// Counts a connection that is refused.
    pub(crate) fn refused(&self, reason: ConnectionRefusal) {
        self.stats.load().refused(reason);
    }

    /// Lets a connection from `peer` in, if the bounds of `settings` allow it. IPv6 sources are
    /// counted by prefixes of `ipv6_prefix` bits.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        settings: &Listener,
        ipv6_prefix: u8,
        slot: &Slot,
    ) -> Result<Seat, ConnectionRefusal> {
        // From here on its end is counted, whatever becomes of it.
        let (mut seat, open) = Seat::new(self.clone(), slot.load().clone());
        if open > settings.max_connections {
            return Err(ConnectionRefusal::Listener);
        }
        if !settings.carries_others(peer) {
            seat.count_source(peer, settings.max_connections_per_source, ipv6_prefix)?;
        }
        Ok(seat)
    }

    /// The address that `accepted` came to.
    ///
    /// # Errors
    /// If the connection is gone.
    pub(super) fn local_address(&self, accepted: &TcpStream) -> std::io::Result<SocketAddr> {
        if self.address.ip().is_unspecified() { accepted.local_addr() } else { Ok(self.address) }
    }

    fn leave(&self, source: Source) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut held) = sources.entry(source) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
        // A flood of sources leaves no table for a million of them behind.
        if sources.capacity() > 1024 && sources.len() < sources.capacity() / 8 {
            sources.shrink_to_fit();
        }
    }
}

/// The place of an open connection: its listener, its source and its worker count it until this is
/// dropped.
#[derive(Debug)]
pub struct Seat {
    listener: Arc<ListenerState>,
    stats: Arc<ConnectionStats>,
    source: Option<Source>,
    load: Arc<Load>,
}

impl Seat {
    /// Counts a connection; how many the listener has with it.
    fn new(listener: Arc<ListenerState>, load: Arc<Load>) -> (Self, u64) {
        let stats = listener.stats.load_full();
        let open = stats.opened();
        load.add();
        (Self { listener, stats, source: None, load }, open)
    }

    /// One that nobody was admitted to.
    #[cfg(test)]
    pub(crate) fn for_tests(listener: Arc<ListenerState>) -> Self {
        Self::new(listener, Arc::default()).0
    }

    /// Counts the connection under the source that `client` is of, if that has fewer than `most`.
    /// # Errors
    /// If the source has as many.
    pub fn count_source(
        &mut self,
        client: IpAddr,
        most: u64,
        ipv6_prefix: u8,
    ) -> Result<(), ConnectionRefusal> {
        let source = source_of(client, ipv6_prefix);
        let mut sources = self.listener.sources.lock().unwrap_or_else(PoisonError::into_inner);
        match sources.entry(source) {
            Entry::Occupied(held) if *held.get() >= most => return Err(ConnectionRefusal::Source),
            held => *held.or_insert(0) += 1,
        }
        drop(sources);
        let before = self.source.replace(source);
        before.inspect(|before| self.listener.leave(*before));
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.load.remove();
        self.stats.closed();
        if let Some(source) = self.source {
            self.listener.leave(source);
        }
    }
}

fn source_of(address: IpAddr, ipv6_prefix: u8) -> Source {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => {
            let host_bits = 128 - u32::from(ipv6_prefix.min(128));
            let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask)
        }
    }
}

#[cfg(test)]
mod tests;
