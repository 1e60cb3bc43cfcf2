//! What a route asks for, in words: the counterpart of [`Mismatch`](super::Mismatch) for listings.

use std::fmt;

use super::{Match, PathMatch, ValueMatch};

/// A clause for each predicate, such as `path under /api, method GET or POST, header x-beta "1"`.
impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            PathMatch::Exact(path) => write!(f, "path {path}")?,
            PathMatch::Prefix(prefix) => write!(f, "path under {prefix}")?,
            PathMatch::Regex(regex) => write!(f, "path matching {}", regex.as_str())?,
        }
        if !self.methods.is_empty() {
            let methods: Vec<&str> = self.methods.iter().map(|method| method.as_str()).collect();
            write!(f, ", method {}", methods.join(" or "))?;
        }
        for header in &self.headers {
            write!(f, ", header {} {}", header.name, Asked(&header.value))?;
        }
        for field in &self.query {
            write!(f, ", query field {} {}", field.name, Asked(&field.value))?;
        }
        for cookie in &self.cookies {
            write!(f, ", cookie {} {}", cookie.name, Asked(&cookie.value))?;
        }
        if let Some(scheme) = self.scheme {
            write!(f, ", scheme {scheme}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, ", {hint}")?;
        }
        match &self.client {
            Some(client) => write!(f, ", {client}"),
            None => Ok(()),
        }
    }
}

struct Asked<'a>(&'a ValueMatch);

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValueMatch::Exact(text) => write!(f, "{text:?}"),
            ValueMatch::Prefix(text) => write!(f, "beginning with {text:?}"),
            ValueMatch::Regex(regex) => write!(f, "matching {}", regex.as_str()),
            ValueMatch::Present(true) => f.write_str("present"),
            ValueMatch::Present(false) => f.write_str("absent"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CookieMatch, HeaderMatch, QueryMatch};
    use super::{Match, PathMatch, ValueMatch};

    #[test]
    fn every_predicate_has_its_clause() {
        let matches = Match {
            path: PathMatch::prefix("/api").unwrap(),
            methods: vec![http::Method::GET, http::Method::POST],
            headers: vec![HeaderMatch {
                name: http::HeaderName::from_static("x-beta"),
                value: ValueMatch::Exact("1".into()),
            }],
            query: vec![QueryMatch { name: "v".into(), value: ValueMatch::Present(false) }],
            cookies: vec![CookieMatch {
                name: "beta".into(),
                value: ValueMatch::Prefix("a".into()),
            }],
            scheme: Some(crate::Scheme::Https),
            hint: None,
            client: None,
        };
        let text = "path under /api, method GET or POST, header x-beta \"1\", query field v absent, \
                    cookie beta beginning with \"a\", scheme https";
        assert_eq!(matches.to_string(), text);
    }
}
