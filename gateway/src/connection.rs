//! Connections that hold little while nothing comes.
//!
//! What Pingora makes for a request, it makes before it waits for one: some 16 KiB that an idle connection would
//! hold as well. So the first bytes are waited for here, and a request is begun when they have come. That
//! needs to know that none are left of what was read before, which is counted.
//!
//! A head that comes in pieces is given up when it takes too long as a whole; Pingora looks at each read.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v1::server::HttpSession as Http1;
use pingora_core::server::ShutdownWatch;
use pingora_timeout::timeout;

use self::counted::Counted;
use crate::config::ListenerTimeouts;
use crate::descriptors;

mod counted;
mod http2;

pub use self::http2::Http2;

/// How a client of HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

type Timeouts = Box<dyn Fn() -> ListenerTimeouts + Send + Sync>;

/// An application whose requests begin when something has come.
pub struct OnDemand<A> {
    app: Arc<A>,
    timeouts: Timeouts,
    http2: Option<Http2>,
}

impl<A> OnDemand<A> {
    /// The same application, on demand; `timeouts` are those in force when it is asked. `http2` serves connections
    /// that begin with the preface; without it they are no HTTP.
    pub fn new(
        app: A,
        timeouts: impl Fn() -> ListenerTimeouts + Send + Sync + 'static,
        http2: Option<Http2>,
    ) -> Self {
        Self { app: Arc::new(app), timeouts: Box::new(timeouts), http2 }
    }
}

/// Notes that the head of `session` is complete.
pub fn head_came(session: &ServerSession) {
    if let Some((_, counted)) = counted(session) {
        counted.end_head();
    }
}

/// Notes what the request of `session` has taken from its connection.
pub fn account(session: &ServerSession) {
    if let Some((http1, counted)) = counted(session) {
        counted.account(http1.get_headers_raw_bytes().len() + http1.body_bytes_read());
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
        if descriptors::is_reserved(stream.id()) {
            // Closed as it is dropped: there is no descriptor for an origin either.
            descriptors::report_exhaustion();
            return None;
        }
        let mut stream = Box::new(Counted::new(stream));
        let mut ending = shutdown.clone();
        let ListenerTimeouts { idle, read, .. } = (self.timeouts)();
        if let Some(http2) = &self.http2
            && within(idle, stream.begins_with(PREFACE), &mut ending).await?
        {
            // Apart and boxed, so that connections of HTTP/1 do not carry its state.
            Box::pin(http2.serve(&self.app, stream, shutdown)).await;
            return None;
        }
        if !stream.has_ahead() {
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

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;
    use tokio::sync::watch;

    use super::*;

    #[tokio::test]
    async fn waiting_ends_with_the_connection_with_patience_and_with_the_server() {
        let (end, mut ending) = watch::channel(false);
        let (client, server) = UnixStream::pair().unwrap();
        let mut stream = Counted::new(Box::new(server));
        let short = Duration::from_millis(10);
        assert!(within(short, stream.read_ahead(), &mut ending).await.is_none());
        end.send_replace(true);
        assert!(within(Duration::from_secs(60), stream.read_ahead(), &mut ending).await.is_none());
        drop(client);
        assert!(stream.read_ahead().await.is_err());
    }
}
