//! A handshake with a client: its hello first, then the rest of it with the configuration that the
//! hello has chosen.

use std::io;
use std::sync::Arc;

use rustls::server::{Accepted, Acceptor};
use rustls::{Error as TlsError, PeerIncompatible, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::server::{StartHandshake, TlsStream};

use crate::hello::{Beginning, NoHello, versions};

/// What most hellos fit in at once.
const READ_BYTES: usize = 2 << 10;

/// A fatal alert of the record layer, without its description (RFC 8446, 6).
const ALERT: [u8; 6] = [21, 3, 3, 0, 2, 2];
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const INTERNAL_ERROR: u8 = 80;
const UNRECOGNIZED_NAME: u8 = 112;

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// It took too long.
    Timeout,
    /// Too many others were under way.
    Busy,
    /// The client left.
    Closed,
    /// The client speaks HTTP without TLS.
    Http,
    /// The client speaks something else.
    NotTls,
    /// The client broke the protocol.
    Malformed,
    /// There is no certificate for the name it asked for.
    UnknownName,
    /// It knows no version that is spoken here.
    Version,
    /// Nothing is in common: ciphers, groups or signatures.
    Parameters,
    /// No application protocol is in common.
    Alpn,
    /// It has no certificate, and needs one.
    NoClientCertificate,
    /// Its certificate was refused.
    ClientCertificate,
    /// It refused what it was offered, as a rule the certificate.
    Refused,
    /// It was an authority that validates a name, and is done.
    Validation,
    /// Something here failed.
    Internal,
}

impl Failure {
    /// Every one.
    pub const ALL: [Self; 15] = [
        Self::Timeout,
        Self::Busy,
        Self::Closed,
        Self::Http,
        Self::NotTls,
        Self::Malformed,
        Self::UnknownName,
        Self::Version,
        Self::Parameters,
        Self::Alpn,
        Self::NoClientCertificate,
        Self::ClientCertificate,
        Self::Refused,
        Self::Validation,
        Self::Internal,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Busy => "busy",
            Self::Closed => "closed",
            Self::Http => "http",
            Self::NotTls => "not_tls",
            Self::Malformed => "malformed",
            Self::UnknownName => "unknown_name",
            Self::Version => "version",
            Self::Parameters => "parameters",
            Self::Alpn => "alpn",
            Self::NoClientCertificate => "no_client_certificate",
            Self::ClientCertificate => "client_certificate",
            Self::Refused => "refused",
            Self::Validation => "validation",
            Self::Internal => "internal",
        }
    }

    fn of(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|error| error.downcast_ref::<TlsError>());
        let Some(tls) = tls else { return Self::Closed };
        match tls {
            TlsError::NoCertificatesPresented => Self::NoClientCertificate,
            TlsError::InvalidCertificate(_) | TlsError::InvalidCertRevocationList(_) => {
                Self::ClientCertificate
            }
            TlsError::PeerIncompatible(why) => match why {
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled => Self::Version,
                _ => Self::Parameters,
            },
            TlsError::NoApplicationProtocol => Self::Alpn,
            TlsError::AlertReceived(_) => Self::Refused,
            TlsError::FailedToGetRandomBytes
            | TlsError::FailedToGetCurrentTime
            | TlsError::EncryptError => Self::Internal,
            _ => Self::Malformed,
        }
    }
}

/// A client's hello.
#[derive(Debug)]
pub struct Hello {
    accepted: Accepted,
    beginning: Beginning,
    /// How much of what has come rustls has taken.
    taken: usize,
}

impl Hello {
    /// The name that the client asks for, in lower case.
    #[must_use]
    pub fn server_name(&self) -> Option<Box<str>> {
        self.accepted.client_hello().server_name().map(|name| name.to_ascii_lowercase().into())
    }

    /// Whether the client offers `protocol` and nothing else (ALPN).
    #[must_use]
    pub fn offers_only(&self, protocol: &[u8]) -> bool {
        let hello = self.accepted.client_hello();
        let Some(mut offered) = hello.alpn() else { return false };
        offered.next() == Some(protocol) && offered.next().is_none()
    }

    /// The newest version that the client offers and that is spoken here: `1.3` or `1.2`.
    #[must_use]
    pub fn version(&self) -> Option<&'static str> {
        offered_version(&self.beginning)
    }

    /// The JA4 fingerprint of the client.
    #[must_use]
    pub fn ja4(&self) -> Arc<str> {
        self.beginning.ja4()
    }
}

fn offered_version(beginning: &Beginning) -> Option<&'static str> {
    versions(beginning.hello()).into_iter().find_map(|version| match version {
        0x0304 => Some("1.3"),
        0x0303 => Some("1.2"),
        _ => None,
    })
}

/// Reads a client's hello from `io`.
///
/// A client that sends something else has been told so when this returns, except where it speaks
/// HTTP.
///
/// # Errors
/// Why there is none.
pub async fn read_hello<Io>(io: &mut Io) -> Result<Hello, Failure>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let beginning = read_beginning(io).await?;
    accept_hello(io, beginning).await
}

/// As [`read_hello`], of a hello that need not be one that could be answered here.
///
/// # Errors
/// Why there is none.
pub async fn read_beginning<Io>(io: &mut Io) -> Result<Beginning, Failure>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let mut beginning = Beginning::default();
    loop {
        beginning.wire.reserve(READ_BYTES);
        match io.read_buf(&mut beginning.wire).await {
            Ok(0) | Err(_) => return Err(Failure::Closed),
            Ok(_) => {}
        }
        match beginning.advance() {
            Ok(true) => return Ok(beginning),
            Ok(false) => {}
            Err(NoHello::Http) => return Err(Failure::Http),
            Err(NoHello::Foreign) => return Err(Failure::NotTls),
            Err(NoHello::Malformed) => {
                alert(io, DECODE_ERROR).await;
                return Err(Failure::Malformed);
            }
        }
    }
}

/// Takes the hello of `beginning` as one that is going to be answered here.
///
/// # Errors
/// Why it cannot be. The client has been told so when this returns.
pub async fn accept_hello<Io>(io: &mut Io, beginning: Beginning) -> Result<Hello, Failure>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    if offered_version(&beginning).is_none() {
        alert(io, PROTOCOL_VERSION).await;
        return Err(Failure::Version);
    }
    match accept(&beginning.wire) {
        Ok((accepted, taken)) => Ok(Hello { accepted, beginning, taken }),
        Err((failure, sent)) => {
            // The client is refused anyway.
            drop(io.write_all(&sent).await);
            drop(io.flush().await);
            Err(failure)
        }
    }
}

/// Lets rustls read the hello at the beginning of `wire`: what it makes of it and how much of `wire`
/// it has taken, or why it refuses it and with which alert.
fn accept(wire: &[u8]) -> Result<(Accepted, usize), (Failure, Vec<u8>)> {
    let mut acceptor = Acceptor::default();
    let mut rest = wire;
    while acceptor.read_tls(&mut rest).is_ok_and(|count| count > 0) {
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok((accepted, wire.len() - rest.len())),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut sent = Vec::new();
                // Writing to a vector cannot fail.
                alert.write_all(&mut sent).ok();
                return Err((Failure::of(&io::Error::other(error)), sent));
            }
        }
    }
    Err((Failure::Malformed, alert_record(DECODE_ERROR).to_vec()))
}

/// Tells a client that there is no certificate for the name it asks for.
pub async fn refuse_name<Io: AsyncWrite + Unpin>(io: &mut Io) {
    alert(io, UNRECOGNIZED_NAME).await;
}

/// Tells a client that who is to answer its hello cannot be reached.
pub async fn refuse_unreachable<Io: AsyncWrite + Unpin>(io: &mut Io) {
    alert(io, INTERNAL_ERROR).await;
}

async fn alert<Io: AsyncWrite + Unpin>(io: &mut Io, description: u8) {
    // The client is refused whether it hears why or not.
    drop(io.write_all(&alert_record(description)).await);
    drop(io.flush().await);
}

fn alert_record(description: u8) -> [u8; 7] {
    let [kind, major, minor, high, low, level] = ALERT;
    [kind, major, minor, high, low, level, description]
}

/// Finishes the handshake that `hello` began on `io`.
///
/// # Errors
/// Why it failed.
pub async fn finish<Io>(
    io: Io,
    hello: Hello,
    config: Arc<ServerConfig>,
) -> Result<TlsStream<Io>, Failure>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let Hello { accepted, beginning, taken } = hello;
    let handshake = StartHandshake::from_parts(accepted, io).into_stream_with(config, |tls| {
        let mut rest = &beginning.wire[taken..];
        while !rest.is_empty() && tls.read_tls(&mut rest).is_ok_and(|count| count > 0) {
            // An error stays with the connection, and is told by what comes next.
            drop(tls.process_new_packets());
        }
    });
    handshake.await.map_err(|error| Failure::of(&error))
}

#[cfg(test)]
mod tests;
