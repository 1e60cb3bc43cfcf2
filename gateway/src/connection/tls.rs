//! TLS towards clients: from an accepted socket to the stream of what is in it.
//!
//! The hello is read first, so that the configuration that it is answered with is the one in force
//! then, and by the name that it asks for. What is no hello is told apart there: HTTP in clear text
//! is answered in clear text, the rest is closed. Everything ends with the listener's deadline, and
//! counts under a bound of handshakes under way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use sallyport_route::ClientCertificate;
use sallyport_stats::TlsStats;
use sallyport_tls::{
    ACME_TLS_ALPN, ClientFacts, Facts, Failure, Hello, accept_hello, alpn_config, finish,
    read_beginning, refuse_name,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::facts::Connection;
use super::lingering;
use super::passthrough::{self, Passage};
use super::socket::ClientSocket;
use crate::proxy::Shared;
use crate::snapshot::{ListenerTls, Snapshot};

/// What a client reads that speaks HTTP to a port that speaks TLS.
const USE_HTTPS: &str = "HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 47\r\n\
    connection: close\r\n\
    x-sallyport-error: tls_required\r\n\
    \r\n\
    tls_required: this port speaks TLS: use https\r\n";

/// Where a handshake stands, for what is counted if it fails.
#[derive(Default)]
struct Progress {
    /// The version that the client offers.
    version: Option<&'static str>,
}

/// What a hello has led to.
enum Arrived {
    /// A handshake that is finished.
    Secured(Box<(TlsStream<ClientSocket>, Facts)>),
    /// A connection that is another's to terminate.
    PassedOn(Box<(ClientSocket, Vec<u8>, Passage)>),
}

/// Makes a handshake on `socket`, whose listener speaks TLS. `None` if the connection ends here, or has
/// been passed on and is over.
pub(super) async fn accept(
    mut socket: ClientSocket,
    mut connection: Connection,
    shared: &Shared,
    (stats, limits): (Arc<TlsStats>, Limits),
) -> Option<(Stream, Arc<Connection>)> {
    let Some(under_way) = stats.begin(limits.handshakes) else {
        stats.failed(Failure::Busy.label(), None);
        return None;
    };
    let began = Instant::now();
    let mut progress = Progress::default();
    let handshake = async {
        let beginning = match read_beginning(&mut socket).await {
            Ok(beginning) => beginning,
            Err(failure) => {
                if failure == Failure::Http {
                    answer_in_clear(socket).await;
                }
                return Err(failure);
            }
        };
        if limits.passes_on
            && let Some(passage) = passthrough::find(&beginning, &connection, shared)
        {
            let hello = beginning.into_wire();
            return Ok(Arrived::PassedOn(Box::new((socket, hello, passage))));
        }
        let hello = accept_hello(&mut socket, beginning).await?;
        progress.version = hello.version();
        // Apart and boxed: most of what a handshake holds, it holds from here on.
        let secured = Box::pin(negotiate(socket, hello, &connection, shared)).await?;
        Ok(Arrived::Secured(Box::new(secured)))
    };
    let result = timeout(limits.timeout, handshake).await.unwrap_or(Err(Failure::Timeout));
    match result {
        Ok(Arrived::PassedOn(passed_on)) => {
            drop(under_way);
            let (socket, hello, passage) = *passed_on;
            Box::pin(passage.serve(socket, hello.into(), connection, shared)).await;
            None
        }
        Ok(Arrived::Secured(secured)) => {
            let (stream, facts) = *secured;
            stats.succeeded(facts.version, facts.resumed, began.elapsed());
            connection.client = facts.client.as_deref().map(certificate).map(Arc::new);
            connection.tls = Some(Arc::new(facts));
            Some((Box::new(Secured(stream)), Arc::new(connection)))
        }
        Err(failure) => {
            stats.failed(failure.label(), progress.version);
            None
        }
    }
}

/// What bounds the handshakes of a listener.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long one may take.
    pub(super) timeout: Duration,
    /// How many may be under way.
    pub(super) handshakes: u64,
    /// Whether any connection is passed on without being terminated.
    pub(super) passes_on: bool,
}

/// Finishes the handshake that `hello` began, by the configuration in force now.
async fn negotiate(
    mut socket: ClientSocket,
    hello: Hello,
    connection: &Connection,
    shared: &Shared,
) -> Result<(TlsStream<ClientSocket>, Facts), Failure> {
    if hello.offers_only(ACME_TLS_ALPN) {
        return Err(validated(socket, hello, connection, shared).await);
    }
    let (config, rules, ja4) = {
        let (snapshot, index) = connection.listener.pin(&shared.live).ok_or(Failure::Internal)?;
        let tls = snapshot.tls(index).ok_or(Failure::Internal)?;
        let name = hello.server_name();
        if !tls.server.certificates().serves(name.as_deref()) {
            refuse_name(&mut socket).await;
            return Err(Failure::UnknownName);
        }
        let position = rules_for(&snapshot, index, tls, name.as_deref());
        let (rules, config) = tls.server.config(position).ok_or(Failure::Internal)?;
        (config.clone(), rules, snapshot.asks_ja4.then(|| hello.ja4()))
    };
    let stream = finish(socket, hello, config).await?;
    let facts = Facts::of(stream.get_ref().1, ja4, rules);
    // RFC 8446, 4.6.1: a ticket lives longer than the certificate that it stands for may.
    let expired = |not_after| std::time::SystemTime::now() > not_after;
    if facts.client.as_ref().and_then(|client| client.not_after).is_some_and(expired) {
        return Err(Failure::ClientCertificate);
    }
    Ok((stream, facts))
}

/// Shows an authority that a name is ours (RFC 8737), if one asks that is expected to.
async fn validated(
    mut socket: ClientSocket,
    hello: Hello,
    connection: &Connection,
    shared: &Shared,
) -> Failure {
    let config = hello.server_name().and_then(|name| {
        let (snapshot, _) = connection.listener.pin(&shared.live)?;
        snapshot.challenges.tls.iter().find_map(|storage| alpn_config(storage, &name))
    });
    let Some(config) = config else {
        refuse_name(&mut socket).await;
        return Failure::UnknownName;
    };
    match finish(socket, hello, config).await {
        Ok(mut stream) => {
            // It has seen what it came for.
            stream.shutdown().await.ok();
            Failure::Validation
        }
        Err(failure) => failure,
    }
}

fn certificate(facts: &ClientFacts) -> ClientCertificate {
    ClientCertificate {
        subject: facts.subject.clone(),
        sans: facts.sans.clone(),
        serial: facts.serial.clone(),
        fingerprint: facts.fingerprint.clone(),
    }
}

/// The position of the rules for a client that asks for `name`.
fn rules_for(snapshot: &Snapshot, listener: usize, tls: &ListenerTls, name: Option<&str>) -> usize {
    if !tls.has_mixed_rules() {
        return 0;
    }
    tls.rules_of(name.and_then(|name| snapshot.host(listener, name)))
}

/// Tells a client of HTTP in clear text what this port speaks, and closes in stages: it may still be
/// sending.
async fn answer_in_clear(mut socket: ClientSocket) {
    // A client that is gone needs no answer.
    if socket.write_all(USE_HTTPS.as_bytes()).await.is_ok() && socket.flush().await.is_ok() {
        lingering::close(Box::new(socket), true);
    }
}

/// The stream of what is in a client's TLS connection.
#[derive(Debug)]
struct Secured(TlsStream<ClientSocket>);

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, into);
        if read.is_pending() && self.0.get_ref().1.wants_write() {
            // What is read may have to be answered at once: the refusal to negotiate anew, new keys.
            // An error of writing comes again with the next read.
            drop(Pin::new(&mut self.0).poll_flush(context));
        }
        match ready!(read) {
            // Without a close_notify, as many clients close. Requests say by themselves where they
            // end, so that nobody can cut one short unseen.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => Poll::Ready(read),
        }
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[async_trait]
impl Shutdown for Secured {
    async fn shutdown(&mut self) {
        // A client that is gone already needs no notice.
        AsyncWriteExt::shutdown(self).await.ok();
    }
}

impl UniqueID for Secured {
    fn id(&self) -> UniqueIDType {
        self.0.get_ref().0.id()
    }
}

// What the handshake has settled is the connection's (`facts.rs`), as addresses and times are.

impl Ssl for Secured {}

impl GetTimingDigest for Secured {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Secured {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Secured {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        None
    }
}

impl Peek for Secured {}

#[cfg(test)]
mod tests {
    use super::USE_HTTPS;

    #[test]
    fn the_answer_in_clear_text_says_its_length() {
        let (head, body) = USE_HTTPS.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
    }
}
