//! The response to a request: interim heads, its head, its body as far as the client's windows reach, and trailers.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use pingora_core::protocols::http::date::get_cached_date;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tokio::time::timeout_at;

use crate::connection::http2::streams::OpenStream;
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

    /// Waits until the client gives up the request.
    pub(super) async fn client_left(&mut self) -> Box<Error> {
        let reason = poll_fn(|context| match &mut self.sender {
            Some(sender) => sender.poll_reset(context),
            None => self.respond.poll_reset(context),
        });
        match reason.await {
            Ok(reason) => Error::explain(
                ErrorType::ConnectionClosed,
                format!("the client has reset the stream: {reason}"),
            ),
            Err(error) => Error::because(ErrorType::ConnectionClosed, "the client left", error),
        }
    }

    /// Tells the client to send its body.
    pub(super) async fn send_continue(&mut self) -> Result<()> {
        self.write_interim(&ResponseHeader::build_no_case(StatusCode::CONTINUE, None)?).await
    }

    /// Writes an interim head or the one of the response; with `end`, nothing follows.
    pub(super) async fn write_head(
        &mut self,
        mut head: Box<ResponseHeader>,
        end: bool,
    ) -> Result<()> {
        if self.state != State::Open || self.head.is_some() {
            return Ok(());
        }
        remove_connection_fields(&mut head);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InternalError, "HTTP/2 has no upgrades");
        }
        if head.status.is_informational() {
            return self.write_interim(&head).await;
        }
        if !head.headers.contains_key(header::DATE) {
            head.insert_header(header::DATE, get_cached_date())?;
        }
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

    /// RFC 9110, 15.2: before the response; whoever does not know them ignores them.
    async fn write_interim(&mut self, head: &ResponseHeader) -> Result<()> {
        if self.state != State::Open || self.head.is_some() || self.interim == INTERIM_MAX {
            return Ok(());
        }
        // The h2 crate does not look whether the stream is still there.
        if poll_fn(|context| Poll::Ready(self.respond.poll_reset(context).is_ready())).await {
            return Err(Error::new(ErrorType::ConnectionClosed));
        }
        self.interim += 1;
        let response = http::Response::from_parts(head.as_owned_parts(), ());
        self.respond.send_informational(response).map_err(failed)
    }

    /// Writes a part of the body as far as the client's window reaches, and waits for the rest.
    pub(super) async fn write_body(
        &mut self,
        mut data: Bytes,
        end: bool,
        open: &OpenStream,
    ) -> Result<()> {
        if self.state != State::Open {
            return Ok(());
        }
        if data.is_empty() {
            return if end { self.finish() } else { Ok(()) };
        }
        turns::unheld().await;
        while !data.is_empty() {
            let capacity = self.capacity(data.len(), open).await?;
            let part = data.split_to(capacity.min(data.len()));
            self.body_bytes += part.len();
            self.waiting.took(part.len());
            let sender = self.sender()?;
            sender.send_data(part, end && data.is_empty()).map_err(failed)?;
        }
        if end {
            self.state = State::Ended;
        }
        Ok(())
    }

    fn sender(&mut self) -> Result<&mut SendStream<Bytes>> {
        let sender = self.sender.as_mut();
        sender.ok_or_else(|| Error::explain(ErrorType::InternalError, "a body without a head"))
    }

    /// Waits until the client takes a part of `bytes`; how many it takes.
    async fn capacity(&mut self, bytes: usize, open: &OpenStream) -> Result<usize> {
        let (waited, timeout) = (self.waiting.time, self.write_timeout.unwrap_or(WRITE_TIMEOUT));
        let sender = self.sender()?;
        sender.reserve_capacity(bytes);
        let mut capacity = sender.capacity();
        let mut granted = pin!(poll_fn(|context| sender.poll_capacity(context)));
        if capacity == 0 {
            let at_once = poll_fn(|context| Poll::Ready(granted.as_mut().poll(context))).await;
            capacity = if let Poll::Ready(granted) = at_once { taken(granted)? } else { 0 };
        }
        if capacity > 0 {
            if capacity >= bytes.min(PROGRESS_BYTES) {
                self.waiting = Waiting::default();
            }
            return Ok(capacity);
        }
        let since = Instant::now().checked_sub(waited).unwrap_or_else(Instant::now);
        let granted = wait(granted, since, timeout, open).await;
        self.waiting.time = since.elapsed();
        if granted.is_err() {
            // What waits for the client is given up. At any other end it goes out first.
            self.reset(Reason::CANCEL);
        }
        taken(granted?)
    }

    /// Writes trailers, by which the response ends.
    pub(super) fn write_trailers(&mut self, mut trailers: HeaderMap) -> Result<()> {
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
}

/// Waits for a part of the client's window since `since`, for as long as `timeout`, and counts the stream as stalled
/// where that takes long. A connection whose socket takes what there is may be slow without being hostile.
async fn wait<T>(
    mut granted: impl Future<Output = T> + Unpin,
    since: Instant,
    timeout: Duration,
    open: &OpenStream,
) -> Result<T> {
    let late = since + timeout;
    let mut look_at = since + STALLED_AFTER;
    if let Ok(granted) = timeout_at(look_at.min(late).into(), &mut granted).await {
        return Ok(granted);
    }
    let watch = open.watch();
    let stalled = open.stall();
    let mut sent_bytes = watch.sent_bytes();
    // It may be long over, where the client takes a byte now and then.
    look_at = look_at.max(Instant::now());
    let mut is_slow = watch.is_blocked();
    while look_at < late {
        if !is_slow {
            stalled.check();
        }
        look_at += STALLED_AFTER;
        if let Ok(granted) = timeout_at(look_at.min(late).into(), &mut granted).await {
            return Ok(granted);
        }
        is_slow = watch.is_blocked() && watch.sent_bytes() != sent_bytes;
        sent_bytes = watch.sent_bytes();
    }
    Err(Error::new(ErrorType::WriteTimedout))
}

fn taken(granted: Option<std::result::Result<usize, h2::Error>>) -> Result<usize> {
    match granted {
        Some(granted) => granted.map_err(failed),
        None => Err(Error::new(ErrorType::ConnectionClosed)),
    }
}

fn remove_connection_fields(head: &mut ResponseHeader) {
    // One pass over the names, instead of hashing each that hardly any response has.
    if head.headers.keys().any(|name| CONNECTION_FIELDS.contains(name)) {
        for name in CONNECTION_FIELDS {
            head.remove_header(&name);
        }
    }
}

fn failed(error: h2::Error) -> Box<Error> {
    Error::because(ErrorType::WriteError, "writing a response of HTTP/2", error)
}
