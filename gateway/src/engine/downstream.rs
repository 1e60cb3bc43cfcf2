//! The client's side of an exchange, as the exchange sees it beside the phases.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use tokio::net::TcpStream;

use super::head::Written;
use crate::proxy::Client;

/// The type of the error by which a response ends that has less of a body than it announced.
pub(super) const TOO_SHORT: ErrorType = ErrorType::Custom("response shorter than announced");

/// A client whose bytes the exchange moves.
///
/// What is put goes out with the next [`poll_write_out`](Self::poll_write_out), so that a head and
/// the body that came with it are one write. The exchange reads nothing from the origin before.
pub(super) trait Downstream: Client {
    /// How long the next part of the request's body may take.
    fn read_timeout(&self) -> Option<Duration>;

    /// How long what was put may take to be written; `None` where the client keeps that time
    /// itself.
    fn write_timeout(&self) -> Option<Duration>;

    /// What is kept of the request's body, if that is all that came.
    fn kept(&self) -> Option<Bytes>;

    /// The trailers of the request, once its body is done; `None` where it has none.
    fn request_trailers(&self) -> Option<&HeaderMap>;

    /// Whether the client asks for the trailers of its response.
    fn asks_for_trailers(&self) -> bool;

    /// Whether those of the response whose head was put are passed on.
    fn takes_trailers(&self) -> bool;

    /// Reads the next part of the request's body; `None` at its end.
    fn poll_read_body(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>>>;

    /// Ready when a client that has sent its request is gone, or waits for its answer no longer.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>>;

    /// As [`poll_gone`](Self::poll_gone), before the exchange or in the middle of a body that is not
    /// read just now.
    fn poll_gone_early(&mut self, context: &mut Context<'_>) -> Poll<Box<Error>>;

    /// Puts the head of a response into what is to be written; `written` says how its names were
    /// written.
    fn put_head(&mut self, head: Box<ResponseHeader>, written: Option<Written<'_>>) -> Result<()>;

    /// Puts a part of the response's body into what is to be written.
    fn put_body(&mut self, data: Bytes);

    /// Puts the end of the response's body into what is to be written, and its trailers where the
    /// client [takes](Self::takes_trailers) them.
    ///
    /// # Errors
    /// The body is shorter than was announced.
    fn put_end(&mut self, trailers: Option<HeaderMap>) -> Result<()>;

    /// Its socket, if bytes of the response's body can be written to it as they are, past
    /// [`put_body`](Self::put_body).
    fn clear_socket(&self) -> Option<&TcpStream> {
        None
    }

    /// So many bytes of the response's body were written to its socket.
    fn passed(&mut self, _bytes: usize) {}

    /// Whether the client knows by now that the response's body is over.
    fn is_response_done(&self) -> bool;

    /// Whether nothing waits to be written.
    fn is_flushed(&self) -> bool;

    /// Writes what is to be written; ready once all of it is on its way.
    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<Result<()>>;

    /// Waits until what is to be written is on its way.
    fn write_out(&mut self) -> impl Future<Output = Result<()>> + Send;
}
