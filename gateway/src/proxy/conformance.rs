//! What RFC 9112 says to refuse and the HTTP/1 parser lets through.
//!
//! A gateway and an origin that read one message differently are how requests are smuggled, so
//! whatever could be read in two ways ends here, before anything reaches an origin. Pingora has by
//! now refused fields with a space before the colon, folded lines, differing Content-Lengths and
//! repeated Hosts; this looks at the head as it came, since the parsed one hides what was forgiven.

use http::{Version, header};
use memchr::memchr_iter;
use pingora_http::RequestHeader;
use pingora_proxy::Session;

use super::cause::Cause;
use crate::config::Limits;

/// Refuses a request that is over a limit or ambiguous.
///
/// Costs one pass of `memchr` over the head, and a second one only for chunked requests.
pub(super) fn check(session: &Session, limits: &Limits) -> Result<(), Cause> {
    let request = session.req_header();
    if request.headers.len() as u64 > limits.request_headers {
        return Err(Cause::HeadTooLarge);
    }
    if let Some(http1) = session.as_downstream().as_http1() {
        let head = http1.get_headers_raw_bytes();
        if head.len() as u64 > limits.request_header_bytes {
            return Err(Cause::HeadTooLarge);
        }
        check_lines(&head)?;
        check_framing(request, &head)?;
    }
    if request.version == Version::HTTP_2 {
        check_values(request)?;
    }
    if content_length(request)?.is_some_and(|length| length > limits.request_body_bytes) {
        return Err(Cause::BodyTooLarge);
    }
    Ok(())
}

/// RFC 9112, 2.2: lines end with CRLF, and neither octet stands alone; 5.2: no line is folded.
fn check_lines(head: &[u8]) -> Result<(), Cause> {
    let mut line_start = 0;
    let mut line_feeds = 0;
    for line_end in memchr_iter(b'\n', head) {
        line_feeds += 1;
        if line_end == 0 || head[line_end - 1] != b'\r' {
            return Err(Cause::BadRequest("a line ends with a bare LF"));
        }
        if matches!(head[line_start], b' ' | b'\t') {
            return Err(Cause::BadRequest("a header field is folded over lines"));
        }
        line_start = line_end + 1;
    }
    if memchr_iter(b'\r', head).count() != line_feeds {
        return Err(Cause::BadRequest("a bare CR stands in the head"));
    }
    if memchr::memchr(0, head).is_some() {
        return Err(Cause::BadRequest("a NUL stands in the head"));
    }
    Ok(())
}

/// RFC 9112, 6.1 to 6.3: how long a body is must be said once, in one way.
fn check_framing(request: &RequestHeader, head: &[u8]) -> Result<(), Cause> {
    let mut codings = request.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() {
        return Err(Cause::BadRequest("Transfer-Encoding is repeated"));
    }
    if !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        return Err(Cause::BadRequest("the only transfer coding accepted is chunked"));
    }
    if request.version != Version::HTTP_11 {
        return Err(Cause::BadRequest("Transfer-Encoding is not part of HTTP/1.0"));
    }
    // Pingora drops Content-Length where both are sent: only the head as it came still has it.
    if names_field(head, b"content-length") {
        return Err(Cause::BadRequest("Content-Length and Transfer-Encoding are sent together"));
    }
    Ok(())
}

fn names_field(head: &[u8], name: &[u8]) -> bool {
    head.split(|byte| *byte == b'\n').any(|line| {
        line.len() > name.len()
            && line[name.len()] == b':'
            && line[..name.len()].eq_ignore_ascii_case(name)
    })
}

/// RFC 9113, 8.2.1: a value neither begins nor ends with a space or a tab. In HTTP/1 they would be taken off, so that
/// the origin and we would see different values.
fn check_values(request: &RequestHeader) -> Result<(), Cause> {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let padded = |value: &[u8]| blank(value.first()) || blank(value.last());
    if request.headers.values().any(|value| padded(value.as_bytes())) {
        return Err(Cause::BadRequest("a field's value begins or ends with a space"));
    }
    Ok(())
}

/// RFC 9110, 8.6: one field of digits only. Equal copies are refused too: the next parser may take
/// either.
fn content_length(request: &RequestHeader) -> Result<Option<u64>, Cause> {
    let mut values = request.headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Cause::BadRequest("Content-Length is repeated"));
    }
    let digits = value.as_bytes();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Cause::BadRequest("Content-Length is not a number"));
    }
    let length = value.to_str().ok().and_then(|text| text.parse().ok());
    length.map(Some).ok_or(Cause::BadRequest("Content-Length is not a number"))
}

#[cfg(test)]
mod tests;
