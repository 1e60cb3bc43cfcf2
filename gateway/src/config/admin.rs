//! The admin listener as it is configured: where it is, and who may ask it what.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::tls::Tls;

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub address: AdminAddress,
    /// The names, besides addresses and `localhost`, that requests may be for.
    pub hosts: Vec<Box<str>>,
    /// What a request must show to be answered at all.
    pub token: Option<Token>,
    /// What a request that only reads may show instead.
    pub read_token: Option<Token>,
    /// Its TLS, if it speaks TLS.
    pub tls: Option<Tls>,
}

/// Where the admin listener is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// An address and a port.
    Ip(SocketAddr),
    /// A socket in the file system.
    Unix {
        /// Where.
        path: PathBuf,
        /// Who may connect, as a mode of files: connecting takes the right to write.
        mode: u32,
    },
}

impl AdminAddress {
    /// The mode of a Unix socket where the file says nothing: its user and group.
    pub const MODE: u32 = 0o660;

    /// Whether requests can come from this machine only.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Ip(address) => address.ip().is_loopback(),
            Self::Unix { .. } => true,
        }
    }

    /// The address, if it is one of IP.
    #[must_use]
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix { .. } => None,
        }
    }
}

impl fmt::Display for AdminAddress {
    /// As it is written in the file.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(out),
            Self::Unix { path, .. } => write!(out, "unix:{}", path.display()),
        }
    }
}

/// A secret that whoever asks must show. Only its digest is kept: nothing can print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    sha256: [u8; 32],
    /// The file that it is in, as it was named.
    pub file: Box<str>,
}

impl Token {
    /// The token that the file called `file` holds, blanks around it left out; `None` if that is
    /// nothing, or something that no header field can hold.
    #[must_use]
    pub fn of(bytes: &[u8], file: &str) -> Option<Self> {
        let secret = bytes.trim_ascii();
        let is_token = !secret.is_empty() && secret.iter().all(u8::is_ascii_graphic);
        is_token.then(|| Self { sha256: Sha256::digest(secret).into(), file: file.into() })
    }

    /// Whether `shown` is this token. Takes the same time wherever the two differ.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        let pairs = self.sha256.iter().zip(shown);
        std::hint::black_box(pairs.fold(0, |differences, (one, other)| differences | (one ^ other)))
            == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_stands_between_blanks() {
        let token = Token::of(b"  s3cret+/=\n", "t").unwrap();
        assert!(token.is(b"s3cret+/="));
        for other in [&b""[..], b"s3cret", b"s3cret+/=\n", b"S3cret+/="] {
            assert!(!token.is(other));
        }
        for none in [&b""[..], b" \n", b"two words", b"\xff\xfe", b"line\nline"] {
            assert_eq!(Token::of(none, "t"), None);
        }
    }
}
