//! Why a route did not match, in words.
//!
//! Owns the sentences that `explain` prints. It is apart so that the predicates stay free of prose.

use std::fmt;

use http::Method;

use crate::client::ClientMismatch;
use crate::hint::HintMismatch;
use crate::scheme::Scheme;

use super::{CookieMatch, HeaderMatch, PathMatch, QueryMatch, ValueMatch};

/// The first predicate of a route that did not hold.
///
/// `Display` gives a clause without a capital or a full stop, such as `path is not under /api`.
#[derive(Debug, Clone)]
pub enum Mismatch {
    /// The path does not look like this.
    Path(PathMatch),
    /// The method is none of those allowed.
    Method {
        /// The method of the request.
        found: Method,
        /// The methods of the route.
        allowed: Vec<Method>,
    },
    /// No occurrence of the header field holds.
    Header(HeaderMatch),
    /// No occurrence of the query field holds.
    Query(QueryMatch),
    /// No occurrence of the cookie holds.
    Cookie(CookieMatch),
    /// The scheme is not this.
    Scheme(Scheme),
    /// What is known of the client is not what is asked for.
    Hint(HintMismatch),
    /// The client's certificate is not what is asked for.
    Client(ClientMismatch),
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(PathMatch::Exact(path)) => write!(f, "path is not {path}"),
            Self::Path(PathMatch::Prefix(prefix)) => write!(f, "path is not under {prefix}"),
            Self::Path(PathMatch::Regex(regex)) => {
                write!(f, "path does not match the regex {}", regex.as_str())
            }
            Self::Method { found, allowed } => {
                write!(f, "method is {found}, not ")?;
                write_alternatives(f, allowed)
            }
            Self::Header(header) => {
                write!(f, "header {} ", header.name)?;
                write_value(f, &header.value)
            }
            Self::Query(field) => {
                write!(f, "query field {} ", field.name)?;
                write_value(f, &field.value)
            }
            Self::Cookie(cookie) => {
                write!(f, "cookie {} ", cookie.name)?;
                write_value(f, &cookie.value)
            }
            Self::Scheme(scheme) => write!(f, "scheme is not {scheme}"),
            Self::Hint(hint) => hint.fmt(f),
            Self::Client(client) => client.fmt(f),
        }
    }
}

fn write_alternatives(f: &mut fmt::Formatter<'_>, methods: &[Method]) -> fmt::Result {
    for (position, method) in methods.iter().enumerate() {
        let before = if position == 0 { "" } else { " or " };
        write!(f, "{before}{method}")?;
    }
    Ok(())
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &ValueMatch) -> fmt::Result {
    match value {
        ValueMatch::Exact(text) => write!(f, "is not {text:?}"),
        ValueMatch::Prefix(text) => write!(f, "does not begin with {text:?}"),
        ValueMatch::Regex(regex) => write!(f, "does not match the regex {}", regex.as_str()),
        ValueMatch::Present(true) => f.write_str("is missing"),
        ValueMatch::Present(false) => f.write_str("is present"),
    }
}
