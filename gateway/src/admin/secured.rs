//! TLS of the admin listener: handshakes by the configuration in force when a connection comes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sallyport_tls::{Facts, Failure, finish, read_hello, refuse_name};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::snapshot::{ListenerTls, Snapshot};

/// What a client reads that speaks HTTP in clear text.
const USE_HTTPS: &str = "HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 47\r\n\
    connection: close\r\n\
    \r\n\
    tls_required: this port speaks TLS: use https\r\n";

/// By what handshakes are made.
#[derive(Debug)]
pub(super) struct Terms {
    tls: Arc<ListenerTls>,
    timeout: Duration,
}

impl Terms {
    /// Those of `snapshot`; `None` where the admin listener speaks clear text.
    pub(super) fn of(snapshot: &Snapshot) -> Option<Self> {
        let timeout = snapshot.admin.as_ref()?.tls.as_ref()?.handshake_timeout;
        Some(Self { tls: snapshot.admin_tls()?.clone(), timeout })
    }

    /// The stream of what is in `stream`, if the handshake is finished in time. It is counted
    /// either way.
    pub(super) async fn handshake<Io>(self, stream: Io) -> Option<TlsStream<Io>>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        // Connections have a bound of their own, far below that of handshakes elsewhere.
        let under_way = self.tls.stats.begin(u64::MAX);
        let began = Instant::now();
        let mut version = None;
        let negotiated = timeout(self.timeout, self.negotiate(stream, &mut version)).await;
        drop(under_way);
        match negotiated.unwrap_or(Err(Failure::Timeout)) {
            Ok((stream, facts)) => {
                self.tls.stats.succeeded(facts.version, facts.resumed, began.elapsed());
                Some(stream)
            }
            Err(failure) => {
                self.tls.stats.failed(failure.label(), version);
                None
            }
        }
    }

    async fn negotiate<Io>(
        &self,
        mut stream: Io,
        version: &mut Option<&'static str>,
    ) -> Result<(TlsStream<Io>, Facts), Failure>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = match read_hello(&mut stream).await {
            Ok(hello) => hello,
            Err(failure) => {
                if failure == Failure::Http {
                    // A client that is gone needs no answer.
                    stream.write_all(USE_HTTPS.as_bytes()).await.ok();
                    stream.shutdown().await.ok();
                }
                return Err(failure);
            }
        };
        *version = hello.version();
        if !self.tls.server.certificates().serves(hello.server_name().as_deref()) {
            refuse_name(&mut stream).await;
            return Err(Failure::UnknownName);
        }
        let (rules, config) = self.tls.server.config(0).ok_or(Failure::Internal)?;
        let stream = finish(stream, hello, config.clone()).await?;
        let facts = Facts::of(stream.get_ref().1, None, rules);
        // RFC 8446, 4.6.1: a ticket lives longer than the certificate that it stands for may.
        let expired = |not_after| std::time::SystemTime::now() > not_after;
        if facts.client.as_ref().and_then(|client| client.not_after).is_some_and(expired) {
            return Err(Failure::ClientCertificate);
        }
        Ok((stream, facts))
    }
}
