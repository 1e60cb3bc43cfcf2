//! HTTP/2 connections of clients, from the preface to the last GOAWAY.
//!
//! Pingora's own loop takes its options once, at the start of the process, and ends a connection only when it is
//! idle. This one asks for the configuration with every connection, so that a reload holds for the next one, and
//! ends connections that flood, that are old, and whose source came under a verdict. Each request becomes a
//! `session.rs`, which is all that the application sees of the protocol.

mod frames;
mod head;
mod hpack;
mod sections;
mod session;
mod streams;
mod watched;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, Connection as H2Connection};
use pingora_core::apps::HttpServerApp;
use pingora_core::protocols::{Digest, Stream};
use pingora_core::server::ShutdownWatch;
use sallyport_stats::Http2Closed;
use tokio::time::{sleep, timeout};

pub(crate) use self::session::{ANSWERED, Session};
use self::streams::Streams;
use self::watched::{Watch, Watched};
use super::facts::{self, Connection};
use crate::config::{Http2 as Settings, Limits};
use crate::engine::Engine;
use crate::proxy::Shared;

/// How long a client may take to read the GOAWAY of a connection that is closed.
const GOODBYE: Duration = Duration::from_secs(1);

/// Bytes of all request bodies of a connection that their origins have not taken. As much as sixteen streams may send
/// ahead, so that an upload which its origin does not read does not stop the others.
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Serves the requests of `stream`, which is to begin with the preface, until one of both sides ends it.
pub(super) async fn serve<A>(
    shared: &Shared,
    servers: &Servers<A>,
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
    let greeted = timeout(timeouts.read, options.handshake(stream)).await;
    let Ok(Ok(connection)) = greeted else { return };
    let streams = Streams::new(watch.clone(), settings.max_stalled_streams as usize);
    let mut loop_ = Loop { connection, client, digest, watch, streams, shared };
    let closed = loop_.run(servers, timeouts.idle, settings.max_age, shutdown).await;
    if let Some(reason) = closed {
        shared.registry.http2().closed(reason);
        loop_.say_goodbye(reason).await;
    }
}

/// What serves the requests of a connection.
pub(super) struct Servers<A> {
    /// Serves what it takes.
    pub(super) engine: Arc<Engine>,
    /// Serves everything else.
    pub(super) app: Arc<A>,
}

impl<A: HttpServerApp + Send + Sync + 'static> Servers<A> {
    async fn serve(self, session: Box<Session>, shutdown: ShutdownWatch) {
        let declined = match self.engine.is_on() {
            true => self.engine.serve_http2(session).await,
            false => Some(session),
        };
        if let Some(session) = declined {
            self.app.process_new_http(session.into_pingora(), &shutdown).await;
        }
    }
}

impl<A> Clone for Servers<A> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), app: self.app.clone() }
    }
}

/// How the h2 crate is to serve a connection that begins now.
fn options(settings: &Settings, limits: &Limits) -> Builder {
    let mut options = Builder::new();
    options.max_header_list_size(limits.request_header_bytes.min(u32::MAX.into()) as u32);
    options.max_concurrent_streams(settings.max_streams as u32);
    options.initial_connection_window_size(CONNECTION_WINDOW);
    options.max_pending_accept_reset_streams(32);
    // Streams that the client has us reset are as many requests begun for nothing.
    options.max_local_error_reset_streams(Some(settings.max_resets as usize));
    // A frame is 16 KiB; with four of them the connection seldom waits for a stream.
    options.max_send_buffer_size(limits.read_ahead().piece_bytes);
    options
}

/// A connection at work.
struct Loop<'s> {
    connection: H2Connection<Watched, Bytes>,
    client: &'s Connection,
    digest: Arc<Digest>,
    watch: Watch,
    streams: Arc<Streams>,
    shared: &'s Shared,
}

/// What a connection waits for.
enum Event {
    Accepted(Box<Session>),
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
        servers: &Servers<A>,
        idle: Duration,
        max_age: Duration,
        shutdown: &ShutdownWatch,
    ) -> Option<Http2Closed>
    where
        A: HttpServerApp + Send + Sync + 'static,
    {
        let mut ending = shutdown.clone();
        let mut announced = self.client.listener.announced();
        let mut begun = false;
        let mut age = pin!(sleep(max_age));
        let mut draining = false;
        loop {
            let streams = self.streams.clone();
            let event = tokio::select! {
                biased;
                _ = ending.wait_for(|ending| *ending), if !draining => Event::Drain,
                // One that is new gets its first request answered.
                Ok(_) = announced.wait_for(|announced| *announced), if begun && !draining => {
                    Event::Drain
                }
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
                Event::Accepted(session) => {
                    begun = true;
                    self.begin(session, servers, shutdown);
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
        let (digest, streams) = (&self.digest, &self.streams);
        let mut accepting = pin!(self.connection.accept());
        poll_fn(|context| {
            let event = accepting.as_mut().poll(context).map(|accepted| match accepted {
                Some(Ok((request, respond))) => {
                    let session = Session::new(request, respond, digest.clone(), streams.begin());
                    Event::Accepted(Box::new(session))
                }
                Some(Err(_)) | None => Event::Ended,
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

    fn begin<A>(&self, session: Box<Session>, servers: &Servers<A>, shutdown: &ShutdownWatch)
    where
        A: HttpServerApp + Send + Sync + 'static,
    {
        if session.is_malformed() {
            self.watch.note_malformed();
        }
        tokio::spawn(servers.clone().serve(session, shutdown.clone()));
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
