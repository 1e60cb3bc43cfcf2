//! The response begins, or a part of its body arrives: is it sound, and is there time left for it?
//!
//! Pingora's own read timeout covers a silent origin; a route's timeout also ends one that dribbles.

use std::time::{Duration, SystemTime};

use http::header;
use pingora_error::{ErrorSource, Result};
use pingora_http::ResponseHeader;

use super::cause::Cause;
use super::client::Client;
use super::context::{RequestContext, Upgrade};
use super::error_while_proxy::resend;
use super::origin_framing;
use crate::upstream::Failure;

/// As [`run`], for a head; refuses one whose framing contradicts itself, and one whose request is sent again.
pub(super) fn check(
    client: &impl Client,
    response: &mut ResponseHeader,
    ctx: &mut RequestContext,
) -> Result<()> {
    run(client, ctx)?;
    if is_sent_again(client, response, ctx) {
        ctx.attempt.answer_refused = true;
        let mut error = Cause::BadResponse.into_error();
        error.esource = ErrorSource::Upstream;
        return Err(error);
    }
    let asked = (ctx.attempt.upgrade != Upgrade::No).then(|| &client.request().headers);
    match origin_framing::settle(response, asked) {
        Ok(()) => Ok(()),
        Err(problem) => {
            tracing::debug!(problem, "the origin's response is refused");
            fail(ctx, Cause::BadResponse)
        }
    }
}

/// Whether the policy sends the request again instead of passing this answer on. Nothing of it has gone to the client.
fn is_sent_again(
    client: &impl Client,
    response: &ResponseHeader,
    ctx: &mut RequestContext,
) -> bool {
    let status = response.status.as_u16();
    let wanted = ctx.forward().is_some_and(|forward| forward.retry.on.has_status(status));
    if !wanted {
        return false;
    }
    let failure = Failure::Status(status);
    let sent_again = ctx.retries(failure, resend(client, ctx), retry_after(response));
    if sent_again {
        ctx.attempt_failed(failure);
    }
    sent_again
}

/// RFC 9110, 10.2.3: in seconds, or until a date.
fn retry_after(response: &ResponseHeader) -> Option<Duration> {
    let text = response.headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u64::from(u32::MAX))));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Fails once the route's timeout has passed. Tunnels are exempt, from their beginning on.
pub(super) fn run(client: &impl Client, ctx: &mut RequestContext) -> Result<()> {
    if ctx.tunnelled {
        return Ok(());
    }
    if ctx.time_left().is_some_and(|left| left.is_zero()) {
        return fail(ctx, Cause::Timeout);
    }
    limit_wait(client, ctx);
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
pub(super) fn limit_wait(client: &impl Client, ctx: &RequestContext) {
    if ctx.attempt.upgrade != Upgrade::No {
        let read = ctx.upstream().spec.timeouts.read;
        let within = ctx.time_left().map_or(read, |left| left.min(read));
        client.expect_answer(Some(within));
    }
}
