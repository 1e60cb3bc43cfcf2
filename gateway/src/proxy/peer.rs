//! The peer that Pingora connects to for an attempt.

use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::{H1UpgradePolicy, HttpPeer};

use super::context::{RequestContext, Upgrade};
use super::upstream_peer::Approach;
use crate::config::ReadAhead;
use crate::tunnel::Tunnel;
use crate::upstream::introduction::introduce;

/// The peer of the endpoint that was chosen, as `approach` has it; `None` if none is chosen.
pub(super) fn of(ctx: &mut RequestContext, approach: &Approach) -> Option<Box<HttpPeer>> {
    let mut peer = ctx.attempt.tries.peer()?;
    let options = &mut peer.options;
    options.connection_timeout = Some(approach.connect_timeout);
    options.total_connection_timeout = Some(approach.connect_timeout);
    options.read_timeout = Some(approach.read_timeout);
    let read_ahead = approach.read_ahead;
    options.h2_stream_window_size = read_ahead.window_bytes;
    if options.alpn == ALPN::H1 {
        // The only handle on the size of what Pingora reads at once is how much has come.
        options.tcp_recv_buf = read_ahead.pingora_piece_bytes;
    }
    if let Some((version, ends)) = approach.introduction {
        introduce(&mut peer, version, ends);
    }
    if ctx.attempt.upgrade != Upgrade::No {
        prepare_upgrade(&mut peer, read_ahead, ctx);
    }
    Some(peer)
}

/// Makes the connection one that may change its protocol, which is HTTP/1's to do. A tunnel is
/// silent for as long as its users are, whatever the route's timeout is.
///
/// Only a plain TCP connection can be taken over as a tunnel of our own; over TLS, a Unix socket or
/// behind a PROXY header Pingora passes the bytes on as bodies.
fn prepare_upgrade(peer: &mut HttpPeer, read_ahead: ReadAhead, ctx: &mut RequestContext) {
    let idle = ctx.upstream().spec.timeouts.upgraded;
    if peer.options.alpn == ALPN::H2H1 {
        peer.options.alpn = ALPN::H1;
    }
    let is_plain = !peer.is_tls() && peer.options.custom_l4.is_none();
    if is_plain && peer._address.as_inet().is_some() && peer.options.alpn == ALPN::H1 {
        ctx.tunnel = Some(Tunnel::prepare(peer, idle, read_ahead));
    } else {
        peer.options.read_timeout = Some(idle);
    }
    if ctx.attempt.upgrade == Upgrade::Other {
        peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Preserve;
    }
}
