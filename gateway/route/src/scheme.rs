//! The scheme of a request.

use std::fmt;

/// The scheme of a request's URI, as far as it is served here.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Clear text.
    #[default]
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Http, Self::Https];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
