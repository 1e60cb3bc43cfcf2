//! A request of HTTP/2 as Pingora's proxy drives it: through the door that Pingora has for
//! protocols that it does not know, `custom::server::Session`. Sessions of that kind are not checked
//! on their way in, which `head.rs` does instead.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use h2::Reason;
use http::HeaderMap;
use pingora_core::protocols::Digest;
use pingora_core::protocols::http::HttpTask;
use pingora_core::protocols::http::custom::{CustomMessageWrite, server};
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};

use super::Session;

impl Session {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| self.poll_read(context)).await
    }

    async fn write_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if head.status.is_informational() {
            self.body.told_to_continue();
        }
        self.response.write_head(head, end).await.map_err(|error| error.into_down())
    }

    async fn send_body(&mut self, mut data: Bytes, end: bool) -> Result<()> {
        poll_fn(|context| self.poll_send_body(context, &mut data, end)).await
    }

    async fn write_task(&mut self, task: HttpTask) -> Result<bool> {
        match task {
            HttpTask::Header(head, end) => {
                self.write_head(head, end).await?;
                Ok(end)
            }
            HttpTask::Body(data, end) => {
                if let Some(data) = data.filter(|data| !data.is_empty()) {
                    self.send_body(data, end).await?;
                }
                Ok(end)
            }
            HttpTask::UpgradedBody(..) => {
                Error::e_explain(ErrorType::InternalError, "HTTP/2 has no upgrades")
            }
            HttpTask::Trailer(Some(trailers)) => {
                self.response.send_trailers(*trailers)?;
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
        self.send_body(data, end).await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.response.send_trailers(trailers)
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
        self.summary()
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
            return Err(poll_fn(|context| self.response.poll_left(context)).await);
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
