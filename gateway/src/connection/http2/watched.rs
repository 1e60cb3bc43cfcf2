//! A client's stream whose HTTP/2 frames are counted as they are read.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pingora_core::protocols::Stream;
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

/// Malformed requests of one connection. A client that is merely wrong sends one or two.
const MALFORMED_MAX: u32 = 32;

/// What is known of a connection's stream beside its bytes, for the loop and for the requests.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// What the client has sent too much of, as an index into [`FLOODS`] plus one.
    flood: AtomicU8,
    /// Bytes written to the socket.
    sent_bytes: AtomicU64,
    /// Whether the socket takes no more for now.
    is_blocked: AtomicBool,
    /// Malformed requests.
    malformed: AtomicU32,
    /// Streams whose trailers name a pseudo-field. No more than [`MALFORMED_MAX`].
    malformed_trailers: Mutex<Vec<u32>>,
}

/// What frames are counted as, and then what else ends a connection.
const FLOODS: [Http2Closed; 6] = [
    Http2Closed::Resets,
    Http2Closed::Pings,
    Http2Closed::Settings,
    Http2Closed::Frames,
    Http2Closed::Malformed,
    Http2Closed::Stalled,
];
const COUNTED: usize = 4;

impl Watch {
    /// Why the connection has to end, if it has.
    pub(super) fn flood(&self) -> Option<Http2Closed> {
        FLOODS.get(usize::from(self.0.flood.load(Relaxed)).checked_sub(1)?).copied()
    }

    fn set(&self, flood: usize) {
        self.0.flood.store(flood as u8 + 1, Relaxed);
    }

    /// The connection ends, since too many of its streams are stalled.
    pub(super) fn set_stalled(&self) {
        self.set(COUNTED + 1);
    }

    /// Counts a request that is malformed.
    pub(super) fn note_malformed(&self) {
        if self.0.malformed.fetch_add(1, Relaxed) + 1 >= MALFORMED_MAX {
            self.set(COUNTED);
        }
    }

    fn note_malformed_trailers(&self, stream: u32) {
        self.malformed_trailers().push(stream);
        self.note_malformed();
    }

    /// Whether the trailers of `stream`, which have come, name a pseudo-field.
    pub(super) fn has_malformed_trailers(&self, stream: u32) -> bool {
        self.malformed_trailers().contains(&stream)
    }

    fn malformed_trailers(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.0.malformed_trailers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes written to the socket so far.
    pub(super) fn sent_bytes(&self) -> u64 {
        self.0.sent_bytes.load(Relaxed)
    }

    /// Whether something waits for the socket, and not for the client's windows.
    pub(super) fn is_blocked(&self) -> bool {
        self.0.is_blocked.load(Relaxed)
    }
}

/// What came since the window began.
#[derive(Debug)]
struct Window {
    began: Instant,
    /// In the order of [`FLOODS`].
    frames: [u64; COUNTED],
    /// What had been sent when it began.
    sent_bytes: u64,
}

/// A stream that stops being read once its client floods it.
#[derive(Debug)]
pub(super) struct Watched {
    stream: Stream,
    frames: Frames,
    /// In the order of [`FLOODS`].
    most: [u64; COUNTED],
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
            window: Window { began: Instant::now(), frames: [0; COUNTED], sent_bytes: 0 },
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
                Frame::MalformedTrailers(stream) => return watch.note_malformed_trailers(stream),
            };
            let now = Instant::now();
            let sent_bytes = watch.sent_bytes();
            if now.duration_since(window.began) >= WINDOW {
                *window = Window { began: now, frames: [0; COUNTED], sent_bytes };
            }
            window.frames[index] += 1;
            let since = sent_bytes - window.sent_bytes;
            let earned = if earns { since / BYTES_PER_EARNED_FRAME } else { 0 };
            if window.frames[index] > most[index].saturating_add(earned) {
                watch.set(index);
            }
        });
    }

    fn sent(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let state = &self.watch.0;
        if let Poll::Ready(Ok(bytes)) = written {
            // Nobody else writes.
            state.sent_bytes.store(state.sent_bytes.load(Relaxed) + bytes as u64, Relaxed);
        }
        state.is_blocked.store(written.is_pending(), Relaxed);
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;

    use super::*;

    const PING: [u8; 17] = [0, 0, 8, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    /// A client that sent `frames` after it was sent `bytes`, all of it read.
    async fn watched(frames: &[u8], bytes: usize) -> Watch {
        let (mut client, server) = UnixStream::pair().unwrap();
        let settings = Http2 { max_pings: 10, ..Http2::default() };
        let mut watched = Watched::new(Box::new(server), &settings);
        watched.write_all(&vec![0; bytes]).await.unwrap();
        let sent = [PREFACE, frames].concat();
        client.write_all(&sent).await.unwrap();
        watched.read_exact(&mut vec![0; sent.len()]).await.unwrap();
        watched.watch()
    }

    /// What a client of `pings` PINGs has sent too much of, after it was sent `bytes`.
    async fn flood(pings: usize, bytes: usize) -> Option<Http2Closed> {
        watched(&PING.repeat(pings), bytes).await.flood()
    }

    #[tokio::test]
    async fn pings_are_borne_up_to_the_bound_and_more_where_much_is_sent() {
        assert_eq!(flood(10, 0).await, None);
        assert_eq!(flood(11, 0).await, Some(Http2Closed::Pings));
        assert_eq!(flood(11, 1 << 10).await, None);
        assert_eq!(flood(12, 1 << 10).await, Some(Http2Closed::Pings));
    }

    #[tokio::test]
    async fn malformed_trailers_are_told_by_stream_and_counted() {
        // HEADERS with END_STREAM and END_HEADERS, of `:method: GET`.
        let section = |stream: u8| [0, 0, 1, 1, 5, 0, 0, 0, stream, 0x82];
        let watch = watched(&[section(3), section(5), section(3)].concat(), 0).await;
        assert!(watch.has_malformed_trailers(3) && !watch.has_malformed_trailers(5));
        assert_eq!(watch.flood(), None);
        let watch = watched(&section(1).repeat(MALFORMED_MAX as usize + 1), 0).await;
        assert_eq!(watch.flood(), Some(Http2Closed::Malformed));
    }
}
