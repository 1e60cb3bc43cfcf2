//! Chooses the endpoint of an attempt. It is called again after a failure that may be retried.

use std::time::Duration;

use pingora_error::Result;
use tokio::time::sleep;

use super::cause::Cause;
use super::context::RequestContext;
use super::grpc::Decoder;
use super::pace;
use crate::config::{Protocol, ProxyProtocol, ReadAhead};
use crate::upstream::OverLimit;
use crate::upstream::introduction::Ends;

/// How an attempt connects to the endpoint that was chosen, and how long it waits there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Approach {
    /// The longest that making the connection may take.
    pub(crate) connect_timeout: Duration,
    /// The longest that a read may wait for the origin.
    pub(crate) read_timeout: Duration,
    /// How much of a response is read for a client that does not read it.
    pub(crate) read_ahead: ReadAhead,
    /// The version of the PROXY header that the connection begins with, and whose connection it is.
    pub(crate) introduction: Option<(ProxyProtocol, Option<Ends>)>,
}

/// Chooses the endpoint for this attempt; one that is made again may have to wait first.
pub(super) async fn run(ctx: &mut RequestContext) -> Result<Approach> {
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

fn choose(ctx: &mut RequestContext) -> std::result::Result<Approach, Cause> {
    // An attempt on a reused connection that broke is repeated where it was.
    ctx.finish_at_endpoint();
    let time_left = ctx.time_left();
    if time_left.is_some_and(|left| left.is_zero()) {
        return Err(Cause::Timeout);
    }
    // A filter may have chosen the endpoint.
    let preferred = ctx.filters.as_ref().and_then(|run| run.marks.endpoint);
    ctx.begin_attempt(preferred).ok_or(Cause::NoEndpoint)?;
    let timeouts = &ctx.upstream().spec.timeouts;
    let (connect, read) = (timeouts.connect, timeouts.read);
    let left = time_left.unwrap_or(Duration::MAX);
    let mut approach = Approach {
        connect_timeout: connect.min(left),
        read_timeout: read.min(left),
        read_ahead: ctx.limits().read_ahead(),
        introduction: introduction(ctx),
    };
    limit_attempt(&mut approach, ctx);
    ctx.cause = None;
    ctx.attempt.stale = false;
    // What was kept of the body is sent again.
    ctx.body_bytes = 0;
    ctx.grpc_decoder = Decoder::default();
    Ok(approach)
}

fn introduction(ctx: &RequestContext) -> Option<(ProxyProtocol, Option<Ends>)> {
    let version = ctx.upstream().spec.transport.proxy_protocol?;
    Some((version, ctx.connection().map(|connection| (connection.peer, connection.local))))
}

/// Bounds the wait for a connection and for the head of the response.
fn limit_attempt(approach: &mut Approach, ctx: &mut RequestContext) {
    let per_try = ctx.forward().and_then(|forward| forward.retry.per_try_timeout);
    let spec = &ctx.upstream().spec;
    if let Some(per_try) = per_try {
        approach.connect_timeout = approach.connect_timeout.min(per_try);
    }
    let within = [per_try, spec.timeouts.first_byte].into_iter().flatten().min();
    if let Some(within) = within
        && spec.transport.protocol == Protocol::Http2
    {
        // The connection is not this request's own and cannot end with it; its streams wait no longer for a read.
        approach.read_timeout = approach.read_timeout.min(within);
    }
    pace::begin_attempt(within, ctx);
}
