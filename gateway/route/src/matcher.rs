//! What a route asks of a request.
//!
//! Owns the predicates, each on its own: [`Match::mismatch`] is the definition of what it means for
//! a route to match, and the table has to agree with it. It is apart from the table because the
//! definition must stay obvious while the table gets clever. It deliberately does not rank
//! predicates: there is no "more specific", only the order in which routes were written.

mod field;
mod mismatch;
mod path;
mod summary;

#[cfg(test)]
mod tests;

use http::{HeaderMap, Method};

use crate::client::{ClientCertificate, ClientMatch};
use crate::hint::{HintMatch, Hints};
use crate::scheme::Scheme;

pub use field::{CookieMatch, HeaderMatch, QueryMatch, ValueMatch, cookie_values, query_value};
pub use mismatch::Mismatch;
pub(crate) use path::REGEX_BYTES_MAX;
pub use path::{PathMatch, PathRegex};

/// The predicates of one route; it matches when all of them hold. An empty list asks nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Match {
    /// What the path must look like. The default is every path.
    pub path: PathMatch,
    /// The methods allowed, any when empty.
    pub methods: Vec<Method>,
    /// The header fields that must hold, all of them.
    pub headers: Vec<HeaderMatch>,
    /// The query fields that must hold, all of them.
    pub query: Vec<QueryMatch>,
    /// The cookies that must hold, all of them.
    pub cookies: Vec<CookieMatch>,
    /// The scheme that is asked for, any when there is none.
    pub scheme: Option<Scheme>,
    /// What must be known of the client. Boxed, since few routes ask and all are kept close together.
    pub hint: Option<Box<HintMatch>>,
    /// What the client's certificate must be. Boxed for the same reason.
    pub client: Option<Box<ClientMatch>>,
}

/// What a decision looks at, borrowed from the request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method, compared with case as RFC 9110 section 9.1 has it.
    pub method: &'a Method,
    /// The path, normalised as by [`normalise_path`](crate::normalise_path).
    pub path: &'a str,
    /// The query as it came, without its `?`; empty when there is none.
    pub query: &'a str,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// The scheme that the client used.
    pub scheme: Scheme,
    /// What is known of the client, if anything is.
    pub hints: Option<&'a Hints>,
}

impl Match {
    /// The first predicate that does not hold, or `None` when the route matches.
    ///
    /// Meant for explaining a decision: it allocates what it reports.
    pub fn mismatch(&self, request: &Request<'_>) -> Option<Mismatch> {
        self.path_mismatch(request.path)
            .or_else(|| self.method_mismatch(request.method))
            .or_else(|| self.header_mismatch(request.headers))
            .or_else(|| self.query_mismatch(request.query))
            .or_else(|| self.cookie_mismatch(request.headers))
            .or_else(|| self.scheme_mismatch(request.scheme))
            .or_else(|| self.hint_mismatch(request.hints))
            .or_else(|| self.client_mismatch(request.hints))
    }

    /// Whether nothing but the path is asked for.
    pub(crate) fn is_path_only(&self) -> bool {
        self.methods.is_empty()
            && self.headers.is_empty()
            && self.query.is_empty()
            && self.cookies.is_empty()
            && self.scheme.is_none()
            && self.hint.is_none()
            && self.client.is_none()
    }

    /// Whether everything but the path holds. Does not allocate, save for decoding a query.
    pub(crate) fn rest_holds(&self, request: &Request<'_>) -> bool {
        self.allows(request.method)
            && self.scheme.is_none_or(|scheme| scheme == request.scheme)
            && self.hint.as_ref().is_none_or(|hint| hint.holds(request.hints))
            && self.client.as_ref().is_none_or(|client| client.holds(certificate(request.hints)))
            && self.headers.iter().all(|header| header.holds(request.headers))
            && self.query.iter().all(|field| field.holds(request.query))
            && self.cookies.iter().all(|cookie| cookie.holds(request.headers))
    }

    fn allows(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    fn path_mismatch(&self, path: &str) -> Option<Mismatch> {
        (!self.path.holds(path)).then(|| Mismatch::Path(self.path.clone()))
    }

    fn method_mismatch(&self, method: &Method) -> Option<Mismatch> {
        (!self.allows(method))
            .then(|| Mismatch::Method { found: method.clone(), allowed: self.methods.clone() })
    }

    fn scheme_mismatch(&self, scheme: Scheme) -> Option<Mismatch> {
        self.scheme.filter(|asked| *asked != scheme).map(Mismatch::Scheme)
    }

    fn header_mismatch(&self, headers: &HeaderMap) -> Option<Mismatch> {
        self.headers
            .iter()
            .find(|header| !header.holds(headers))
            .map(|header| Mismatch::Header(header.clone()))
    }

    fn hint_mismatch(&self, hints: Option<&Hints>) -> Option<Mismatch> {
        self.hint.as_ref()?.mismatch(hints).map(Mismatch::Hint)
    }

    fn cookie_mismatch(&self, headers: &HeaderMap) -> Option<Mismatch> {
        self.cookies
            .iter()
            .find(|cookie| !cookie.holds(headers))
            .map(|cookie| Mismatch::Cookie(cookie.clone()))
    }

    fn client_mismatch(&self, hints: Option<&Hints>) -> Option<Mismatch> {
        self.client.as_ref()?.mismatch(certificate(hints)).map(Mismatch::Client)
    }

    fn query_mismatch(&self, query: &str) -> Option<Mismatch> {
        self.query
            .iter()
            .find(|field| !field.holds(query))
            .map(|field| Mismatch::Query(field.clone()))
    }
}

fn certificate(hints: Option<&Hints>) -> Option<&ClientCertificate> {
    hints?.client.as_deref()
}
