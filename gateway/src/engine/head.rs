//! Heads as the phases have them and as they are on the wire.
//!
//! A map of fields has names in lower case. Requests go to origins so; responses go to clients with
//! the names that the origin wrote, which are found beside the values (`sallyport-http1`).

use std::mem;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use pingora_core::protocols::http::authority::validate_request_authority;
use pingora_error::{Error, ErrorType, OrErr as _, Result};
use pingora_http::{RequestHeader, ResponseHeader, header_value_from_raw};
use sallyport_http1::head::content_length;
use sallyport_http1::{BodyWriter, ResponseHead, fields, written_name};

use crate::proxy::{FIELDS_ADDED_MAX, members, write_field};

/// What is about the client's connection only (RFC 9110, 7.6.1), in the order in which Pingora
/// removes it: a map fills the gap with its last field, so the order of the others depends on it.
const HOP_BY_HOP: [&str; 10] = [
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "connection",
    "upgrade",
    "http2-settings",
];

/// Few fields are shorter: what a head has room for is its length over this.
const FIELD_BYTES: usize = 32;
/// The most fields of a head that there is room for from the beginning.
const FIELDS_RESERVED_MAX: usize = 48;
/// Fields that a response is given: the date, and what becomes of the connection.
const RESPONSE_FIELDS_ADDED: usize = 2;

/// The request with this head, which was checked; `None` if it is one for Pingora.
pub(super) fn request(raw: &Bytes) -> Option<RequestHeader> {
    let line = raw.iter().position(|byte| *byte == b'\r')?;
    let mut parts = raw[..line].split(|byte| *byte == b' ');
    let (method, target, version) = (parts.next()?, parts.next()?, parts.next()?);
    let is_plain = target.first() == Some(&b'/') && target.is_ascii();
    let version = match version {
        b"HTTP/1.1" => Version::HTTP_11,
        b"HTTP/1.0" => Version::HTTP_10,
        _ => return None,
    };
    if !is_plain || method == b"CONNECT" {
        return None;
    }
    let start = method.len() + 1;
    let target = raw.slice(start..start + target.len());
    let mut parts = http::Request::new(()).into_parts().0;
    parts.version = version;
    parts.method = Method::from_bytes(method).ok()?;
    parts.uri = PathAndQuery::from_maybe_shared(target).ok()?.into();
    append_fields(&mut parts.headers, raw, line + 2, FIELDS_ADDED_MAX).ok()?;
    let is_upgrade = parts.headers.contains_key(header::UPGRADE);
    (!is_upgrade).then(|| parts.into())
}

/// The response with this head.
pub(super) fn response(raw: &Bytes, found: &ResponseHead) -> Result<ResponseHeader> {
    let mut parts = http::Response::new(()).into_parts().0;
    parts.status = found.status.try_into().or_err(ErrorType::InvalidHTTPHeader, "status")?;
    parts.version = match found.version {
        sallyport_http1::Version::Http10 => Version::HTTP_10,
        sallyport_http1::Version::Http11 => Version::HTTP_11,
    };
    append_fields(&mut parts.headers, raw, found.fields, RESPONSE_FIELDS_ADDED)?;
    if found.overrides_length {
        parts.headers.remove(header::CONTENT_LENGTH);
    }
    let mut head = ResponseHeader::from(parts);
    head.set_reason_phrase(Some(std::str::from_utf8(&raw[found.reason.clone()]).unwrap_or("")))?;
    Ok(head)
}

/// The trailers that stand in `raw`, which were checked.
pub(super) fn trailers(raw: Bytes) -> Result<HeaderMap> {
    let mut trailers = HeaderMap::new();
    append_fields(&mut trailers, &raw, 0, 0)?;
    Ok(trailers)
}

/// Writes the last chunk of a body with `trailers` to `out` (RFC 9112, 7.1.2).
pub(super) fn write_trailers(trailers: &HeaderMap, out: &mut BytesMut) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        write_field(name.as_str().as_bytes(), value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Whether the client says that it takes trailers, of this hop as it must (RFC 9110, 10.1.4).
pub(super) fn asks_for_trailers(request: &RequestHeader) -> bool {
    let has = |name, wanted: &[u8]| {
        members(&request.headers, &name).any(|member| member.eq_ignore_ascii_case(wanted))
    };
    has(header::TE, b"trailers") && has(header::CONNECTION, b"te")
}

/// Whether the client keeps its connection unless it says otherwise: one of HTTP/1.0 has to ask for
/// that (RFC 9112, 9.3).
pub(super) fn keeps_connection(request: &RequestHeader) -> bool {
    let asked = |option: &[u8]| option.eq_ignore_ascii_case(b"keep-alive");
    request.version != Version::HTTP_10 || members(&request.headers, &header::CONNECTION).any(asked)
}

/// Asks the origin for trailers (RFC 9110, 10.1.4).
pub(super) fn ask_for_trailers(request: &mut Parts) {
    request.headers.insert(header::TE, HeaderValue::from_static("trailers"));
    request.headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
}

fn append_fields(headers: &mut HeaderMap, raw: &Bytes, start: usize, added: usize) -> Result<()> {
    // Once for all there may be, instead of growing step by step.
    headers.reserve((raw.len() / FIELD_BYTES).min(FIELDS_RESERVED_MAX) + added);
    for field in fields(raw, start) {
        let name = name(&raw[field.name])?;
        let value = header_value_from_raw(raw.slice(field.value));
        headers.try_append(name, value).or_err(ErrorType::InvalidHTTPHeader, "too many fields")?;
    }
    Ok(())
}

/// The name of a field. Those that nearly every message has, as nearly everybody writes them, are
/// known at a glance; others are parsed.
fn name(written: &[u8]) -> Result<HeaderName> {
    Ok(match written {
        b"Accept" | b"accept" => header::ACCEPT,
        b"Accept-Encoding" | b"accept-encoding" => header::ACCEPT_ENCODING,
        b"Accept-Language" | b"accept-language" => header::ACCEPT_LANGUAGE,
        b"Accept-Ranges" | b"accept-ranges" => header::ACCEPT_RANGES,
        b"Authorization" | b"authorization" => header::AUTHORIZATION,
        b"Cache-Control" | b"cache-control" => header::CACHE_CONTROL,
        b"Connection" | b"connection" => header::CONNECTION,
        b"Content-Encoding" | b"content-encoding" => header::CONTENT_ENCODING,
        b"Content-Length" | b"content-length" => header::CONTENT_LENGTH,
        b"Content-Type" | b"content-type" => header::CONTENT_TYPE,
        b"Cookie" | b"cookie" => header::COOKIE,
        b"Date" | b"date" => header::DATE,
        b"ETag" | b"etag" => header::ETAG,
        b"Host" | b"host" => header::HOST,
        b"Last-Modified" | b"last-modified" => header::LAST_MODIFIED,
        b"Referer" | b"referer" => header::REFERER,
        b"Server" | b"server" => header::SERVER,
        b"Set-Cookie" | b"set-cookie" => header::SET_COOKIE,
        b"Transfer-Encoding" | b"transfer-encoding" => header::TRANSFER_ENCODING,
        b"User-Agent" | b"user-agent" => header::USER_AGENT,
        b"Vary" | b"vary" => header::VARY,
        _ => HeaderName::from_bytes(written)
            .or_err(ErrorType::InvalidHTTPHeader, "the name of a field")?,
    })
}

/// Takes from `request` what is about the client's connection.
pub(super) fn strip(request: &mut Parts) {
    // A filter may have named some.
    for name in nominated(&request.headers) {
        request.headers.remove(name);
    }
    // One pass over the names, instead of hashing each that hardly any request has.
    if request.headers.keys().any(|name| HOP_BY_HOP.contains(&name.as_str())) {
        for name in HOP_BY_HOP {
            request.headers.remove(name);
        }
    }
}

fn nominated(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = members(headers, &header::CONNECTION);
    options.filter_map(|option| HeaderName::from_bytes(option).ok()).collect()
}

/// Gives `request` the framing that its body needs, and checks that it names one host, whatever
/// filters made of it.
pub(super) fn finish_request(request: &mut Parts, has_body: bool, is_filtered: bool) -> Result<()> {
    if is_filtered {
        match request.headers.get(header::HOST) {
            None => {
                request.headers.insert(header::HOST, HeaderValue::from_static(""));
            }
            Some(host) if host.as_bytes().contains(&b'@') => {
                let error = Error::explain(ErrorType::InvalidHTTPHeader, "userinfo in Host");
                return Err(error.into_in());
            }
            Some(_) => {}
        }
        let head =
            RequestHeader::from(mem::replace(request, http::Request::new(()).into_parts().0));
        let checked = validate_request_authority(&head).map_err(|error| error.into_in());
        *request = head.into();
        checked?;
    }
    let headers = &request.headers;
    let is_framed = headers.contains_key(header::CONTENT_LENGTH)
        || headers.contains_key(header::TRANSFER_ENCODING);
    if has_body && !is_framed {
        request.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    Ok(())
}

/// Whether the response with this status to a request with this method has no body, whatever its
/// fields say (RFC 9110, 6.4.1).
pub(super) fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    method == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// How a message with these fields frames its body (RFC 9112, 6.3); `None` if they do not say.
pub(super) fn body_writer(headers: &HeaderMap) -> Option<BodyWriter> {
    if let Some(coding) = headers.get_all(header::TRANSFER_ENCODING).iter().next_back() {
        let last = coding.as_bytes().rsplit(|byte| *byte == b',').next().unwrap_or_default();
        if last.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return Some(BodyWriter::Chunked);
        }
    }
    let length = headers.get(header::CONTENT_LENGTH)?;
    content_length(length.as_bytes()).ok().map(BodyWriter::Sized)
}

/// Where the names of a response's fields are found as they were written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'h> {
    /// The head as it came.
    pub(super) raw: &'h [u8],
    /// Where its fields begin.
    pub(super) fields: usize,
}

/// Writes the head of a request to `out`.
///
/// Its target needs no check: a URI has no bytes that end a request line or a part of it.
pub(super) fn write_request(head: &Parts, out: &mut BytesMut) {
    const FIRST_LINE: usize = 12;
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let method = head.method.as_str();
    out.reserve(FIRST_LINE + method.len() + target.len() + fields_bytes(&head.headers));
    for part in [method, " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &head.headers {
        write_field(titled(name).as_bytes(), value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// At least as many bytes as the head of a response has when it is written.
pub(super) fn bytes_max(head: &ResponseHeader) -> usize {
    const FIRST_LINE: usize = 16;
    let reason = head.get_reason_phrase().unwrap_or_default().len();
    FIRST_LINE + reason + fields_bytes(&head.headers)
}

/// Bytes of these fields as they are written, with the empty line behind them.
fn fields_bytes(headers: &HeaderMap) -> usize {
    let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    fields.sum::<usize>() + 2
}

/// Writes the head of a response to `out`.
pub(super) fn write_response(
    head: &ResponseHeader,
    written: Option<Written<'_>>,
    out: &mut BytesMut,
) {
    let version: &[u8] = match head.version {
        Version::HTTP_10 => b"HTTP/1.0 ",
        _ => b"HTTP/1.1 ",
    };
    out.extend_from_slice(version);
    out.extend_from_slice(head.status.as_str().as_bytes());
    out.extend_from_slice(b" ");
    out.extend_from_slice(head.get_reason_phrase().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let Some(written) = written else {
        head.header_to_h1_wire(out);
        out.extend_from_slice(b"\r\n");
        return;
    };
    for (name, value) in &head.headers {
        let as_written = written_name(written.raw, written.fields, name.as_str(), value.as_bytes());
        write_field(as_written.unwrap_or_else(|| titled(name).as_bytes()), value, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// The name of a field as Pingora writes one whose name nobody wrote.
fn titled(name: &HeaderName) -> &str {
    match *name {
        header::ACCEPT_RANGES => "Accept-Ranges",
        header::AGE => "Age",
        header::CACHE_CONTROL => "Cache-Control",
        header::CONNECTION => "Connection",
        header::CONTENT_ENCODING => "Content-Encoding",
        header::CONTENT_LENGTH => "Content-Length",
        header::CONTENT_TYPE => "Content-Type",
        header::DATE => "Date",
        header::HOST => "Host",
        header::SERVER => "Server",
        header::SET_COOKIE => "Set-Cookie",
        header::TRANSFER_ENCODING => "Transfer-Encoding",
        _ => name.as_str(),
    }
}
