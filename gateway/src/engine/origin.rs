//! A connection to an origin, for the time of one exchange.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWrite};

use super::pool::{OriginStream, Socket};
use crate::proxy::Approach;
use crate::upstream::Destination;

/// As much as is read at once: the head of a response and a small body.
const READ_BYTES: usize = 4 << 10;

/// A connection to an origin.
#[derive(Debug)]
pub(super) struct Origin {
    stream: OriginStream,
    /// Read, and not yet passed on.
    pub(super) ahead: BytesMut,
    /// To be written.
    pub(super) out: BytesMut,
    /// Whether TLS may hold back some of what was written.
    unflushed: bool,
    /// Bytes that may be on their way.
    pub(super) sent_bytes: usize,
    /// The most that is read at once, of what is known to be large.
    piece_bytes: usize,
    /// How long a read may wait.
    pub(super) read_timeout: Duration,
    /// How long a write may wait.
    pub(super) write_timeout: Option<Duration>,
    /// How long it may leave what was sent without an acknowledgement.
    silence: Duration,
    /// Whether that does not hold for this exchange.
    reads_slowly: bool,
}

impl Origin {
    pub(super) fn new(
        stream: OriginStream,
        approach: &Approach,
        destination: &Destination,
    ) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
            out: BytesMut::new(),
            unflushed: false,
            sent_bytes: 0,
            piece_bytes: approach.read_ahead.piece_bytes,
            read_timeout: approach.read_timeout,
            write_timeout: Some(destination.write_timeout),
            silence: destination.silence,
            reads_slowly: false,
        }
    }

    pub(super) fn into_stream(self) -> OriginStream {
        if self.reads_slowly {
            self.stream.bound_silence(Some(self.silence));
        }
        self.stream
    }

    /// Its socket, if what is read from it is what the origin wrote.
    pub(super) fn clear_socket(&self) -> Option<&Socket> {
        self.stream.clear_socket()
    }

    /// Its socket.
    pub(super) fn socket(&self) -> RawFd {
        self.stream.descriptor()
    }

    /// Our end of it.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.stream.local()
    }

    /// A body follows, which the origin may take as slowly as its `timeouts.write` allows.
    pub(super) fn expect_slow_reads(&mut self) {
        self.reads_slowly = true;
        self.stream.bound_silence(None);
    }

    /// Whether it is encrypted.
    pub(super) fn is_tls(&self) -> bool {
        self.stream.is_tls()
    }

    /// Writes what is to be written; ready once all of it is on its way.
    pub(super) fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
            self.sent_bytes += written;
            self.unflushed = self.stream.is_tls();
        }
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Whether nothing is left to be written.
    pub(super) fn is_sent(&self) -> bool {
        self.out.is_empty() && !self.unflushed
    }

    /// Reads ahead, more at once if `left` bytes are known to come. Returns how many bytes came, 0
    /// at the end.
    pub(super) fn poll_read_ahead(
        &mut self,
        context: &mut Context<'_>,
        left: Option<u64>,
    ) -> Poll<io::Result<usize>> {
        let wanted = left.map_or(READ_BYTES, |left| {
            usize::try_from(left).unwrap_or(self.piece_bytes).clamp(READ_BYTES, self.piece_bytes)
        });
        self.ahead.reserve(wanted);
        // Made anew for each poll: nothing is lost with it.
        pin!(self.stream.read_buf(&mut self.ahead)).poll(context)
    }
}
