//! A connection could not be made: nothing was sent yet, so any request may go to another endpoint.

use pingora_core::upstreams::peer::{HttpPeer, Peer};
use pingora_error::Error;

use super::cause::Cause;
use super::context::RequestContext;

/// Remembers the failure and says whether to try again.
pub(super) fn run(peer: &HttpPeer, ctx: &mut RequestContext, mut error: Box<Error>) -> Box<Error> {
    error.as_up();
    ctx.cause = Some(Cause::of(&error));
    if let Some(endpoint) = ctx.endpoint()
        && endpoint.connect_failed()
    {
        let upstream = &*ctx.upstream().spec.name;
        tracing::warn!(upstream, endpoint = %peer.address(), %error, "endpoint set aside");
    }
    let failed = ctx.attempt.endpoint;
    ctx.finish_at_endpoint();
    ctx.attempt.tried.extend(failed);
    error.set_retry(may_retry(ctx));
    error
}

fn may_retry(ctx: &RequestContext) -> bool {
    let retries = ctx.forward().map_or(0, |forward| forward.retries) as usize;
    let attempt = &ctx.attempt;
    attempt.tried.len() <= retries
        && ctx.time_left().is_none_or(|left| !left.is_zero())
        && ctx.upstream().select(attempt.key, &attempt.tried).is_some()
}
