//! One request of an HTTP/2 connection and its response, as Pingora's proxy drives them.
//!
//! Pingora's own session of HTTP/2 keeps h2's interim responses to itself, takes trailers for the end of the body
//! without a look, and waits for a body that is no longer wanted. This one does its work through the door that
//! Pingora has for protocols that it does not know: `custom::server::Session`. Sessions of that kind are not checked
//! on their way in, which `head.rs` does instead.

mod request_body;
mod response;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request};
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::custom::{CustomMessageWrite, server};
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use sallyport_http1::Refusal;

use self::request_body::RequestBody;
use self::response::Response;
use super::head;
use super::streams::OpenStream;

/// The type of the error by which a request ends that was answered before its body had come: no failure of anybody.
pub(crate) const ANSWERED: ErrorType = ErrorType::Custom("answered before the body had come");

/// A request and its response.
pub(super) struct Session {
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
        self.head.extensions.get::<Refusal>().is_some()
    }

    /// As Pingora takes it.
    pub(super) fn into_pingora(self) -> ServerSession {
        ServerSession::new_custom(Box::new(self))
    }

    /// The next part of the request's body. Tells a client that waits to go on.
    async fn read(&mut self) -> Result<Option<Bytes>> {
        if let Some(at) = self.body.continue_at() {
            if let Ok(part) = tokio::time::timeout_at(at.into(), self.body.read(&self.stream)).await
            {
                return self.end_if_malformed(part);
            }
            self.body.told_to_continue();
            self.response.send_continue().await?;
        }
        let part = self.body.read(&self.stream).await;
        self.end_if_malformed(part)
    }

    /// RFC 9113, 8.1.1: a malformed request is an error of its stream.
    fn end_if_malformed(&mut self, part: Result<Option<Bytes>>) -> Result<Option<Bytes>> {
        part.inspect_err(|error| {
            if *error.etype() == ErrorType::InvalidHTTPHeader {
                self.response.reset(Reason::PROTOCOL_ERROR);
            }
        })
    }

    async fn write_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if head.status.is_informational() {
            self.body.told_to_continue();
        }
        self.response.write_head(head, end).await.map_err(|error| error.into_down())
    }

    async fn write_task(&mut self, task: HttpTask) -> Result<bool> {
        match task {
            HttpTask::Header(head, end) => {
                self.write_head(head, end).await?;
                Ok(end)
            }
            HttpTask::Body(data, end) => {
                if let Some(data) = data.filter(|data| !data.is_empty()) {
                    self.response.write_body(data, end, &self.stream).await?;
                }
                Ok(end)
            }
            HttpTask::UpgradedBody(..) => {
                Error::e_explain(ErrorType::InternalError, "HTTP/2 has no upgrades")
            }
            HttpTask::Trailer(Some(trailers)) => {
                self.response.write_trailers(*trailers)?;
                Ok(true)
            }
            HttpTask::Trailer(None) | HttpTask::Done => Ok(true),
            HttpTask::Failed(error) => Err(error),
        }
    }
}

#[async_trait]
impl server::Session for Session {
    fn req_header(&self) -> &RequestHeader {
        &self.head
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.head
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read().await
    }

    async fn drain_request_body(&mut self) -> Result<()> {
        let timeout = self.drain_timeout;
        let drain = async {
            while self.read().await?.is_some() {}
            Ok(())
        };
        match timeout {
            None => drain.await,
            Some(timeout) => pingora_timeout::timeout(timeout, drain)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorType::ReadTimedout))),
        }
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        self.write_head(head, end).await
    }

    async fn write_response_header_ref(&mut self, head: &ResponseHeader, end: bool) -> Result<()> {
        self.write_head(Box::new(head.clone()), end).await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.response.write_body(data, end, &self.stream).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.response.write_trailers(trailers)
    }

    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut end = false;
        for task in tasks {
            end |= self.write_task(task).await.map_err(|error| match error.esource() {
                pingora_error::ErrorSource::Unset => error.into_down(),
                _ => error,
            })?;
        }
        if end {
            self.response.finish()?;
        }
        Ok(end)
    }

    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {
        // `proxy/pace.rs` keeps the time of bodies, over all parts of them.
    }

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.response.write_timeout = timeout;
    }

    fn get_write_timeout(&self) -> Option<Duration> {
        self.response.write_timeout
    }

    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.drain_timeout = timeout;
    }

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.drain_timeout
    }

    fn request_summary(&self) -> String {
        let host = self.head.headers.get(http::header::HOST);
        let host = host.and_then(|host| host.to_str().ok()).unwrap_or_default();
        format!("{} {}, Host: {host}", self.head.method, self.head.uri)
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.response.head()
    }

    async fn shutdown(&mut self, code: u32, _context: &str) {
        self.response.reset(Reason::from(code));
    }

    async fn abandon(&mut self, _context: &str) {
        self.response.reset(Reason::INTERNAL_ERROR);
    }

    fn is_body_done(&mut self) -> bool {
        self.body.is_done()
    }

    async fn finish(&mut self) -> Result<()> {
        self.response.finish()
    }

    fn is_body_empty(&mut self) -> bool {
        self.body.is_empty()
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        if no_body_expected || self.body.is_done() {
            return Err(self.response.client_left().await);
        }
        if self.response.is_ended() {
            // RFC 9113, 8.1: the rest is not wanted. When this ends, the client is told so.
            let part = self.body.read_what_has_come(&self.stream);
            return part.unwrap_or_else(|| Err(Error::new(ANSWERED)));
        }
        self.read().await
    }

    fn body_bytes_sent(&self) -> usize {
        self.response.body_bytes()
    }

    fn body_bytes_read(&self) -> usize {
        self.body.bytes()
    }

    fn digest(&self) -> Option<&Digest> {
        Some(&self.digest)
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        Arc::get_mut(&mut self.digest)
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.peer_addr()
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        self.digest.socket_digest.as_ref()?.local_addr()
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        http_req_header_to_wire(&self.head).map(bytes::BytesMut::freeze).unwrap_or_default()
    }

    fn enable_retry_buffering(&mut self) {
        self.body.keep();
    }

    fn retry_buffer_truncated(&self) -> bool {
        self.body.is_kept_in_part()
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        self.body.kept()
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    // The protocol has no messages but requests and responses.
    fn take_custom_message_reader(
        &mut self,
    ) -> Option<Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>> {
        None
    }

    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>,
    ) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(
        &mut self,
        _writer: Box<dyn CustomMessageWrite>,
    ) -> Result<()> {
        Ok(())
    }
}
