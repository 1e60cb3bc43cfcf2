//! The PROXY protocol, versions 1 and 2, towards clients: a header in front of everything else, by
//! which a proxy that passes on connections says whose they are (HAProxy's `proxy-protocol.txt`).
//!
//! Only peers that the listener names send one, and they always do. [`parse`] is pure; [`read`] adds
//! the waiting, with its bounds.

mod version1;
mod version2;

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::socket::ClientSocket;

/// How long a header may take. It comes with the first packet; three seconds are what the
/// specification allows for one that is lost and sent again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest header, its extensions included. A certificate's name and a unique id take a few
/// hundred bytes.
const BYTES_MAX: usize = 4 << 10;

/// What the header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Whose connection it is, and where it went: source and destination. `None` where it is the
    /// proxy's own, or comes by what has no addresses.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Whether the client came to the proxy by TLS.
    pub is_tls: bool,
    /// The protocol that the client and the proxy agreed on (ALPN).
    pub alpn: Option<Box<[u8]>>,
    /// The host name that the client asked the proxy for (SNI).
    pub authority: Option<Box<str>>,
    /// What the proxy calls the connection.
    pub unique_id: Option<Box<[u8]>>,
}

/// Why a connection has no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// What comes first is no header, or a malformed one.
    #[error("{0}")]
    Malformed(&'static str),
    /// It did not come in time.
    #[error("the header did not come in time")]
    Late,
    /// The connection ended before.
    #[error("the connection ended before the header did")]
    Ended,
}

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Parsed {
    /// The beginning of a header.
    Partial,
    /// A header, and its length in bytes.
    Whole(ProxyHeader, usize),
}

/// Whether `bytes`, which were to be a request, begin as a header does.
pub(super) fn begins_as_header(bytes: &[u8]) -> bool {
    // Empty lines before a request are skipped, and the signature of version 2 begins with two.
    let rest = version2::SIGNATURE.strip_prefix(b"\r\n\r\n").unwrap_or(version2::SIGNATURE);
    let mut bytes = bytes;
    while let Some(following) = bytes.strip_prefix(b"\r\n") {
        bytes = following;
    }
    bytes.starts_with(version1::PREFIX) || bytes.starts_with(rest)
}

/// Reads the header that `socket` begins with, and nothing that follows it.
pub(super) async fn read(socket: &mut ClientSocket) -> Result<ProxyHeader, Refusal> {
    timeout(PATIENCE, read_header(socket)).await.unwrap_or(Err(Refusal::Late))
}

async fn read_header(socket: &mut ClientSocket) -> Result<ProxyHeader, Refusal> {
    let mut bytes = BytesMut::with_capacity(256);
    loop {
        match socket.read_buf(&mut bytes).await {
            Ok(0) | Err(_) => return Err(Refusal::Ended),
            Ok(_) => {}
        }
        match parse(&bytes)? {
            Parsed::Partial if bytes.len() >= BYTES_MAX => {
                return Err(Refusal::Malformed("the header is longer than 4 KiB"));
            }
            Parsed::Partial => {}
            Parsed::Whole(header, length) => {
                socket.put_back(Bytes::copy_from_slice(&bytes[length..]));
                return Ok(header);
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Parsed, Refusal> {
    let common = |prefix: &[u8]| bytes.iter().zip(prefix).all(|(byte, expected)| byte == expected);
    if common(version2::SIGNATURE) {
        version2::parse(bytes)
    } else if common(version1::PREFIX) {
        version1::parse(bytes)
    } else {
        Err(Refusal::Malformed("there is no header"))
    }
}

#[cfg(test)]
mod tests;
