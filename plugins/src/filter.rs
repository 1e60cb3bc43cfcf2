//! What a filter is, and what it may say in each phase.

use std::future::Future;
use std::ops::BitOr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, response};

use crate::exchange::{Exchange, Outcome};
use crate::host::Host;

/// A future that a filter waits for in the name of its request.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A filter as one place in the configuration sets it up. Requests share it; what belongs to one
/// request is kept in [`Exchange::state`].
///
/// Request hooks run in the order listener, virtual host, route; response hooks in the reverse. A
/// hook runs on the worker thread that serves the request: it must not block, and what takes time is
/// returned as [`Flow::Wait`].
pub trait Filter: Send + Sync + 'static {
    /// The phases this filter takes part in. Asked once, when the configuration is read: hooks of
    /// other phases are never called, and cost nothing.
    fn phases(&self) -> Phases;

    /// Whether this filter asks for what of the exchange with the origin takes time to note: see
    /// [`About`](crate::About). Asked once, when the configuration is read.
    fn asks_of_exchange(&self) -> bool {
        false
    }

    /// Whether [`Filter::log`] is to be called for connections as well that are passed on without being
    /// terminated. Of such a connection there is no request: its method is `CONNECT`, its target the
    /// name that the client asked for. Asked once, when the configuration is read.
    fn logs_connections(&self) -> bool {
        false
    }

    /// The configuration with this filter is good and about to be put in force. What takes time
    /// before the first request may be done here: the thread that reloads waits, requests go on with
    /// the configuration before. Called once, before [`Filter::start`].
    fn prepare(&self, _host: &Host) {}

    /// The configuration with this filter is in force from now on. Not called again where a reload
    /// left the filter's configuration and files as they were. Background work belongs here; it
    /// should hold the filter weakly and end with it.
    fn start(self: Arc<Self>, _host: &Arc<Host>) {}

    /// The request's head was read and its route found; it may be changed before it goes upstream.
    fn request_headers<'a>(&'a self, _x: Exchange<'a>) -> Flow<'a> {
        Flow::Continue
    }

    /// A piece of the request's body came. Taking the data out of `body` holds it back.
    fn request_body<'a>(&'a self, _x: Exchange<'a>, _body: Body<'a>) -> Flow<'a> {
        Flow::Continue
    }

    /// The head of the response, the origin's or the gateway's own, before the client gets it.
    fn response_headers<'a>(
        &'a self,
        _x: Exchange<'a>,
        _response: &'a mut response::Parts,
    ) -> Flow<'a> {
        Flow::Continue
    }

    /// The response whose head this filter has seen is not sent: another takes its place, and its head
    /// comes next. What was kept of the first is to be dropped, whether its head passed this filter
    /// or an earlier one answered in its stead.
    fn response_dropped(&self, _x: Exchange<'_>) {}

    /// A piece of the response's body. Taking the data out of `body` holds it back. Pingora cannot
    /// wait here, so neither can a filter. A filter that may change the body's length says so in
    /// [`Filter::response_headers`] with [`body_changes`].
    ///
    /// # Errors
    /// [`Stop`] where the response cannot be completed: the connection is closed, so that the client
    /// does not take what it got for the whole.
    fn response_body(&self, _x: Exchange<'_>, _body: Body<'_>) -> Result<(), Stop> {
        Ok(())
    }

    /// The trailers of a response, where it has some: over HTTP/2 only, Pingora drops those of
    /// HTTP/1.
    ///
    /// # Errors
    /// [`Stop`], as in [`Filter::response_body`].
    fn response_trailers(&self, _x: Exchange<'_>, _trailers: &mut HeaderMap) -> Result<(), Stop> {
        Ok(())
    }

    /// What this filter has counted, for the process that replaces this one. It may be read by
    /// another version.
    fn counted(&self) -> Option<Vec<u8>> {
        None
    }

    /// Goes on from what the same filter of the process that this one replaces has counted. Called
    /// before the first request, if at all; what cannot be made sense of is ignored.
    fn go_on_from(&self, _counted: &[u8]) {}

    /// The request has ended, however it did.
    fn log(&self, _x: Exchange<'_>, _outcome: &Outcome<'_>) {}
}

/// Makes `response` one whose body's length is not known before its end.
pub fn body_changes(response: &mut response::Parts) {
    response.headers.remove(header::CONTENT_LENGTH);
    response.headers.remove(header::ACCEPT_RANGES);
    // Over HTTP/2 Pingora leaves it out.
    response.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
}

/// What becomes of the request after a hook.
pub enum Flow<'a> {
    /// It goes on to the next filter.
    Continue,
    /// The gateway answers with this instead. It passes the response hooks like any response; given in
    /// [`Filter::response_headers`] it passes those of the other filters.
    Answer(Box<Answer>),
    /// It waits for the future, and goes on as that says.
    Wait(BoxFuture<'a, Next>),
    /// It goes on to the next filter, and its head is held back until this filter's
    /// [`Filter::request_body`] lets data pass or the body ends; at most 64 KiB can be held. Only
    /// [`Filter::request_headers`] may say so: elsewhere it is [`Flow::Continue`].
    HoldHead,
}

impl<'a> Flow<'a> {
    /// Waits for `future`.
    pub fn wait(future: impl Future<Output = Next> + Send + 'a) -> Self {
        Self::Wait(Box::pin(future))
    }

    /// Answers with `answer`.
    #[must_use]
    pub fn answer(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

/// What becomes of the request once a wait is over.
#[derive(Debug)]
pub enum Next {
    /// It goes on to the next filter.
    Continue,
    /// The gateway answers.
    Answer(Box<Answer>),
}

impl Next {
    /// Answers with `answer`.
    #[must_use]
    pub fn answer(answer: Answer) -> Self {
        Self::Answer(Box::new(answer))
    }
}

/// A response of a filter's own.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields; framing is the gateway's business.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
    /// What logs and metrics call the reason, such as `rate_limited`.
    pub reason: &'static str,
    /// Whether the body is the gateway's own one-line text, which `error_pages` may replace.
    pub is_plain_error: bool,
}

impl Answer {
    /// An answer in the form of the gateway's own errors: one line of plain text, not to be cached.
    #[must_use]
    pub fn error(status: StatusCode, reason: &'static str, text: &str) -> Self {
        let headers = vec![
            (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (HeaderName::from_static("x-sallyport-error"), HeaderValue::from_static(reason)),
        ];
        let body = format!("{reason}: {text}\n").into();
        Self { status, headers, body, reason, is_plain_error: true }
    }

    /// The same with one field more.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// A response that cannot be completed; the text is for the log.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Stop(pub &'static str);

/// A piece of a body.
#[derive(Debug)]
pub struct Body<'a> {
    /// The data; `None` where there is none, or where a filter before holds it back.
    pub data: &'a mut Option<Bytes>,
    /// Whether nothing comes after it.
    pub end: bool,
}

/// A set of phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases(u8);

impl Phases {
    /// [`Filter::request_headers`].
    pub const REQUEST_HEADERS: Self = Self(1);
    /// [`Filter::request_body`].
    pub const REQUEST_BODY: Self = Self(2);
    /// [`Filter::response_headers`].
    pub const RESPONSE_HEADERS: Self = Self(4);
    /// [`Filter::response_body`].
    pub const RESPONSE_BODY: Self = Self(8);
    /// [`Filter::response_trailers`].
    pub const RESPONSE_TRAILERS: Self = Self(16);
    /// [`Filter::log`].
    pub const LOG: Self = Self(32);

    /// Whether all of `other` are among these.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Phases {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
