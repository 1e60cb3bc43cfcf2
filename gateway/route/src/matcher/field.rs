//! The predicates over header fields, query fields and cookies.
//!
//! Owns how a field that may occur several times, or not at all, is compared with what a route
//! asks. It is apart because all kinds of field share their value predicate. Bodies are deliberately
//! not looked at.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, header};
use regex::Regex;

/// A header field that must hold: when any of its occurrences does.
///
/// Names are compared without case, as [`HeaderName`] is lower-case. An occurrence is one field
/// line; lines are not joined with commas.
#[derive(Debug, Clone, PartialEq)]
pub struct HeaderMatch {
    /// The field's name.
    pub name: HeaderName,
    /// What its value must look like.
    pub value: ValueMatch,
}

/// A query field that must hold: when any of its occurrences does.
///
/// Names and values are compared after decoding as `application/x-www-form-urlencoded`: `+` is a
/// space, escapes are decoded, a malformed escape stands for itself.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryMatch {
    /// The field's name, decoded.
    pub name: Box<str>,
    /// What its value must look like.
    pub value: ValueMatch,
}

/// A cookie that must hold: when any of its occurrences does. Names and values are compared as they are sent.
#[derive(Debug, Clone, PartialEq)]
pub struct CookieMatch {
    /// The cookie's name.
    pub name: Box<str>,
    /// What its value must look like.
    pub value: ValueMatch,
}

/// What a value must look like, compared with case.
#[derive(Debug, Clone)]
pub enum ValueMatch {
    /// This value.
    Exact(Box<str>),
    /// A value that begins so.
    Prefix(Box<str>),
    /// A value the regex finds a match in; [`ValueMatch::regex`] makes one that must match the
    /// whole. A value that is not UTF-8 never matches.
    Regex(Regex),
    /// Any value when true, no occurrence at all when false.
    Present(bool),
}

impl ValueMatch {
    /// Matches values that the pattern matches from beginning to end.
    ///
    /// # Errors
    ///
    /// [`regex::Error`] when the pattern is malformed or too large.
    pub fn regex(pattern: &str) -> Result<ValueMatch, regex::Error> {
        // Alone first: a pattern that closes a group it did not open must not pass for whole.
        Regex::new(pattern)?;
        let [whole, commented] = Self::anchored(pattern);
        Ok(Self::Regex(Regex::new(&whole).or_else(|_| Regex::new(&commented))?))
    }

    /// The forms of `pattern` that match a value as a whole; the second where the first is malformed.
    pub(crate) fn anchored(pattern: &str) -> [String; 2] {
        // The line feed ends a comment in verbose mode and is insignificant there only.
        [format!("^(?:{pattern})$"), format!("^(?:{pattern}\n)$")]
    }

    pub(super) fn holds(&self, mut values: impl Iterator<Item = impl AsRef<[u8]>>) -> bool {
        match self {
            Self::Present(present) => values.next().is_some() == *present,
            Self::Exact(text) => values.any(|value| value.as_ref() == text.as_bytes()),
            Self::Prefix(text) => values.any(|value| value.as_ref().starts_with(text.as_bytes())),
            Self::Regex(regex) => values
                .any(|value| std::str::from_utf8(value.as_ref()).is_ok_and(|v| regex.is_match(v))),
        }
    }
}

impl PartialEq for ValueMatch {
    /// Regexes are the same where their patterns are.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(other)) | (Self::Prefix(one), Self::Prefix(other)) => {
                one == other
            }
            (Self::Regex(one), Self::Regex(other)) => one.as_str() == other.as_str(),
            (Self::Present(one), Self::Present(other)) => one == other,
            _ => false,
        }
    }
}

impl HeaderMatch {
    pub(super) fn holds(&self, headers: &HeaderMap) -> bool {
        self.value.holds(headers.get_all(&self.name).iter())
    }
}

impl QueryMatch {
    pub(super) fn holds(&self, query: &str) -> bool {
        self.value.holds(occurrences(query, &self.name))
    }
}

impl CookieMatch {
    pub(super) fn holds(&self, headers: &HeaderMap) -> bool {
        self.value.holds(cookie_values(headers, &self.name))
    }
}

/// The values of all cookies with this name (RFC 6265, 5.4): pairs separated by semicolons, in one field or several.
pub fn cookie_values<'h>(headers: &'h HeaderMap, name: &'h str) -> impl Iterator<Item = &'h str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let pairs = fields.flat_map(|field| field.split(';'));
    let pairs = pairs.filter_map(|pair| pair.trim().split_once('='));
    pairs.filter_map(move |(key, value)| (key == name).then_some(value))
}

/// The value of the first query field with this name, decoded as for [`QueryMatch`].
///
/// Allocates only to decode.
pub fn query_value<'q>(query: &'q str, name: &str) -> Option<Cow<'q, [u8]>> {
    occurrences(query, name).next()
}

fn occurrences<'q>(query: &'q str, name: &str) -> impl Iterator<Item = Cow<'q, [u8]>> {
    let fields = query.split('&').filter(|field| !field.is_empty());
    fields.filter_map(move |field| {
        let (found, value) = field.split_once('=').unwrap_or((field, ""));
        (*decode(found) == *name.as_bytes()).then(|| decode(value))
    })
}

/// Decodes one name or value of a query; borrows when there is nothing to decode.
fn decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if memchr::memchr2(b'%', b'+', bytes).is_none() {
        return Cow::Borrowed(bytes);
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'+' => out.push(b' '),
            b'%' if let Some(decoded) = escaped(tail) => {
                out.push(decoded);
                rest = &tail[2..];
            }
            _ => out.push(*byte),
        }
    }
    Cow::Owned(out)
}

fn escaped(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else { return None };
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    u8::try_from(value(high)? << 4 | value(low)?).ok()
}
