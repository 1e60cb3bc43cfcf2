//! Where the filters of a request come into its phases: what they are lent, and what becomes of what
//! they say.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode, header, request, response};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use sallyport_classifier::pinned::abi::VerdictReason;
use sallyport_plugin::{About, Answer, Chain, Outcome, Phases, Run, Step, Stop, TlsAbout};

use super::cause::Cause;
use super::client::Client;
use super::context::RequestContext;
use super::target::asked_host;
use super::trace::Trace;
use super::{error_page, lent, pace, request_id};
use crate::connection::Connection;
use crate::snapshot::NONE;
use crate::verdicts::Verdicts;

/// The most of a body that can be held before its head goes upstream: Pingora keeps no more of it for
/// its own retries, and sends from there.
const HELD_BYTES_MAX: usize = 64 << 10;

/// Fields that the filters of a route usually add to a request, its id among them.
const FIELDS_ADDED: usize = 6;

/// What is lent to a chain for one phase.
struct Lent {
    run: Box<Run>,
    request: request::Parts,
}

impl Lent {
    fn take(client: &mut impl Client, ctx: &mut RequestContext) -> Self {
        let run = ctx.filters.take().unwrap_or_default();
        Self { run, request: lent::take(client.request_mut()) }
    }

    fn put_back(self, client: &mut impl Client, ctx: &mut RequestContext) {
        lent::give_back(client.request_mut(), self.request);
        ctx.filters = Some(self.run);
    }
}

/// Where the request comes from and belongs, as filters are told.
pub(super) fn about(ctx: &RequestContext) -> About<'_> {
    let place = ctx.route();
    let visit = &ctx.attempt.visit;
    let attempts = ctx.attempt.tries.count();
    About {
        listener: &ctx.listener().name,
        virtual_host: place.map_or(NONE, |(host, _)| &host.name),
        route: place.map_or(NONE, |(_, route)| &route.name),
        upstream: ctx.upstream_name(),
        endpoint: ctx.endpoint().and_then(|endpoint| endpoint.address.as_inet()),
        host: ctx.asked_host.as_ref().and_then(|host| host.to_str().ok()),
        client: ctx.origin.client,
        peer: ctx.peer(),
        local: ctx.connection().map(|connection| connection.local),
        scheme: ctx.scheme().as_str(),
        peer_trusted: ctx.origin.peer_trusted,
        hints: ctx.hints(),
        tls: ctx.connection().and_then(tls),
        path_regex: ctx.path_regex(),
        started: ctx.started(),
        bodiless: ctx.bodiless,
        connected: ctx.connection().map(|connection| connection.accepted),
        upstream_local: visit.local,
        attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        backend_latency: visit.asked.zip(visit.answered).map(|(from, to)| to - from),
        trace: ctx.trace.as_ref().map(Trace::context),
    }
}

fn tls(connection: &Connection) -> Option<TlsAbout<'_>> {
    let facts = connection.tls.as_deref()?;
    Some(TlsAbout {
        version: facts.version,
        sni: facts.sni.as_deref(),
        alpn: facts.alpn.as_deref(),
        cipher: &facts.cipher,
        ja4: facts.ja4.as_deref(),
        client: connection.client.as_deref(),
    })
}

/// Notes the connection to the endpoint, for filters that ask.
///
/// `local` says which end of it is ours. The kernel is asked once a connection; later it may be closed.
pub(super) fn connected(ctx: &mut RequestContext, local: impl FnOnce() -> Option<SocketAddr>) {
    if ctx.chain().is_some_and(Chain::asks_of_exchange) {
        ctx.attempt.visit.local = local();
    }
}

/// Notes that the request's head goes upstream.
pub(super) fn asked(ctx: &mut RequestContext) {
    if ctx.chain().is_some_and(Chain::asks_of_exchange) {
        ctx.attempt.visit.asked = Some(Instant::now());
    }
}

/// Notes that a part of the origin's response came.
pub(super) fn answered(ctx: &mut RequestContext) {
    if ctx.attempt.visit.asked.is_some() {
        ctx.attempt.visit.answered = Some(Instant::now());
    }
}

/// Runs the hooks of the request's head, and those of its body where the head waits for it.
pub(super) async fn request(
    verdicts: &Verdicts,
    client: &mut impl Client,
    ctx: &mut RequestContext,
) -> Result<Option<Box<Answer>>> {
    ctx.bodiless = Some(client.is_body_empty());
    ctx.asked_host = asked_host(client.request());
    let mut lent = Lent::take(client, ctx);
    let about = about(ctx);
    // Once for what filters may add, instead of growing step by step.
    lent.request.headers.reserve(FIELDS_ADDED);
    request_id::ensure(&mut lent.request.headers);
    let step = match ctx.chain() {
        Some(chain) => chain.request_headers(&mut lent.run, &mut lent.request, &about).await,
        None => Step::Continue,
    };
    give_verdict(verdicts, &lent.run, &about);
    lent.put_back(client, ctx);
    match step {
        Step::Continue => Ok(None),
        Step::Answer(answer) => Ok(Some(answer)),
        Step::HoldHead => hold(client, ctx).await,
    }
}

fn give_verdict(verdicts: &Verdicts, run: &Run, about: &About<'_>) {
    let (Some(asked), Some(peer)) = (run.marks.verdict, about.peer) else { return };
    if !about.peer_trusted {
        // A refusal is counted and logged where it is made.
        verdicts.ask(peer.ip(), VerdictReason::Plugin, asked.lasting).ok();
    }
}

/// Reads the body and passes it through its hooks before the head goes anywhere.
async fn hold(client: &mut impl Client, ctx: &mut RequestContext) -> Result<Option<Box<Answer>>> {
    if client.is_body_empty() {
        return Ok(None);
    }
    client.keep_body();
    let mut passed = BytesMut::new();
    let mut read = 0;
    loop {
        let mut data = pace::read_body(client, ctx).await?;
        let end = data.is_none() || client.is_body_done();
        read += data.as_ref().map_or(0, Bytes::len);
        if read > HELD_BYTES_MAX {
            ctx.cause = Some(Cause::BodyTooLarge);
            return Err(Cause::BodyTooLarge.into_error());
        }
        if let Some(answer) = body_hooks(client, ctx, &mut data, end).await {
            return Ok(Some(answer));
        }
        if let Some(data) = data {
            passed.extend_from_slice(&data);
        }
        if end {
            ctx.held_body = Some(passed.freeze());
            return Ok(None);
        }
    }
}

async fn body_hooks(
    client: &mut impl Client,
    ctx: &mut RequestContext,
    data: &mut Option<Bytes>,
    end: bool,
) -> Option<Box<Answer>> {
    let mut lent = Lent::take(client, ctx);
    let about = about(ctx);
    let step = match ctx.chain() {
        Some(chain) => {
            chain.request_body(&mut lent.run, &mut lent.request, &about, data, end).await
        }
        None => Step::Continue,
    };
    lent.put_back(client, ctx);
    match step {
        Step::Answer(answer) => Some(answer),
        Step::Continue | Step::HoldHead => None,
    }
}

/// Runs the hooks of a piece of the request's body. An answer ends the request with an error that
/// `fail_to_proxy` turns into it.
pub(super) async fn request_body(
    client: &mut impl Client,
    body: &mut Option<Bytes>,
    end: bool,
    ctx: &mut RequestContext,
) -> Result<()> {
    if !takes_part(ctx, Phases::REQUEST_BODY) || ctx.tunnelled {
        return Ok(());
    }
    if let Some(held) = &ctx.held_body {
        // It has passed its hooks; Pingora sends again what it has kept of it.
        *body = end.then(|| held.clone());
    } else if !client.is_body_empty() {
        let answer = Box::pin(body_hooks(client, ctx, body, end)).await;
        if let Some(answer) = answer {
            return Err(answer_instead(ctx, answer));
        }
    }
    if body.is_none() && !end {
        // Pingora takes `None` for the end of the body.
        *body = Some(Bytes::new());
    }
    Ok(())
}

fn answer_instead(ctx: &mut RequestContext, answer: Box<Answer>) -> Box<pingora_error::Error> {
    ctx.cause = Some(Cause::Answered(answer.reason));
    ctx.answer = Some(answer);
    Cause::Answered("").into_error()
}

/// Whether a filter of this request takes part in `phase`.
pub(super) fn takes_part(ctx: &RequestContext, phase: Phases) -> bool {
    ctx.chain().is_some_and(|chain| chain.has(phase))
}

/// Runs the hooks of an origin's response.
pub(super) async fn response(
    client: &mut impl Client,
    response: &mut ResponseHeader,
    ctx: &mut RequestContext,
) -> Result<()> {
    let mut head = lent::take_response(response);
    let answer = head_hooks(client, ctx, &mut head).await;
    lent::give_back_response(response, head);
    match answer {
        Some(answer) => Err(answer_instead(ctx, answer)),
        None => Ok(()),
    }
}

async fn head_hooks(
    client: &mut impl Client,
    ctx: &mut RequestContext,
    head: &mut response::Parts,
) -> Option<Box<Answer>> {
    let mut lent = Lent::take(client, ctx);
    let about = about(ctx);
    let step = match ctx.chain() {
        Some(chain) => chain.response_headers(&mut lent.run, &mut lent.request, &about, head).await,
        None => Step::Continue,
    };
    lent.put_back(client, ctx);
    match step {
        Step::Answer(answer) => Some(answer),
        Step::Continue | Step::HoldHead => None,
    }
}

/// Runs the hooks of a piece of a response's body.
pub(super) fn response_body(
    client: &mut impl Client,
    data: &mut Option<Bytes>,
    end: bool,
    ctx: &mut RequestContext,
) -> Result<()> {
    if !takes_part(ctx, Phases::RESPONSE_BODY) || ctx.tunnelled {
        return Ok(());
    }
    let mut lent = Lent::take(client, ctx);
    let about = about(ctx);
    let done = ctx.chain().map_or(Ok(()), |chain| {
        chain.response_body(&mut lent.run, &mut lent.request, &about, data, end)
    });
    lent.put_back(client, ctx);
    done.map_err(|stop| stopped(ctx, &stop))
}

fn stopped(ctx: &mut RequestContext, stop: &Stop) -> Box<pingora_error::Error> {
    tracing::warn!(%stop, "a filter stopped a response");
    ctx.cause = Some(Cause::Filter);
    Cause::Filter.into_error()
}

/// Runs the hooks of a response's trailers.
pub(super) fn response_trailers(
    client: &mut impl Client,
    trailers: &mut HeaderMap,
    ctx: &mut RequestContext,
) -> Result<()> {
    if !takes_part(ctx, Phases::RESPONSE_TRAILERS) {
        return Ok(());
    }
    let mut lent = Lent::take(client, ctx);
    let about = about(ctx);
    let done = ctx.chain().map_or(Ok(()), |chain| {
        chain.response_trailers(&mut lent.run, &mut lent.request, &about, trailers)
    });
    lent.put_back(client, ctx);
    done.map_err(|stop| stopped(ctx, &stop))
}

/// Runs the hooks of a response that the gateway itself gives. A filter that answers replaces it, once
/// a request, and its answer passes the hooks of the others.
pub(super) async fn own_response(
    client: &mut impl Client,
    ctx: &mut RequestContext,
    head: response::Parts,
    body: Bytes,
) -> (response::Parts, Bytes) {
    let (mut head, mut body) = (head, body);
    if takes_part(ctx, Phases::RESPONSE_HEADERS) {
        // Ends: each round takes the filter that answered out of the next.
        while let Some(answer) = Box::pin(head_hooks(client, ctx, &mut head)).await {
            (head, body) = into_response(*answer, ctx);
        }
    }
    if client.request().method != Method::HEAD && !body.is_empty() {
        let mut data = Some(body);
        match response_body(client, &mut data, true, ctx) {
            Ok(()) => body = data.unwrap_or_default(),
            Err(_) => (head, body) = failure(ctx),
        }
    }
    (head, body)
}

/// An answer as a response.
pub(super) fn into_response(mut answer: Answer, ctx: &RequestContext) -> (response::Parts, Bytes) {
    error_page::apply(&mut answer, ctx);
    let mut head = http::Response::new(()).into_parts().0;
    head.status = answer.status;
    for (name, value) in answer.headers {
        head.headers.append(name, value);
    }
    if may_have_length(head.status) {
        head.headers.insert(header::CONTENT_LENGTH, answer.body.len().into());
    }
    (head, answer.body)
}

/// RFC 9110, 8.6: no `Content-Length` with 204, and none is needed with 304.
pub(super) fn may_have_length(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

fn failure(ctx: &RequestContext) -> (response::Parts, Bytes) {
    let cause = Cause::Filter;
    let status = cause.status().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    into_response(Answer::error(status, cause.label(), cause.text()), ctx)
}

/// Bytes of the bodies that the client sent and was sent, those of a tunnel among them.
pub(super) fn body_bytes(client: &impl Client, ctx: &RequestContext) -> (u64, u64) {
    let (up_bytes, down_bytes) =
        ctx.relayed().map_or((0, 0), |relayed| (relayed.up_bytes, relayed.down_bytes));
    let (read, sent) = (client.body_bytes_read(), client.body_bytes_sent());
    (read as u64 + up_bytes, sent as u64 + down_bytes)
}

/// Runs the hooks of the request's end.
pub(super) fn log(client: &mut impl Client, ctx: &mut RequestContext, duration: Duration) {
    let labelled = ctx.filters.as_ref().is_some_and(|run| run.marks.has_labels());
    if !labelled && !takes_part(ctx, Phases::LOG) {
        return;
    }
    let mut lent = Lent::take(client, ctx);
    let about = about(ctx);
    let (request_bytes, response_bytes) = body_bytes(client, ctx);
    let sent: Option<&response::Parts> = client.response().map(|head| &**head);
    let outcome = Outcome {
        status: sent.map(|head| head.status),
        response: sent,
        cause: ctx.cause.map(Cause::label),
        duration,
        request_bytes,
        response_bytes,
    };
    if let Some(chain) = ctx.chain() {
        Chain::log(chain, &mut lent.run, &mut lent.request, &about, &outcome);
    }
    lent.put_back(client, ctx);
}
