//! The body of a request: its parts, what is kept of them for another attempt, and the trailers at its end.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use pingora_core::protocols::http::body_buffer::FixedBuffer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use tokio::time::{Sleep, sleep};

use crate::connection::CONTINUE_AFTER;
use crate::connection::http2::streams::OpenStream;

/// What is kept for another attempt: as much as Pingora keeps of a body of HTTP/1.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// Bytes that are still passed on of a body that comes after its response has ended: what may have been under way.
const LATE_BYTES_MAX: usize = 64 << 10;

/// What trailers must not say, since it frames or directs the message that they end (RFC 9110, 6.5.1). Fields of the
/// connection, the h2 crate refuses.
const REFUSED_TRAILERS: [HeaderName; 5] =
    [header::CONTENT_LENGTH, header::HOST, header::TE, header::TRAILER, header::TRANSFER_ENCODING];

/// A body as it comes.
pub(super) struct RequestBody {
    stream: RecvStream,
    bytes: usize,
    /// Bytes of the part read last, which still take room in the client's windows.
    unreleased: usize,
    late_bytes: usize,
    kept: Option<FixedBuffer>,
    trailers: Option<HeaderMap>,
    continues: Continue,
}

/// Whether the client waits to be told to send its body (RFC 9110, 10.1.1).
#[derive(Debug)]
enum Continue {
    /// It does not, or has been told.
    No,
    /// It does, and nobody has asked for the body yet.
    Asked,
    /// It is told when this is over.
    After(Pin<Box<Sleep>>),
}

impl RequestBody {
    pub(super) fn new(stream: RecvStream, head: &RequestHeader) -> Self {
        let is_asked = !matches!(head.method, Method::GET | Method::HEAD)
            && head.headers.get(header::EXPECT).is_some_and(is_continue)
            && !stream.is_end_stream();
        let continues = if is_asked { Continue::Asked } else { Continue::No };
        Self {
            stream,
            bytes: 0,
            unreleased: 0,
            late_bytes: 0,
            kept: None,
            trailers: None,
            continues,
        }
    }

    /// Whether the request has none.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0 && self.is_done()
    }

    /// Whether its end has been read, its trailers included.
    pub(super) fn is_done(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// The trailers that it ended with.
    pub(super) fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// Bytes read so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ready when the client, which has sent nothing yet, is to be told to go on.
    pub(super) fn poll_continue(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if matches!(self.continues, Continue::Asked) {
            self.continues = Continue::After(Box::pin(sleep(CONTINUE_AFTER)));
        }
        let Continue::After(timer) = &mut self.continues else { return Poll::Pending };
        ready!(timer.as_mut().poll(context));
        self.continues = Continue::No;
        Poll::Ready(())
    }

    /// The client knows, or does not wait any more.
    pub(super) fn told_to_continue(&mut self) {
        self.continues = Continue::No;
    }

    /// As [`poll_read`](Self::poll_read), if that need not wait; `None` also for a client that goes
    /// on and on.
    pub(super) fn read_what_has_come(
        &mut self,
        open: &OpenStream,
    ) -> Option<Result<Option<Bytes>>> {
        if self.late_bytes > LATE_BYTES_MAX {
            return None;
        }
        let mut context = Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(part) = self.poll_read(&mut context, open) else { return None };
        if let Ok(Some(part)) = &part {
            self.late_bytes += part.len();
        }
        Some(part)
    }

    /// Reads the next part; `None` at the end. What was read before has been taken by now, so that
    /// the client may send as much again.
    ///
    /// # Errors
    /// [`ErrorType::InvalidHTTPHeader`] if the request is malformed, and others if the client is
    /// gone.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        open: &OpenStream,
    ) -> Poll<Result<Option<Bytes>>> {
        let unreleased = std::mem::take(&mut self.unreleased);
        if unreleased > 0 {
            self.stream.flow_control().release_capacity(unreleased).map_err(failed)?;
        }
        match ready!(self.stream.poll_data(context)) {
            Some(part) => {
                let part = part.map_err(failed)?;
                self.took(&part);
                Poll::Ready(Ok(Some(part)))
            }
            None => {
                if let Some(trailers) =
                    ready!(self.stream.poll_trailers(context)).map_err(failed)?
                {
                    self.check(&trailers, open)?;
                    self.trailers = Some(trailers);
                }
                Poll::Ready(Ok(None))
            }
        }
    }

    fn took(&mut self, part: &Bytes) {
        self.continues = Continue::No;
        self.bytes += part.len();
        self.unreleased = part.len();
        if let Some(kept) = &mut self.kept {
            kept.write_to_buffer(part);
        }
    }

    fn check(&self, trailers: &HeaderMap, open: &OpenStream) -> Result<()> {
        let stream = self.stream.stream_id().as_u32();
        if open.watch().has_malformed_trailers(stream) {
            // Counted when they were found.
            return Err(Error::new(ErrorType::InvalidHTTPHeader));
        }
        if is_sound(trailers) {
            return Ok(());
        }
        open.watch().note_malformed();
        Err(Error::new(ErrorType::InvalidHTTPHeader))
    }

    /// Keeps what comes from now on, for another attempt.
    pub(super) fn keep(&mut self) {
        if !self.is_empty() {
            self.kept.get_or_insert_with(|| FixedBuffer::new(KEPT_BYTES_MAX));
        }
    }

    /// Whether more came than is kept.
    pub(super) fn is_kept_in_part(&self) -> bool {
        self.kept.as_ref().is_some_and(FixedBuffer::is_truncated)
    }

    /// What is kept, if that is all that came.
    pub(super) fn kept(&self) -> Option<Bytes> {
        let kept = self.kept.as_ref().filter(|kept| !kept.is_truncated())?;
        kept.get_buffer()
    }
}

/// Whether `expectation` is to be told to go on.
fn is_continue(expectation: &HeaderValue) -> bool {
    expectation.as_bytes().eq_ignore_ascii_case(b"100-continue")
}

/// Whether trailers say nothing of what was said before them (RFC 9110, 6.5.1), and their values neither begin nor end
/// with a space or a tab (RFC 9113, 8.2.1).
fn is_sound(trailers: &HeaderMap) -> bool {
    let is_padded = |value: &HeaderValue| value.as_bytes().trim_ascii() != value.as_bytes();
    !trailers.iter().any(|(name, value)| REFUSED_TRAILERS.contains(name) || is_padded(value))
}

/// What the h2 crate found to be wrong with this stream alone is the request's fault; everything else means that
/// nobody waits for it.
fn failed(error: h2::Error) -> Box<Error> {
    let is_malformed = error.is_reset() && error.is_library();
    let kind =
        if is_malformed { ErrorType::InvalidHTTPHeader } else { ErrorType::ConnectionClosed };
    Error::because(kind, "reading a request of HTTP/2", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9110_6_5_1_trailers_say_nothing_of_the_message_that_they_end() {
        for (name, value, sound) in [
            ("grpc-status", "0", true),
            ("x-checksum", "a b", true),
            ("x-empty", "", true),
            ("content-length", "3", false),
            ("host", "a.test", false),
            ("te", "trailers", false),
            ("trailer", "x", false),
            ("transfer-encoding", "chunked", false),
            ("x-padded", " a", false),
            ("x-padded", "a\t", false),
        ] {
            let mut trailers = HeaderMap::new();
            trailers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            assert_eq!(is_sound(&trailers), sound, "{name}: {value:?}");
        }
    }
}
