//! The client's side of one exchange, as the phases see it.
//!
//! The phases name neither Pingora's session nor an engine: what they need of the client is here,
//! and nothing else. [`pingora`](self::pingora) is the adapter for whatever Pingora drives, HTTP/1
//! and our sessions of HTTP/2 alike. Heads are `pingora_http`'s everywhere.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora_error::Result;
use pingora_http::{RequestHeader, ResponseHeader};

use crate::connection::{Connection, Failure, Refusal};
use crate::tunnel::Tunnel;

mod pingora;

/// A client that has sent the head of a request and waits for a response.
pub(crate) trait Client: Send + Sync {
    /// What the request came by; `None` where it did not come by a listener of ours.
    fn connection(&self) -> Option<&Arc<Connection>>;

    /// Why the request was refused before it began; its head is a stand-in then.
    fn refusal(&self) -> Option<Refusal>;

    /// What ended the request while it was read, if that is not the client's leaving.
    fn failure(&self) -> Option<Failure>;

    /// The request's head.
    fn request(&self) -> &RequestHeader;

    /// The request's head, to be changed.
    fn request_mut(&mut self) -> &mut RequestHeader;

    /// The request in one line, for the operator's log.
    fn summary(&self) -> String;

    /// Whether the connection may serve another request.
    fn is_kept(&self) -> bool;

    /// Keeps the connection for `idle` after this request, or closes it then.
    fn keep_alive(&mut self, idle: Option<Duration>);

    /// Keeps the connection although the request fails. Returns whether that can be: the request
    /// must have been read to its end.
    fn keep_after_failure(&mut self) -> bool;

    /// Whether the connection ends with this request, since the listener ends.
    fn is_ending(&self) -> bool;

    /// Bounds each wait for the client to send something.
    fn set_read_timeout(&mut self, timeout: Option<Duration>);

    /// Bounds each wait for the client to take something.
    fn set_write_timeout(&mut self, timeout: Option<Duration>);

    /// The client knows no interim responses: none are passed on.
    fn ignore_interim(&mut self);

    /// The client knows interim responses, and may wait to be told to send its body.
    fn allow_interim(&mut self, awaits_continue: bool);

    /// Whether a response that ends before the request does closes the connection.
    fn close_if_request_unfinished(&mut self, close: bool);

    /// Fails the request if its answer does not go on within this time; `None` takes that back.
    fn expect_answer(&self, within: Option<Duration>);

    /// Whether the request has no body.
    fn is_body_empty(&mut self) -> bool;

    /// Whether all of the request's body was read.
    fn is_body_done(&mut self) -> bool;

    /// Reads the next part of the request's body; `None` at its end.
    fn read_body(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send;

    /// Keeps what is read of the body from now on, for another attempt.
    fn keep_body(&mut self);

    /// Whether more of the body was read than is kept for another attempt.
    fn is_body_kept_in_part(&self) -> bool;

    /// Bytes of the body that were read.
    fn body_bytes_read(&self) -> usize;

    /// The head that was written last, interim ones included.
    fn response(&self) -> Option<&ResponseHeader>;

    /// Writes the head of the gateway's own answer, and its body unless that is `None`, which means
    /// that the response has none, whatever its fields say.
    fn answer(
        &mut self,
        head: Box<ResponseHeader>,
        body: Option<Bytes>,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Bytes of a response's body that were written.
    fn body_bytes_sent(&self) -> usize;

    /// From now on all that the client sends belongs to a tunnel.
    fn begin_tunnel(&self);

    /// Makes the connection the client's end of `tunnel`.
    fn switch(&self, tunnel: Arc<Tunnel>);

    /// Closes the connection without a word.
    fn cut_off(&mut self) -> impl Future<Output = ()> + Send;
}
