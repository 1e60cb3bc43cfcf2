//! HTTP calls of filters to the configuration's upstreams, balanced, tried again and counted as
//! requests are.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType};
use pingora_http::RequestHeader;
use sallyport_balance::Address;
use sallyport_plugin::{BoxFuture, Call, CallError, Calls, GrpcCall, GrpcEvent, GrpcStatus, Reply};
use sallyport_stats::ErrorKind;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::LiveLater;
use crate::config::Retry;
use crate::descriptors;
use crate::proxy::{CallSpan, Cause};
use crate::trace::SpanQueue;
use crate::trace::context::{TRACEPARENT, traceparent};
use crate::upstream::introduction::introduce;
use crate::upstream::{Attempts, Failure, Resend, Tenant, Time, Upstream};

mod grpc;

/// Connections from the pool that may turn out closed, one after the other; beyond, it is no chance.
const STALE_MAX: usize = 16;

/// Calls by name of upstream, in whatever configuration is in force when they are made.
#[derive(Clone)]
pub struct UpstreamCalls {
    live: LiveLater,
    spans: Arc<SpanQueue>,
    connector: Arc<Connector>,
}

impl UpstreamCalls {
    pub(super) fn new(live: LiveLater, spans: Arc<SpanQueue>) -> Self {
        Self { live, spans, connector: Arc::new(Connector::new(None)) }
    }

    /// As [`Calls::call`], to an endpoint of `upstream` other than the one at `avoid`.
    ///
    /// # Errors
    /// As there.
    pub async fn call_elsewhere(
        &self,
        upstream: &Arc<Upstream>,
        mut call: Call,
        avoid: &Address,
    ) -> Result<Reply, CallError> {
        let span = self.begin_span(&upstream.spec.name, &mut call);
        let result = self.send_to(upstream, &call, Some(avoid)).await;
        end_span(span, &result);
        result
    }

    /// The span of a call that is made for a request with a trace. What is called is told of it.
    fn begin_span(&self, upstream: &str, call: &mut Call) -> Option<CallSpan> {
        let span = CallSpan::begin(&self.spans, &call.trace?, &call.method, upstream);
        call.headers.insert(TRACEPARENT, traceparent(span.context()));
        Some(span)
    }

    async fn send(&self, upstream: &str, call: &Call) -> Result<Reply, CallError> {
        self.send_to(&self.find(upstream)?, call, None).await
    }

    /// The upstream of this name in the configuration in force.
    fn find(&self, name: &str) -> Result<Arc<Upstream>, CallError> {
        let snapshot = self.live.get().ok_or(CallError::NoEndpoint)?.current();
        let found = snapshot.upstreams.iter().find(|found| *found.spec.name == *name);
        found.cloned().ok_or_else(|| CallError::UnknownUpstream(name.to_owned()))
    }

    async fn send_to(
        &self,
        upstream: &Arc<Upstream>,
        call: &Call,
        avoid: Option<&Address>,
    ) -> Result<Reply, CallError> {
        let deadline = Instant::now() + call.timeout;
        let left = Some(call.timeout);
        let admitted = upstream.admit(Tenant::default(), left).await;
        let _admission = admitted.map_err(|_| CallError::Failed("over a limit".to_owned()))?;
        let mut visit = Visit::new(upstream.clone());
        if let Some(avoid) = avoid {
            visit.attempts.avoid(upstream, avoid);
        }
        let policy = Retry::default();
        let mut stale = 0;
        loop {
            let peer = visit.begin().ok_or(CallError::NoEndpoint)?;
            let exchange = self.exchange(&peer, call, &mut visit);
            let Ok(result) = timeout_at(deadline, exchange).await else {
                visit.finish(Some(ErrorKind::Timeout));
                return Err(CallError::Timeout);
            };
            let broken = match result {
                Ok(reply) => return Ok(reply),
                Err(broken) => broken,
            };
            let again = match broken.what {
                // Its other end may have closed it just now.
                What::Stale => {
                    visit.finish(None);
                    stale += 1;
                    stale < STALE_MAX && call.method.is_idempotent()
                }
                What::Failed(failure) => {
                    let request = Resend { method: &call.method, whole: true };
                    let left = Some(deadline.saturating_duration_since(Instant::now()));
                    let time = Time { left, retry_after: None };
                    let wait = visit.attempts.retry(&policy, failure, request, time);
                    visit.failed(failure, broken.kind);
                    sleep(wait.unwrap_or_default()).await;
                    wait.is_some()
                }
                What::Other => {
                    visit.finish(broken.kind);
                    false
                }
            };
            if !again {
                return Err(broken.error);
            }
        }
    }

    async fn exchange(
        &self,
        peer: &HttpPeer,
        call: &Call,
        visit: &mut Visit,
    ) -> Result<Reply, Broken> {
        let connected = self.connector.get_http_session(peer).await;
        let (mut session, reused) = connected.map_err(Broken::connecting)?;
        visit.connected(reused);
        let descriptor = session.as_http1().map(|http1| http1.stream().id());
        if !reused && descriptor.is_some_and(descriptors::is_reserved) {
            descriptors::report_exhaustion();
            return Err(Broken::resources());
        }
        match talk(&mut session, call, visit).await {
            Ok(reply) => {
                if session.response_done() {
                    let idle = peer.options.idle_timeout;
                    self.connector.release_http_session(session, peer, idle).await;
                } else {
                    session.shutdown().await;
                }
                Ok(reply)
            }
            Err(error) => Err(Broken::talking(error, reused, visit.attempts.is_answered())),
        }
    }
}

/// A call that failed at an endpoint.
struct Broken {
    error: CallError,
    /// As what the endpoint counts it.
    kind: Option<ErrorKind>,
    what: What,
}

/// What that means for another attempt.
enum What {
    /// A connection from the pool was closed.
    Stale,
    Failed(Failure),
    /// The call is over.
    Other,
}

impl Broken {
    fn connecting(mut error: Box<Error>) -> Self {
        error.as_up();
        match Cause::of_connecting(&error) {
            Cause::Resources => Self::resources(),
            cause => {
                let timed_out = *error.etype() == ErrorType::ConnectTimedout;
                let failure = if timed_out { Failure::ConnectTimeout } else { Failure::Connect };
                let what = What::Failed(failure);
                Self { error: failed(&error), kind: cause.upstream_kind(), what }
            }
        }
    }

    fn resources() -> Self {
        let error = CallError::Failed("out of file descriptors".to_owned());
        Self { error, kind: None, what: What::Failed(Failure::Resources) }
    }

    fn talking(error: Trouble, reused: bool, answered: bool) -> Self {
        let mut error = match error {
            Trouble::Exchange(error) => error,
            Trouble::Call(error) => return Self { error, kind: None, what: What::Other },
        };
        error.as_up();
        let cause = Cause::of(&error);
        let what = match cause {
            Cause::Reset if reused && !answered => What::Stale,
            Cause::Reset if !answered => What::Failed(Failure::Unanswered),
            Cause::Timeout if !answered => What::Failed(Failure::Timeout),
            _ => What::Other,
        };
        Self { error: failed(&error), kind: cause.upstream_kind(), what }
    }
}

impl std::fmt::Debug for UpstreamCalls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("UpstreamCalls").finish_non_exhaustive()
    }
}

impl Calls for UpstreamCalls {
    fn call(&self, upstream: &str, call: Call) -> BoxFuture<'static, Result<Reply, CallError>> {
        let (calls, upstream, mut call) = (self.clone(), upstream.to_owned(), call);
        Box::pin(async move {
            let span = calls.begin_span(&upstream, &mut call);
            let result = calls.send(&upstream, &call).await;
            end_span(span, &result);
            result
        })
    }

    fn grpc(
        &self,
        upstream: &str,
        call: GrpcCall,
        events: mpsc::Sender<GrpcEvent>,
    ) -> BoxFuture<'static, GrpcStatus> {
        let (calls, upstream) = (self.clone(), upstream.to_owned());
        Box::pin(async move { calls.grpc_to(&upstream, call, events).await })
    }
}

fn end_span(span: Option<CallSpan>, result: &Result<Reply, CallError>) {
    if let Some(span) = span {
        span.end(result.as_ref().map(|reply| reply.status.as_u16()).map_err(ToString::to_string));
    }
}

/// A call's attempts, counted out however it ends.
struct Visit {
    upstream: Arc<Upstream>,
    attempts: Attempts,
}

impl Visit {
    fn new(upstream: Arc<Upstream>) -> Self {
        // A call has nothing that its endpoint should depend on.
        let mut attempts = Attempts::default();
        attempts.key = fastrand::u64(..);
        Self { upstream, attempts }
    }

    fn begin(&mut self) -> Option<Box<HttpPeer>> {
        self.attempts.begin(&self.upstream, None)?;
        let mut peer = self.attempts.peer()?;
        if let Some(version) = self.upstream.spec.transport.proxy_protocol {
            introduce(&mut peer, version, None);
        }
        Some(peer)
    }

    fn connected(&mut self, reused: bool) {
        self.attempts.connected(reused);
    }

    fn answered(&mut self, status: u16) {
        self.attempts.answered(status);
    }

    fn failed(&mut self, failure: Failure, kind: Option<ErrorKind>) {
        self.attempts.failed(failure, kind);
    }

    fn finish(&mut self, kind: Option<ErrorKind>) {
        self.attempts.finish(kind);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.finish(None);
    }
}

/// Why an exchange did not yield a reply.
enum Trouble {
    Exchange(Box<Error>),
    /// The endpoint is not to blame.
    Call(CallError),
}

impl From<Box<Error>> for Trouble {
    fn from(error: Box<Error>) -> Self {
        Self::Exchange(error)
    }
}

/// Sends the request and reads the response.
async fn talk(session: &mut HttpSession, call: &Call, visit: &mut Visit) -> Result<Reply, Trouble> {
    let head = head(call).map_err(|error| Trouble::Call(failed(&error)))?;
    session.write_request_header(Box::new(head)).await?;
    if !call.body.is_empty() {
        session.write_request_body(call.body.clone(), true).await?;
    }
    session.finish_request_body().await?;
    loop {
        session.read_response_header().await?;
        let status = session.response_header().map(|head| head.status);
        visit.answered(status.map_or(0, |status| status.as_u16()));
        if status.is_none_or(|status| !status.is_informational()) {
            break;
        }
    }
    let head = session
        .response_header()
        .ok_or_else(|| Trouble::Call(CallError::Failed("no response".into())))?;
    let (status, headers): (_, HeaderMap) = (head.status, head.headers.clone());
    let body = body(session, call.reply_bytes_max).await?;
    if let HttpSession::H2(http2) = session {
        // A stream whose trailers are not read counts as abandoned, and its connection with it.
        http2.read_trailers().await?;
    }
    Ok(Reply { status, headers, body })
}

async fn body(session: &mut HttpSession, bytes_max: usize) -> Result<Bytes, Trouble> {
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_response_body().await? {
        if body.len() + piece.len() > bytes_max {
            return Err(Trouble::Call(CallError::TooLarge(bytes_max)));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn head(call: &Call) -> pingora_error::Result<RequestHeader> {
    let mut head = RequestHeader::build_no_case(call.method.clone(), call.path.as_bytes(), None)?;
    for (name, value) in &call.headers {
        head.append_header(name, value)?;
    }
    for name in [header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE] {
        head.remove_header(&name);
    }
    head.insert_header(header::HOST, call.authority.as_str())?;
    if call.body.is_empty() {
        head.remove_header(&header::CONTENT_LENGTH);
    } else {
        head.insert_header(header::CONTENT_LENGTH, call.body.len())?;
    }
    Ok(head)
}

fn failed(error: &Error) -> CallError {
    CallError::Failed(error.etype().as_str().to_owned())
}
