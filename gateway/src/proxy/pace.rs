//! Until when a request must have ended, and how slowly its body may come.
//!
//! Pingora bounds each read and each write, so that whoever dribbles is never late, and not even the reads of an
//! HTTP/2 body. Here the whole exchange is bounded by the route's timeout, a body by the rate it must keep, and one of
//! HTTP/2 by the listener's timeout between two reads. [`turns`] keeps the time while nothing happens.

use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{StatusCode, Version};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use tokio::time::timeout;

use super::cause::Cause;
use super::client::Client;
use super::context::RequestContext;
use super::hedge;
use crate::config::Limits;
use crate::turns::{self, Deadline};

/// How a request's body comes, and the socket that the exchange ends with.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// The origin's socket, while this request has it to itself.
    origin: Option<RawFd>,
    /// When the gateway began to wait for the body; `None` once it need not hurry.
    body_began: Option<Instant>,
    /// When the next part of a body of HTTP/2 must be here.
    body_due: Option<Instant>,
    /// Bytes of it so far, over all attempts.
    body_bytes: u64,
    /// How long the head of the response may take in this attempt, once the request is sent; `None` where only other
    /// limits hold, and once it has come.
    head_within: Option<Duration>,
    /// When it must be here.
    head_due: Option<Instant>,
}

/// An attempt begins whose response must begin within this time.
pub(super) fn begin_attempt(within: Option<Duration>, ctx: &mut RequestContext) {
    (ctx.pace.head_within, ctx.pace.head_due) = (within, None);
}

/// The request has the connection `origin` from now on, until [`unwatch`].
pub(super) fn watch(client: &mut impl Client, origin: RawFd, ctx: &mut RequestContext) {
    ctx.pace.origin = Some(origin);
    if !client.is_body_done() {
        wait_for_body(client, ctx);
    } else if let Some(within) = ctx.pace.head_within {
        // The time that the connection took is the attempt's.
        ctx.pace.head_due = ctx.attempt.tries.began().map(|began| began + within);
    }
    keep_time(ctx);
    limit_write(client, ctx);
}

/// The origin's socket, while this request has it to itself.
pub(super) fn origin(ctx: &RequestContext) -> Option<RawFd> {
    ctx.pace.origin
}

/// The origin's connection is no longer the request's own.
pub(super) fn unwatch(ctx: &mut RequestContext) {
    hedge::close(ctx);
    if ctx.pace.origin.take().is_some() {
        turns::set_deadline(None);
    }
}

fn keep_time(ctx: &RequestContext) {
    let Some(origin) = ctx.pace.origin else { return };
    let dues = [exchange_due(ctx), ctx.pace.body_due, ctx.pace.head_due];
    let at = dues.into_iter().flatten().min();
    turns::set_deadline(at.map(|at| Deadline { at, origin }));
}

/// When the route's timeout is over. Tunnels are exempt, from their beginning on.
fn exchange_due(ctx: &RequestContext) -> Option<Instant> {
    let timeout = ctx.timeout()?;
    (!ctx.tunnelled).then(|| ctx.started() + timeout)
}

/// The request has become a tunnel, which may last.
pub(super) fn tunnel_began(client: &mut impl Client, ctx: &mut RequestContext) {
    keep_time(ctx);
    client.set_write_timeout(Some(ctx.listener().timeouts.write));
}

/// A part of the body is waited for from now on.
fn wait_for_body(client: &impl Client, ctx: &mut RequestContext) {
    let now = Instant::now();
    ctx.pace.body_began.get_or_insert(now);
    if client.request().version == Version::HTTP_2 {
        ctx.pace.body_due = Some(now + ctx.listener().timeouts.read);
    }
}

/// A part of the body has come; at its end nothing more is waited for.
///
/// # Errors
/// The body comes too slowly.
pub(super) fn body_came(client: &impl Client, end: bool, ctx: &mut RequestContext) -> Result<()> {
    let Some(began) = ctx.pace.body_began else { return Ok(()) };
    if end {
        (ctx.pace.body_began, ctx.pace.body_due) = (None, None);
        // Until now it was the client that was waited for.
        ctx.pace.head_due = ctx.pace.head_within.map(|within| Instant::now() + within);
        keep_time(ctx);
        return Ok(());
    }
    // Of a retry, what was kept comes again at once.
    ctx.pace.body_bytes = ctx.pace.body_bytes.max(ctx.body_bytes);
    let rate = ctx.limits().request_body_min_rate;
    if is_slow(ctx.pace.body_bytes, began.elapsed(), rate) {
        ctx.cause = Some(Cause::ClientTimeout);
        return Err(Cause::ClientTimeout.into_error());
    }
    if ctx.pace.body_due.is_some() {
        wait_for_body(client, ctx);
        keep_time(ctx);
    }
    Ok(())
}

/// The client's body was kept waiting for so long, which is no fault of the client's.
pub(super) fn waited(time: Duration, ctx: &mut RequestContext) {
    for moment in [&mut ctx.pace.body_began, &mut ctx.pace.body_due].into_iter().flatten() {
        *moment += time;
    }
    keep_time(ctx);
}

/// Reads the next part of a body that is wanted before there is an origin; `None` at its end.
///
/// # Errors
/// The client fails, is too slow, or the route's timeout is over.
pub(super) async fn read_body(
    client: &mut impl Client,
    ctx: &mut RequestContext,
) -> Result<Option<Bytes>> {
    let now = Instant::now();
    let began = *ctx.pace.body_began.get_or_insert(now);
    let mut patience = ctx.listener().timeouts.read;
    if let Some(due) = exchange_due(ctx) {
        patience = patience.min(due.saturating_duration_since(now));
    }
    let Ok(data) = timeout(patience, client.read_body()).await else {
        let cause = overdue(ctx).unwrap_or(Cause::ClientTimeout);
        ctx.cause = Some(cause);
        return Err(cause.into_error());
    };
    let data = data?;
    ctx.pace.body_bytes += data.as_ref().map_or(0, |data| data.len() as u64);
    if data.is_none() || client.is_body_done() {
        ctx.pace.body_began = None;
    } else if is_slow(ctx.pace.body_bytes, began.elapsed(), ctx.limits().request_body_min_rate) {
        ctx.cause = Some(Cause::ClientTimeout);
        return Err(Cause::ClientTimeout.into_error());
    }
    Ok(data)
}

/// Whether a body that has brought so many bytes is below `rate`.
fn is_slow(bytes: u64, elapsed: Duration, rate: u64) -> bool {
    let counted = elapsed.saturating_sub(Limits::SLOW_BODY_GRACE);
    (bytes as f64) < counted.as_secs_f64() * rate as f64
}

/// The origin has begun to answer: from now on the two sides talk as they like, within the route's timeout. A tunnel
/// has none.
pub(super) fn response_came(
    client: &mut impl Client,
    response: &ResponseHeader,
    ctx: &mut RequestContext,
) {
    if response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    hedge::close(ctx);
    let awaited = ctx.pace.head_within.take().is_some();
    if ctx.pace.body_began.take().is_some() || awaited {
        (ctx.pace.body_due, ctx.pace.head_due) = (None, None);
        keep_time(ctx);
    }
    limit_write(client, ctx);
}

/// A client that does not read must not hold the request beyond the route's timeout either.
pub(super) fn limit_write(client: &mut impl Client, ctx: &RequestContext) {
    if let Some(due) = exchange_due(ctx) {
        let left = due.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let write = ctx.listener().timeouts.write.min(left);
        client.set_write_timeout(Some(write));
    }
}

/// Whether the attempt has to end because its response did not begin in time.
pub(super) fn is_head_late(ctx: &RequestContext) -> bool {
    ctx.pace.head_due.is_some_and(|due| due <= Instant::now())
}

/// Why the request has to end now, if its time is up.
pub(super) fn overdue(ctx: &RequestContext) -> Option<Cause> {
    let now = Instant::now();
    let over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
    if over(exchange_due(ctx)) {
        Some(Cause::Timeout)
    } else {
        over(ctx.pace.body_due).then_some(Cause::ClientTimeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_grace_and_then_an_average_to_keep() {
        let seconds = Duration::from_secs;
        for (bytes, elapsed, rate, slow) in [
            (0, seconds(5), 240, false),
            (239, seconds(6), 240, true),
            (240, seconds(6), 240, false),
            (0, seconds(3_600), 0, false),
            (1 << 20, seconds(3_600), 240, false),
            (3_600, seconds(3_600), 240, true),
        ] {
            assert_eq!(is_slow(bytes, elapsed, rate), slow, "{bytes} in {elapsed:?} at {rate}");
        }
    }
}
