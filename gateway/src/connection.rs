//! Connections that hold little while nothing comes, and requests that begin with a sound head.
//!
//! What Pingora makes for a request, it makes before it waits for one: some 16 KiB that an idle connection would
//! hold as well. So bytes are waited for here, read until a whole head of HTTP/1 is there, and checked
//! (`sallyport-http1`) before Pingora sees any of it. A head that is refused is replaced by a stand-in, so that the
//! refusal is answered, counted and logged like every other answer of the gateway: `request_filter` asks
//! [`refusal`] first.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use sallyport_http1::{Framing, HeadCheck};
pub use sallyport_http1::{HeadLimits, Refusal};
use sallyport_stats::ConnectionRefusal;

pub(crate) use self::client_stream::ClientStream;
pub use self::client_stream::Failure;
use self::client_stream::{CONTINUE_AFTER, Home};
use crate::config::{ListenerTimeouts, Protocols};
use crate::engine::{Engine, Served};
use crate::proxy::{Proxy, Shared};
use crate::timers::Timers;
use crate::tunnel::Tunnel;
use crate::turns::InTurns;

mod client_stream;
mod facts;
mod handshake;
mod http2;
mod lingering;
mod passthrough;
mod proxy_protocol;
mod socket;
mod tls;

pub use self::facts::{Connection, of};
pub(crate) use self::http2::{ANSWERED, Session as Http2Session};
pub use self::proxy_protocol::ProxyHeader;
pub use self::socket::ClientSocket;

/// How a client of HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What serves the connections of one worker.
pub type App = OnDemand<InTurns<pingora_proxy::HttpProxy<Proxy>>>;

/// What a listener allows its clients.
#[derive(Clone, Debug)]
struct Terms {
    timeouts: ListenerTimeouts,
    /// How large a head may be.
    head: HeadLimits,
    protocols: Protocols,
}

/// A request that has begun.
struct Begun {
    /// How long the connection may be idle afterwards.
    idle: Duration,
    /// How the body is framed, unless the request is refused.
    framing: Option<Framing>,
}

/// An application whose requests begin when a whole head has come.
#[derive(Debug)]
pub struct OnDemand<A> {
    app: Arc<A>,
    engine: Arc<Engine>,
    shared: Shared,
}

impl<A> OnDemand<A> {
    /// The same application, on demand; `engine` serves what it takes.
    pub fn new(app: A, engine: Engine, shared: Shared) -> Self {
        Self { app: Arc::new(app), engine: Arc::new(engine), shared }
    }

    /// The application itself.
    pub(crate) fn inner(&self) -> &Arc<A> {
        &self.app
    }

    /// What `connection` is allowed by the configuration in force.
    fn terms(&self, connection: &Connection) -> Option<Terms> {
        let (snapshot, index) = connection.listener.pin(&self.shared.live)?;
        let limits = &snapshot.limits;
        let head =
            HeadLimits { bytes: limits.request_header_bytes, fields: limits.request_headers };
        let listener = &snapshot.listeners[index];
        Some(Terms { timeouts: listener.timeouts.clone(), head, protocols: listener.protocols })
    }
}

/// Why the request of `session` is to be refused; what `session` has as its head is then a stand-in.
pub fn refusal(session: &ServerSession) -> Option<Refusal> {
    match session {
        ServerSession::H1(_) => client_stream(session)?.refusal(),
        _ => session.req_header().extensions.get().copied(),
    }
}

/// What ended the request of `session` while it was read, if that is not the client's leaving.
pub fn failure(session: &ServerSession) -> Option<Failure> {
    client_stream(session)?.failure()
}

/// From now on all that the client of `session` sends belongs to a tunnel.
pub fn begin_tunnel(session: &ServerSession) {
    if let Some(stream) = client_stream(session) {
        stream.begin_tunnel();
    }
}

/// Ends the request of `session` with [`Failure::AnswerLate`] if it still waits after `within`; `None` takes that
/// back.
pub fn expect_answer(session: &ServerSession, within: Option<Duration>) {
    if let Some(stream) = client_stream(session) {
        stream.expect_answer(within);
    }
}

/// Notes that the client of `session` knows interim responses, and whether it waits to be told to send its body.
pub fn allow_interim(session: &ServerSession, awaits_continue: bool) {
    if let Some(stream) = client_stream(session) {
        stream.allow_interim(awaits_continue);
    }
}

/// Keeps the connection of `session` although Pingora drops it, as it does after every failure to proxy. Returns
/// whether that can be: the request must have been read to its end.
pub fn keep(session: &ServerSession) -> bool {
    let stream = client_stream(session).filter(|stream| stream.is_at_request_end());
    stream.inspect(|stream| stream.keep()).is_some()
}

/// Whether the request of `session`, one of HTTP/1, has ended with trailers.
pub fn has_trailers(session: &ServerSession) -> bool {
    client_stream(session).is_some_and(ClientStream::has_trailers)
}

/// Whether the connection of `session` will not be kept, since the server shuts down. HTTP/2 tells its clients
/// by itself.
pub fn is_ending(session: &ServerSession) -> bool {
    client_stream(session).is_some_and(ClientStream::is_ending)
}

/// Makes the connection of `session` the client's end of `tunnel`, from the next read on.
pub fn switch(session: &ServerSession, tunnel: Arc<Tunnel>) {
    if let Some(stream) = client_stream(session) {
        stream.switch(tunnel);
    }
}

fn client_stream(session: &ServerSession) -> Option<&ClientStream> {
    let ServerSession::H1(http1) = session else { return None };
    http1.stream().as_any().downcast_ref()
}

impl<A: HttpServerApp + Send + Sync + 'static> OnDemand<A> {
    /// Serves the requests of a connection that was accepted, until one of both sides ends it.
    pub async fn serve(&self, arrived: Box<(ClientSocket, Connection)>) {
        // Apart and boxed, so that nobody keeps room for it afterwards.
        let handshake = Box::pin(handshake::handshake(arrived, &self.shared));
        let Some((stream, connection)) = handshake.await else { return };
        self.serve_requests(stream, connection).await;
    }

    async fn serve_requests(&self, stream: Stream, connection: Arc<Connection>) -> Option<()> {
        self.engine.begin();
        let home = Home::default();
        let ending = connection.listener.ending();
        // One wait for all requests of the connection.
        let mut watch = ending.clone();
        let mut over = pin!(async move { drop(watch.wait_for(|ending| *ending).await) });
        let mut stream = Box::new(ClientStream::new(stream, home.clone(), connection.clone()));
        if self.is_http2(&mut stream, &connection, over.as_mut()).await? {
            // Apart and boxed, so that connections of HTTP/1 do not carry its state.
            let servers = http2::Servers { engine: self.engine.clone(), app: self.app.clone() };
            let http2 = http2::serve(&self.shared, &servers, stream, &connection, &ending);
            Box::pin(http2).await;
            return None;
        }
        let mut settings = None;
        loop {
            let Begun { idle, framing } =
                self.head(&mut stream, &connection, over.as_mut()).await?;
            if let Some(framing) = framing.filter(|_| self.engine.is_on()) {
                match self.engine.clone().serve(stream, framing).await {
                    Served::Kept(kept) => {
                        (stream, settings) = (kept, None);
                        continue;
                    }
                    Served::Closed => return None,
                    Served::Declined(declined) => stream = declined,
                }
            }
            let Some(reused) = self.request(stream, settings, idle, &ending).await else {
                (stream, settings) = (home.take()?, None);
                continue;
            };
            let (kept, kept_settings) = reused.consume();
            stream = kept.into_any().downcast::<ClientStream>().ok()?;
            if !stream.is_at_request_end() {
                // What comes next would be read as something that it is not.
                return None;
            }
            settings = kept_settings;
        }
    }

    /// Whether the client speaks HTTP/2: as agreed with TLS, else by the bytes it begins with.
    /// `None` if the connection is over.
    async fn is_http2(
        &self,
        stream: &mut ClientStream,
        connection: &Connection,
        over: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<bool> {
        let terms = self.terms(connection)?;
        if let Some(tls) = &connection.tls {
            // A client that does not ask for a protocol speaks the one there is.
            let alpn = tls.alpn.as_deref();
            return Some(alpn == Some("h2") || (alpn.is_none() && !terms.protocols.http1));
        }
        if !terms.protocols.http2 {
            return Some(false);
        }
        let timers = self.engine.timers();
        let preface = pin!(stream.begins_with(PREFACE));
        let preface = within(timers, terms.timeouts.idle, preface, over).await;
        preface.in_time().filter(|is_http2| *is_http2 || terms.protocols.http1)
    }

    /// Waits for the head of the next request and begins it, or begins a refusal. `None` if the connection is over.
    async fn head(
        &self,
        stream: &mut ClientStream,
        connection: &Connection,
        mut over: Pin<&mut impl Future<Output = ()>>,
    ) -> Option<Begun> {
        let Terms { timeouts: ListenerTimeouts { idle, read, .. }, head: limits, .. } =
            self.terms(connection)?;
        let timers = self.engine.timers();
        stream.skip_empty_line();
        if !stream.has_ahead() {
            let came = {
                let reading = pin!(stream.read_ahead());
                within(timers, idle, reading, over.as_mut()).await
            };
            came.in_time()?;
            stream.skip_empty_line();
        }
        let mut check = HeadCheck::default();
        let came = {
            let reading = pin!(stream.read_head(&mut check, limits));
            within(timers, read, reading, over).await
        };
        let refusal = match came {
            Waited::InTime(Ok(head)) => {
                let framing = head.framing;
                stream.begin_request(head);
                return Some(Begun { idle, framing: Some(framing) });
            }
            Waited::InTime(Err(refusal)) => refusal,
            Waited::Late if !stream.is_blank() => Refusal::Late,
            Waited::Late | Waited::Over => return None,
        };
        if proxy_protocol::begins_as_header(stream.ahead()) && self.expects_headers(connection) {
            connection.listener.refused(ConnectionRefusal::ProxyProtocol);
            return None;
        }
        let stand_in = check.stand_in(stream.ahead());
        stream.begin_refused(refusal, &stand_in);
        Some(Begun { idle, framing: None })
    }

    /// Whether some peers of the listener, but not this one, send PROXY headers.
    fn expects_headers(&self, connection: &Connection) -> bool {
        let pinned = connection.listener.pin(&self.shared.live);
        pinned.is_some_and(|(snapshot, index)| !snapshot.listeners[index].proxy_protocol.is_empty())
    }

    /// One request; what it leaves for the next, if the connection is kept. Not an `async fn`, so that nobody
    /// keeps room for the session while waiting.
    fn request<'a>(
        &'a self,
        stream: Box<ClientStream>,
        settings: Option<HttpPersistentSettings>,
        idle: Duration,
        shutdown: &'a ShutdownWatch,
    ) -> impl Future<Output = Option<ReusedHttpStream>> + Send + 'a {
        let mut session = ServerSession::new_http1(stream);
        match settings {
            Some(settings) => settings.apply_to_session(&mut session),
            // How long, is told with each request.
            None => session.set_keepalive(Some(idle.as_secs().max(1))),
        }
        self.app.process_new_http(session, shutdown)
    }
}

/// What became of waiting.
enum Waited<T> {
    InTime(T),
    /// It took too long.
    Late,
    /// It failed, or the server begins to shut down.
    Over,
}

impl<T> Waited<T> {
    fn in_time(self) -> Option<T> {
        match self {
            Self::InTime(came) => Some(came),
            Self::Late | Self::Over => None,
        }
    }
}

/// What comes of `event`, if it takes no longer than `patience` and it is not `over` before. Pinned
/// where it was made, it is part of one future instead of three.
async fn within<T>(
    timers: &Timers,
    patience: Duration,
    event: Pin<&mut impl Future<Output = io::Result<T>>>,
    over: Pin<&mut impl Future<Output = ()>>,
) -> Waited<T> {
    tokio::select! {
        biased;
        came = timers.within(patience, event) => match came {
            Some(Ok(came)) => Waited::InTime(came),
            Some(Err(_)) => Waited::Over,
            None => Waited::Late,
        },
        () = over => Waited::Over,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn waiting_ends_with_the_connection_with_patience_and_with_the_server() {
        let timers = Timers::new();
        tokio::spawn(timers.turn());
        let connection = Arc::new(Connection::for_tests());
        let mut ending = connection.listener.ending();
        let mut over = pin!(async move { drop(ending.wait_for(|ending| *ending).await) });
        let (client, server) = UnixStream::pair().unwrap();
        let mut stream = ClientStream::new(Box::new(server), Home::default(), connection.clone());
        let short = Duration::from_millis(10);
        let came = within(&timers, short, pin!(stream.read_ahead()), over.as_mut()).await;
        assert!(matches!(came, Waited::Late));
        connection.listener.end();
        let long = Duration::from_secs(60);
        let came = within(&timers, long, pin!(stream.read_ahead()), over.as_mut()).await;
        assert!(matches!(came, Waited::Over));
        drop(client);
        assert!(stream.read_ahead().await.is_err());
    }
}
