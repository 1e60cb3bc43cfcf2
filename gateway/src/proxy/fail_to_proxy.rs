//! The request failed for good: the client gets the cause, and the operator a line if it is theirs.

use pingora_error::Error;
use sallyport_plugin::Answer;

use super::cause::Cause;
use super::client::Client;
use super::context::RequestContext;
use super::words::in_words;
use super::{pace, reply};
use crate::connection;

/// Answers with the cause, unless a response has begun or nobody is there to read it. Returns the status, or 0 where
/// nothing was answered.
pub(super) async fn run(client: &mut impl Client, error: &Error, ctx: &mut RequestContext) -> u16 {
    if *error.etype() == connection::ANSWERED {
        return 0;
    }
    let failure = client.failure().map(Cause::from);
    let found = ctx.cause.or(failure).or_else(|| pace::overdue(ctx));
    let cause = *ctx.cause.get_or_insert(found.unwrap_or_else(|| Cause::of(error)));
    report(client, error, ctx, cause);
    let begun = reply::has_begun(client);
    if !begun && let Some(answer) = ctx.answer.take() {
        return replace(client, ctx, *answer).await;
    }
    let Some(status) = cause.status().filter(|_| !begun) else {
        return 0;
    };
    if !cause.keeps_connection() {
        client.keep_alive(None);
    }
    if client.is_kept() && !client.keep_after_failure() {
        client.keep_alive(None);
    }
    if let Err(error) = reply::error(client, ctx, cause).await {
        tracing::debug!(%error, "the error response could not be written");
    }
    status.as_u16()
}

/// Answers as a filter said, in place of the response that was under way.
async fn replace(client: &mut impl Client, ctx: &mut RequestContext, answer: Answer) -> u16 {
    let error_code = answer.status.as_u16();
    client.keep_alive(None);
    if let Err(error) = reply::from_filter(client, ctx, answer).await {
        tracing::debug!(%error, "a filter's answer could not be written");
    }
    error_code
}

fn report(client: &impl Client, error: &Error, ctx: &RequestContext, cause: Cause) {
    let (host, route) =
        ctx.route().map_or(("none", "none"), |(host, route)| (&*host.name, &*route.name));
    let endpoint = ctx.endpoint().map(|endpoint| tracing::field::display(&endpoint.address));
    let error = in_words(error);
    if cause.is_upstream_failure() {
        tracing::warn!(cause = cause.label(), host, route, endpoint, error, "request failed");
    } else {
        let request = client.summary();
        tracing::debug!(cause = cause.label(), host, route, request, error, "request failed");
    }
}
