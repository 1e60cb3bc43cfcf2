//! Connections that hold little while nothing comes.
//!
//! What Pingora makes for a request, it makes before it waits for one: some 16 KiB that an idle connection would
//! hold as well. So the first bytes are waited for here, and a request is begun when they have come. That
//! needs to know that none are left of what was read before, which is counted.
//!
//! A head that comes in pieces is given up when it takes too long as a whole; Pingora looks at each read.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes};
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::server::HttpSession as Http1;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_core::server::ShutdownWatch;
use pingora_timeout::timeout;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::config::ListenerTimeouts;

/// How a client of HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// As much as Pingora first makes room for.
const AHEAD_BYTES: usize = 4 << 10;

type Timeouts = Box<dyn Fn() -> ListenerTimeouts + Send + Sync>;

/// An application whose requests begin when something has come.
pub struct OnDemand<A> {
    app: Arc<A>,
    timeouts: Timeouts,
}

impl<A> OnDemand<A> {
    /// The same application, on demand; `timeouts` are those in force when it is asked.
    pub fn new(app: A, timeouts: impl Fn() -> ListenerTimeouts + Send + Sync + 'static) -> Self {
        Self { app: Arc::new(app), timeouts: Box::new(timeouts) }
    }
}

/// Notes that the head of `session` is complete.
pub fn head_came(session: &ServerSession) {
    if let Some((_, counted)) = counted(session) {
        counted.in_head.store(false, Relaxed);
    }
}

/// Notes what the request of `session` has taken from its connection.
pub fn account(session: &ServerSession) {
    if let Some((http1, counted)) = counted(session) {
        let taken = http1.get_headers_raw_bytes().len() + http1.body_bytes_read();
        counted.taken.fetch_add(taken as u64, Relaxed);
    }
}

fn counted(session: &ServerSession) -> Option<(&Http1, &Counted)> {
    let ServerSession::H1(http1) = session else { return None };
    Some((http1, http1.stream().as_any().downcast_ref()?))
}

#[async_trait]
impl<A: HttpServerApp + Send + Sync + 'static> ServerApp for OnDemand<A> {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut stream = Box::new(Counted::new(stream));
        let mut ending = shutdown.clone();
        let ListenerTimeouts { idle, read, .. } = (self.timeouts)();
        if self.app.server_options().is_some_and(|options| options.h2c)
            && within(idle, stream.begins_with(PREFACE), &mut ending).await?
        {
            return self.app.process_new(stream, shutdown).await;
        }
        if stream.ahead.is_empty() {
            within(idle, stream.read_ahead(), &mut ending).await?;
        }
        let mut reused = self.request(stream, None, read, shutdown).await?;
        loop {
            let (stream, settings) = reused.consume();
            let mut stream = stream.into_any().downcast::<Counted>().ok()?;
            let ListenerTimeouts { idle, read, .. } = (self.timeouts)();
            let head_within = if stream.is_drained() {
                within(idle, stream.read_ahead(), &mut ending).await?;
                read
            } else {
                // Pingora waits, and then reads the head.
                idle + read
            };
            reused = self.request(stream, settings, head_within, shutdown).await?;
        }
    }

    async fn cleanup(&self) {
        self.app.http_cleanup().await;
    }
}

impl<A: HttpServerApp + Send + Sync + 'static> OnDemand<A> {
    /// One request; what it leaves for the next, if the connection is kept. Not an `async fn`, so that nobody
    /// keeps room for the session while waiting.
    fn request<'a>(
        &'a self,
        mut stream: Box<Counted>,
        settings: Option<HttpPersistentSettings>,
        head_within: Duration,
        shutdown: &'a ShutdownWatch,
    ) -> impl Future<Output = Option<ReusedHttpStream>> + Send + 'a {
        stream.begin_head(head_within);
        let mut session = ServerSession::new_http1(stream);
        match settings {
            Some(settings) => settings.apply_to_session(&mut session),
            // How long, is told with each request.
            None => session.set_keepalive(Some(head_within.as_secs().max(1))),
        }
        self.app.process_new_http(session, shutdown)
    }
}

/// What comes of `event`; nothing if it takes longer than `patience`, fails, or the server begins to shut down.
async fn within<T>(
    patience: Duration,
    event: impl Future<Output = io::Result<T>>,
    ending: &mut ShutdownWatch,
) -> Option<T> {
    tokio::select! {
        biased;
        came = timeout(patience, event) => came.ok()?.ok(),
        _ = ending.wait_for(|ending| *ending) => None,
    }
}

/// A stream whose bytes are counted, and of which some may have been read ahead.
#[derive(Debug)]
struct Counted {
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
    fn new(stream: Stream) -> Self {
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
    fn begin_head(&mut self, within: Duration) {
        *self.in_head.get_mut() = true;
        self.head_within = within;
        self.head_late = None;
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

    /// Whether requests have used up all that was read.
    fn is_drained(&self) -> bool {
        self.given == self.taken.load(Relaxed)
    }

    /// Waits for the next bytes and reads them ahead.
    ///
    /// # Errors
    /// The stream fails, or is at its end.
    async fn read_ahead(&mut self) -> io::Result<()> {
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
    async fn begins_with(&mut self, expected: &[u8]) -> io::Result<bool> {
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
    use tokio::sync::watch;

    use super::*;

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
        stream.taken.fetch_add(6, Relaxed);
        assert!(stream.is_drained());
    }

    #[tokio::test]
    async fn a_preface_is_told_from_a_request_by_as_little_as_it_takes() {
        let (mut client, mut stream) = pair();
        client.write_all(b"P").await.unwrap();
        stream.read_ahead().await.unwrap();
        client.write_all(b"OST").await.unwrap();
        assert!(!stream.begins_with(PREFACE).await.unwrap());
        assert_eq!(read(&mut stream, 4).await, "POST");

        let (mut client, mut stream) = pair();
        client.write_all(&PREFACE[..5]).await.unwrap();
        stream.read_ahead().await.unwrap();
        client.write_all(&PREFACE[5..]).await.unwrap();
        assert!(stream.begins_with(PREFACE).await.unwrap());
        assert_eq!(read(&mut stream, PREFACE.len()).await.as_bytes(), PREFACE);
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
        stream.in_head.store(false, Relaxed);
        assert_eq!(read(&mut stream, 10).await, "x".repeat(10));
        drop(stream);
        pieces.await.unwrap();
    }

    #[tokio::test]
    async fn waiting_ends_with_the_connection_with_patience_and_with_the_server() {
        let (end, mut ending) = watch::channel(false);
        let (client, mut stream) = pair();
        let short = Duration::from_millis(10);
        assert!(within(short, stream.read_ahead(), &mut ending).await.is_none());
        end.send_replace(true);
        assert!(within(Duration::from_secs(60), stream.read_ahead(), &mut ending).await.is_none());
        drop(client);
        assert!(stream.read_ahead().await.is_err());
    }
}
