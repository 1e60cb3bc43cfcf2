//! A connection to an origin, for the time of one exchange.

use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use pingora_core::protocols::Stream;
use pingora_core::upstreams::peer::{HttpPeer, Peer as _};
use tokio::io::{AsyncReadExt as _, AsyncWrite};

use crate::proxy::Approach;

/// As much as is read at once: the head of a response and a small body.
const READ_BYTES: usize = 4 << 10;
/// The same for what is known to be large.
const READ_BYTES_MAX: usize = 64 << 10;

/// What Pingora's streams hold back before they write; more is written at once.
const STREAM_BYTES: usize = 1460;

/// A connection to an origin.
#[derive(Debug)]
pub(super) struct Origin {
    stream: Stream,
    /// Read, and not yet passed on.
    pub(super) ahead: BytesMut,
    /// To be written.
    pub(super) out: BytesMut,
    /// Bytes that the stream has taken, and those of them that the kernel has for certain.
    taken_bytes: usize,
    pub(super) sent_bytes: usize,
    /// How long a read may wait.
    pub(super) read_timeout: Duration,
    /// How long a write may wait.
    pub(super) write_timeout: Option<Duration>,
    /// Whether it is encrypted.
    pub(super) is_tls: bool,
}

impl Origin {
    pub(super) fn new(stream: Stream, approach: &Approach, peer: &HttpPeer) -> Self {
        Self {
            stream,
            ahead: BytesMut::new(),
            out: BytesMut::new(),
            taken_bytes: 0,
            sent_bytes: 0,
            read_timeout: approach.read_timeout,
            write_timeout: peer.options.write_timeout,
            is_tls: peer.tls(),
        }
    }

    pub(super) fn into_stream(self) -> Stream {
        self.stream
    }

    /// Its socket.
    pub(super) fn socket(&self) -> RawFd {
        self.stream.id()
    }

    /// Our end of it.
    pub(super) fn local(&self) -> Option<SocketAddr> {
        self.stream.get_socket_digest()?.local_addr()?.as_inet().copied()
    }

    /// Writes what is to be written; ready once all of it is on its way.
    pub(super) fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
            self.taken_bytes += written;
            if self.taken_bytes - self.sent_bytes > STREAM_BYTES {
                self.sent_bytes = self.taken_bytes;
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.sent_bytes = self.taken_bytes;
        Poll::Ready(Ok(()))
    }

    /// Whether nothing is left to be written.
    pub(super) fn is_sent(&self) -> bool {
        self.out.is_empty() && self.sent_bytes == self.taken_bytes
    }

    /// Reads ahead, more at once if `left` bytes are known to come. Returns how many bytes came, 0 at the end.
    pub(super) fn poll_read_ahead(
        &mut self,
        context: &mut Context<'_>,
        left: Option<u64>,
    ) -> Poll<io::Result<usize>> {
        let wanted = left.map_or(READ_BYTES, |left| {
            usize::try_from(left).unwrap_or(READ_BYTES_MAX).clamp(READ_BYTES, READ_BYTES_MAX)
        });
        self.ahead.reserve(wanted);
        // Made anew for each poll: nothing is lost with it.
        pin!(self.stream.read_buf(&mut self.ahead)).poll(context)
    }
}
