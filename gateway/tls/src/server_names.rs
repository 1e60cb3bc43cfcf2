//! Values by the name that a client asks for, where patterns stand for many names.

use std::collections::HashMap;
use std::fmt;

use crate::name::DnsPattern;

/// A pattern of the names that clients ask for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NamePattern {
    /// As a name of a certificate: one host, or those directly below a domain.
    Named(DnsPattern),
    /// The hosts below this domain, by as many labels as they have: `**.example.com`.
    Below(Box<str>),
    /// Every name, and none at all: `*`.
    Any,
}

/// How closely a pattern fits a name; the greater one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Closeness {
    /// It fits everything.
    Any,
    /// It fits every name below a domain.
    Below,
    /// It fits every name directly below a domain.
    Wildcard,
    /// It is the name.
    Exact,
}

/// Values by patterns. A look-up costs a hash for each label of the name at most.
#[derive(Debug)]
pub struct ServerNames<T> {
    exact: HashMap<Box<str>, T>,
    wildcard: HashMap<Box<str>, T>,
    below: HashMap<Box<str>, T>,
    any: Option<T>,
}

impl NamePattern {
    /// Reads `text`: `shop.example.com`, `*.example.com`, `**.example.com` or `*`; `None` if it is
    /// none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        match text.strip_prefix("**.").map(DnsPattern::parse) {
            Some(Some(DnsPattern::Exact(domain))) => Some(Self::Below(domain)),
            Some(_) => None,
            None => DnsPattern::parse(text).map(Self::Named),
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(out),
            Self::Below(domain) => write!(out, "**.{domain}"),
            Self::Any => out.write_str("*"),
        }
    }
}

impl<T: Copy> ServerNames<T> {
    /// The value of the closest pattern for `name`, in lower case and without a dot at its end, and
    /// how close that is. Who asks for no name gets what is for all.
    #[must_use]
    pub fn find(&self, name: Option<&str>) -> Option<(Closeness, T)> {
        let found = name.and_then(|name| {
            let (_, domain) = name.split_once('.').unwrap_or_default();
            let with = |closeness| move |value: &T| (closeness, *value);
            let exact = self.exact.get(name).map(with(Closeness::Exact));
            let wildcard = || self.wildcard.get(domain).map(with(Closeness::Wildcard));
            let below = || self.below(domain).map(with(Closeness::Below));
            exact.or_else(wildcard).or_else(below)
        });
        found.or_else(|| self.any.map(|value| (Closeness::Any, value)))
    }

    /// The value of the longest domain that `domain` is or is below of.
    fn below(&self, domain: &str) -> Option<&T> {
        if self.below.is_empty() {
            return None;
        }
        let mut domain = domain;
        loop {
            if let Some(value) = self.below.get(domain) {
                return Some(value);
            }
            (_, domain) = domain.split_once('.')?;
        }
    }
}

/// Of patterns that are there twice the first holds.
impl<T> FromIterator<(NamePattern, T)> for ServerNames<T> {
    fn from_iter<I: IntoIterator<Item = (NamePattern, T)>>(entries: I) -> Self {
        let (exact, wildcard, below) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut this = Self { exact, wildcard, below, any: None };
        for (pattern, value) in entries {
            let (table, name) = match pattern {
                NamePattern::Named(DnsPattern::Exact(name)) => (&mut this.exact, name),
                NamePattern::Named(DnsPattern::Wildcard(domain)) => (&mut this.wildcard, domain),
                NamePattern::Below(domain) => (&mut this.below, domain),
                NamePattern::Any => {
                    this.any.get_or_insert(value);
                    continue;
                }
            };
            table.entry(name).or_insert(value);
        }
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(patterns: &[&str]) -> ServerNames<usize> {
        let patterns = patterns.iter().map(|text| NamePattern::parse(text).expect(text));
        patterns.enumerate().map(|(index, pattern)| (pattern, index)).collect()
    }

    #[test]
    fn the_closest_pattern_decides() {
        let names = names(&[
            "*",
            "**.example.com",
            "**.b.example.com",
            "*.example.com",
            "shop.example.com",
            "shop.example.com",
        ]);
        for (name, found) in [
            (Some("shop.example.com"), (Closeness::Exact, 4)),
            (Some("api.example.com"), (Closeness::Wildcard, 3)),
            (Some("x.a.example.com"), (Closeness::Below, 1)),
            (Some("x.b.example.com"), (Closeness::Below, 2)),
            (Some("x.y.b.example.com"), (Closeness::Below, 2)),
            (Some("example.com"), (Closeness::Any, 0)),
            (Some("localhost"), (Closeness::Any, 0)),
            (Some(""), (Closeness::Any, 0)),
            (None, (Closeness::Any, 0)),
        ] {
            assert_eq!(names.find(name), Some(found), "{name:?}");
        }
    }

    #[test]
    fn what_no_pattern_is_for_is_not_found() {
        let names = names(&["*.example.com", "**.example.org"]);
        for name in [None, Some("example.com"), Some("a.b.example.com"), Some("example.org")] {
            assert_eq!(names.find(name), None, "{name:?}");
        }
    }

    #[test]
    fn patterns_are_written_as_they_are_read() {
        for text in ["*", "*.example.com", "**.example.com", "example.com"] {
            assert_eq!(NamePattern::parse(text).expect(text).to_string(), text);
        }
        for text in ["", "**", "**.", "***.a", "**.*.a", "a.*", "10.0.0.1", "*.10.0.0.1"] {
            assert_eq!(NamePattern::parse(text), None, "{text}");
        }
    }
}
