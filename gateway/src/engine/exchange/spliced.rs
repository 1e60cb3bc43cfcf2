//! The rest of a large response, while the kernel moves it.

use std::task::{Context, Poll};

use pingora_error::{Error, ErrorType, Result};
use sallyport_http1::Body;

use super::{Event, Exchange};
use crate::engine::downstream::Downstream;
use crate::engine::splice::{PIPE_BYTES, Pipe};

impl<C: Downstream> Exchange<'_, C> {
    /// Whether the rest of the response, whose head is put, is left to the kernel: it is more than a
    /// pipe takes at once, both sockets are clear, and nobody looks at it.
    pub(super) fn may_splice(&self) -> bool {
        let left = self.body.as_ref().and_then(Body::bytes_left).unwrap_or_default();
        left > PIPE_BYTES as u64
            && self.phases.passes_response_body(self.ctx)
            && self.origin.clear_socket().is_some()
            && self.client.clear_socket().is_some()
    }

    /// Whether the kernel has the next bytes: what was read ahead has gone, and there is a pipe.
    pub(super) fn is_splicing(&mut self) -> bool {
        if !self.splices || !self.origin.ahead.is_empty() {
            return false;
        }
        if self.pipe.is_none() {
            self.pipe = self.pipes.take();
            self.splices = self.pipe.is_some();
        }
        self.splices
    }

    pub(super) fn is_pipe_empty(&self) -> bool {
        self.pipe.as_ref().is_none_or(Pipe::is_empty)
    }

    pub(super) fn poll_splice(&mut self, context: &mut Context<'_>) -> Poll<Result<Event>> {
        let (Some(pipe), Some(body)) = (&mut self.pipe, &mut self.body) else {
            return Poll::Pending;
        };
        let (Some(origin), Some(client)) = (self.origin.clear_socket(), self.client.clear_socket())
        else {
            return Poll::Pending;
        };
        if pipe.is_empty() {
            let left = body.bytes_left().unwrap_or_default();
            let filled = match pipe.poll_fill(context, origin, left) {
                Poll::Ready(Ok(bytes)) => bytes,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.not_read(error))),
                Poll::Pending => return Poll::Pending,
            };
            if filled == 0 {
                return Poll::Ready(Ok(Event::FromOrigin(0)));
            }
            body.pass(filled as u64);
            self.waits.origin_read = None;
        }
        let drained = pipe.poll_drain(context, client);
        if drained.is_ready() {
            self.waits.client_write = None;
        }
        drained.map(|drained| match drained {
            Ok(bytes) => Ok(Event::Spliced(bytes)),
            Err(error) => {
                let kind = ErrorType::WriteError;
                Err(Error::because(kind, "writing a response", error).into_down())
            }
        })
    }

    pub(super) fn spliced(&mut self, bytes: usize) -> Result<()> {
        self.turn_bytes += bytes;
        self.client.passed(bytes);
        self.phases.response_body_passed(self.client, bytes, self.ctx)?;
        if self.is_pipe_empty() && self.body.as_ref().is_some_and(Body::is_done) {
            self.splices = false;
            if let Some(pipe) = self.pipe.take() {
                self.pipes.put(pipe);
            }
            self.end_response()?;
        }
        Ok(())
    }
}
