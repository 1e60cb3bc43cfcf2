//! The request-target: taken apart, normalised, and put together again as it goes upstream.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, Version, header};
use pingora_http::RequestHeader;
use sallyport_balance::hash_key as hash;
use sallyport_route::{Hints, normalise_host, normalise_path};

use super::cause::Cause;
use crate::config::{HashOn, HintField};

/// A request-target in its parts, normalised.
#[derive(Debug)]
pub(super) struct Target<'r> {
    /// The host, lower-case, without port.
    pub(super) host: Cow<'r, str>,
    /// The path.
    pub(super) path: Cow<'r, str>,
    /// The query as sent, without its question mark.
    pub(super) query: Option<&'r str>,
    /// Whether it was sent in absolute form.
    absolute: bool,
}

impl<'r> Target<'r> {
    /// Reads the target and the host it is for (RFC 9112, 3.2).
    pub(super) fn of(request: &'r RequestHeader) -> Result<Self, Cause> {
        let host = host(request)?;
        let host = normalise_host(host).map_err(|_| Cause::BadRequest("the host is malformed"))?;
        let raw = std::str::from_utf8(request.raw_path())
            .map_err(|_| Cause::BadRequest("the request-target is not UTF-8"))?;
        let (origin_form, absolute) = match strip_authority(raw) {
            Some(rest) => (rest, true),
            None => (raw, false),
        };
        let (path, query) = match origin_form.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (origin_form, None),
        };
        let path = if absolute && path.is_empty() { "/" } else { path };
        let path = normalise_path(path.as_bytes())
            .map_err(|_| Cause::BadRequest("the path is malformed"))?;
        Ok(Self { host, path, query, absolute })
    }

    /// The path and query to send upstream, where they are not what came: what goes upstream is what
    /// was matched.
    pub(super) fn rewritten(&self) -> Option<String> {
        match (&self.path, self.query) {
            (Cow::Borrowed(_), _) if !self.absolute => None,
            (path, None) => Some(path.to_string()),
            (path, Some(query)) => Some(format!("{path}?{query}")),
        }
    }
}

/// The one host that a request is for. HTTP/2 has it in `:authority` (RFC 9113, 8.3.1).
fn host(request: &RequestHeader) -> Result<&str, Cause> {
    let mut fields = request.headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(Cause::BadRequest("Host is repeated"));
    }
    match (field, request.uri.authority()) {
        (Some(field), _) => field.to_str().map_err(|_| Cause::BadRequest("the host is malformed")),
        (None, Some(authority)) if request.version == Version::HTTP_2 => Ok(authority.as_str()),
        (None, _) => Err(Cause::BadRequest("Host is missing")),
    }
}

/// The host that the client asked for, as it was sent, with its port if it has one.
pub(super) fn asked_host(request: &RequestHeader) -> Option<HeaderValue> {
    let authority = || request.uri.authority().map(|authority| authority.as_str());
    let field = request.headers.get(header::HOST).cloned();
    field.or_else(|| HeaderValue::from_str(authority()?).ok())
}

/// What follows the authority of an absolute-form target; Pingora has compared that with Host.
fn strip_authority(target: &str) -> Option<&str> {
    if target.starts_with('/') {
        return None;
    }
    let scheme_end = target.find("://")?;
    let scheme = &target[..scheme_end];
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return None;
    }
    let rest = &target[scheme_end + 3..];
    Some(rest.find(['/', '?']).map_or("", |at| &rest[at..]))
}

/// The hash that decides a request's endpoint. A request without the header, cookie, parameter or hint is
/// hashed by its client's address, so that it still stays with one endpoint.
pub(crate) fn hash_key(
    hash_on: &HashOn,
    client: Option<std::net::IpAddr>,
    path: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    hints: Option<&Hints>,
) -> u64 {
    let source = || client.map_or(0, hash_address);
    match hash_on {
        HashOn::SourceIp => source(),
        HashOn::Path => hash(path.as_bytes()),
        HashOn::Header(name) => {
            headers.get(name).map_or_else(source, |value| hash(value.as_bytes()))
        }
        HashOn::Cookie(name) => {
            cookie(headers, name).map_or_else(source, |value| hash(value.as_bytes()))
        }
        HashOn::Query(name) => sallyport_route::query_value(query.unwrap_or(""), name)
            .map_or_else(source, |value| hash(&value)),
        HashOn::Hint(field) => hints
            .and_then(|hints| hint(hints, *field))
            .map_or_else(source, |value| hash(value.as_bytes())),
    }
}

/// Those that stay the same for as long as a client stays where it is.
fn hint(hints: &Hints, field: HintField) -> Option<&str> {
    match field {
        HintField::Network => hints.network.as_deref(),
        HintField::Zone => hints.zone.as_deref(),
        HintField::Protocol => hints.protocol,
        HintField::Screens | HintField::SynRate => None,
    }
}

fn hash_address(address: std::net::IpAddr) -> u64 {
    match address {
        std::net::IpAddr::V4(address) => hash(&address.octets()),
        std::net::IpAddr::V6(address) => hash(&address.octets()),
    }
}

/// RFC 6265, 5.4: pairs separated by semicolons, in one field or several.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

#[cfg(test)]
mod tests;
