//! One end of a connection that is passed on, whose bytes share a bandwidth with others.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use sallyport_stats::Direction;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::engine::OriginStream;
use crate::shaping::{Share, Wait};
use crate::tunnel::{Side, reset_on_close};

/// A stream of which a piece that was read is held until it has its turn. Without a share it is the
/// stream itself.
pub(super) struct Shaped<S> {
    inner: S,
    direction: Direction,
    share: Option<Share>,
    held: Bytes,
    turn: Option<Wait>,
}

impl<S> Shaped<S> {
    pub(super) fn new(inner: S, direction: Direction, share: Option<Share>) -> Self {
        Self { inner, direction, share, held: Bytes::new(), turn: None }
    }
}

impl<S: AsyncRead + Unpin> Shaped<S> {
    /// Reads a piece; `into` has it unless it has to wait.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, into))?;
        let piece = &into.filled()[before..];
        let share = self.share.as_ref().filter(|_| !piece.is_empty());
        self.turn = share.and_then(|share| share.pass(self.direction, piece.len()));
        if self.turn.is_some() {
            self.held = Bytes::copy_from_slice(piece);
            into.set_filled(before);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Shaped<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.held.is_empty() {
            ready!(this.poll_piece(context, into))?;
            if this.held.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        if let Some(turn) = &mut this.turn {
            ready!(Pin::new(turn).poll(context));
            this.turn = None;
        }
        let part = this.held.len().min(into.remaining());
        into.put_slice(&this.held[..part]);
        this.held.advance(part);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Shaped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

impl<S: Side> Side for Shaped<S> {
    fn descriptor(&self) -> i32 {
        self.inner.descriptor()
    }

    fn close_by_reset(&self) -> io::Result<()> {
        self.inner.close_by_reset()
    }
}

impl Side for OriginStream {
    fn descriptor(&self) -> i32 {
        OriginStream::descriptor(self)
    }

    fn close_by_reset(&self) -> io::Result<()> {
        reset_on_close(OriginStream::descriptor(self))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use sallyport_balance::Rate;
    use sallyport_stats::{BandwidthOf, Registry};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Duration, Instant};

    use super::*;
    use crate::shaping;
    use crate::upstream::Tenant;

    fn share(bytes_per_s: u64) -> Share {
        let stats = Registry::new(1).bandwidths(&[BandwidthOf::Upstream("up".into())]).remove(0);
        let rate = Rate { bytes_per_s, burst_bytes: 0 };
        let shaped = Arc::new(shaping::Shaped::new(stats));
        Share { shaped, rate, version: 1, class: Tenant::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_read_waits_for_its_turn_and_is_all_there() {
        let sent: Vec<u8> = (0..=255).cycle().take(100_000).collect();
        let (mut far, near) = tokio::io::duplex(200_000);
        far.write_all(&sent).await.unwrap();
        drop(far);
        let began = Instant::now();
        let mut near = Shaped::new(near, Direction::Response, Some(share(10_000)));
        let mut read = Vec::new();
        let mut part = [0; 4_000];
        loop {
            match near.read(&mut part).await.unwrap() {
                0 => break,
                bytes => read.extend_from_slice(&part[..bytes]),
            }
        }
        assert!(read == sent);
        // The clock of the shaper is the real one: only that it has waited can be said.
        assert!(began.elapsed() > Duration::from_millis(1));
    }

    #[tokio::test]
    async fn without_a_share_nothing_waits() {
        let (mut far, near) = tokio::io::duplex(100);
        far.write_all(b"hello").await.unwrap();
        let mut near = Shaped::new(near, Direction::Request, None);
        let mut read = [0; 5];
        near.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"hello");
    }
}
