//! Where a request is traced: its context is settled when its route is, its spans are noted as it
//! goes.
//!
//! A request that is not recorded has ids, which its origin is told, and nothing else. Without
//! `tracing` in the configuration nothing here happens, and the fields of traces are the client's
//! and the origin's business.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method, header};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use pingora_http::RequestHeader;
use sallyport_balance::Address;
use sallyport_plugin::TraceContext;
use sallyport_route::Hints;

use super::cause::Cause;
use super::client::Client;
use super::context::RequestContext;
use super::{lent, request_id};
use crate::config::Trust;
use crate::trace::b3::{self, Form};
use crate::trace::context::{self, TRACEPARENT, TRACESTATE, new_span_id, new_trace_id};
use crate::trace::span::{self, Ended};
use crate::trace::{Finished, FinishedRequest, SpanQueue};

/// Spans of one request at most: an origin that is tried very often is not worth more.
const SPANS_MAX: usize = 64;

/// What a traced request carries.
#[derive(Debug)]
pub(super) struct Trace {
    /// The request's own span.
    own: TraceContext,
    /// The span of the attempt under way.
    attempt: u64,
    /// Whether the caller's context was taken, so that what came with it goes on.
    is_continued: bool,
    /// Whether nothing of what the caller says of traces goes on.
    is_foreign: bool,
    /// The form of B3 that the request came with.
    form: Form,
    recording: Option<Box<Recording>>,
}

/// What is noted of a request that is recorded.
#[derive(Debug)]
struct Recording {
    spans: Arc<SpanQueue>,
    parent: Option<u64>,
    trace_state: String,
    /// When it began, by both clocks.
    began: (SystemTime, Instant),
    method: Method,
    route: Option<(Arc<str>, Arc<str>)>,
    attributes: Vec<KeyValue>,
    /// Attempts that were begun, and the spans of those that are over.
    begun: usize,
    attempts: Vec<Span>,
    current: Option<Attempt>,
}

/// An attempt under way.
#[derive(Debug)]
struct Attempt {
    began: Instant,
    upstream: Arc<str>,
    endpoint: Address,
    number: usize,
    status: u16,
}

/// Settles which trace the request belongs to and whether it is recorded.
pub(super) fn begin(spans: &Arc<SpanQueue>, client: &mut impl Client, ctx: &mut RequestContext) {
    let Some(settings) = &ctx.snapshot().tracing else { return };
    let is_trusted = match settings.trust {
        Trust::Everyone => true,
        Trust::TrustedProxies => ctx.origin.peer_trusted,
        Trust::Nobody => false,
    };
    let caller = if is_trusted { Caller::of(&client.request().headers) } else { Caller::none() };
    let parent = caller.parent;
    let trace_id = parent.map_or_else(new_trace_id, |parent| parent.trace_id);
    let is_sampled = caller.is_sampled.unwrap_or_else(|| ctx.sample().takes(trace_id));
    let own = TraceContext { trace_id, span_id: new_span_id(), is_sampled };
    let recording = is_sampled.then(|| {
        let parent = parent.map(|parent| parent.span_id);
        Box::new(Recording::begin(spans.clone(), parent, client, ctx))
    });
    let (is_continued, form) = (parent.is_some(), caller.form);
    let (attempt, is_foreign) = (own.span_id, !is_trusted);
    ctx.trace = Some(Trace { own, attempt, is_continued, is_foreign, form, recording });
}

/// What a request says of its caller.
struct Caller {
    parent: Option<TraceContext>,
    /// What the caller has decided of recording.
    is_sampled: Option<bool>,
    form: Form,
}

impl Caller {
    fn none() -> Self {
        Self { parent: None, is_sampled: None, form: Form::None }
    }

    /// W3C's fields count where both kinds are there.
    fn of(headers: &HeaderMap) -> Self {
        let b3 = b3::read(headers);
        let by_b3 = b3.ids.map(|(trace_id, span_id)| TraceContext {
            trace_id,
            span_id,
            is_sampled: b3.is_sampled.unwrap_or(false),
        });
        match context::read(headers) {
            Some(parent) => {
                Self { parent: Some(parent), is_sampled: Some(parent.is_sampled), form: b3.form }
            }
            None => Self { parent: by_b3, is_sampled: b3.is_sampled, form: b3.form },
        }
    }
}

/// Tells the origin, or whoever the request goes to next, which span it is asked in.
pub(super) fn write(headers: &mut HeaderMap, ctx: &RequestContext) {
    let Some(trace) = &ctx.trace else { return };
    let asked = TraceContext { span_id: trace.attempt, ..trace.own };
    headers.insert(TRACEPARENT, context::traceparent(&asked));
    if !trace.is_continued {
        // It belongs to a context that was not taken, or that could not be read.
        headers.remove(TRACESTATE);
    }
    if trace.is_foreign {
        b3::remove(headers);
    }
    b3::write(headers, trace.form, &asked);
}

impl Trace {
    /// The request's own span.
    pub(super) fn context(&self) -> TraceContext {
        self.own
    }

    /// The span of the attempt under way.
    pub(super) fn attempt(&self) -> TraceContext {
        TraceContext { span_id: self.attempt, ..self.own }
    }

    /// An attempt at `endpoint` begins.
    pub(super) fn attempt_began(&mut self, upstream: &Arc<str>, endpoint: &Address) {
        if let Some(recording) = &mut self.recording {
            self.attempt = new_span_id();
            let number = recording.begun;
            recording.begun += 1;
            recording.current = Some(Attempt {
                began: Instant::now(),
                upstream: upstream.clone(),
                endpoint: endpoint.clone(),
                number,
                status: 0,
            });
        }
    }

    /// The head of an answer came.
    pub(super) fn answered(&mut self, status: u16) {
        let attempt = self.recording.as_mut().and_then(|recording| recording.current.as_mut());
        if let Some(attempt) = attempt.filter(|_| status >= 200 || status == 101) {
            attempt.status = status;
        }
    }

    /// The attempt under way is over, if there is one; `cause` is what failed.
    pub(super) fn attempt_ended(&mut self, cause: Option<Cause>) {
        let context = self.attempt();
        let Some(recording) = &mut self.recording else { return };
        let Some(attempt) = recording.current.take() else { return };
        if recording.attempts.len() < SPANS_MAX {
            let span = recording.attempt(&context, self.own.span_id, &attempt, cause);
            recording.attempts.push(span);
        }
    }

    /// Notes the bytes of both bodies.
    pub(super) fn body_bytes(&mut self, received: u64, sent: u64) {
        let Some(recording) = &mut self.recording else { return };
        for (key, bytes) in
            [("http.request.body.size", received), ("http.response.body.size", sent)]
        {
            recording.attributes.extend((bytes > 0).then(|| span::number(key, bytes)));
        }
    }

    /// The request is over: its spans are put where they are sent from. `status` is 0 where no
    /// response went out.
    pub(super) fn finish(self, status: u16, cause: Option<Cause>) {
        if let Some(recording) = self.recording {
            recording.finish(&self.own, status, cause);
        }
    }
}

impl Recording {
    fn begin(
        spans: Arc<SpanQueue>,
        parent: Option<u64>,
        client: &mut impl Client,
        ctx: &RequestContext,
    ) -> Self {
        let now = (SystemTime::now(), ctx.elapsed());
        let began = (now.0.checked_sub(now.1).unwrap_or(now.0), ctx.started());
        // The id that it is going to have is one to find it by.
        let mut head = lent::take(client.request_mut());
        request_id::ensure(&mut head.headers);
        lent::give_back(client.request_mut(), head);
        let head = client.request();
        let trace_state = match parent {
            Some(_) => context::trace_state(&head.headers),
            None => String::new(),
        };
        let names = |(host, route): (&crate::snapshot::Host, &crate::snapshot::Route)| {
            (host.name.clone(), route.name.clone())
        };
        Self {
            spans,
            parent,
            trace_state,
            began,
            method: head.method.clone(),
            route: ctx.route().map(names),
            attributes: attributes(head, ctx),
            begun: 0,
            attempts: Vec::new(),
            current: None,
        }
    }

    /// When `instant` was, by the clock that spans tell.
    fn at(&self, instant: Instant) -> SystemTime {
        self.began.0 + instant.saturating_duration_since(self.began.1)
    }

    fn attempt(
        &self,
        context: &TraceContext,
        parent: u64,
        attempt: &Attempt,
        cause: Option<Cause>,
    ) -> Span {
        let mut attributes = Vec::with_capacity(10);
        span::push_method(&mut attributes, &self.method);
        span::push_endpoint(&mut attributes, &attempt.endpoint);
        attributes.push(span::text("sallyport.upstream", &*attempt.upstream));
        if attempt.number > 0 {
            attributes.push(span::number("http.request.resend_count", attempt.number as u64));
        }
        if attempt.status > 0 {
            attributes.push(span::number("http.response.status_code", attempt.status));
        }
        // What a client is told by a 4xx is an error of its request, and so of this span.
        let failed = cause.filter(|cause| cause.upstream_kind().is_some());
        let error = error_type(failed, attempt.status, 400);
        if let Some(error) = &error {
            attributes.push(span::text("error.type", error.clone()));
        }
        let ended = Ended {
            context,
            parent: Some((parent, false)),
            kind: SpanKind::Client,
            name: span::name(&self.method, None),
            began: self.at(attempt.began),
            duration: attempt.began.elapsed(),
            attributes,
            error: error.map(|_| failed.map_or(Cow::Borrowed(""), |cause| cause.text().into())),
            trace_state: self.trace_state.clone(),
        };
        ended.into_span()
    }

    fn finish(mut self, context: &TraceContext, status: u16, cause: Option<Cause>) {
        let duration = self.began.1.elapsed();
        if status > 0 {
            self.attributes.push(span::number("http.response.status_code", status));
        }
        if let Some(cause) = cause {
            self.attributes.push(span::text("sallyport.cause", cause.label()));
        }
        // What a client did wrong is no error of the gateway's.
        let failed = cause.filter(|cause| status == 0 || status >= 500 || cause.status().is_none());
        let failed = failed.filter(|cause| !matches!(cause, Cause::Answered(_)));
        let error = match (failed, status) {
            (None, 0) => Some("cancelled".into()),
            _ => error_type(failed, status, 500),
        };
        if let Some(error) = &error {
            self.attributes.push(span::text("error.type", error.clone()));
        }
        let ended = Ended {
            context,
            parent: self.parent.map(|parent| (parent, true)),
            kind: SpanKind::Server,
            name: span::name(&self.method, self.route.as_ref().map(|(_, route)| &**route)),
            began: self.began.0,
            duration,
            attributes: self.attributes,
            error: error.map(|_| failed.map_or(Cow::Borrowed(""), |cause| cause.text().into())),
            trace_state: self.trace_state,
        };
        let mut spans = self.attempts;
        spans.push(ended.into_span());
        let request = self.route.map(|(virtual_host, route)| FinishedRequest {
            virtual_host,
            route,
            trace_id: context.trace_id,
            duration,
            at: self.began.0 + duration,
        });
        self.spans.push(Box::new(Finished { spans, request }));
    }
}

/// What kind of error it was: the cause, or else the status from `least` on.
fn error_type(cause: Option<Cause>, status: u16, least: u16) -> Option<Cow<'static, str>> {
    match cause {
        Some(cause) => Some(cause.label().into()),
        None => (status >= least).then(|| status.to_string().into()),
    }
}

/// What is known of a request before it goes anywhere.
fn attributes(head: &RequestHeader, ctx: &RequestContext) -> Vec<KeyValue> {
    let mut all = Vec::with_capacity(24);
    span::push_method(&mut all, &head.method);
    all.push(span::text("url.path", head.uri.path()));
    all.push(span::text("url.scheme", ctx.scheme().as_str()));
    let field =
        |name| head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    if let Some(host) = field(header::HOST) {
        span::push_server(&mut all, &host);
    }
    if let Some((host, route)) = ctx.route() {
        all.push(span::text("http.route", &*route.name));
        all.push(span::text("sallyport.virtual_host", &*host.name));
    }
    all.push(span::text("sallyport.listener", &*ctx.listener().name));
    all.push(span::text("network.protocol.name", "http"));
    all.push(span::text("network.protocol.version", version(head.version)));
    if let Some(client) = ctx.origin.client {
        all.push(span::text("client.address", client.to_string()));
    }
    if let Some(peer) = ctx.peer() {
        all.push(span::text("network.peer.address", peer.ip().to_canonical().to_string()));
        all.push(span::number("network.peer.port", peer.port()));
    }
    if let Some(agent) = field(header::USER_AGENT) {
        all.push(span::text("user_agent.original", agent));
    }
    if let Some(id) = field(request_id::REQUEST_ID) {
        all.push(span::text("http.request.header.x-request-id", id));
    }
    if let Some(tls) = ctx.connection().and_then(|connection| connection.tls.as_deref()) {
        all.push(span::text("tls.protocol.name", "tls"));
        all.push(span::text("tls.protocol.version", tls.version));
        all.push(span::text("tls.cipher", &*tls.cipher));
    }
    if let Some(hints) = ctx.all_hints() {
        push_hints(&mut all, hints, ctx.hints().is_some());
    }
    all
}

/// What the classifier knows of the client, and the fingerprint of its TLS.
fn push_hints(all: &mut Vec<KeyValue>, hints: &Hints, has_classifier: bool) {
    let texts = [
        ("sallyport.hint.network", hints.network.as_deref()),
        ("sallyport.hint.zone", hints.zone.as_deref()),
        ("sallyport.hint.protocol", hints.protocol),
        ("tls.client.ja4", hints.ja4.as_deref()),
    ];
    all.extend(texts.into_iter().filter_map(|(key, value)| Some(span::text(key, value?))));
    if has_classifier {
        all.push(span::text("sallyport.hint.screens", hints.screens.join(",")));
        all.push(span::number("sallyport.hint.syn_rate", hints.syn_rate));
    }
}

fn version(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "1.0",
        http::Version::HTTP_2 => "2",
        http::Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// A call that is made for a request, as one of its spans.
#[derive(Debug)]
pub(crate) struct CallSpan {
    spans: Arc<SpanQueue>,
    context: TraceContext,
    parent: u64,
    method: Method,
    upstream: Arc<str>,
    began: (SystemTime, Instant),
}

impl CallSpan {
    /// A span within `parent`.
    pub(crate) fn begin(
        spans: &Arc<SpanQueue>,
        parent: &TraceContext,
        method: &Method,
        upstream: &str,
    ) -> Self {
        Self {
            spans: spans.clone(),
            context: TraceContext { span_id: new_span_id(), ..*parent },
            parent: parent.span_id,
            method: method.clone(),
            upstream: upstream.into(),
            began: (SystemTime::now(), Instant::now()),
        }
    }

    /// Its place in the trace.
    pub(crate) fn context(&self) -> &TraceContext {
        &self.context
    }

    /// The call is over: with a status, or with what failed.
    pub(crate) fn end(self, result: Result<u16, String>) {
        if !self.context.is_sampled {
            return;
        }
        let duration: Duration = self.began.1.elapsed();
        let mut attributes = Vec::with_capacity(6);
        span::push_method(&mut attributes, &self.method);
        attributes.push(span::text("sallyport.upstream", &*self.upstream));
        let (kind, error) = match result {
            Ok(status) => {
                attributes.push(span::number("http.response.status_code", status));
                (error_type(None, status, 400), Cow::Borrowed(""))
            }
            Err(error) => (Some("call".into()), Cow::Owned(error)),
        };
        if let Some(kind) = &kind {
            attributes.push(span::text("error.type", kind.clone()));
        }
        let ended = Ended {
            context: &self.context,
            parent: Some((self.parent, false)),
            kind: SpanKind::Client,
            name: span::name(&self.method, Some(&self.upstream)),
            began: self.began.0,
            duration,
            attributes,
            error: kind.map(|_| error),
            trace_state: String::new(),
        };
        self.spans.push(Box::new(Finished { spans: vec![ended.into_span()], request: None }));
    }
}
