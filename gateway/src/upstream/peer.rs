//! The peer that Pingora connects to for an endpoint, with everything that does not change from one
//! request to the next: a pooled connection is used again only by an equal peer.
//!
//! What Pingora leaves out of that comparison is put into the peer's `group_key`: the authorities that
//! are trusted and the key that is shown. An origin is never taken on trust by omission: stock Pingora
//! verifies nothing where there is no server name, so there always is one.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use pingora_core::protocols::tls::ALPN;
use pingora_core::upstreams::peer::{HttpPeer, Scheme};
use pingora_core::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora_error::{ErrorType, OrErr as _};
use sallyport_balance::Address;
use socket2::SockRef;

use crate::config::{self, OriginTls, Protocol, Transport};

/// How much of a request may wait in the kernel before it is on its way to the origin: as much as of an answer.
/// Without a bound it is megabytes for an origin that does not read.
pub(crate) const UNSENT_BYTES: u32 = 128 << 10;

/// The name that is asked for where an endpoint has none: it verifies nothing by chance.
const NAMELESS: &str = "localhost";

/// An authority that has certified nothing. Peers that are not verified name it, because Pingora keeps
/// one store of sessions for all peers without authorities of their own: a session of an origin that
/// nobody verified must not be resumed with one that has to be.
pub(super) const NOBODY: &[u8] = include_bytes!("nobody.der");

/// Builds the peer of the endpoint at `address`, which was found by `name` if by any.
pub(super) fn peer(spec: &config::Upstream, address: &Address, name: Option<&str>) -> HttpPeer {
    let mut peer = match address {
        Address::Inet(address) => HttpPeer::new(*address, false, String::new()),
        Address::Unix(path) => {
            let path = path.to_str().expect("an address is read from text");
            HttpPeer::new_uds(path, false, String::new()).expect("an address has a path that fits")
        }
    };
    let timeouts = &spec.timeouts;
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(timeouts.idle);
    peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::new(|socket| {
        let bounded = SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES);
        bounded.or_err(ErrorType::SocketError, "cannot bound what waits to be sent")
    }));
    speak(&mut peer, &spec.transport);
    if let Some(tls) = &spec.transport.tls {
        encrypt(&mut peer, tls, &server_name(tls, address, name));
    }
    peer
}

fn speak(peer: &mut HttpPeer, transport: &Transport) {
    peer.options.alpn = match (transport.protocol, &transport.tls) {
        (Protocol::Http1, _) | (Protocol::Auto, None) => ALPN::H1,
        (Protocol::Http2, _) => ALPN::H2,
        (Protocol::Auto, Some(_)) => ALPN::H2H1,
    };
    if peer.options.alpn != ALPN::H1 {
        peer.options.max_h2_streams = transport.max_streams;
    }
}

/// The name that the certificate of the endpoint must be for.
pub(super) fn server_name(tls: &OriginTls, address: &Address, name: Option<&str>) -> String {
    match (&tls.server_name, name, address) {
        (Some(written), _, _) => written.to_string(),
        (None, Some(name), _) => name.to_owned(),
        (None, None, Address::Inet(address)) => address.ip().to_string(),
        (None, None, Address::Unix(_)) => NAMELESS.to_owned(),
    }
}

fn encrypt(peer: &mut HttpPeer, tls: &OriginTls, server_name: &str) {
    peer.scheme = Scheme::HTTPS;
    peer.sni = server_name.to_owned();
    peer.options.verify_cert = tls.verify;
    peer.options.verify_hostname = tls.verify;
    let mut hasher = DefaultHasher::new();
    tls.verify.hash(&mut hasher);
    let ca: Vec<Vec<u8>> = match &tls.ca {
        Some(ca) => ca.iter().map(|certificate| certificate.to_vec()).collect(),
        None if tls.verify => Vec::new(),
        None => vec![NOBODY.to_vec()],
    };
    ca.hash(&mut hasher);
    if !ca.is_empty() {
        peer.options.ca = Some(wrapped(ca));
    }
    if let Some(client) = &tls.client {
        client.key.hash(&mut hasher);
        let chain: Vec<_> = client.chain.iter().map(|certificate| certificate.to_vec()).collect();
        chain.hash(&mut hasher);
        peer.client_cert_key = Some(Arc::new(CertKey::new(chain, client.key.clone())));
    }
    peer.group_key = hasher.finish();
}

fn wrapped(certificates: Vec<Vec<u8>>) -> Arc<[WrappedX509]> {
    certificates.into_iter().map(|certificate| WrappedX509::new(certificate, parse_x509)).collect()
}
