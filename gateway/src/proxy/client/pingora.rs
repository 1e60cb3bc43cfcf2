//! What Pingora drives, as a client.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;

use super::Client;
use crate::connection::{self, Connection, Failure, Refusal};
use crate::tunnel::Tunnel;

impl Client for Session {
    fn connection(&self) -> Option<&Arc<Connection>> {
        connection::of(self.as_downstream())
    }

    fn refusal(&self) -> Option<Refusal> {
        connection::refusal(self.as_downstream())
    }

    fn failure(&self) -> Option<Failure> {
        connection::failure(self.as_downstream())
    }

    fn request(&self) -> &RequestHeader {
        self.req_header()
    }

    fn request_mut(&mut self) -> &mut RequestHeader {
        self.req_header_mut()
    }

    fn summary(&self) -> String {
        self.as_downstream().request_summary()
    }

    fn is_kept(&self) -> bool {
        self.as_downstream().get_keepalive().is_some()
    }

    fn keep_alive(&mut self, idle: Option<Duration>) {
        // Whole seconds, since Pingora takes 0 for "for ever".
        self.as_downstream_mut().set_keepalive(idle.map(|idle| idle.as_secs().max(1)));
    }

    fn keep_after_failure(&mut self) -> bool {
        connection::keep(self.as_downstream())
    }

    fn is_ending(&self) -> bool {
        connection::is_ending(self.as_downstream())
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.as_downstream_mut().set_read_timeout(timeout);
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.as_downstream_mut().set_write_timeout(timeout);
    }

    fn ignore_interim(&mut self) {
        self.as_downstream_mut().set_ignore_info_resp(true);
    }

    fn allow_interim(&mut self, awaits_continue: bool) {
        connection::allow_interim(self.as_downstream(), awaits_continue);
    }

    fn close_if_request_unfinished(&mut self, close: bool) {
        self.as_downstream_mut().set_close_on_response_before_downstream_finish(close);
    }

    fn expect_answer(&self, within: Option<Duration>) {
        connection::expect_answer(self.as_downstream(), within);
    }

    fn is_body_empty(&mut self) -> bool {
        self.as_downstream_mut().is_body_empty()
    }

    fn is_body_done(&mut self) -> bool {
        self.as_downstream_mut().is_body_done()
    }

    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        // Pingora says whose fault it was in its own phases only.
        self.as_downstream_mut().read_request_body().await.map_err(|error| error.into_down())
    }

    fn keep_body(&mut self) {
        self.as_downstream_mut().enable_retry_buffering();
    }

    fn is_body_kept_in_part(&self) -> bool {
        self.as_downstream().retry_buffer_truncated()
    }

    fn body_bytes_read(&self) -> usize {
        self.as_downstream().body_bytes_read()
    }

    fn response(&self) -> Option<&ResponseHeader> {
        self.as_downstream().response_written()
    }

    async fn answer(&mut self, head: Box<ResponseHeader>, body: Option<Bytes>) -> Result<()> {
        let Some(body) = body else {
            if let Some(http2) = self.as_downstream_mut().as_custom_mut() {
                // Pingora would write a head that does not end the stream, whatever it is told.
                return http2.write_response_header(head, true).await;
            }
            return self.write_response_header(head, true).await;
        };
        self.write_response_header(head, false).await?;
        self.write_response_body(Some(body), true).await
    }

    fn body_bytes_sent(&self) -> usize {
        self.as_downstream().body_bytes_sent()
    }

    fn begin_tunnel(&self) {
        connection::begin_tunnel(self.as_downstream());
    }

    fn switch(&self, tunnel: Arc<Tunnel>) {
        connection::switch(self.as_downstream(), tunnel);
    }

    async fn cut_off(&mut self) {
        self.as_downstream_mut().shutdown().await;
    }
}
