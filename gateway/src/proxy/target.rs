//! The request-target: taken apart, normalised, and put together again as it goes upstream.

use std::borrow::Cow;

use http::uri::{PathAndQuery, Uri};
use http::{HeaderMap, HeaderValue, Version, header};
use pingora_http::RequestHeader;
use sallyport_balance::hash_key as hash;
use sallyport_http1::head;
use sallyport_route::{ClientCertificate, Hints, normalise_host, normalise_path};

use super::cause::Cause;
use crate::config::{CertificatePart, HashOn, HintField};

/// A request-target in its parts, normalised.
#[derive(Debug)]
pub(super) struct Target<'r> {
    /// The host, lower-case, without port.
    pub(super) host: Cow<'r, str>,
    /// The path.
    pub(super) path: Cow<'r, str>,
    /// The query, without its question mark.
    pub(super) query: Option<Cow<'r, str>>,
}

impl<'r> Target<'r> {
    /// Reads the target and the host it is for (RFC 9112, 3.2). HTTP/1's absolute form has become the origin
    /// form by now.
    pub(super) fn of(request: &'r RequestHeader) -> Result<Self, Cause> {
        let host = host(request)?;
        let host = normalise_host(host).map_err(|_| Cause::BadRequest("the host is malformed"))?;
        let raw = request.raw_path();
        if head::is_refused(raw) {
            return Err(Cause::BadRequest("the request-target is malformed"));
        }
        let raw = std::str::from_utf8(raw)
            .map_err(|_| Cause::BadRequest("the request-target is not UTF-8"))?;
        let (path, query) = match raw.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (raw, None),
        };
        let path = normalise_path(path.as_bytes())
            .map_err(|_| Cause::BadRequest("the path is malformed"))?;
        let query =
            query.map(|query| head::escaped_query(query).map_or(Cow::Borrowed(query), Cow::Owned));
        let length = path.len() + query.as_ref().map_or(0, |query| query.len() + 1);
        if length > head::TARGET_BYTES_MAX {
            return Err(Cause::TargetTooLong);
        }
        Ok(Self { host, path, query })
    }

    /// The path and query in normal form, where they are not what came: what was matched is what filters see
    /// and what goes upstream.
    pub(super) fn rewritten(&self) -> Option<String> {
        match (&self.path, &self.query) {
            (Cow::Borrowed(_), None | Some(Cow::Borrowed(_))) => None,
            (path, None) => Some(path.to_string()),
            (path, Some(query)) => Some(format!("{path}?{query}")),
        }
    }
}

/// Gives `request` this path and query.
///
/// # Errors
/// They cannot stand in a request.
pub(super) fn set(request: &mut RequestHeader, target: &str) -> Result<(), Cause> {
    let malformed = Cause::BadRequest("the path is malformed");
    if request.uri.authority().is_none() {
        return request.set_raw_path(target.as_bytes()).map_err(|_| malformed);
    }
    // HTTP/2 has its authority here.
    let mut parts = request.uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| malformed)?);
    request.set_uri(Uri::from_parts(parts).map_err(|_| malformed)?);
    Ok(())
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
        HashOn::Ja4 => hints
            .and_then(|hints| hints.ja4.as_deref())
            .map_or_else(source, |ja4| hash(ja4.as_bytes())),
        HashOn::ClientCertificate(part) => hints
            .and_then(|hints| hints.client.as_deref())
            .map_or_else(source, |client| hash(certificate_part(client, *part).as_bytes())),
    }
}

/// Those that stay the same for as long as a client stays where it is.
pub(super) fn hint(hints: &Hints, field: HintField) -> Option<&str> {
    match field {
        HintField::Network => hints.network.as_deref(),
        HintField::Zone => hints.zone.as_deref(),
        HintField::Protocol => hints.protocol,
        HintField::Screens | HintField::SynRate => None,
    }
}

fn certificate_part(client: &ClientCertificate, part: CertificatePart) -> &str {
    match part {
        CertificatePart::Subject => &client.subject,
        CertificatePart::Serial => &client.serial,
        CertificatePart::Fingerprint => &client.fingerprint,
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
