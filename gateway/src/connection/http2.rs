//! HTTP/2 connections of clients, from the preface to the last GOAWAY.
//!
//! Pingora's own loop takes its options once, at the start of the process, and ends a connection only when it is
//! idle. This one asks for the configuration with every connection, so that a reload holds for the next one, and
//! ends connections that flood, that are old, and whose source came under a verdict. Requests themselves
//! are the application's business.

mod frames;
mod watched;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Connection as H2Connection;
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Accept, H2Options, HttpSession, handshake};
use pingora_core::protocols::{Digest, Stream};
use pingora_core::server::ShutdownWatch;
use sallyport_stats::Http2Closed;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use self::watched::{Watch, Watched};
use super::facts::{self, Connection};
use crate::config::{Http2 as Settings, Limits};
use crate::proxy::Shared;

/// Requests of one connection that are malformed in ways which Pingora answers by itself. A client that is merely
/// wrong sends one or two.
const MALFORMED_MAX: u32 = 32;

/// How long a client may take to read the GOAWAY of a connection that is closed.
const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of answers that may wait in one stream for the client's window or its socket, at most. A frame is 16 KiB;
/// with four of them the connection seldom waits for a stream.
const STREAM_BUFFER_MAX: u64 = 64 << 10;

/// Serves the requests of `stream`, which begins with the preface, until one of both sides ends it.
pub(super) async fn serve<A>(
    shared: &Shared,
    app: &Arc<A>,
    stream: Stream,
    client: &Arc<Connection>,
    shutdown: &ShutdownWatch,
) where
    A: HttpServerApp + Send + Sync + 'static,
{
    let Some((snapshot, index)) = client.listener.pin(&shared.live) else { return };
    let (options, settings, timeouts) = {
        let listener = &snapshot.listeners[index];
        (
            options(&listener.http2, &snapshot.limits),
            listener.http2.clone(),
            listener.timeouts.clone(),
        )
    };
    drop(snapshot);
    let stream = Watched::new(stream, &settings);
    let watch = stream.watch();
    let digest = Arc::new(Digest { proxy_digest: facts::carried(client), ..Digest::default() });
    let greeted = timeout(timeouts.read, handshake(Box::new(stream), Some(options))).await;
    let Ok(Ok(connection)) = greeted else { return };
    let mut loop_ =
        Loop { connection, client, digest, watch, streams: Arc::default(), malformed: 0, shared };
    let closed = loop_.run(app, timeouts.idle, settings.max_age, shutdown).await;
    if let Some(reason) = closed {
        shared.registry.http2().closed(reason);
        loop_.say_goodbye(reason).await;
    }
}

/// How the h2 crate is to serve a connection that begins now.
fn options(settings: &Settings, limits: &Limits) -> H2Options {
    let mut options = H2Options::default();
    options.max_header_list_size(limits.request_header_bytes.min(u32::MAX.into()) as u32);
    options.max_concurrent_streams(settings.max_streams as u32);
    options.max_pending_accept_reset_streams(32);
    options.max_send_buffer_size((limits.client_unread_bytes / 16).min(STREAM_BUFFER_MAX) as usize);
    options
}

/// A connection at work.
struct Loop<'s> {
    connection: H2Connection<Stream, Bytes>,
    client: &'s Connection,
    digest: Arc<Digest>,
    watch: Watch,
    streams: Arc<Streams>,
    malformed: u32,
    shared: &'s Shared,
}

/// What a connection waits for.
#[allow(
    clippy::large_enum_variant,
    reason = "most events are requests, and a box would be one more allocation"
)]
enum Event {
    Accepted(HttpSession),
    Rejected,
    /// The client or an error ended it.
    Ended,
    /// No new requests: those under way are finished.
    Drain,
    Close(Http2Closed),
}

impl Loop<'_> {
    /// Begins requests until the connection ends; the reason, if it is the gateway that ends it.
    async fn run<A>(
        &mut self,
        app: &Arc<A>,
        idle: Duration,
        max_age: Duration,
        shutdown: &ShutdownWatch,
    ) -> Option<Http2Closed>
    where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let mut ending = shutdown.clone();
        let mut age = pin!(sleep(max_age));
        let mut draining = false;
        loop {
            let streams = self.streams.clone();
            let event = tokio::select! {
                biased;
                _ = ending.wait_for(|ending| *ending), if !draining => Event::Drain,
                () = &mut age, if !draining => {
                    self.shared.registry.http2().closed(Http2Closed::Age);
                    Event::Drain
                }
                event = self.accept() => event,
                () = streams.idle_for(idle) => Event::Close(Http2Closed::Idle),
            };
            match event {
                Event::Accepted(session) if self.is_shut_out() => {
                    drop(session);
                    self.shared.verdicts.refuse_connection();
                    return Some(Http2Closed::Verdict);
                }
                Event::Accepted(session) => self.begin(session, app, shutdown),
                Event::Rejected => {
                    self.malformed += 1;
                    if self.malformed >= MALFORMED_MAX {
                        return Some(Http2Closed::Malformed);
                    }
                }
                Event::Ended => return None,
                Event::Drain => {
                    draining = true;
                    // RFC 9113, 6.8: in two steps, so that no request under way to us is lost.
                    self.connection.graceful_shutdown();
                }
                Event::Close(reason) => return Some(reason),
            }
        }
    }

    /// The next request. Drives the connection, and looks for a flood after each of its turns.
    async fn accept(&mut self) -> Event {
        let accepting = HttpSession::from_h2_conn(&mut self.connection, self.digest.clone());
        let mut accepting = pin!(accepting);
        poll_fn(|context| {
            let event = accepting.as_mut().poll(context).map(|accepted| match accepted {
                Ok(Some(H2Accept::Session(session))) => Event::Accepted(session),
                Ok(Some(H2Accept::Rejected)) => Event::Rejected,
                Ok(None) | Err(_) => Event::Ended,
            });
            // Of some floods the h2 crate has had enough before it reads the rest.
            match (event, self.watch.flood()) {
                (Poll::Pending | Poll::Ready(Event::Ended), Some(flood)) => {
                    Poll::Ready(Event::Close(flood))
                }
                (event, _) => event,
            }
        })
        .await
    }

    fn is_shut_out(&self) -> bool {
        self.shared.verdicts.holds(self.client.peer.ip())
    }

    fn begin<A>(&self, session: HttpSession, app: &Arc<A>, shutdown: &ShutdownWatch)
    where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let (app, shutdown) = (app.clone(), shutdown.clone());
        let stream = self.streams.begin();
        tokio::spawn(async move {
            let _open = stream;
            app.process_new_http(ServerSession::new_http2(session), &shutdown).await;
        });
    }

    /// Sends GOAWAY and closes, in the middle of streams if there are any.
    async fn say_goodbye(&mut self, reason: Http2Closed) {
        self.connection.abrupt_shutdown(match reason {
            Http2Closed::Age | Http2Closed::Idle => Reason::NO_ERROR,
            Http2Closed::Malformed => Reason::PROTOCOL_ERROR,
            _ => Reason::ENHANCE_YOUR_CALM,
        });
        let flushed = poll_fn(|context| self.connection.poll_closed(context));
        // Who does not read it is not waited for, and an error ends the connection as well.
        drop(timeout(GOODBYE, flushed).await);
    }
}

/// The streams of a connection whose requests are being served.
#[derive(Debug, Default)]
struct Streams {
    open: AtomicUsize,
    none_open: Notify,
}

/// One of them.
struct OpenStream(Arc<Streams>);

impl Streams {
    fn begin(self: &Arc<Self>) -> OpenStream {
        self.open.fetch_add(1, Relaxed);
        OpenStream(self.clone())
    }

    /// Waits until none was open for as long as `idle`; begins anew when it is asked again.
    async fn idle_for(self: Arc<Self>, idle: Duration) {
        while self.open.load(Relaxed) > 0 {
            self.none_open.notified().await;
        }
        pingora_timeout::sleep(idle).await;
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Relaxed) == 1 {
            self.0.none_open.notify_one();
        }
    }
}
