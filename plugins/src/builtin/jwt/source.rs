//! Where in a request the token is: `Authorization: Bearer` or a cookie.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::token::{Refusal, TOKEN_BYTES_MAX};

/// Where the token is.
#[derive(Debug)]
pub(super) enum Source {
    /// In this field, after `Bearer`.
    Header(HeaderName),
    /// In the cookie of this name.
    Cookie(Box<str>),
}

impl Source {
    /// The token.
    ///
    /// # Errors
    /// If there is not exactly one, or it cannot be a token.
    pub(super) fn token(&self, headers: &HeaderMap) -> Result<String, Refusal> {
        let token = match self {
            Self::Header(name) => bearer(one(headers.get_all(name).iter())?.as_bytes()),
            Self::Cookie(name) => Some(one(cookies(headers).filter_map(|pair| named(pair, name)))?),
        };
        let token = token.filter(|token| !token.is_empty()).ok_or(Refusal::NoToken)?;
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        match std::str::from_utf8(token) {
            Ok(token) if token.is_ascii() => Ok(token.to_owned()),
            _ => Err(Refusal::NotAscii),
        }
    }

    /// Takes the token out of the request.
    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        match self {
            Self::Header(name) => drop(headers.remove(name)),
            Self::Cookie(name) => strip_cookie(headers, name),
        }
    }
}

fn one<T>(mut found: impl Iterator<Item = T>) -> Result<T, Refusal> {
    match (found.next(), found.next()) {
        (Some(found), None) => Ok(found),
        (None, _) => Err(Refusal::NoToken),
        (Some(_), Some(_)) => Err(Refusal::SeveralTokens),
    }
}

/// RFC 6750, 2.1. The scheme's case does not matter: RFC 9110, 11.1.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(header::COOKIE).iter();
    fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';')).map(<[u8]>::trim_ascii)
}

fn named<'c>(pair: &'c [u8], name: &str) -> Option<&'c [u8]> {
    pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
}

fn strip_cookie(headers: &mut HeaderMap, name: &str) {
    let rest: Vec<_> = cookies(headers).filter(|pair| named(pair, name).is_none()).collect();
    let rest = HeaderValue::from_maybe_shared(Bytes::from(rest.join(&b"; "[..])));
    match rest {
        Ok(rest) if !rest.is_empty() => drop(headers.insert(header::COOKIE, rest)),
        _ => drop(headers.remove(header::COOKIE)),
    }
}
