//! One request of an HTTP/2 connection and its response.
//!
//! The engine drives it by its polls. Where Pingora serves the request, [`pingora`](self::pingora)
//! is the door: Pingora's own session of HTTP/2 keeps h2's interim responses to itself, takes
//! trailers for the end of the body without a look, and waits for a body that is no longer wanted.

mod pingora;
mod request_body;
mod response;

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::ServerSession;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use sallyport_http1::Refusal;

use self::request_body::RequestBody;
use self::response::Response;
use super::head;
use super::streams::OpenStream;
use crate::connection::{Connection, facts};

/// The type of the error by which a request ends that was answered before its body had come: no failure of anybody.
pub(crate) const ANSWERED: ErrorType = ErrorType::Custom("answered before the body had come");

/// A request and its response.
pub(crate) struct Session {
    head: RequestHeader,
    body: RequestBody,
    response: Response,
    digest: Arc<Digest>,
    stream: OpenStream,
    drain_timeout: Option<Duration>,
}

impl Session {
    /// For a request as it came, on the connection that `digest` tells of.
    pub(super) fn new(
        request: Request<RecvStream>,
        respond: SendResponse<Bytes>,
        digest: Arc<Digest>,
        stream: OpenStream,
    ) -> Self {
        let (head, body) = head::admit(request);
        let body = RequestBody::new(body, &head);
        let response = Response::new(respond, &head.method);
        Self { head, body, response, digest, stream, drain_timeout: None }
    }

    /// Whether its head breaks the protocol.
    pub(super) fn is_malformed(&self) -> bool {
        self.refusal().is_some()
    }

    /// As Pingora takes it.
    pub(super) fn into_pingora(self: Box<Self>) -> ServerSession {
        ServerSession::new_custom(self)
    }

    /// Why its head is refused, if it is.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.head.extensions.get().copied()
    }

    /// The connection that it came by.
    pub(crate) fn connection(&self) -> Option<&Arc<Connection>> {
        facts::of_digest(&self.digest)
    }

    /// The request's head.
    pub(crate) fn head(&self) -> &RequestHeader {
        &self.head
    }

    /// The request's head, to be changed.
    pub(crate) fn head_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    /// The request in one line, for the operator's log.
    pub(crate) fn summary(&self) -> String {
        let host = self.head.headers.get(http::header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        format!("{} {}, Host: {host}", self.head.method, self.head.uri)
    }

    /// Whether the request has no body.
    pub(crate) fn is_body_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Whether all of the body has been read, its trailers included.
    pub(crate) fn is_body_done(&self) -> bool {
        self.body.is_done()
    }

    /// Bytes of the body that were read.
    pub(crate) fn body_bytes_read(&self) -> usize {
        self.body.bytes()
    }

    /// The trailers of the request, once its body is done.
    pub(crate) fn request_trailers(&self) -> Option<&HeaderMap> {
        self.body.trailers()
    }

    /// Keeps what is read of the body from now on, for another attempt.
    pub(crate) fn keep_body(&mut self) {
        self.body.keep();
    }

    /// Whether more of the body was read than is kept.
    pub(crate) fn is_body_kept_in_part(&self) -> bool {
        self.body.is_kept_in_part()
    }

    /// What is kept of the body, if that is all that came.
    pub(crate) fn kept_body(&self) -> Option<Bytes> {
        self.body.kept()
    }

    /// Reads the next part of the request's body; `None` at its end. Tells a client that waits to
    /// go on.
    ///
    /// # Errors
    /// [`ANSWERED`] if the response is over and nothing more has come of the body.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        if self.response.is_ended() && !self.body.is_done() {
            // RFC 9113, 8.1: the rest is not wanted. When this ends, the client is told so.
            let part = self.body.read_what_has_come(&self.stream);
            return Poll::Ready(part.unwrap_or_else(|| Err(Error::new(ANSWERED))));
        }
        let part = self.body.poll_read(context, &self.stream);
        if part.is_pending() && self.body.poll_continue(context).is_ready() {
            self.response.send_continue(context)?;
        }
        let part = ready!(part);
        if part.as_ref().is_err_and(|error| *error.etype() == ErrorType::InvalidHTTPHeader) {
            // RFC 9113, 8.1.1: a malformed request is an error of its stream.
            self.response.reset(Reason::PROTOCOL_ERROR);
        }
        Poll::Ready(part)
    }

    /// Whether all of the response is out.
    pub(crate) fn is_answered(&self) -> bool {
        self.response.is_ended()
    }

    /// Ready when the client gives up the request.
    pub(crate) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        self.response.poll_left(context)
    }

    /// The head of the response, once that is out. Interim ones do not count.
    pub(crate) fn response(&self) -> Option<&ResponseHeader> {
        self.response.head()
    }

    /// Bytes of the response's body so far.
    pub(crate) fn body_bytes_sent(&self) -> usize {
        self.response.body_bytes()
    }

    /// Bounds each wait for the client to take something.
    pub(crate) fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.response.write_timeout = timeout;
    }

    /// Sends an interim head. The client, which knows then, is not told to go on any more.
    pub(crate) fn send_interim(
        &mut self,
        head: &ResponseHeader,
        context: &mut Context<'_>,
    ) -> Result<()> {
        self.body.told_to_continue();
        self.response.send_interim(head, context)
    }

    /// Sends the head of the response; with `end`, nothing follows.
    pub(crate) fn send_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.response.send_head(head, end)
    }

    /// Sends `data`, a part of the response's body, as far as the client's window reaches, and
    /// takes what was sent from it; ready once nothing is left of it. With `end`, nothing follows.
    pub(crate) fn poll_send_body(
        &mut self,
        context: &mut Context<'_>,
        data: &mut Bytes,
        end: bool,
    ) -> Poll<Result<()>> {
        self.response.poll_send_body(context, data, end, &self.stream)
    }

    /// Sends trailers, by which the response ends.
    pub(crate) fn send_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.response.send_trailers(trailers)
    }

    /// Ends the stream with this code, unless all was said.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.response.reset(reason);
    }
}
