//! The response begins, or a part of its body arrives: is it sound, and is there time left for it?
//!
//! Pingora's own read timeout covers a silent origin; a route's timeout also ends one that dribbles.

use pingora_error::{ErrorSource, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::cause::Cause;
use super::context::{RequestContext, Upgrade};
use super::origin_framing;
use crate::connection;

/// As [`run`], for a head; refuses one whose framing contradicts itself.
pub(super) fn check(
    session: &Session,
    response: &mut ResponseHeader,
    ctx: &mut RequestContext,
) -> Result<()> {
    run(session, ctx)?;
    let asked = (ctx.attempt.upgrade != Upgrade::No).then(|| &session.req_header().headers);
    match origin_framing::settle(response, asked) {
        Ok(()) => Ok(()),
        Err(problem) => {
            tracing::debug!(problem, "the origin's response is refused");
            fail(ctx, Cause::BadResponse)
        }
    }
}

/// Fails once the route's timeout has passed. Tunnels are exempt, from their beginning on.
pub(super) fn run(session: &Session, ctx: &mut RequestContext) -> Result<()> {
    if ctx.tunnelled {
        return Ok(());
    }
    if ctx.time_left().is_some_and(|left| left.is_zero()) {
        return fail(ctx, Cause::Timeout);
    }
    limit_wait(session, ctx);
    Ok(())
}

fn fail(ctx: &mut RequestContext, cause: Cause) -> Result<()> {
    ctx.cause = Some(cause);
    let mut error = cause.into_error();
    error.esource = ErrorSource::Upstream;
    Err(error)
}

/// What asks for an upgrade is sent with the patience of a tunnel, which Pingora cannot be told later; until there
/// is one, the usual patience is kept here.
pub(super) fn limit_wait(session: &Session, ctx: &RequestContext) {
    if ctx.attempt.upgrade != Upgrade::No {
        let read = ctx.upstream().spec.timeouts.read;
        let within = ctx.time_left().map_or(read, |left| left.min(read));
        connection::expect_answer(session.as_downstream(), Some(within));
    }
}
