//! Where an endpoint listens: an address with a port, or the path of a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// What a path begins with where an address is written.
const UNIX: &str = "unix:";

/// Bytes that the path of a Unix socket may have: `sun_path` without the byte that ends it (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// Where an endpoint listens, and what identifies it to the hashing policies.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port.
    Inet(SocketAddr),
    /// The path of a Unix socket.
    Unix(Arc<Path>),
}

impl Address {
    /// The IP address and port, if that is what it is.
    #[must_use]
    pub fn as_inet(&self) -> Option<SocketAddr> {
        match self {
            Self::Inet(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Inet(address)
    }
}

impl<I: Into<std::net::IpAddr>> From<(I, u16)> for Address {
    fn from(address: (I, u16)) -> Self {
        Self::Inet(address.into())
    }
}

/// Why a text is no [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseAddressError {
    /// It is neither an IP address with a port nor begins with `unix:`.
    #[error("is neither an IP address with a port nor the path of a Unix socket")]
    Neither,
    /// The path does not begin at the root.
    #[error("has a path that does not begin with /")]
    RelativePath,
    /// The path does not fit into a socket's address.
    #[error("has a path of more than {PATH_BYTES_MAX} bytes")]
    PathTooLong,
    /// The path contains a byte 0.
    #[error("has a path with a byte 0")]
    NulInPath,
}

impl FromStr for Address {
    type Err = ParseAddressError;

    /// Reads `10.0.0.1:80`, `[2001:db8::1]:80` or `unix:/run/app.sock`.
    fn from_str(text: &str) -> Result<Self, ParseAddressError> {
        let Some(path) = text.strip_prefix(UNIX) else {
            return text.parse().map(Self::Inet).map_err(|_| ParseAddressError::Neither);
        };
        match path {
            path if !path.starts_with('/') => Err(ParseAddressError::RelativePath),
            path if path.len() > PATH_BYTES_MAX => Err(ParseAddressError::PathTooLong),
            path if path.contains('\0') => Err(ParseAddressError::NulInPath),
            path => Ok(Self::Unix(Path::new(path).into())),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "{UNIX}{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for text in ["10.0.0.1:80", "[2001:db8::1]:80", "unix:/run/app.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let long = format!("unix:/{}", "a".repeat(PATH_BYTES_MAX));
        for (text, error) in [
            ("api.internal:80", ParseAddressError::Neither),
            ("10.0.0.1", ParseAddressError::Neither),
            ("unix:app.sock", ParseAddressError::RelativePath),
            ("unix:", ParseAddressError::RelativePath),
            ("unix:/a\0b", ParseAddressError::NulInPath),
            (&long, ParseAddressError::PathTooLong),
        ] {
            assert_eq!(text.parse::<Address>(), Err(error), "{text:?}");
        }
    }
}
