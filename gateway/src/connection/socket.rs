//! A client's TCP socket, as everything above it sees it.
//!
//! It holds no buffer while it is idle. Small writes are put together and sent with the flush or
//! the large write that follows them, so that a response takes one system call.

use std::io::{self, IoSlice};
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

use crate::accept::Seat;

/// Bytes that are put together before they are sent: the head of most responses and a small body.
/// What is larger is not copied but sent along.
const UNSENT_BYTES: usize = 2 << 10;

/// A client's socket, which counts as open for as long as this value lives.
#[derive(Debug)]
pub struct ClientSocket {
    stream: TcpStream,
    /// Read and put back: what comes first.
    unread: Bytes,
    /// Written, and from `sent` on not sent yet.
    unsent: Vec<u8>,
    sent: usize,
    seat: Seat,
}

impl ClientSocket {
    /// The socket of the connection that `seat` was given to.
    #[must_use]
    pub fn new(stream: TcpStream, seat: Seat) -> Self {
        Self { stream, unread: Bytes::new(), unsent: Vec::new(), sent: 0, seat }
    }

    /// The socket itself, for who has flushed what was written.
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream
    }

    /// Puts back what was read and is to be read again, before everything else.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.unread = if self.unread.is_empty() {
            bytes
        } else {
            [bytes, std::mem::take(&mut self.unread)].concat().into()
        };
    }

    /// What it counts under.
    pub fn seat(&mut self) -> &mut Seat {
        &mut self.seat
    }

    /// Sends what was put together, and `more` of which the written bytes are returned.
    fn poll_send(&mut self, context: &mut Context<'_>, more: &[u8]) -> Poll<io::Result<usize>> {
        while self.sent < self.unsent.len() {
            let rest = &self.unsent[self.sent..];
            let parts = [IoSlice::new(rest), IoSlice::new(more)];
            let pending = rest.len();
            let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &parts))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written.min(pending);
            if written > pending {
                self.forget_sent();
                return Poll::Ready(Ok(written - pending));
            }
        }
        self.forget_sent();
        Poll::Ready(Ok(0))
    }

    /// Gives the memory back, since the next response may be far away.
    fn forget_sent(&mut self) {
        self.unsent = Vec::new();
        self.sent = 0;
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(context, into);
        }
        let part = self.unread.len().min(into.remaining());
        into.put_slice(&self.unread[..part]);
        self.unread.advance(part);
        if self.unread.is_empty() {
            self.unread = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let unsent = self.unsent.len() - self.sent;
        if unsent + bytes.len() <= UNSENT_BYTES {
            if self.unsent.capacity() == 0 {
                self.unsent.reserve_exact(UNSENT_BYTES);
            } else if self.sent > 0 {
                let sent = std::mem::take(&mut self.sent);
                self.unsent.drain(..sent);
            }
            self.unsent.extend_from_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        match ready!(self.poll_send(context, bytes))? {
            // All that came before is sent, and nothing of this.
            0 => Pin::new(&mut self.stream).poll_write(context, bytes),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_send(context, &[]))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context, &[]))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context, &[]))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What was written and not flushed is sent as far as the kernel takes it at once.
impl Drop for ClientSocket {
    fn drop(&mut self) {
        if self.sent < self.unsent.len() {
            // Nobody is left to be told.
            self.stream.try_write(&self.unsent[self.sent..]).ok();
        }
    }
}

#[async_trait]
impl Shutdown for ClientSocket {
    async fn shutdown(&mut self) {
        // A client that is gone already needs no notice.
        AsyncWriteExt::shutdown(self).await.ok();
    }
}

impl UniqueID for ClientSocket {
    fn id(&self) -> UniqueIDType {
        self.stream.as_raw_fd()
    }
}

impl Ssl for ClientSocket {}

// Addresses and times are the connection's (`facts.rs`): asked for here, they would be collected anew
// for every request.

impl GetTimingDigest for ClientSocket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for ClientSocket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for ClientSocket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for ClientSocket {}

#[cfg(test)]
mod tests;
