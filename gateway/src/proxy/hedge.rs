//! A second attempt beside one whose answer is late, off unless the route asks for it.
//!
//! Pingora has one exchange with an origin for each request, so the second goes the way of filters' calls, to another
//! endpoint, and its answer is held until it is whole. If it is there before the head of the first, the first one's
//! socket is shut down, and the request is answered with it; otherwise it is dropped. Only a GET without a body is
//! hedged, and only within the retry budget.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, header};
use sallyport_plugin::{Answer, Call, Reply};
use sallyport_stats::RetryReason;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::Shared;
use super::cause::Cause;
use super::client::Client;
use super::context::{RequestContext, Upgrade};
use super::pace;
use super::trace::Trace;
use crate::turns;

/// The largest answer that is held; a larger one is left to the first attempt.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// How long a second attempt may take where the route has no timeout.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What the name of the reason is in the access record.
const REASON: &str = "hedged";

/// There is no socket.
const NONE: RawFd = -1;

/// A second attempt; it ends with this value.
#[derive(Debug)]
pub(super) struct Hedge {
    race: Arc<Race>,
    task: AbortHandle,
}

/// What the two attempts share.
#[derive(Debug)]
struct Race {
    /// The first one's socket, for as long as it is its own and has brought nothing.
    first: AtomicI32,
    second: Mutex<Option<Reply>>,
}

impl Drop for Hedge {
    fn drop(&mut self) {
        self.race.first.store(NONE, Ordering::Relaxed);
        self.task.abort();
    }
}

/// Lets a second attempt begin after a while, if the route asks for it.
pub(super) fn begin(
    shared: &Shared,
    client: &mut impl Client,
    request: &Parts,
    ctx: &mut RequestContext,
) {
    let Some(forward) = ctx.forward() else { return };
    let Some(after) = forward.retry.hedge_after else { return };
    let (budget, timeout) = (forward.retry.budget, ctx.time_left().unwrap_or(TIMEOUT));
    let Some(first) = pace::origin(ctx) else { return };
    let fits = ctx.attempt.upgrade == Upgrade::No
        && request.method == Method::GET
        && client.is_body_empty();
    if !fits {
        return;
    }
    let Some(avoid) = ctx.endpoint().map(|endpoint| endpoint.address.clone()) else { return };
    let upstream = ctx.snapshot().upstreams[ctx.attempt.upstream].clone();
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let call = Call {
        method: Method::GET,
        path: request.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        authority: host.unwrap_or_default().to_owned(),
        headers: request.headers.clone(),
        body: Bytes::new(),
        timeout,
        reply_bytes_max: ANSWER_BYTES_MAX,
        trace: ctx.trace.as_ref().map(Trace::context),
    };
    let race = Arc::new(Race { first: AtomicI32::new(first), second: Mutex::default() });
    let (shared_race, calls) = (race.clone(), shared.calls.clone());
    let task = tokio::spawn(async move {
        sleep(after).await;
        if upstream.account.try_hedge(budget) {
            upstream.account.stats.retried(RetryReason::Hedge);
            if let Ok(reply) = calls.call_elsewhere(&upstream, call, &avoid).await {
                shared_race.won_by(reply);
            }
        }
    });
    ctx.hedge = Some(Hedge { race, task: task.abort_handle() });
}

impl Race {
    /// The second attempt has an answer. The request's own task runs on this thread and is not running now, so that the
    /// socket is the first attempt's as long as it is noted here.
    fn won_by(&self, reply: Reply) {
        let first = self.first.load(Ordering::Relaxed);
        if first == NONE || reply.status.is_server_error() {
            return;
        }
        *self.second.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
        turns::shut_down(first);
    }
}

/// The first attempt's answer has begun, or its socket is no longer its own: the second one's comes too late.
pub(super) fn close(ctx: &RequestContext) {
    if let Some(hedge) = &ctx.hedge {
        hedge.race.first.store(NONE, Ordering::Relaxed);
    }
}

/// The first attempt is over. If that is because the second has an answer, the request is answered with it.
pub(super) fn take(ctx: &mut RequestContext) -> bool {
    let Some(hedge) = ctx.hedge.take() else { return false };
    let reply = hedge.race.second.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Reply { status, headers, body }) = reply else { return false };
    ctx.cause = Some(Cause::Answered(REASON));
    let headers = own_fields(headers);
    let answer = Answer { status, headers, body, reason: REASON, is_plain_error: false };
    ctx.answer = Some(Box::new(answer));
    true
}

/// Fields that are not about the connection that they came by.
fn own_fields(headers: HeaderMap) -> Vec<(http::HeaderName, http::HeaderValue)> {
    const HOP_BY_HOP: [&str; 7] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authenticate",
        "transfer-encoding",
        "content-length",
        "upgrade",
    ];
    let mut fields = Vec::with_capacity(headers.len());
    let mut last = None;
    for (name, value) in headers {
        last = name.or(last);
        if let Some(name) = last.clone().filter(|name| !HOP_BY_HOP.contains(&name.as_str())) {
            fields.push((name, value));
        }
    }
    fields
}
