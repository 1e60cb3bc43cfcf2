//! A client's stream whose HTTP/2 frames are counted as they are read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use sallyport_stats::Http2Closed;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::frames::{Frame, Frames};
use crate::config::Http2;
use crate::connection::PREFACE;

/// The time in which frames are counted.
const WINDOW: Duration = Duration::from_secs(10);

/// Bytes sent that earn a client one more PING or WINDOW_UPDATE: whoever downloads answers what comes with them,
/// as gRPC does to measure the connection.
const BYTES_PER_EARNED_FRAME: u64 = 1 << 10;

/// What the connection's loop is told of its stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<AtomicU8>);

const FLOODS: [Http2Closed; 4] =
    [Http2Closed::Resets, Http2Closed::Pings, Http2Closed::Settings, Http2Closed::Frames];

impl Watch {
    /// What the client has sent too much of, if it has.
    pub(super) fn flood(&self) -> Option<Http2Closed> {
        FLOODS.get(usize::from(self.0.load(Relaxed)).checked_sub(1)?).copied()
    }

    fn set(&self, flood: usize) {
        self.0.store(flood as u8 + 1, Relaxed);
    }
}

/// What came and went since the window began.
#[derive(Debug)]
struct Window {
    began: Instant,
    /// In the order of [`FLOODS`].
    frames: [u64; FLOODS.len()],
    sent_bytes: u64,
}

impl Window {
    fn new(began: Instant) -> Self {
        Self { began, frames: [0; FLOODS.len()], sent_bytes: 0 }
    }
}

/// A stream that stops being read once its client floods it.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Stream,
    frames: Frames,
    /// In the order of [`FLOODS`].
    most: [u64; FLOODS.len()],
    window: Window,
    watch: Watch,
}

impl Watched {
    /// The same stream, which begins with the preface, with the bounds of `settings`.
    pub(super) fn new(stream: Stream, settings: &Http2) -> Self {
        let Http2 { max_resets, max_pings, max_settings, max_control_frames, .. } = *settings;
        Self {
            stream,
            frames: Frames::after(PREFACE.len()),
            most: [max_resets, max_pings, max_settings, max_control_frames],
            window: Window::new(Instant::now()),
            watch: Watch::default(),
        }
    }

    /// Where a flood is told.
    pub(super) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    fn count(&mut self, bytes: &[u8]) {
        let (window, most, watch) = (&mut self.window, &self.most, &self.watch);
        self.frames.take(bytes, |frame| {
            let (index, earns) = match frame {
                Frame::Message => return,
                Frame::Reset => (0, false),
                Frame::Ping => (1, true),
                Frame::Settings => (2, false),
                Frame::Other => (3, true),
            };
            let now = Instant::now();
            if now.duration_since(window.began) >= WINDOW {
                *window = Window::new(now);
            }
            window.frames[index] += 1;
            let earned = if earns { window.sent_bytes / BYTES_PER_EARNED_FRAME } else { 0 };
            if window.frames[index] > most[index].saturating_add(earned) {
                watch.set(index);
            }
        });
    }

    fn sent(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.window.sent_bytes += bytes as u64;
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.flood().is_some() {
            // The loop looks after each turn, and says good-bye.
            return Poll::Pending;
        }
        let before = into.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        self.count(&into.filled()[before..]);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.sent(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.sent(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Watched {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Watched {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Watched {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }
}

impl GetTimingDigest for Watched {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }
}

impl GetProxyDigest for Watched {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Watched {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

impl Peek for Watched {}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// What a client of `pings` PINGs has sent too much of, after it was sent `bytes`.
    async fn flood(pings: usize, bytes: usize) -> Option<Http2Closed> {
        let (mut client, server) = UnixStream::pair().unwrap();
        let settings = Http2 { max_pings: 10, ..Http2::default() };
        let mut watched = Watched::new(Box::new(server), &settings);
        watched.write_all(&vec![0; bytes]).await.unwrap();
        let sent = [PREFACE, &PING.repeat(pings)].concat();
        client.write_all(&sent).await.unwrap();
        watched.read_exact(&mut vec![0; sent.len()]).await.unwrap();
        watched.watch().flood()
    }

    #[tokio::test]
    async fn pings_are_borne_up_to_the_bound_and_more_where_much_is_sent() {
        assert_eq!(flood(10, 0).await, None);
        assert_eq!(flood(11, 0).await, Some(Http2Closed::Pings));
        assert_eq!(flood(11, 1 << 10).await, None);
        assert_eq!(flood(12, 1 << 10).await, Some(Http2Closed::Pings));
    }
}
