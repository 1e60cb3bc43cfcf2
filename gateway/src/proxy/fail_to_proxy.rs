//! The request failed for good: the client gets the cause, and the operator a line if it is theirs.

use pingora_error::Error;
use pingora_proxy::{FailToProxy, Session};
use sallyport_plugin::Answer;

use super::cause::Cause;
use super::context::RequestContext;
use super::words::in_words;
use super::{pace, reply};
use crate::connection;

/// Answers with the cause, unless a response has begun or nobody is there to read it.
pub(super) async fn run(
    session: &mut Session,
    error: &Error,
    ctx: &mut RequestContext,
) -> FailToProxy {
    if *error.etype() == connection::ANSWERED {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    }
    let failure = connection::failure(session.as_downstream()).map(Cause::from);
    let found = ctx.cause.or(failure).or_else(|| pace::overdue(ctx));
    let cause = *ctx.cause.get_or_insert(found.unwrap_or_else(|| Cause::of(error)));
    report(session, error, ctx, cause);
    let begun = reply::has_begun(session);
    if !begun && let Some(answer) = ctx.answer.take() {
        return replace(session, ctx, *answer).await;
    }
    let Some(status) = cause.status().filter(|_| !begun) else {
        return FailToProxy { error_code: 0, can_reuse_downstream: false };
    };
    if !cause.keeps_connection() {
        session.set_keepalive(None);
    }
    let downstream = session.as_downstream_mut();
    if downstream.get_keepalive().is_some() && !connection::keep(downstream) {
        downstream.set_keepalive(None);
    }
    if let Err(error) = reply::error(session, ctx, cause).await {
        tracing::debug!(%error, "the error response could not be written");
    }
    // Where it is kept, that is not Pingora's doing.
    FailToProxy { error_code: status.as_u16(), can_reuse_downstream: false }
}

/// Answers as a filter said, in place of the response that was under way.
async fn replace(session: &mut Session, ctx: &mut RequestContext, answer: Answer) -> FailToProxy {
    let error_code = answer.status.as_u16();
    session.set_keepalive(None);
    if let Err(error) = reply::from_filter(session, ctx, answer).await {
        tracing::debug!(%error, "a filter's answer could not be written");
    }
    FailToProxy { error_code, can_reuse_downstream: false }
}

fn report(session: &Session, error: &Error, ctx: &RequestContext, cause: Cause) {
    let (host, route) =
        ctx.route().map_or(("none", "none"), |(host, route)| (&*host.name, &*route.name));
    let endpoint = ctx.endpoint().map(|endpoint| tracing::field::display(&endpoint.address));
    let error = in_words(error);
    if cause.is_upstream_failure() {
        tracing::warn!(cause = cause.label(), host, route, endpoint, error, "request failed");
    } else {
        let request = session.as_downstream().request_summary();
        tracing::debug!(cause = cause.label(), host, route, request, error, "request failed");
    }
}
