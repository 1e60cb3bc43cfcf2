//! The client's side of an exchange, as the engine has it.

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use pingora_core::protocols::Shutdown as _;
use pingora_core::protocols::http::date::get_cached_date;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use sallyport_http1::{Body, BodyWriter, Chunks, Framing, Piece};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::downstream::{Downstream, TOO_SHORT};
use super::head::{self, Written};
use crate::connection::{ClientStream, Connection, Failure, Refusal};
use crate::proxy::Client;
use crate::tunnel::Tunnel;

/// As much of a body as is read at once: what is read waits for an origin that does not read.
const READ_BYTES: usize = 8 << 10;

/// Parts of a response's body are put behind its head up to this size; what is larger is written from
/// where it was read into.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// The most of a body that is kept for another attempt, as Pingora has it.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// A client whose request the engine serves.
pub(super) struct EngineClient {
    stream: Box<ClientStream>,
    request: RequestHeader,
    is_empty: bool,
    /// The part of the request's body that is still to be read.
    body: Body,
    /// Read of it, framing and all.
    input: BytesMut,
    /// What has come of the trailers behind it, and what they are once all have.
    raw_trailers: BytesMut,
    trailers: Option<HeaderMap>,
    /// Whether it was said that the response may have some.
    asks_for_trailers: bool,
    bytes_read: usize,
    kept: Option<Kept>,
    keep_alive: bool,
    keep_after_failure: bool,
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    ignores_interim: bool,
    closes_if_unfinished: bool,
    response: Option<Box<ResponseHeader>>,
    /// Whether any of the final head is on its way: until then another may take its place.
    begun: bool,
    /// Where in what is to be written the final head stands.
    head_at: usize,
    writer: BodyWriter,
    bytes_sent: usize,
    /// To be written: heads, framing and small parts of bodies; then `data`, which is not copied; and
    /// what comes behind it.
    out: BytesMut,
    data: Bytes,
    behind: BytesMut,
    /// Whether something was written that may wait to be flushed.
    unflushed: bool,
}

/// What is kept of a body.
#[derive(Debug, Default)]
struct Kept {
    bytes: BytesMut,
    /// Whether more came.
    in_part: bool,
}

impl EngineClient {
    pub(super) fn new(stream: Box<ClientStream>, request: RequestHeader, framing: Framing) -> Self {
        let body = match framing {
            Framing::None => Body::EMPTY,
            Framing::Sized(bytes) => Body::Sized(bytes),
            Framing::Chunked => Body::Chunked(Chunks::default()),
        };
        Self {
            stream,
            asks_for_trailers: head::asks_for_trailers(&request),
            keep_alive: head::keeps_connection(&request),
            request,
            is_empty: body.is_done(),
            body,
            input: BytesMut::new(),
            raw_trailers: BytesMut::new(),
            trailers: None,
            bytes_read: 0,
            kept: None,
            keep_after_failure: false,
            read_timeout: None,
            write_timeout: None,
            ignores_interim: false,
            closes_if_unfinished: true,
            response: None,
            begun: false,
            head_at: 0,
            writer: BodyWriter::Done,
            bytes_sent: 0,
            out: BytesMut::new(),
            data: Bytes::new(),
            behind: BytesMut::new(),
            unflushed: false,
        }
    }

    /// The connection: before any of the request is spent, or once it has ended.
    pub(super) fn into_stream(self) -> Box<ClientStream> {
        self.stream
    }

    /// The request is over. Returns whether its connection is kept.
    pub(super) async fn end(&mut self, failed: bool) -> bool {
        if failed {
            return self.keep_after_failure && self.stream.is_at_request_end();
        }
        if !self.keep_alive {
            self.stream.shutdown().await;
            return false;
        }
        while !self.body.is_done() {
            match self.read_body().await {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return false,
            }
        }
        true
    }

    /// Takes what of `piece`, the next one of `input`, is trailers.
    fn took_trailers(&mut self, piece: Piece) -> Result<()> {
        let trailers = piece.bytes() - piece.trailers..piece.bytes();
        self.raw_trailers.extend_from_slice(&self.input[trailers]);
        if self.body.is_done() && self.body.has_trailers() {
            let raw = std::mem::take(&mut self.raw_trailers).freeze();
            self.trailers = Some(head::trailers(raw).map_err(|error| error.into_down())?);
        }
        Ok(())
    }

    fn took(&mut self, part: Bytes) -> Bytes {
        self.bytes_read += part.len();
        if let Some(kept) = self.kept.as_mut().filter(|kept| !kept.in_part) {
            kept.in_part = kept.bytes.len() + part.len() > KEPT_BYTES_MAX;
            match kept.in_part {
                true => kept.bytes = BytesMut::new(),
                false => kept.bytes.extend_from_slice(&part),
            }
        }
        part
    }

    /// Puts `bytes` behind all that is to be written.
    fn put(&mut self, bytes: &[u8]) {
        let is_first = self.data.is_empty() && self.behind.is_empty();
        let last = if is_first { &mut self.out } else { &mut self.behind };
        last.extend_from_slice(bytes);
    }

    fn is_written(&self) -> bool {
        self.out.is_empty() && self.data.is_empty() && self.behind.is_empty()
    }

    /// The first `bytes` of what is to be written are.
    fn wrote(&mut self, mut bytes: usize) {
        let mut advance = |part: &mut dyn Buf| {
            let of_part = bytes.min(part.remaining());
            part.advance(of_part);
            bytes -= of_part;
        };
        advance(&mut self.out);
        advance(&mut self.data);
        advance(&mut self.behind);
        if self.data.is_empty() {
            // The memory it was read into may be used again.
            self.data = Bytes::new();
        }
    }

    fn has_final_head(&self) -> bool {
        self.response.as_ref().is_some_and(|head| !head.status.is_informational())
    }

    /// RFC 9112, 6.3.
    fn body_writer(&self, head: &ResponseHeader) -> BodyWriter {
        if head::is_bodiless(&self.request.method, head.status) {
            return BodyWriter::Sized(0);
        }
        head::body_writer(&head.headers).unwrap_or(BodyWriter::UntilClose)
    }
}

impl Downstream for EngineClient {
    fn read_timeout(&self) -> Option<Duration> {
        self.read_timeout
    }

    fn write_timeout(&self) -> Option<Duration> {
        self.write_timeout
    }

    fn kept(&self) -> Option<Bytes> {
        let kept = self.kept.as_ref().filter(|kept| !kept.in_part && !kept.bytes.is_empty())?;
        Some(Bytes::copy_from_slice(&kept.bytes))
    }

    fn request_trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    fn asks_for_trailers(&self) -> bool {
        self.asks_for_trailers
    }

    fn takes_trailers(&self) -> bool {
        self.asks_for_trailers && self.writer == BodyWriter::Chunked
    }

    fn poll_read_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        loop {
            if self.body.is_done() {
                return Poll::Ready(Ok(None));
            }
            if !self.input.is_empty() {
                let piece = match self.body.gather(&mut self.input) {
                    Ok(piece) => piece,
                    Err(what) => {
                        let error = Error::explain(ErrorType::ReadError, what);
                        return Poll::Ready(Err(error.into_down()));
                    }
                };
                self.took_trailers(piece)?;
                let mut part = self.input.split_to(piece.bytes());
                if piece.data > 0 {
                    part.truncate(piece.data);
                    return Poll::Ready(Ok(Some(self.took(part.freeze()))));
                }
                if self.body.is_done() {
                    continue;
                }
            }
            self.input.reserve(READ_BYTES);
            let read = ready!(pin!(self.stream.read_buf(&mut self.input)).poll(context));
            if let Some(error) = ended(read, "reading a request's body") {
                self.keep_alive = false;
                return Poll::Ready(Err(error.into_down()));
            }
        }
    }

    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        let mut byte = [0];
        let read =
            ready!(Pin::new(&mut *self.stream).poll_read(context, &mut ReadBuf::new(&mut byte)));
        self.keep_alive = false;
        let gone = || Error::explain(ErrorType::ConnectionClosed, "the client closed");
        let error = ended(read.map(|()| 0), "waiting beside the client");
        Poll::Ready(error.unwrap_or_else(gone).into_down())
    }

    fn poll_gone_early(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        ready!(self.stream.poll_left(context));
        self.keep_alive = false;
        let error = Error::explain(ErrorType::ConnectionClosed, "the client left");
        Poll::Ready(error.into_down())
    }

    fn put_head(
        &mut self,
        mut head: Box<ResponseHeader>,
        written: Option<Written<'_>>,
    ) -> Result<()> {
        let is_interim = head.status.is_informational();
        if is_interim && self.ignores_interim {
            return Ok(());
        }
        if self.has_final_head() {
            if self.begun {
                return Ok(());
            }
            // What is not begun has nothing but heads before it.
            self.out.truncate(self.head_at);
            (self.data, self.behind) = (Bytes::new(), BytesMut::new());
            self.bytes_sent = 0;
        }
        if self.closes_if_unfinished && !self.body.is_done() {
            self.keep_alive = false;
        }
        if !is_interim {
            let connection = if self.keep_alive { "keep-alive" } else { "close" };
            head.insert_header(header::DATE, get_cached_date())?;
            head.insert_header(header::CONNECTION, HeaderValue::from_static(connection))?;
            self.writer = self.body_writer(&head);
            if self.writer.ends_connection() {
                self.keep_alive = false;
            }
        }
        self.head_at = self.out.len();
        // Once for the head and a small body.
        self.out.reserve(head::bytes_max(&head) + self.writer.bytes_left().min(COPIED_BYTES_MAX));
        head::write_response(&head, written, &mut self.out);
        self.response = Some(head);
        Ok(())
    }

    fn put_body(&mut self, mut data: Bytes) {
        let frame = self.writer.frame(data.len());
        data.truncate(frame.data);
        self.bytes_sent += frame.data;
        self.put(frame.before.as_bytes());
        if data.len() > COPIED_BYTES_MAX && self.data.is_empty() && self.behind.is_empty() {
            self.data = data;
        } else {
            self.put(&data);
        }
        self.put(frame.after);
    }

    fn put_end(&mut self, trailers: Option<HeaderMap>) -> Result<()> {
        let trailers = trailers.filter(|_| self.takes_trailers());
        match (self.writer.finish(), trailers) {
            (Ok(_), Some(trailers)) => {
                let mut last = BytesMut::new();
                head::write_trailers(&trailers, &mut last);
                self.put(&last);
                Ok(())
            }
            (Ok(last), None) => {
                self.put(last);
                Ok(())
            }
            (Err(_), _) => Err(Error::new(TOO_SHORT).into_down()),
        }
    }

    fn clear_socket(&self) -> Option<&TcpStream> {
        let is_plain = matches!(self.writer, BodyWriter::Sized(_) | BodyWriter::UntilClose);
        self.stream.clear_socket().filter(|_| is_plain)
    }

    fn passed(&mut self, bytes: usize) {
        self.bytes_sent += self.writer.frame(bytes).data;
    }

    fn is_response_done(&self) -> bool {
        self.writer.is_done()
    }

    fn is_flushed(&self) -> bool {
        self.is_written() && !self.unflushed
    }

    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        let failed = |error| Error::because(ErrorType::WriteError, "writing a response", error);
        while !self.is_written() {
            // What is written in parts goes out at once, and is not put together with what follows.
            let parts = [&self.out, &*self.data, &self.behind].map(IoSlice::new);
            let written = Pin::new(&mut *self.stream).poll_write_vectored(context, &parts);
            let written = match ready!(written) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                written => written,
            };
            self.unflushed = true;
            self.begun |= self.has_final_head();
            self.wrote(written.map_err(failed)?);
        }
        if self.unflushed {
            ready!(Pin::new(&mut *self.stream).poll_flush(context)).map_err(failed)?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    async fn write_out(&mut self) -> Result<()> {
        let within = self.write_timeout;
        let writing = poll_fn(|context| self.poll_write_out(context));
        match within {
            None => writing.await,
            Some(within) => timeout(within, writing)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorType::WriteTimedout))),
        }
    }
}

/// What it means that a read came to its end or failed; nothing if it brought bytes.
fn ended(read: io::Result<usize>, what: &'static str) -> Option<Box<Error>> {
    match read {
        Ok(0) => Some(Error::explain(ErrorType::ConnectionClosed, what)),
        Ok(_) => None,
        Err(error) => Some(Error::because(ErrorType::ReadError, what, error)),
    }
}

impl Client for EngineClient {
    fn connection(&self) -> Option<&Arc<Connection>> {
        Some(self.stream.connection())
    }

    fn refusal(&self) -> Option<Refusal> {
        // What is refused is no ordinary exchange.
        None
    }

    fn failure(&self) -> Option<Failure> {
        self.stream.failure()
    }

    fn request(&self) -> &RequestHeader {
        &self.request
    }

    fn request_mut(&mut self) -> &mut RequestHeader {
        &mut self.request
    }

    fn summary(&self) -> String {
        let host = self.request.headers.get(header::HOST);
        let host = host.map_or("-", |host| host.to_str().unwrap_or("-"));
        format!("{} {}, Host: {host}", self.request.method, self.request.uri)
    }

    fn is_kept(&self) -> bool {
        self.keep_alive
    }

    fn keep_alive(&mut self, idle: Option<Duration>) {
        // How long is the listener's to say, whenever a connection begins to wait.
        self.keep_alive = idle.is_some();
    }

    fn keep_after_failure(&mut self) -> bool {
        self.keep_after_failure = self.stream.is_at_request_end();
        self.keep_after_failure
    }

    fn is_ending(&self) -> bool {
        self.stream.is_ending()
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.read_timeout = timeout;
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.write_timeout = timeout;
    }

    fn ignore_interim(&mut self) {
        self.ignores_interim = true;
    }

    fn allow_interim(&mut self, awaits_continue: bool) {
        self.stream.allow_interim(awaits_continue);
    }

    fn close_if_request_unfinished(&mut self, close: bool) {
        self.closes_if_unfinished = close;
    }

    fn expect_answer(&self, within: Option<Duration>) {
        self.stream.expect_answer(within);
    }

    fn is_body_empty(&mut self) -> bool {
        self.is_empty
    }

    fn is_body_done(&mut self) -> bool {
        self.body.is_done()
    }

    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        let within = self.read_timeout;
        let reading = poll_fn(|context| self.poll_read_body(context));
        match within {
            None => reading.await,
            Some(within) => timeout(within, reading)
                .await
                .unwrap_or_else(|_| Err(Error::new(ErrorType::ReadTimedout).into_down())),
        }
    }

    fn keep_body(&mut self) {
        self.kept.get_or_insert_with(Kept::default);
    }

    fn is_body_kept_in_part(&self) -> bool {
        self.kept.as_ref().is_some_and(|kept| kept.in_part)
    }

    fn body_bytes_read(&self) -> usize {
        self.bytes_read
    }

    fn response(&self) -> Option<&ResponseHeader> {
        self.response.as_deref().filter(|_| self.begun || !self.has_final_head())
    }

    async fn answer(&mut self, head: Box<ResponseHeader>, body: Option<Bytes>) -> Result<()> {
        self.put_head(head, None)?;
        if let Some(body) = body {
            self.put_body(body);
        }
        self.write_out().await
    }

    fn body_bytes_sent(&self) -> usize {
        self.bytes_sent
    }

    fn begin_tunnel(&self) {
        self.stream.begin_tunnel();
    }

    fn switch(&self, tunnel: Arc<Tunnel>) {
        self.stream.switch(tunnel);
    }

    async fn cut_off(&mut self) {
        self.stream.shutdown().await;
    }
}
