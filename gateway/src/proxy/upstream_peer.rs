//! Chooses the endpoint of an attempt. Pingora calls it again after a failure that may be retried.

use pingora_core::protocols::ALPN;
use pingora_core::upstreams::peer::{H1UpgradePolicy, HttpPeer, Peer as _};
use pingora_error::Result;
use tokio::time::sleep;

use super::cause::Cause;
use super::context::{RequestContext, Upgrade};
use super::pace;
use crate::tunnel::Tunnel;
use crate::upstream::OverLimit;
use crate::upstream::introduction::introduce;

/// The peer for this attempt; one that is made again may have to wait first.
pub(super) async fn run(ctx: &mut RequestContext) -> Result<Box<HttpPeer>> {
    if let Some(wait) = ctx.attempt.wait.take() {
        ctx.finish_at_endpoint();
        sleep(wait).await;
    }
    if ctx.attempt.admission.is_none() && ctx.upstream().is_limited() {
        admit(ctx).await?;
    }
    choose(ctx).map_err(|cause| {
        ctx.cause = Some(cause);
        cause.into_error()
    })
}

/// Takes what slots the upstream's limits have a request take, in its tenant's turn.
async fn admit(ctx: &mut RequestContext) -> Result<()> {
    let (tenant, left) = (ctx.attempt.tenant, ctx.time_left());
    // Boxed: few upstreams have limits, and all requests carry this phase's state.
    let admitted = Box::pin(ctx.upstream().admit(tenant, left)).await;
    match admitted {
        Ok(admission) => {
            ctx.attempt.admission = Some(admission);
            Ok(())
        }
        Err(OverLimit) => {
            ctx.cause = Some(Cause::Limit);
            Err(Cause::Limit.into_error())
        }
    }
}

fn choose(ctx: &mut RequestContext) -> std::result::Result<Box<HttpPeer>, Cause> {
    // An attempt on a reused connection that broke is repeated where it was.
    ctx.finish_at_endpoint();
    let time_left = ctx.time_left();
    if time_left.is_some_and(|left| left.is_zero()) {
        return Err(Cause::Timeout);
    }
    // A filter may have chosen the endpoint.
    let preferred = ctx.filters.as_ref().and_then(|run| run.marks.endpoint);
    let mut peer = ctx.begin_attempt(preferred).ok_or(Cause::NoEndpoint)?;
    if let Some(left) = time_left {
        let options = &mut peer.options;
        for timeout in [
            &mut options.connection_timeout,
            &mut options.total_connection_timeout,
            &mut options.read_timeout,
        ] {
            *timeout = timeout.map(|timeout| timeout.min(left));
        }
    }
    limit_attempt(&mut peer, ctx);
    peer.options.tcp_recv_buf = ctx.limits().origin_receive_bytes();
    if let Some(version) = ctx.upstream().spec.transport.proxy_protocol {
        let ends = ctx.connection().map(|connection| (connection.peer, connection.local));
        introduce(&mut peer, version, ends);
    }
    if ctx.attempt.upgrade != Upgrade::No {
        prepare_upgrade(&mut peer, ctx);
    }
    ctx.cause = None;
    ctx.attempt.stale = false;
    // Pingora sends what it has kept of the body again.
    ctx.body_bytes = 0;
    Ok(peer)
}

/// Bounds the wait for a connection and for the head of the response.
fn limit_attempt(peer: &mut HttpPeer, ctx: &mut RequestContext) {
    let per_try = ctx.forward().and_then(|forward| forward.retry.per_try_timeout);
    let first_byte = ctx.upstream().spec.timeouts.first_byte;
    if let Some(per_try) = per_try {
        let options = &mut peer.options;
        for timeout in [&mut options.connection_timeout, &mut options.total_connection_timeout] {
            *timeout = timeout.map(|timeout| timeout.min(per_try));
        }
    }
    let within = [per_try, first_byte].into_iter().flatten().min();
    if let Some(within) = within
        && peer.get_alpn().is_some_and(|alpn| alpn.get_min_http_version() > 1)
    {
        // The connection is not this request's own and cannot end with it; its streams wait no longer for a read.
        let read = &mut peer.options.read_timeout;
        *read = read.map(|read| read.min(within));
    }
    pace::begin_attempt(within, ctx);
}

/// Makes the connection one that may change its protocol, which is HTTP/1's to do. A tunnel is silent for
/// as long as its users are, whatever the route's timeout is.
///
/// Only a plain TCP connection can be taken over as a tunnel of our own; over TLS, a Unix socket or behind
/// a PROXY header Pingora passes the bytes on as bodies.
fn prepare_upgrade(peer: &mut HttpPeer, ctx: &mut RequestContext) {
    let idle = ctx.upstream().spec.timeouts.upgraded;
    if peer.options.alpn == ALPN::H2H1 {
        peer.options.alpn = ALPN::H1;
    }
    let is_plain = !peer.is_tls() && peer.options.custom_l4.is_none();
    if is_plain && peer._address.as_inet().is_some() && peer.options.alpn == ALPN::H1 {
        ctx.tunnel = Some(Tunnel::prepare(peer, idle));
    } else {
        peer.options.read_timeout = Some(idle);
    }
    if ctx.attempt.upgrade == Upgrade::Other {
        peer.options.http_upstream_request_policy.h1_upgrade = H1UpgradePolicy::Preserve;
    }
}
