//! Cookies that keep a client where it was, and copies of requests.

use std::fmt;
use std::time::Duration;

/// A cookie that keeps a client at an endpoint, or at an upstream of a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// Its name.
    pub cookie: Box<str>,
    /// How long it is kept; `None` is until the browser is closed.
    pub ttl: Option<Duration>,
    /// What it is signed with.
    pub secret: Secret,
}

/// A secret, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Bytes that a secret must have: 128 bits.
    pub const BYTES_MIN: usize = 16;

    /// Keeps `bytes` as a secret.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The secret itself.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<secret>")
    }
}

/// To which upstream copies of requests go, and of how many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Index into [`Config::upstreams`](super::Config::upstreams).
    pub upstream: usize,
    /// Percent of the requests.
    pub percent: u8,
}
