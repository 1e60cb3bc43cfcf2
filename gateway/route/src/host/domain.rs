//! A domain as configuration writes it.
//!
//! Owns the four shapes a virtual host may claim and their parser. It is apart from the table so
//! that configuration can parse, compare and print domains without building one.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{HostError, normalise_host};

/// What a virtual host claims: one host, or a family of them.
///
/// Parsed from text, it holds names normalised as by [`normalise_host`], so that two spellings of
/// one domain are equal. `Display` writes what `FromStr` reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `shop.example.com`: this host alone.
    Exact(Box<str>),
    /// `*.example.com`, kept without the `*.`: every host with at least one more label in front.
    Suffix(Box<str>),
    /// `shop.*`, kept without the `.*`: every host with at least one more label behind.
    Prefix(Box<str>),
    /// `*`: every host that nothing else claims.
    Any,
}

/// Why a text is no [`Domain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DomainError {
    /// Nothing was written.
    #[error("domain is empty")]
    Empty,
    /// A URL, or the beginning of one.
    #[error("domain has a scheme or a path; write the host alone, such as shop.example.com")]
    Url,
    /// A domain is matched without its port.
    #[error("domain has a port; leave it out, every port matches")]
    Port,
    /// A `*` that is not the whole first or the whole last label.
    #[error("'*' may only be a whole label, the first (\"*.x\") or the last (\"x.*\")")]
    Wildcard,
    /// Names travel as A-labels, so only those can ever match.
    #[error("domain is not ASCII; write it as an A-label (xn--...)")]
    NotAscii,
    /// The name itself could not be a host.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl Domain {
    /// What the `*` stands for in `host`, normalised, if this is a wildcard that matches it.
    ///
    /// ```
    /// # use sallyport_route::Domain;
    /// let domain: Domain = "www.*".parse()?;
    /// assert_eq!(domain.wildcard("www.example.com"), Some("example.com"));
    /// assert_eq!(domain.wildcard("example.com"), None);
    /// # Ok::<(), sallyport_route::DomainError>(())
    /// ```
    pub fn wildcard<'h>(&self, host: &'h str) -> Option<&'h str> {
        let rest = match self {
            Self::Exact(_) => return None,
            Self::Suffix(name) => host.strip_suffix(&**name)?.strip_suffix('.')?,
            Self::Prefix(name) => host.strip_prefix(&**name)?.strip_prefix('.')?,
            Self::Any => host,
        };
        (!rest.is_empty()).then_some(rest)
    }

    /// What the `*` stands for in the one of `domains` that claims `host`: the longest `*.suffix`
    /// wins over the longest `prefix.*`, and that over `*`.
    pub fn wildcard_among<'h>(domains: &[Self], host: &'h str) -> Option<&'h str> {
        let rank = |domain: &Self| match domain {
            Self::Suffix(name) => (2, name.len()),
            Self::Prefix(name) => (1, name.len()),
            Self::Exact(_) | Self::Any => (0, 0),
        };
        let found = domains.iter().filter_map(|it| Some((rank(it), it.wildcard(host)?)));
        found.max_by_key(|(rank, _)| *rank).map(|(_, rest)| rest)
    }
}

impl FromStr for Domain {
    type Err = DomainError;

    fn from_str(text: &str) -> Result<Self, DomainError> {
        if text.is_empty() {
            return Err(DomainError::Empty);
        }
        if !text.is_ascii() {
            return Err(DomainError::NotAscii);
        }
        if text.contains('/') {
            return Err(DomainError::Url);
        }
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.starts_with('[') {
            return address(text).map(Self::Exact);
        }
        if let Some(rest) = text.strip_prefix("*.") {
            return name(rest).map(Self::Suffix);
        }
        match text.strip_suffix(".*") {
            Some(rest) => name(rest).map(Self::Prefix),
            None => name(text).map(Self::Exact),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(name) => write!(f, "*.{name}"),
            Self::Prefix(name) => write!(f, "{name}.*"),
            Self::Any => f.write_str("*"),
        }
    }
}

fn name(text: &str) -> Result<Box<str>, DomainError> {
    if text.contains('*') {
        return Err(DomainError::Wildcard);
    }
    if text.contains(':') {
        return Err(DomainError::Port);
    }
    Ok(normalise_host(text)?.into())
}

fn address(text: &str) -> Result<Box<str>, DomainError> {
    if text.ends_with(']') { Ok(normalise_host(text)?.into()) } else { Err(DomainError::Port) }
}
