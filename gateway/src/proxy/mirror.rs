//! A copy of a request to a second upstream, whose answer nobody reads.
//!
//! It is sent once the whole request has passed, so that the client's request never waits for it; it goes the way of
//! filters' calls, and everything about it is bounded: its body, its time, and how many there are at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Method, header};
use sallyport_plugin::{Call, Calls};
use sallyport_stats::Mirrored;

use super::Shared;
use super::client::Client;
use super::context::{RequestContext, Upgrade};
use crate::filters::UpstreamCalls;
use crate::upstream::Upstream;

/// The largest body that is copied: what Pingora keeps of one for its own retries.
const BODY_BYTES_MAX: usize = 64 << 10;

/// The longest that a copy may take where the route has no timeout.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The most of an answer that is read: beyond, its connection is closed.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A request's copy while its body passes.
#[derive(Debug)]
pub(super) struct Copied {
    upstream: usize,
    method: Method,
    path: String,
    authority: String,
    headers: HeaderMap,
    body: BytesMut,
    /// Whether the body is larger than may be copied.
    too_large: bool,
}

/// Begins a copy of the request as it goes upstream, if its turn has come. A request that is sent again is copied
/// once.
pub(super) fn begin(
    shared: &Shared,
    client: &mut impl Client,
    request: &Parts,
    ctx: &mut RequestContext,
) {
    let Some(mirror) = ctx.forward().and_then(|forward| forward.mirror.clone()) else { return };
    if ctx.mirrored || ctx.attempt.upgrade != Upgrade::No {
        return;
    }
    // What was begun with an attempt before is begun anew.
    if ctx.copied.is_none() && fastrand::u8(..100) >= mirror.percent {
        ctx.mirrored = true;
        return;
    }
    let host = request.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    ctx.copied = Some(Box::new(Copied {
        upstream: mirror.upstream,
        method: request.method.clone(),
        path: request.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        authority: host.unwrap_or_default().to_owned(),
        headers: request.headers.clone(),
        body: BytesMut::new(),
        too_large: false,
    }));
    if client.is_body_empty() {
        send(shared, ctx);
    }
}

/// A part of the body passes upstream; with the last one the copy is sent.
pub(super) fn body(shared: &Shared, part: Option<&Bytes>, end: bool, ctx: &mut RequestContext) {
    let Some(copied) = &mut ctx.copied else { return };
    if let Some(part) = part.filter(|_| !copied.too_large) {
        copied.too_large = copied.body.len() + part.len() > BODY_BYTES_MAX;
        match copied.too_large {
            true => copied.body = BytesMut::new(),
            false => copied.body.extend_from_slice(part),
        }
    }
    if end {
        send(shared, ctx);
    }
}

fn send(shared: &Shared, ctx: &mut RequestContext) {
    let Some(copied) = ctx.copied.take() else { return };
    ctx.mirrored = true;
    let upstream = ctx.snapshot().upstreams[copied.upstream].clone();
    let timeout = ctx.forward().and_then(|forward| forward.timeout).unwrap_or(TIMEOUT);
    if copied.too_large {
        return upstream.account.stats.mirrored(Mirrored::TooLarge);
    }
    let Some(slot) = upstream.account.begin_mirror() else {
        return upstream.account.stats.mirrored(Mirrored::Full);
    };
    let call = Call {
        method: copied.method,
        path: copied.path,
        authority: copied.authority,
        headers: copied.headers,
        body: copied.body.freeze(),
        timeout,
        reply_bytes_max: ANSWER_BYTES_MAX,
        // Its fields say that it is part of the attempt that it is a copy of.
        trace: None,
    };
    tokio::spawn(run(shared.calls.clone(), upstream, call, slot));
}

async fn run<S>(calls: UpstreamCalls, upstream: Arc<Upstream>, call: Call, _slot: S) {
    let result = match calls.call(&upstream.spec.name, call).await {
        Ok(_) => Mirrored::Answered,
        Err(_) => Mirrored::Failed,
    };
    upstream.account.stats.mirrored(result);
}
