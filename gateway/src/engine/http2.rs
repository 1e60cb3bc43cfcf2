//! A stream of an HTTP/2 client as the client's side of an exchange.
//!
//! Heads have the form of HTTP/1 already (`connection/http2/head.rs`), and the stream's own bounds,
//! how long a window may be shut among them, hold in the session. What is put is kept until the
//! exchange writes it out: a response that came whole goes to the connection at once.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::{HeaderMap, header};
use pingora_error::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use sallyport_http1::BodyWriter;

use super::downstream::{Downstream, TOO_SHORT};
use super::head::{self, Written};
use crate::connection::{ANSWERED, Connection, Failure, Http2Session, Refusal};
use crate::proxy::Client;
use crate::tunnel::Tunnel;

/// A client of HTTP/2 whose request the engine serves.
pub(super) struct Http2Client {
    session: Box<Http2Session>,
    /// Interim heads to be written.
    interim: Vec<ResponseHeader>,
    /// The final head, until it is written: until then another may take its place.
    head: Option<Box<ResponseHeader>>,
    /// How much of the response's body is still to come.
    writer: BodyWriter,
    /// A part of the body to be written.
    data: Bytes,
    /// Whether the end of the response is to be written behind that.
    ends: bool,
    /// What it ends with.
    trailers: Option<HeaderMap>,
}

impl Http2Client {
    pub(super) fn new(session: Box<Http2Session>) -> Self {
        Self {
            session,
            interim: Vec::new(),
            head: None,
            writer: BodyWriter::Done,
            data: Bytes::new(),
            ends: false,
            trailers: None,
        }
    }

    /// Gives up the request before any of it is spent.
    pub(super) fn into_session(self) -> Box<Http2Session> {
        self.session
    }

    /// RFC 9113, 8.1.1: a length that was said holds; otherwise the stream's end is the body's.
    fn body_writer(&self, head: &ResponseHeader) -> BodyWriter {
        match head::body_writer(&head.headers) {
            _ if head::is_bodiless(&self.session.head().method, head.status) => {
                BodyWriter::Sized(0)
            }
            Some(sized @ BodyWriter::Sized(_)) => sized,
            _ => BodyWriter::UntilClose,
        }
    }

    fn send_heads(&mut self, context: &mut Context<'_>) -> Result<()> {
        for head in self.interim.drain(..) {
            self.session.send_interim(&head, context)?;
        }
        if let Some(head) = self.head.take() {
            let is_all = self.ends && self.data.is_empty() && self.trailers.is_none();
            self.session.send_head(head, is_all)?;
        }
        Ok(())
    }
}

impl Downstream for Http2Client {
    fn read_timeout(&self) -> Option<Duration> {
        // `proxy/pace.rs` keeps it.
        None
    }

    fn write_timeout(&self) -> Option<Duration> {
        None
    }

    fn kept(&self) -> Option<Bytes> {
        self.session.kept_body().filter(|kept| !kept.is_empty())
    }

    fn request_trailers(&self) -> Option<&HeaderMap> {
        self.session.request_trailers()
    }

    fn asks_for_trailers(&self) -> bool {
        // RFC 9113, 8.2.2: it can say nothing else.
        self.session.head().headers.contains_key(header::TE)
    }

    fn takes_trailers(&self) -> bool {
        // A client that has not asked ignores them (RFC 9110, 6.5.1), and one of gRPC needs them.
        true
    }

    fn poll_read_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.session.poll_read(context).map_err(|error| error.into_down())
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        if self.session.is_answered() {
            // The stream is over on both sides.
            return Poll::Pending;
        }
        self.session.poll_left(context).map(|error| error.into_down())
    }

    fn poll_gone_early(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        if self.session.is_answered() {
            return Poll::Ready(Error::new(ANSWERED));
        }
        self.session.poll_left(context).map(|error| error.into_down())
    }

    fn put_head(&mut self, head: Box<ResponseHeader>, _: Option<Written<'_>>) -> Result<()> {
        if self.session.response().is_some() {
            return Ok(());
        }
        if head.status.is_informational() {
            self.interim.push(*head);
            return Ok(());
        }
        self.writer = self.body_writer(&head);
        (self.data, self.ends, self.trailers) = (Bytes::new(), false, None);
        self.head = Some(head);
        Ok(())
    }

    fn put_body(&mut self, mut data: Bytes) {
        data.truncate(self.writer.frame(data.len()).data);
        if self.data.is_empty() {
            self.data = data;
        } else if !data.is_empty() {
            let mut both = BytesMut::from(std::mem::take(&mut self.data));
            both.extend_from_slice(&data);
            self.data = both.freeze();
        }
    }

    fn put_end(&mut self, trailers: Option<HeaderMap>) -> Result<()> {
        self.writer.finish().map_err(|_| Error::new(TOO_SHORT).into_down())?;
        (self.ends, self.trailers) = (true, trailers);
        Ok(())
    }

    fn is_response_done(&self) -> bool {
        self.writer.is_done()
    }

    fn is_flushed(&self) -> bool {
        self.interim.is_empty() && self.head.is_none() && self.data.is_empty() && !self.ends
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.send_heads(context)?;
        if !self.data.is_empty() || self.ends {
            let is_last = self.ends && self.trailers.is_none();
            ready!(self.session.poll_send_body(context, &mut self.data, is_last))?;
            self.ends = false;
            if let Some(trailers) = self.trailers.take() {
                self.session.send_trailers(trailers)?;
            }
        }
        Poll::Ready(Ok(()))
    }

    async fn write_out(&mut self) -> Result<()> {
        poll_fn(|context| self.poll_write_out(context)).await
    }
}

impl Client for Http2Client {
    fn connection(&self) -> Option<&Arc<Connection>> {
        self.session.connection()
    }

    fn refusal(&self) -> Option<Refusal> {
        self.session.refusal()
    }

    fn failure(&self) -> Option<Failure> {
        None
    }

    fn request(&self) -> &RequestHeader {
        self.session.head()
    }

    fn request_mut(&mut self) -> &mut RequestHeader {
        self.session.head_mut()
    }

    fn summary(&self) -> String {
        self.session.summary()
    }

    // Connections of HTTP/2 end by themselves, and tell their clients so.
    fn is_kept(&self) -> bool {
        false
    }

    fn keep_alive(&mut self, _idle: Option<Duration>) {}

    fn keep_after_failure(&mut self) -> bool {
        false
    }

    fn is_ending(&self) -> bool {
        false
    }

    fn set_read_timeout(&mut self, _timeout: Option<Duration>) {}

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.session.set_write_timeout(timeout);
    }

    // All clients of HTTP/2 know interim responses, and the session knows who waits for one.
    fn ignore_interim(&mut self) {}

    fn allow_interim(&mut self, _awaits_continue: bool) {}

    fn close_if_request_unfinished(&mut self, _close: bool) {}

    fn expect_answer(&self, _within: Option<Duration>) {}

    fn is_body_empty(&mut self) -> bool {
        self.session.is_body_empty()
    }

    fn is_body_done(&mut self) -> bool {
        self.session.is_body_done()
    }

    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|context| self.poll_read_body(context)).await
    }

    fn keep_body(&mut self) {
        self.session.keep_body();
    }

    fn is_body_kept_in_part(&self) -> bool {
        self.session.is_body_kept_in_part()
    }

    fn body_bytes_read(&self) -> usize {
        self.session.body_bytes_read()
    }

    fn response(&self) -> Option<&ResponseHeader> {
        self.session.response()
    }

    async fn answer(&mut self, head: Box<ResponseHeader>, body: Option<Bytes>) -> Result<()> {
        self.put_head(head, None)?;
        self.put_body(body.unwrap_or_default());
        self.ends = true;
        self.write_out().await
    }

    fn body_bytes_sent(&self) -> usize {
        self.session.body_bytes_sent()
    }

    // There is no upgrade in HTTP/2.
    fn begin_tunnel(&self) {}

    fn switch(&self, _tunnel: Arc<Tunnel>) {}

    async fn cut_off(&mut self) {
        self.session.reset(Reason::INTERNAL_ERROR);
    }
}
