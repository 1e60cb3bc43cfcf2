//! The response to a request: interim heads, its head, its body as far as the client's windows reach, and trailers.

use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use pingora_core::protocols::http::date::get_cached_date;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tokio::time::{Sleep, sleep_until};

use crate::connection::http2::streams::{OpenStream, Stalled};
use crate::turns;

/// Interim responses of one request that are passed on. They are no part of flow control, so that a client which does
/// not read would have the gateway keep as many as an origin sends.
const INTERIM_MAX: u8 = 16;

/// A stream whose client has taken no more than [`PROGRESS_BYTES`] for so long is stalled.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// What a client takes is progress from here on: whoever opens its window byte by byte is as good as one that
/// does not.
const PROGRESS_BYTES: usize = 1 << 10;

/// How long a client may take nothing where nobody says so.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Fields that HTTP/2 does not have (RFC 9113, 8.2.2).
const CONNECTION_FIELDS: [HeaderName; 7] = [
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("http2-settings"),
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A response as it goes out.
pub(super) struct Response {
    respond: SendResponse<Bytes>,
    /// Once its head is out.
    sender: Option<SendStream<Bytes>>,
    head: Option<Box<ResponseHeader>>,
    /// The answer to HEAD has no body.
    is_to_head: bool,
    interim: u8,
    state: State,
    body_bytes: usize,
    waiting: Waiting,
    /// How long one part may take; sixty seconds by default.
    pub(super) write_timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Reset,
}

/// How long the client was waited for without progress.
#[derive(Debug, Default)]
struct Waiting {
    time: Duration,
    /// What it has taken in that time.
    bytes: usize,
    now: Option<Wait>,
}

/// A wait for the client's window that is under way.
#[derive(Debug)]
struct Wait {
    since: Instant,
    late: Instant,
    /// When the stream is looked at next.
    look_at: Instant,
    timer: Pin<Box<Sleep>>,
    stalled: Option<Stalled>,
    /// What the connection had sent when the stream was looked at last.
    sent_bytes: u64,
}

impl Response {
    pub(super) fn new(respond: SendResponse<Bytes>, method: &Method) -> Self {
        Self {
            respond,
            sender: None,
            head: None,
            is_to_head: *method == Method::HEAD,
            interim: 0,
            state: State::Open,
            body_bytes: 0,
            waiting: Waiting::default(),
            write_timeout: None,
        }
    }

    /// Its head, once that is out. Interim ones do not count.
    pub(super) fn head(&self) -> Option<&ResponseHeader> {
        self.head.as_deref()
    }

    /// Whether all of it is out.
    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Bytes of its body so far.
    pub(super) fn body_bytes(&self) -> usize {
        self.body_bytes
    }

    /// Ends the stream with this code, unless all was said.
    pub(super) fn reset(&mut self, reason: Reason) {
        if self.state == State::Open {
            self.state = State::Reset;
            self.respond.send_reset(reason);
        }
    }

    /// Ready when the client gives up the request.
    pub(super) fn poll_left(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>> {
        let reason = match &mut self.sender {
            Some(sender) => sender.poll_reset(context),
            None => self.respond.poll_reset(context),
        };
        Poll::Ready(match ready!(reason) {
            Ok(reason) => Error::explain(
                ErrorType::ConnectionClosed,
                format!("the client has reset the stream: {reason}"),
            ),
            Err(error) => Error::because(ErrorType::ConnectionClosed, "the client left", error),
        })
    }

    /// Tells the client to send its body.
    pub(super) fn send_continue(&mut self, context: &mut Context<'_>) -> Result<()> {
        let head = ResponseHeader::build_no_case(StatusCode::CONTINUE, None)?;
        self.send_interim(&head, context)
    }

    /// Writes an interim head or the one of the response; with `end`, nothing follows.
    pub(super) async fn write_head(&mut self, head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return self.send_head(head, end);
        }
        poll_fn(|context| Poll::Ready(self.send_interim(&head, context))).await
    }

    /// Sends an interim head (RFC 9110, 15.2). A client that does not know it ignores it.
    pub(super) fn send_interim(
        &mut self,
        head: &ResponseHeader,
        context: &mut Context<'_>,
    ) -> Result<()> {
        if self.state != State::Open || self.head.is_some() || self.interim == INTERIM_MAX {
            return Ok(());
        }
        // The h2 crate does not look whether the stream is still there.
        if self.respond.poll_reset(context).is_ready() {
            return Err(Error::new(ErrorType::ConnectionClosed));
        }
        self.interim += 1;
        let mut head = head.clone();
        remove_connection_fields(&mut head);
        let response = http::Response::from_parts(head.into(), ());
        self.respond.send_informational(response).map_err(failed)
    }

    /// Sends the head of the response; with `end`, nothing follows.
    pub(super) fn send_head(&mut self, mut head: Box<ResponseHeader>, end: bool) -> Result<()> {
        if self.state != State::Open || self.head.is_some() {
            return Ok(());
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InternalError, "HTTP/2 has no upgrades");
        }
        if !head.headers.contains_key(header::DATE) {
            head.insert_header(header::DATE, get_cached_date())?;
        }
        remove_connection_fields(&mut head);
        let is_bodiless = end
            || self.is_to_head
            || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let response = http::Response::from_parts(head.as_owned_parts(), ());
        self.sender = Some(self.respond.send_response(response, is_bodiless).map_err(failed)?);
        self.head = Some(head);
        if is_bodiless {
            self.state = State::Ended;
        }
        Ok(())
    }

    /// Sends `data`, a part of the body, as far as the client's window reaches, and takes what was
    /// sent from it; ready once nothing is left of it. With `end`, nothing follows.
    pub(super) fn poll_send_body(
        &mut self,
        context: &mut Context<'_>,
        data: &mut Bytes,
        end: bool,
        open: &OpenStream,
    ) -> Poll<Result<()>> {
        if self.state != State::Open {
            data.clear();
            return Poll::Ready(Ok(()));
        }
        if data.is_empty() {
            return Poll::Ready(if end { self.finish() } else { Ok(()) });
        }
        if turns::is_held() {
            // It has no turn before what it waits for is over, and is woken then.
            return Poll::Pending;
        }
        while !data.is_empty() {
            let capacity = ready!(self.poll_capacity(context, data.len(), open))?;
            let part = data.split_to(capacity.min(data.len()));
            self.body_bytes += part.len();
            self.waiting.took(part.len());
            let ends = end && data.is_empty();
            self.sender()?.send_data(part, ends).map_err(failed)?;
        }
        if end {
            self.state = State::Ended;
        }
        Poll::Ready(Ok(()))
    }

    fn sender(&mut self) -> Result<&mut SendStream<Bytes>> {
        let sender = self.sender.as_mut();
        sender.ok_or_else(|| Error::explain(ErrorType::InternalError, "a body without a head"))
    }

    /// Ready when the client takes a part of `bytes`: how many it takes.
    fn poll_capacity(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
        open: &OpenStream,
    ) -> Poll<Result<usize>> {
        let sender = self.sender()?;
        sender.reserve_capacity(bytes);
        let mut capacity = sender.capacity();
        if capacity == 0 {
            capacity = match sender.poll_capacity(context) {
                Poll::Ready(Some(granted)) => granted.map_err(failed)?,
                Poll::Ready(None) => {
                    return Poll::Ready(Err(Error::new(ErrorType::ConnectionClosed)));
                }
                Poll::Pending => return self.poll_late(context, open).map(Err),
            };
        }
        self.waiting.granted(capacity, bytes);
        Poll::Ready(Ok(capacity))
    }

    /// Ready when the client was waited for too long; what waits for it is given up. At any other
    /// end it goes out first.
    fn poll_late(&mut self, context: &mut Context<'_>, open: &OpenStream) -> Poll<Box<Error>> {
        let timeout = self.write_timeout.unwrap_or(WRITE_TIMEOUT);
        ready!(self.waiting.poll_late(context, timeout, open));
        self.reset(Reason::CANCEL);
        Poll::Ready(Error::new(ErrorType::WriteTimedout))
    }

    /// Sends trailers, by which the response ends.
    pub(super) fn send_trailers(&mut self, mut trailers: HeaderMap) -> Result<()> {
        if self.state != State::Open {
            return Ok(());
        }
        for name in CONNECTION_FIELDS {
            trailers.remove(name);
        }
        self.sender()?.send_trailers(trailers).map_err(failed)?;
        self.state = State::Ended;
        Ok(())
    }

    /// Ends a response whose head is out.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.state == State::Open
            && let Some(sender) = &mut self.sender
        {
            sender.send_data(Bytes::new(), true).map_err(failed)?;
            self.state = State::Ended;
        }
        Ok(())
    }
}

impl Waiting {
    fn took(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= PROGRESS_BYTES {
            *self = Self::default();
        }
    }

    /// The client takes `capacity` of `bytes`.
    fn granted(&mut self, capacity: usize, bytes: usize) {
        if let Some(wait) = self.now.take() {
            self.time = wait.since.elapsed();
        } else if capacity >= bytes.min(PROGRESS_BYTES) {
            *self = Self::default();
        }
    }

    /// Ready when the wait has lasted for as long as `timeout`. Counts the stream as stalled where
    /// it lasts long. A connection whose socket takes what there is may be slow without being
    /// hostile.
    fn poll_late(
        &mut self,
        context: &mut Context<'_>,
        timeout: Duration,
        open: &OpenStream,
    ) -> Poll<()> {
        let waited = self.time;
        self.now.get_or_insert_with(|| Wait::begin(waited, timeout)).poll_late(context, open)
    }
}

impl Wait {
    /// A wait that goes on for `timeout`, of which `waited` is over already.
    fn begin(waited: Duration, timeout: Duration) -> Self {
        let now = Instant::now();
        let since = now.checked_sub(waited).unwrap_or(now);
        let late = since + timeout;
        let look_at = since + STALLED_AFTER;
        let timer = Box::pin(sleep_until(look_at.min(late).into()));
        Self { since, late, look_at, timer, stalled: None, sent_bytes: 0 }
    }

    fn poll_late(&mut self, context: &mut Context<'_>, open: &OpenStream) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(context));
            let now = Instant::now();
            if now >= self.late {
                return Poll::Ready(());
            }
            self.look(now, open);
            self.timer.as_mut().reset(self.look_at.min(self.late).into());
        }
    }

    /// Counts the stream as stalled, and ends the connection where too many are whose clients could
    /// take more.
    fn look(&mut self, now: Instant, open: &OpenStream) {
        let watch = open.watch();
        let sent_bytes = watch.sent_bytes();
        let is_first = self.stalled.is_none();
        let is_slow = watch.is_blocked() && (is_first || sent_bytes != self.sent_bytes);
        self.sent_bytes = sent_bytes;
        let stalled = self.stalled.get_or_insert_with(|| open.stall());
        if !is_slow {
            stalled.check();
        }
        // It may be long over, where the client takes a byte now and then.
        self.look_at = self.look_at.max(now) + STALLED_AFTER;
    }
}

fn remove_connection_fields(head: &mut ResponseHeader) {
    // One pass over the names, instead of hashing each that hardly any response has.
    if head.headers.keys().any(|name| CONNECTION_FIELDS.contains(name)) {
        for name in &CONNECTION_FIELDS {
            head.remove_header(name);
        }
    }
}

fn failed(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing a response of HTTP/2", error)
}
