//! The exchange with the endpoint broke: may the request be sent again, and where?

use pingora_error::Error;
use sallyport_plugin::Phases;

use super::cause::{self, Cause};
use super::client::Client;
use super::context::RequestContext;
use super::{filters, hedge, pace};
use crate::config::Forward;
use crate::connection::ANSWERED;
use crate::upstream::{Failure, Resend};

/// Says whether to try again.
pub(super) fn run(
    client: &impl Client,
    mut error: Box<Error>,
    ctx: &mut RequestContext,
    reused: bool,
) -> Box<Error> {
    pace::unwatch(ctx);
    if *error.etype() == ANSWERED {
        return error;
    }
    let retry = if hedge::take(ctx) {
        false
    } else if ctx.attempt.stale {
        // Nothing was sent on it.
        true
    } else if std::mem::take(&mut ctx.attempt.answer_refused) {
        true
    } else if let Some(cause) = pace::overdue(ctx) {
        ctx.cause = Some(cause);
        false
    } else if ctx.cause.is_some() {
        false
    } else {
        settle(client, &mut error, ctx, reused)
    };
    error.set_retry(retry);
    error
}

/// The other end of a connection from the pool may have closed it just now, which is no failure of the endpoint: what
/// may be sent twice is, once, and everything is whose head did not get through. Everything else counts against the
/// endpoint, and the request goes where the policy says.
fn settle(client: &impl Client, error: &mut Error, ctx: &mut RequestContext, reused: bool) -> bool {
    let resend = resend(client, ctx);
    let late = pace::is_head_late(ctx);
    let broke = if late { Cause::Timeout } else { Cause::of(error) };
    if ctx.attempt.tries.is_answered() {
        return false;
    }
    let refused = cause::is_refused_stream(error);
    if reused && broke == Cause::Reset && !refused {
        if cause::is_head_unsent(error) {
            return resend.whole;
        }
        if !std::mem::replace(&mut ctx.attempt.reuse_failed, true) {
            return is_repeatable(resend, ctx);
        }
    }
    let failure = match broke {
        _ if refused => Failure::RefusedStream,
        Cause::Timeout => Failure::Timeout,
        Cause::Reset => Failure::Unanswered,
        _ => {
            error.retry.decide_reuse(reused);
            return error.retry() && is_repeatable(resend, ctx);
        }
    };
    ctx.cause = Some(broke);
    let retry = ctx.retries(failure, resend, None);
    ctx.attempt_failed(failure);
    retry
}

/// RFC 9110, 9.2.2: idempotent requests may be sent twice, and those that the route names.
fn is_repeatable(request: Resend<'_>, ctx: &RequestContext) -> bool {
    let named = |forward: &Forward| forward.retry.methods.contains(request.method);
    request.whole && (request.method.is_idempotent() || ctx.forward().is_some_and(named))
}

/// What the request is as far as sending it again goes. It is whole unless a part of its body is no longer there, or
/// filters have seen a part of it: their state is spent.
pub(super) fn resend<'s>(client: &'s impl Client, ctx: &RequestContext) -> Resend<'s> {
    let filtered = ctx.body_bytes > 0 && filters::takes_part(ctx, Phases::REQUEST_BODY);
    let whole = !client.is_body_kept_in_part() && (!filtered || ctx.held_body.is_some());
    Resend { method: &client.request().method, whole }
}
