//! A stream that is read ahead by whole heads, and hands out one request at a time.
//!
//! Who reads a request from it gets its head and its body and nothing that follows: the framing was settled
//! when the head was checked, so a second request is never in anybody's buffer but ours, and is checked like
//! the first.
//!
//! It is the one place that sees all that passes between a client and Pingora. So it also tells a client that
//! waits to go on (RFC 9110, 10.1.1), becomes the client's end of a tunnel, and closes in stages where the
//! client may still be sending.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use pingora_core::protocols::l4::ext::get_tcp_info;
use pingora_core::protocols::{Stream, UniqueID as _};
use sallyport_http1::{Chunks, Framing, Head, HeadCheck, HeadLimits, Refusal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use self::lookout::Lookout;
use self::part::{Body, Part};
use super::{ClientSocket, Connection, lingering};
use crate::tunnel::{self, Tunnel};
use crate::turns;

mod forwarded;
mod lookout;
mod part;

/// As much as Pingora first makes room for.
const AHEAD_BYTES: usize = 4 << 10;

/// As much as is read at once. What was read waits in Pingora's queues, up to six times, for an origin that does not
/// read; Pingora itself would read 64 KiB. With 16 KiB an upload held up to 273 KiB, its two buffers of 64 KiB in
/// Pingora among them, and holds up to 204 with this.
const READ_BYTES_MAX: usize = 8 << 10;

/// How long the origin may be silent before a client that asked is told to send its body: clients wait for a
/// second and then send it all the same, and an origin that means to refuse it mostly does so faster.
pub(super) const CONTINUE_AFTER: Duration = Duration::from_millis(200);
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How often a client that has closed its side is looked after while its answer is awaited.
const HALF_CLOSED_POLL: Duration = Duration::from_secs(1);

/// `TCP_CLOSE`, of `linux/tcp_states.h`: the other end has reset the connection.
const TCP_CLOSE: u8 = 7;

/// A client's stream, of which no more is handed out than one request at a time.
#[derive(Debug)]
pub(crate) struct ClientStream {
    /// Taken where the connection goes on without us: as a tunnel, or to be closed in stages.
    stream: Option<Stream>,
    /// Read, and not yet given to anybody.
    ahead: BytesMut,
    /// What may be given from here on.
    part: Part,
    /// Why the request that is being served was refused before it began.
    refusal: Option<Refusal>,
    /// What went wrong while it was read.
    failure: Option<Failure>,
    /// Whether the request has become a tunnel.
    tunnel: AtomicBool,
    /// Until when its answer has to go on, in milliseconds since `began`; 0 is no such time.
    answer_until: AtomicU64,
    began: Instant,
    answer_late: Option<Pin<Box<Sleep>>>,
    /// Whether the client knows interim responses.
    knows_interim: AtomicBool,
    /// Whether the client waits to be told to send its body.
    awaits_continue: AtomicBool,
    continue_late: Option<Pin<Box<Sleep>>>,
    /// Whether anything was written since the request began.
    wrote: bool,
    /// Whether the client has closed its side, or failed.
    client_ended: bool,
    half_closed_poll: Option<Pin<Box<Sleep>>>,
    lookout: Lookout,
    /// Where it goes when Pingora drops a connection that is to be kept.
    home: Home,
    kept: AtomicBool,
    connection: Arc<Connection>,
    switched: OnceLock<Arc<Tunnel>>,
    relay: Option<Relay>,
}

/// The tunnel at work.
struct Relay(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Relay")
    }
}

/// Holds the connection between two requests where Pingora has let go of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Home(Arc<Mutex<Option<Box<ClientStream>>>>);

impl Home {
    /// The connection, if it is here.
    pub(super) fn take(&self) -> Option<Box<ClientStream>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, stream: ClientStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(stream));
    }
}

/// What ends a request while it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The framing of its body is malformed; the text says how.
    Body(&'static str),
    /// Its answer did not go on in time.
    AnswerLate,
}

impl ClientStream {
    /// The stream of `connection`; `home` is where it goes when it is kept.
    pub(super) fn new(stream: Stream, home: Home, connection: Arc<Connection>) -> Self {
        Self {
            stream: Some(stream),
            ahead: BytesMut::new(),
            part: Part::Everything,
            refusal: None,
            failure: None,
            tunnel: AtomicBool::new(false),
            answer_until: AtomicU64::new(0),
            began: Instant::now(),
            answer_late: None,
            knows_interim: AtomicBool::new(false),
            awaits_continue: AtomicBool::new(false),
            continue_late: None,
            wrote: false,
            client_ended: false,
            half_closed_poll: None,
            lookout: Lookout::default(),
            home,
            kept: AtomicBool::new(false),
            connection,
            switched: OnceLock::new(),
            relay: None,
        }
    }

    /// The client knows interim responses, and may wait to be told to send its body.
    pub(crate) fn allow_interim(&self, awaits_continue: bool) {
        self.knows_interim.store(true, Relaxed);
        self.awaits_continue.store(awaits_continue, Relaxed);
    }

    /// Whether the request at hand has ended with trailers.
    pub(super) fn has_trailers(&self) -> bool {
        matches!(&self.part, Part::Request { body, .. } if body.has_trailers())
    }

    /// Its socket, if what is written to it is what the client reads.
    pub(crate) fn clear_socket(&self) -> Option<&TcpStream> {
        let stream = self.stream.as_deref()?;
        stream.as_any().downcast_ref::<ClientSocket>().map(ClientSocket::tcp)
    }

    /// Whoever drops the connection gives it back.
    pub(super) fn keep(&self) {
        self.kept.store(true, Relaxed);
    }

    /// The connection that it is the stream of.
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether the connection ends with the request at hand.
    pub(crate) fn is_ending(&self) -> bool {
        let listener = &self.connection.listener;
        listener.is_ending() || listener.is_announced()
    }

    /// From the next read on, this is the client's end of `tunnel`.
    pub(crate) fn switch(&self, tunnel: Arc<Tunnel>) {
        // A connection switches once.
        self.switched.set(tunnel).ok();
    }

    /// Writes the interim response by which a client goes on.
    fn poll_write_continue(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        // Nothing was written yet, so there is room for a line.
        let written = ready!(Pin::new(&mut *stream).poll_write(context, CONTINUE))?;
        if written < CONTINUE.len() {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        *self.awaits_continue.get_mut() = false;
        // What is not flushed now is flushed with what is written next.
        match Pin::new(stream).poll_flush(context) {
            Poll::Ready(flushed) => Poll::Ready(flushed),
            Poll::Pending => Poll::Ready(Ok(())),
        }
    }

    /// Tells the client to send its body once the origin has been silent for a moment.
    fn poll_continue(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if !*self.awaits_continue.get_mut() {
            return Ok(());
        }
        let late = self.continue_late.get_or_insert_with(|| Box::pin(sleep(CONTINUE_AFTER)));
        if late.as_mut().poll(context).is_pending() {
            return Ok(());
        }
        match self.poll_write_continue(context) {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(()),
        }
    }

    /// Ready when a client that has closed its side is gone altogether.
    ///
    /// RFC 9112, 9.6: it may wait for its answer. On the wire the two are the same until something is sent:
    /// then one that is gone resets the connection. An interim response is all that may be sent now.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.is_reset() {
                return Poll::Ready(());
            }
            let poll =
                self.half_closed_poll.get_or_insert_with(|| Box::pin(sleep(HALF_CLOSED_POLL)));
            ready!(poll.as_mut().poll(context));
            self.half_closed_poll = None;
            if !self.wrote && std::mem::take(self.knows_interim.get_mut()) {
                match self.poll_write_continue(context) {
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
        }
    }

    /// Whether the client has reset the connection. What is no TCP closes both sides at once.
    fn is_reset(&self) -> bool {
        get_tcp_info(self.id()).map_or(true, |info| info.tcpi_state == TCP_CLOSE)
    }

    /// Ready when the tunnel is over.
    fn poll_relay(&mut self, context: &mut Context<'_>, tunnel: Arc<Tunnel>) -> Poll<()> {
        if self.relay.is_none() {
            let Some(client) = self.stream.take() else { return Poll::Ready(()) };
            let ahead = std::mem::take(&mut self.ahead).freeze();
            self.relay = Some(Relay(Box::pin(tunnel::run(tunnel, client, ahead))));
        }
        if let Some(Relay(relay)) = &mut self.relay {
            ready!(relay.as_mut().poll(context));
            self.relay = None;
        }
        Poll::Ready(())
    }

    fn poll_read_stream(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let read = ready!(poll_read_some(stream, context, into));
        self.client_ended |= read.is_err() || into.filled().len() == before;
        self.lookout.has_read = true;
        Poll::Ready(read)
    }

    /// Why the request at hand was refused before it began.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal
    }

    /// What went wrong while the request at hand was read.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// From now on all that comes belongs to the request at hand.
    pub(crate) fn begin_tunnel(&self) {
        self.answer_until.store(0, Relaxed);
        self.tunnel.store(true, Relaxed);
    }

    /// Reading fails if it is still waited for something after `within`; `None` waits without end.
    pub(crate) fn expect_answer(&self, within: Option<Duration>) {
        let until = within.map_or(0, |within| {
            u64::try_from((self.began.elapsed() + within).as_millis()).unwrap_or(u64::MAX).max(1)
        });
        self.answer_until.store(until, Relaxed);
    }

    /// Whether there are bytes that nobody was given yet.
    pub(super) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether the request at hand has been read to its end.
    pub(crate) fn is_at_request_end(&self) -> bool {
        match &self.part {
            Part::Everything => false,
            Part::Request { head, body } => *head == 0 && body.is_done(),
        }
    }

    /// Drops an empty line, which old clients send after a body (RFC 9112, 2.2).
    pub(super) fn skip_empty_line(&mut self) {
        if self.ahead.starts_with(b"\r\n") {
            self.ahead.advance(2);
            if self.ahead.is_empty() {
                self.ahead = BytesMut::new();
            }
        }
    }

    /// Whether nothing of a head has come that would be worth an answer.
    pub(super) fn is_blank(&self) -> bool {
        matches!(&*self.ahead, b"" | b"\r" | b"\r\n")
    }

    /// Reads ahead until a whole head is there or it is certain that none will be accepted.
    ///
    /// # Errors
    /// As [`Self::read_ahead`].
    pub(super) async fn read_head(
        &mut self,
        check: &mut HeadCheck,
        limits: HeadLimits,
    ) -> io::Result<Result<Head, Refusal>> {
        while *self.ahead == b"\r"[..] {
            self.read_ahead().await?;
            self.skip_empty_line();
        }
        loop {
            match check.advance(&self.ahead, limits) {
                Ok(Some(head)) => return Ok(Ok(head)),
                Ok(None) => self.read_ahead().await?,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
    }

    /// The request with this head is what is given from now on.
    pub(super) fn begin_request(&mut self, head: Head) {
        let mut bytes = head.bytes;
        if let Some((line, normal)) = head.request_line {
            bytes = bytes - line.len() + normal.len();
            let rest = self.ahead.split_off(line.end);
            self.ahead = BytesMut::with_capacity(normal.len() + rest.len());
            self.ahead.extend_from_slice(&normal);
            self.ahead.extend_from_slice(&rest);
        }
        let body = match head.framing {
            Framing::None => Body::Sized(0),
            Framing::Sized(length) => Body::Sized(length),
            Framing::Chunked => Body::Chunked(Chunks::default()),
        };
        self.begin(Part::Request { head: bytes, body }, None);
    }

    /// Gives the head of the request at hand, if it is still here.
    pub(crate) fn take_head(&mut self) -> Bytes {
        let Part::Request { head, .. } = &mut self.part else { return Bytes::new() };
        let head = self.ahead.split_to(std::mem::take(head)).freeze();
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
        head
    }

    /// Takes back what [`take_head`](Self::take_head) gave: it is read again.
    pub(crate) fn put_back_head(&mut self, bytes: &[u8]) {
        let mut ahead = BytesMut::with_capacity(bytes.len() + self.ahead.len());
        ahead.extend_from_slice(bytes);
        ahead.extend_from_slice(&self.ahead);
        self.ahead = ahead;
        if let Part::Request { head, .. } = &mut self.part {
            *head = bytes.len();
        }
    }

    /// `stand_in` is given in place of a head that is refused. Nothing that came is given any more.
    pub(super) fn begin_refused(&mut self, refusal: Refusal, stand_in: &[u8]) {
        self.ahead = BytesMut::from(stand_in);
        let part = Part::Request { head: stand_in.len(), body: Body::Sized(0) };
        self.begin(part, Some(refusal));
    }

    fn begin(&mut self, part: Part, refusal: Option<Refusal>) {
        self.part = part;
        self.refusal = refusal;
        self.failure = None;
        *self.answer_until.get_mut() = 0;
        self.answer_late = None;
        *self.knows_interim.get_mut() = false;
        *self.awaits_continue.get_mut() = false;
        self.continue_late = None;
        self.half_closed_poll = None;
        self.lookout = Lookout::default();
        self.wrote = false;
    }

    /// What has come and was given to nobody.
    pub(super) fn ahead(&self) -> &[u8] {
        &self.ahead
    }

    /// Waits for the next bytes and reads them ahead.
    ///
    /// # Errors
    /// The stream fails, or is at its end.
    pub(super) async fn read_ahead(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_read_ahead(context)).await
    }

    fn poll_read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // On the stack: nothing is held while nothing comes.
        let mut space = [MaybeUninit::uninit(); AHEAD_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(self.poll_read_stream(context, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.ahead.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// Whether `expected` comes first; reads ahead no further than it takes to tell.
    ///
    /// # Errors
    /// As [`Self::read_ahead`].
    pub(super) async fn begins_with(&mut self, expected: &[u8]) -> io::Result<bool> {
        while self.ahead.len() < expected.len() {
            if !expected.starts_with(&self.ahead) {
                return Ok(false);
            }
            self.read_ahead().await?;
        }
        Ok(self.ahead.starts_with(expected))
    }

    /// Gives what was read ahead, or reads.
    fn poll_read_any(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return self.poll_read_stream(context, into);
        }
        let part = self.ahead.len().min(into.remaining());
        into.put_slice(&self.ahead[..part]);
        self.take_ahead(part);
        Poll::Ready(Ok(()))
    }

    fn take_ahead(&mut self, bytes: usize) {
        self.ahead.advance(bytes);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new();
        }
    }

    /// Gives a piece of the body of the request at hand, and keeps what follows it.
    fn poll_read_body(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(self.poll_read_any(context, into))?;
        let Part::Request { body, .. } = &mut self.part else { return Poll::Ready(Ok(())) };
        match body.advance(&into.filled()[before..]) {
            Ok(part) => {
                let read = into.filled().len() - before;
                if part < read {
                    let following = &into.filled()[before + part..];
                    // What is ahead comes after it.
                    let mut kept = BytesMut::with_capacity(following.len() + self.ahead.len());
                    kept.extend_from_slice(following);
                    kept.extend_from_slice(&self.ahead);
                    self.ahead = kept;
                    into.set_filled(before + part);
                }
                Poll::Ready(Ok(()))
            }
            Err(what) => {
                into.set_filled(before);
                self.failure = Some(Failure::Body(what));
                Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
            }
        }
    }

    /// Waits for the end of the stream after a request. What comes meanwhile is the next one's.
    fn poll_read_end(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.ahead.is_empty() {
            match ready!(self.poll_read_ahead(context)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return self.poll_gone(context).map(Ok);
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        // Nobody reads on before this request is over, and that wakes its task.
        Poll::Pending
    }

    /// Ready if an answer was waited for too long.
    fn poll_answer_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let until = *self.answer_until.get_mut();
        if until == 0 {
            return Poll::Pending;
        }
        let until = self.began + Duration::from_millis(until);
        let late = self.answer_late.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if late.deadline() != until {
            late.as_mut().reset(until);
        }
        late.as_mut().poll(context)
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some(tunnel) = this.switched.get() {
            let tunnel = tunnel.clone();
            return this.poll_relay(context, tunnel).map(Ok);
        }
        if *this.tunnel.get_mut() {
            this.part = Part::Everything;
        }
        let read = match &mut this.part {
            Part::Everything => this.poll_read_any(context, into),
            Part::Request { head: 0, body } if body.is_done() => this.poll_read_end(context),
            Part::Request { head: 0, .. } => this.poll_read_body(context, into),
            Part::Request { head, .. } => {
                let part = (*head).min(into.remaining());
                *head -= part;
                into.put_slice(&this.ahead[..part]);
                this.take_ahead(part);
                return Poll::Ready(Ok(()));
            }
        };
        if read.is_pending() {
            this.poll_continue(context)?;
            ready!(this.poll_answer_late(context));
            this.failure = Some(Failure::AnswerLate);
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

/// Reads no more than [`READ_BYTES_MAX`].
fn poll_read_some(
    stream: &mut Stream,
    context: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    if into.remaining() <= READ_BYTES_MAX {
        return Pin::new(stream).poll_read(context, into);
    }
    let mut part = ReadBuf::new(into.initialize_unfilled_to(READ_BYTES_MAX));
    ready!(Pin::new(stream).poll_read(context, &mut part))?;
    let read = part.filled().len();
    into.advance(read);
    Poll::Ready(Ok(()))
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if turns::is_held() {
            // It has no turn before what it waits for is over, and is woken then.
            return Poll::Pending;
        }
        self.wrote = true;
        *self.awaits_continue.get_mut() = false;
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_write(context, bytes),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if turns::is_held() {
            return Poll::Pending;
        }
        self.wrote = true;
        *self.awaits_continue.get_mut() = false;
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_flush(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Some(stream) => Pin::new(stream).poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Every way in which a connection ends comes here.
impl Drop for ClientStream {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else { return };
        let at_end = self.is_at_request_end();
        if at_end && *self.kept.get_mut() {
            let mut kept = Self::new(stream, self.home.clone(), self.connection.clone());
            kept.ahead = std::mem::take(&mut self.ahead);
            self.home.put(kept);
            return;
        }
        // What of HTTP/2 is left is not ours to read.
        let is_request = matches!(self.part, Part::Request { .. });
        let is_sending = !at_end || self.refusal.is_some() || self.has_ahead();
        if self.wrote && is_request && is_sending && !self.client_ended {
            lingering::close(stream, self.refusal == Some(Refusal::Late));
        }
    }
}

#[cfg(test)]
mod tests;
