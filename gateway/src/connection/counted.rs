//! A stream that can be read ahead, and knows what has become of its bytes.

use std::future::{Future as _, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// As much as Pingora first makes room for.
const AHEAD_BYTES: usize = 4 << 10;

/// A stream whose bytes are counted, and of which some may have been read ahead.
#[derive(Debug)]
pub(super) struct Counted {
    stream: Stream,
    /// Read, and not yet given to anybody.
    ahead: Bytes,
    /// Bytes that were given to requests.
    given: u64,
    /// Bytes that they made use of. Less than were given where some belong to the next request, or where it is
    /// not known, as with chunks.
    taken: AtomicU64,
    /// Whether a head is being read, how long that may take, and when that is over: told when there is something
    /// to wait for.
    in_head: AtomicBool,
    head_within: Duration,
    head_late: Option<Pin<Box<Sleep>>>,
}

impl Counted {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            ahead: Bytes::new(),
            given: 0,
            taken: AtomicU64::new(0),
            in_head: AtomicBool::new(false),
            head_within: Duration::ZERO,
            head_late: None,
        }
    }

    /// What is read from now on is a head, which may take so long.
    pub(super) fn begin_head(&mut self, within: Duration) {
        *self.in_head.get_mut() = true;
        self.head_within = within;
        self.head_late = None;
    }

    /// The head is complete.
    pub(super) fn end_head(&self) {
        self.in_head.store(false, Relaxed);
    }

    /// Ready if a head was read for too long.
    fn poll_head_late(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !*self.in_head.get_mut() {
            return Poll::Pending;
        }
        let within = self.head_within;
        let late = self.head_late.get_or_insert_with(|| Box::pin(sleep(within)));
        late.as_mut().poll(context)
    }

    /// A request has made use of so many bytes.
    pub(super) fn account(&self, bytes: usize) {
        self.taken.fetch_add(bytes as u64, Relaxed);
    }

    /// Whether there are bytes that nobody was given yet.
    pub(super) fn has_ahead(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Whether requests have used up all that was read.
    pub(super) fn is_drained(&self) -> bool {
        self.given == self.taken.load(Relaxed)
    }

    /// Waits for the next bytes and reads them ahead.
    ///
    /// # Errors
    /// The stream fails, or is at its end.
    pub(super) async fn read_ahead(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_read_ahead(context)).await
    }

    fn poll_read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // On the stack: nothing is held while nothing comes.
        let mut space = [MaybeUninit::uninit(); AHEAD_BYTES];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.ahead = if self.ahead.is_empty() {
            Bytes::copy_from_slice(read.filled())
        } else {
            [&self.ahead, read.filled()].concat().into()
        };
        Poll::Ready(Ok(()))
    }

    /// Whether `expected` comes first; reads ahead no further than it takes to tell.
    ///
    /// # Errors
    /// As [`Self::read_ahead`].
    pub(super) async fn begins_with(&mut self, expected: &[u8]) -> io::Result<bool> {
        while self.ahead.len() < expected.len() {
            if !expected.starts_with(&self.ahead) {
                return Ok(false);
            }
            self.read_ahead().await?;
        }
        Ok(self.ahead.starts_with(expected))
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        if self.ahead.is_empty() {
            match Pin::new(&mut self.stream).poll_read(context, into) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    ready!(self.poll_head_late(context));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        } else {
            let part = self.ahead.len().min(into.remaining());
            into.put_slice(&self.ahead[..part]);
            self.ahead.advance(part);
            if self.ahead.is_empty() {
                self.ahead = Bytes::new();
            }
        }
        self.given += (into.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
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
impl Shutdown for Counted {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Counted {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Counted {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }
}

impl GetTimingDigest for Counted {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Counted {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Counted {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}

impl Peek for Counted {}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    const PHRASE: &[u8] = b"PRI * HTTP";

    fn pair() -> (UnixStream, Counted) {
        let (client, server) = UnixStream::pair().unwrap();
        (client, Counted::new(Box::new(server)))
    }

    async fn read(stream: &mut Counted, bytes: usize) -> String {
        let mut into = vec![0; bytes];
        stream.read_exact(&mut into).await.unwrap();
        String::from_utf8(into).unwrap()
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_given_first_and_counts_only_then() {
        let (mut client, mut stream) = pair();
        client.write_all(b"one").await.unwrap();
        stream.read_ahead().await.unwrap();
        assert!(stream.is_drained(), "given to nobody");
        client.write_all(b"two").await.unwrap();
        assert_eq!(read(&mut stream, 2).await, "on");
        assert_eq!(read(&mut stream, 4).await, "etwo");
        assert!(!stream.is_drained());
        stream.account(6);
        assert!(stream.is_drained());
    }

    #[tokio::test]
    async fn how_it_begins_is_told_from_as_little_as_it_takes() {
        let (mut client, mut stream) = pair();
        client.write_all(b"P").await.unwrap();
        stream.read_ahead().await.unwrap();
        client.write_all(b"OST").await.unwrap();
        assert!(!stream.begins_with(PHRASE).await.unwrap());
        assert_eq!(read(&mut stream, 4).await, "POST");

        let (mut client, mut stream) = pair();
        client.write_all(&PHRASE[..5]).await.unwrap();
        stream.read_ahead().await.unwrap();
        client.write_all(&PHRASE[5..]).await.unwrap();
        assert!(stream.begins_with(PHRASE).await.unwrap());
        assert_eq!(read(&mut stream, PHRASE.len()).await.as_bytes(), PHRASE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_in_pieces_has_so_long_as_a_whole_and_what_follows_has_not() {
        let (mut client, mut stream) = pair();
        let pieces = tokio::spawn(async move {
            for _ in 0..20 {
                sleep(Duration::from_secs(1)).await;
                if client.write_all(b"x").await.is_err() {
                    break;
                }
            }
        });
        stream.begin_head(Duration::from_secs(5));
        let started = tokio::time::Instant::now();
        let error = loop {
            if let Err(error) = stream.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed().as_secs(), 5);
        stream.end_head();
        assert_eq!(read(&mut stream, 10).await, "x".repeat(10));
        drop(stream);
        pieces.await.unwrap();
    }
}
