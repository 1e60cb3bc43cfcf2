//! The exchange with the endpoint broke: may the request be sent again, and where?

use pingora_error::Error;
use pingora_proxy::Session;
use sallyport_plugin::Phases;

use super::cause::Cause;
use super::context::RequestContext;
use super::{filters, pace};
use crate::upstream::Failure;

/// Says whether to try again.
///
/// On a connection from the pool Pingora's own rule holds: its other end may have closed it just
/// now, which is no failure of the endpoint. A new connection that breaks before anything was
/// answered counts against the endpoint, and the request goes to another.
pub(super) fn run(
    session: &Session,
    mut error: Box<Error>,
    ctx: &mut RequestContext,
    reused: bool,
) -> Box<Error> {
    pace::unwatch(ctx);
    if ctx.attempt.stale {
        // Nothing was sent on it.
        error.set_retry(true);
        return error;
    }
    if let Some(cause) = pace::overdue(ctx) {
        ctx.cause = Some(cause);
        error.set_retry(false);
        return error;
    }
    let broke = ctx.cause.is_none() && Cause::of(&error) == Cause::Reset;
    let unanswered = broke && !reused && !ctx.attempt.tries.is_answered();
    let another = if unanswered {
        ctx.cause = Some(Cause::Reset);
        ctx.attempt_failed(Failure::Unanswered)
    } else {
        false
    };
    if !is_repeatable(session, ctx) {
        error.set_retry(false);
    } else if unanswered {
        error.set_retry(another);
    } else {
        error.retry.decide_reuse(reused);
    }
    error
}

/// RFC 9110, 9.2.2: idempotent requests may be sent twice. Not what is no longer there as a whole,
/// and not what filters have seen a part of: their state is spent.
fn is_repeatable(session: &Session, ctx: &RequestContext) -> bool {
    let filtered = ctx.body_bytes > 0 && filters::takes_part(ctx, Phases::REQUEST_BODY);
    session.req_header().method.is_idempotent()
        && !session.as_ref().retry_buffer_truncated()
        && (!filtered || ctx.held_body.is_some())
}
