//! One exchange with an origin: the request goes out and the response comes back, both at once
//! where they overlap.
//!
//! A single loop waits for whatever comes first: room to write on either side, a part of the
//! request's body, a part of the response. What one side has not taken yet is not read from the
//! other, so that an exchange holds a few parts and no more. An origin may answer before it has the
//! whole request; then the rest goes on beside the response.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use std::{io, mem};

use bytes::{Buf as _, Bytes, BytesMut};
use http::request::Parts;
use http::{Method, Version, header};
use pingora_error::{Error, ErrorType, Result, RetryType};
use sallyport_http1::{Body, BodyWriter, HeadLimits, LAST_CHUNK, ResponseCheck, ResponseHead};
use sallyport_stats::Direction;

use super::downstream::Downstream;
use super::head::{self, Written};
use super::origin::Origin;
use super::splice::{Pipe, Pipes};
use crate::proxy::{self, Phases, RequestContext};
use crate::timers::Timer;
use crate::turns;

mod spliced;

/// How large the head of a response may be, as Pingora has it.
const HEAD_LIMITS: HeadLimits = HeadLimits { bytes: 1_048_575, fields: 256 };

/// A request's body of this size has room in an origin's kernel, whenever the origin reads it.
const SMALL_BODY_BYTES: u64 = 16 << 10;

/// Bytes of bodies that pass in one turn of the worker.
const TURN_BYTES: usize = 64 << 10;

/// What an exchange has of its worker.
pub(super) struct Worker<'e> {
    pub(super) phases: &'e Phases,
    pub(super) pipes: &'e Pipes,
    pub(super) timer: Timer,
}

/// An exchange under way.
pub(super) struct Exchange<'e, C> {
    phases: &'e Phases,
    pipes: &'e Pipes,
    client: &'e mut C,
    origin: &'e mut Origin,
    ctx: &'e mut RequestContext,
    /// How the request's body goes out.
    writer: BodyWriter,
    /// Bytes of the request's head.
    head_bytes: usize,
    /// Whether the whole request was handed over to be written.
    request_done: bool,
    /// Why the rest of the request does not go out: the origin may still answer.
    send_error: Option<Box<Error>>,
    check: ResponseCheck,
    /// The part of the response's body that is still to come; `None` before its head.
    body: Option<Body>,
    /// What has come of the response's trailers.
    trailers: BytesMut,
    /// Whether the kernel moves the rest of the response's body, and the pipe through which it does.
    splices: bool,
    pipe: Option<Pipe>,
    /// Whether the response was handed over to be written.
    response_done: bool,
    /// Whether the origin takes another request afterwards.
    persists: bool,
    waits: Waits,
    timer: Timer,
    turn_bytes: usize,
}

/// Until when each side is waited for.
#[derive(Clone, Copy, Debug, Default)]
struct Waits {
    client_write: Option<Instant>,
    client_read: Option<Instant>,
    origin_write: Option<Instant>,
    origin_read: Option<Instant>,
}

/// What the exchange goes on with.
enum Event {
    /// A part of the request's body came, or its end.
    RequestBody(Option<Bytes>),
    /// Bytes came from the origin; none mean its end.
    FromOrigin(usize),
    /// As many bytes of the response went from the origin's socket to the client's.
    Spliced(usize),
    /// The request cannot be written.
    SendFailed(Box<Error>),
    /// What was to be written on one side is on its way.
    Flushed,
}

impl<'e, C: Downstream> Exchange<'e, C> {
    pub(super) fn new(
        worker: Worker<'e>,
        client: &'e mut C,
        origin: &'e mut Origin,
        ctx: &'e mut RequestContext,
    ) -> Self {
        let Worker { phases, pipes, timer } = worker;
        Self {
            phases,
            pipes,
            client,
            origin,
            ctx,
            writer: BodyWriter::Done,
            head_bytes: 0,
            request_done: false,
            send_error: None,
            check: ResponseCheck::default(),
            body: None,
            trailers: BytesMut::new(),
            splices: false,
            pipe: None,
            response_done: false,
            persists: false,
            waits: Waits::default(),
            timer,
            turn_bytes: 0,
        }
    }

    /// Runs it to its end. Returns whether the origin's connection can serve another.
    ///
    /// # Errors
    /// What broke it, and on which side.
    pub(super) async fn run(&mut self, reused: bool) -> Result<bool> {
        self.begin(reused)?;
        self.hand_over_kept_body().await?;
        while !self.is_over() {
            match poll_fn(|context| self.poll_event(context)).await? {
                Event::RequestBody(part) => self.request_body(part).await?,
                Event::FromOrigin(0) => self.origin_ended().await?,
                Event::FromOrigin(_) => self.response().await?,
                Event::Spliced(bytes) => self.spliced(bytes)?,
                Event::SendFailed(error) => self.send_failed(error)?,
                Event::Flushed => {}
            }
        }
        let is_clean = self.send_error.is_none() && self.origin.ahead.is_empty();
        Ok(self.persists && is_clean)
    }

    /// Puts the request's head into what is to be written.
    fn begin(&mut self, reused: bool) -> Result<()> {
        let (socket, is_tls) = (self.origin.socket(), self.origin.is_tls());
        let connected = proxy::Origin { socket, reused, is_http1: true, is_tls };
        let local = || self.origin.local();
        self.phases.connected(self.client, connected, local, self.ctx)?;
        // The copy stays, and the original goes out: it has room for what is added.
        let kept = self.client.request().clone();
        let mut request: Parts = mem::replace(self.client.request_mut(), kept).into();
        request.version = Version::HTTP_11;
        head::strip(&mut request);
        if self.client.asks_for_trailers() {
            head::ask_for_trailers(&mut request);
        }
        self.phases.ask(self.client, &mut request, self.ctx);
        let has_body = !self.client.is_body_empty();
        head::finish_request(&mut request, has_body, self.ctx.is_filtered())?;
        self.writer = match has_body || self.ctx.is_filtered() {
            true => head::body_writer(&request.headers).unwrap_or(BodyWriter::Sized(0)),
            false => BodyWriter::Sized(0),
        };
        head::write_request(&request, &mut self.origin.out);
        self.head_bytes = self.origin.out.len();
        if has_body && !matches!(self.writer, BodyWriter::Sized(0..=SMALL_BODY_BYTES)) {
            self.origin.expect_slow_reads();
        }
        self.client.keep_body();
        Ok(())
    }

    /// What was read of the body before goes first.
    async fn hand_over_kept_body(&mut self) -> Result<()> {
        let kept = self.client.kept();
        if kept.is_none() && !self.client.is_body_done() {
            return Ok(());
        }
        self.request_body(kept).await
    }

    fn is_over(&self) -> bool {
        let sent = self.send_error.is_some() || (self.request_done && self.origin.is_sent());
        self.response_done && sent && self.client.is_flushed()
    }

    /// A part of the request's body has come, or its end.
    async fn request_body(&mut self, mut part: Option<Bytes>) -> Result<()> {
        let end = part.is_none() || self.client.is_body_done();
        self.phases.request_body(self.client, &mut part, end, self.ctx).await?;
        if let Some(part) = part.filter(|part| !part.is_empty()) {
            let frame = self.writer.frame(part.len());
            let out = &mut self.origin.out;
            out.extend_from_slice(frame.before.as_bytes());
            out.extend_from_slice(&part[..frame.data]);
            out.extend_from_slice(frame.after);
            self.turn_bytes += frame.data;
        }
        if end {
            self.request_done = true;
            match self.writer.finish() {
                Ok(LAST_CHUNK) => self.last_chunk(),
                Ok(last) => {
                    self.origin.out.extend_from_slice(last);
                    if self.client.request_trailers().is_some() {
                        self.phases.drop_trailers(Direction::Request);
                    }
                }
                Err(_) => {
                    let kind = ErrorType::Custom("request shorter than announced");
                    self.send_failed(Error::new(kind).into_up())?;
                }
            }
        }
        Ok(())
    }

    /// The end of a chunked body has trailers where the client sends some.
    fn last_chunk(&mut self) {
        let out = &mut self.origin.out;
        match self.client.request_trailers() {
            None => out.extend_from_slice(LAST_CHUNK),
            Some(trailers) => {
                let mut trailers = trailers.clone();
                self.phases.request_trailers(self.client, &mut trailers, self.ctx);
                head::write_trailers(&trailers, out);
            }
        }
    }

    /// Whether the origin cannot have seen the whole head.
    fn is_head_unsent(&self) -> bool {
        self.origin.sent_bytes < self.head_bytes
    }

    /// A head that does not go out ends the exchange; of a body, the origin may not want the rest.
    fn send_failed(&mut self, error: Box<Error>) -> Result<()> {
        if self.is_head_unsent() {
            return Err(error);
        }
        self.origin.out.clear();
        self.send_error = Some(error);
        Ok(())
    }

    async fn origin_ended(&mut self) -> Result<()> {
        self.persists = false;
        match self.body.as_mut().map(Body::end) {
            Some(Ok(())) => self.response_body(None, true).await,
            Some(Err(_)) => Err(self.broken(Error::explain(
                ErrorType::ConnectionClosed,
                "the origin closed within a response's body",
            ))),
            None => {
                let mut error = Error::explain(
                    ErrorType::ConnectionClosed,
                    "the origin closed before the head of its response",
                );
                error.retry = RetryType::ReusedOnly;
                Err(self.broken(error))
            }
        }
    }

    /// Why there is no response: what was wrong before, if anything was.
    fn broken(&mut self, error: Box<Error>) -> Box<Error> {
        self.send_error.take().unwrap_or(error).into_up()
    }

    /// Goes on with what has come from the origin.
    async fn response(&mut self) -> Result<()> {
        while !self.response_done && !self.origin.ahead.is_empty() {
            let Some(body) = &mut self.body else {
                let is_to_head = self.client.request().method == Method::HEAD;
                match self.check.advance(&self.origin.ahead, is_to_head, HEAD_LIMITS) {
                    Ok(Some(found)) => self.response_head(found).await?,
                    Ok(None) => return Ok(()),
                    Err(problem) => {
                        let error = Error::explain(ErrorType::InvalidHTTPHeader, problem.0);
                        return Err(error.into_up());
                    }
                }
                continue;
            };
            let piece = match body.gather(&mut self.origin.ahead) {
                Ok(piece) => piece,
                Err(what) => {
                    // What came before it is the client's.
                    self.client.write_out().await.map_err(|error| error.into_down())?;
                    let kind = ErrorType::Custom("chunks of a response are malformed");
                    return Err(Error::explain(kind, what).into_up());
                }
            };
            let end = body.is_done();
            let trailers = piece.bytes() - piece.trailers..piece.bytes();
            self.trailers.extend_from_slice(&self.origin.ahead[trailers]);
            if piece.data == 0 && !end {
                self.origin.ahead.advance(piece.bytes());
                return Ok(());
            }
            self.turn_bytes += piece.data;
            let mut part = self.origin.ahead.split_to(piece.bytes());
            part.truncate(piece.data);
            self.response_body((piece.data > 0).then(|| part.freeze()), end).await?;
        }
        Ok(())
    }

    async fn response_head(&mut self, found: ResponseHead) -> Result<()> {
        let raw = self.origin.ahead.split_to(found.bytes).freeze();
        let mut response = Box::new(head::response(&raw, &found).map_err(|error| error.into_up())?);
        self.phases.answered(self.client, &mut response, self.ctx)?;
        let is_interim = found.is_interim();
        let is_bodiless = found.body.is_done();
        let is_framed = response.headers.contains_key(header::TRANSFER_ENCODING)
            || response.headers.contains_key(header::CONTENT_LENGTH);
        if !is_interim && !is_bodiless && !is_framed {
            // So that the client's connection need not end with it.
            response.set_version(Version::HTTP_11);
            response.insert_header(header::TRANSFER_ENCODING, "chunked")?;
        }
        self.phases.respond(self.client, &mut response, self.ctx).await?;
        let is_rewritten = !is_interim && self.phases.rewrites_response(self.ctx);
        let written = Written { raw: &raw, fields: found.fields };
        self.client
            .put_head(response, (!is_rewritten).then_some(written))
            .map_err(|error| error.into_down())?;
        if is_interim {
            self.check = ResponseCheck::default();
            return Ok(());
        }
        self.persists = found.persists;
        self.body = Some(found.body);
        self.splices = self.may_splice();
        if is_bodiless {
            self.end_response()?;
        }
        Ok(())
    }

    async fn response_body(&mut self, part: Option<Bytes>, end: bool) -> Result<()> {
        self.phases.answer_goes_on(self.client, self.ctx)?;
        let mut part = part;
        self.phases.response_body(self.client, &mut part, end, self.ctx)?;
        if let Some(part) = part {
            self.client.put_body(part);
        }
        if end {
            self.end_response()?;
        } else if self.client.is_response_done() {
            // A filter has announced less than the origin sends.
            self.persists = false;
            self.response_done = true;
        }
        Ok(())
    }

    fn end_response(&mut self) -> Result<()> {
        self.response_done = true;
        if !self.body.as_ref().is_some_and(Body::has_trailers) {
            return self.client.put_end(None);
        }
        if !self.client.takes_trailers() {
            self.phases.drop_trailers(Direction::Response);
            return self.client.put_end(None);
        }
        let raw = std::mem::take(&mut self.trailers).freeze();
        let mut trailers = head::trailers(raw).map_err(|error| error.into_up())?;
        self.phases.response_trailers(self.client, &mut trailers, self.ctx)?;
        self.client.put_end((!trailers.is_empty()).then_some(trailers))
    }

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event>> {
        if self.turn_bytes >= TURN_BYTES {
            // Others have their turns between two of this one.
            self.turn_bytes = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if turns::is_held() {
            // The next turn comes when what waits for bandwidth may pass.
            return Poll::Pending;
        }
        if !self.client.is_flushed() {
            match self.client.poll_write_out(context) {
                Poll::Ready(Ok(())) => {
                    self.waits.client_write = None;
                    return Poll::Ready(Ok(Event::Flushed));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into_down())),
                Poll::Pending => {}
            }
        }
        if let Poll::Ready(event) = self.poll_origin(context) {
            return Poll::Ready(event);
        }
        if self.is_over() {
            // The last of the request has gone out behind its answer.
            return Poll::Ready(Ok(Event::Flushed));
        }
        if let Poll::Ready(event) = self.poll_client(context) {
            return Poll::Ready(event);
        }
        self.turn_bytes = 0;
        self.poll_late(context).map(Err)
    }

    fn poll_origin(&mut self, context: &mut Context<'_>) -> Poll<Result<Event>> {
        if !self.origin.is_sent() && self.send_error.is_none() {
            match self.origin.poll_write_out(context) {
                Poll::Ready(Ok(())) => self.waits.origin_write = None,
                Poll::Ready(Err(error)) => {
                    let error = self.not_sent(error);
                    return Poll::Ready(Ok(Event::SendFailed(error)));
                }
                Poll::Pending => {}
            }
        }
        if self.response_done || !self.client.is_flushed() {
            return Poll::Pending;
        }
        if self.is_splicing() {
            return self.poll_splice(context);
        }
        let left = self.body.as_ref().and_then(Body::bytes_left);
        let left = left.map(|left| left.min(self.ctx.piece_bytes().unwrap_or(u64::MAX)));
        match self.origin.poll_read_ahead(context, left) {
            Poll::Ready(Ok(bytes)) => {
                self.waits.origin_read = None;
                Poll::Ready(Ok(Event::FromOrigin(bytes)))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.not_read(error))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn not_read(&mut self, error: io::Error) -> Box<Error> {
        let is_of_system = error.raw_os_error().is_some();
        let mut error = Error::because(ErrorType::ReadError, "reading a response", error);
        if self.body.is_none() && is_of_system {
            error.retry = RetryType::ReusedOnly;
        }
        self.broken(error)
    }

    fn not_sent(&self, error: io::Error) -> Box<Error> {
        // The words by which `cause.rs` knows that the origin cannot have acted on the request.
        let what = match self.is_head_unsent() {
            true => "while writing request headers",
            false => "while writing body",
        };
        Error::because(ErrorType::WriteError, what, error).into_up()
    }

    fn poll_client(&mut self, context: &mut Context<'_>) -> Poll<Result<Event>> {
        if self.client.is_body_done() {
            return self.client.poll_gone(context).map(Err);
        }
        if self.send_error.is_some() || !self.origin.is_sent() {
            return self.client.poll_gone_early(context).map(Err);
        }
        let part = self.client.poll_read_body(context);
        if part.is_ready() {
            self.waits.client_read = None;
            // The origin answers what it is sent.
            self.waits.origin_read = None;
        }
        part.map_ok(Event::RequestBody)
    }

    /// Ready when one side was waited for too long.
    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        let now = Instant::now();
        let wait = |due: &mut Option<Instant>, waits: bool, within: Option<Duration>| {
            *due = due.filter(|_| waits).or_else(|| within.filter(|_| waits).map(|it| now + it));
        };
        let flushed = self.client.is_flushed() && self.is_pipe_empty();
        let sent = self.origin.is_sent() || self.send_error.is_some();
        let reads = !self.client.is_body_done() && sent && self.send_error.is_none();
        let answers = !self.response_done && flushed;
        wait(&mut self.waits.client_write, !flushed, self.client.write_timeout());
        wait(&mut self.waits.client_read, reads, self.client.read_timeout());
        wait(&mut self.waits.origin_write, !sent, self.origin.write_timeout);
        wait(&mut self.waits.origin_read, answers, Some(self.origin.read_timeout));
        let Waits { client_write, client_read, origin_write, origin_read } = self.waits;
        let dues = [client_write, client_read, origin_write, origin_read];
        let Some(due) = dues.into_iter().flatten().min() else { return Poll::Pending };
        if !self.poll_timer(context, due) {
            return Poll::Pending;
        }
        let kind = |due: Option<Instant>| due.is_some_and(|due| due <= Instant::now());
        Poll::Ready(if kind(client_write) {
            Error::new(ErrorType::WriteTimedout).into_down()
        } else if kind(client_read) {
            Error::new(ErrorType::ReadTimedout).into_down()
        } else if kind(origin_write) {
            Error::new(ErrorType::WriteTimedout).into_up()
        } else {
            self.broken(Error::new(ErrorType::ReadTimedout))
        })
    }

    /// Whether it is `due`; otherwise the task is woken when it is.
    fn poll_timer(&mut self, context: &Context<'_>, due: Instant) -> bool {
        let is_due = Instant::now() >= due;
        if !is_due {
            self.timer.wake_at(due, context);
        }
        is_due
    }
}
