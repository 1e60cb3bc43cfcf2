//! What is settled of a client's connection before its first request.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_http::ResponseHeader;
use sallyport_route::{ClientCertificate, Scheme};
use sallyport_tls::Facts;

use super::client_stream;
use super::proxy_protocol::ProxyHeader;
use crate::accept::ListenerState;
use crate::classifier::Known;

/// A client's connection. One value serves all of its requests.
#[derive(Debug)]
pub struct Connection {
    /// The listener that accepted it.
    pub listener: Arc<ListenerState>,
    /// The client's address: the one at the other end, or the one that a PROXY header names.
    pub peer: SocketAddr,
    /// The address that the client has connected to.
    pub local: SocketAddr,
    /// When it was accepted.
    pub accepted: SystemTime,
    /// What a PROXY header has said.
    pub proxied: Option<Box<ProxyHeader>>,
    /// What TLS has settled; `None` in clear text.
    pub tls: Option<Arc<Facts>>,
    /// The client's certificate as routes and filters look at it.
    pub client: Option<Arc<ClientCertificate>>,
    /// What the classifier says of it, once a request has asked.
    known: OnceLock<Arc<Known>>,
}

impl Connection {
    /// One in clear text that was accepted now.
    #[must_use]
    pub fn new(listener: Arc<ListenerState>, peer: SocketAddr, local: SocketAddr) -> Self {
        let (accepted, known) = (SystemTime::now(), OnceLock::new());
        Self { listener, peer, local, accepted, proxied: None, tls: None, client: None, known }
    }

    /// A connection that nobody has made.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        let (name, address): (Arc<str>, SocketAddr) = ("web".into(), ([127, 0, 0, 1], 80).into());
        let stats = sallyport_stats::Registry::new(1).connections(&name);
        Self::new(Arc::new(ListenerState::new(name, address, address, stats)), address, address)
    }

    /// The scheme that its requests have unless a trusted proxy says otherwise: that of the connection,
    /// or of the one to the proxy that passes it on.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        let came_by_tls = self.proxied.as_ref().is_some_and(|header| header.is_tls);
        if self.tls.is_some() || came_by_tls { Scheme::Https } else { Scheme::Http }
    }

    /// What the classifier says of it: what an earlier request has found, or what `look_up` finds
    /// now.
    pub fn known(&self, look_up: impl FnOnce() -> Option<Arc<Known>>) -> Option<Arc<Known>> {
        if let Some(known) = self.known.get() {
            return Some(known.clone());
        }
        // Of two streams that look it up at once, one is kept.
        look_up().map(|known| self.known.get_or_init(|| known).clone())
    }
}

/// The connection that the request of `session` came by.
#[must_use]
pub fn of(session: &ServerSession) -> Option<&Arc<Connection>> {
    match session {
        ServerSession::H1(_) => client_stream(session).map(client_stream::ClientStream::connection),
        _ => of_digest(session.digest()?),
    }
}

/// The connection that `digest`, which is one of HTTP/2, tells of.
pub(super) fn of_digest(digest: &Digest) -> Option<&Arc<Connection>> {
    digest.proxy_digest.as_ref()?.user_data.as_ref()?.downcast_ref()
}

/// Where [`of`] finds `connection` from a session of HTTP/2: the one place of Pingora's digest that
/// takes a value of ours.
pub(super) fn carried(connection: &Arc<Connection>) -> Option<Arc<ProxyDigest>> {
    let unused = ResponseHeader::build_no_case(200, None).ok()?;
    Some(Arc::new(ProxyDigest::new(Box::new(unused), Some(Box::new(connection.clone())))))
}
