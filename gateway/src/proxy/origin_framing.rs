//! How long an origin's response is, and what protocol follows it, must be said once and in one way.
//!
//! Pingora reads what it can of contradictory framing and passes the fields on as they came, so that the client
//! may read another message than was sent. The counterpart for requests is `conformance`.

use http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use pingora_http::ResponseHeader;

use super::fields::members;

/// Checks the framing of `response` and leaves one statement of it.
///
/// `upgrade` are the fields in which the request asked for other protocols, if it was passed on with them.
///
/// # Errors
/// What contradicts itself, for the operator's log.
pub(super) fn settle(
    response: &mut ResponseHeader,
    upgrade: Option<&HeaderMap>,
) -> Result<(), &'static str> {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return check_switch(response, upgrade);
    }
    if is_plain(response) {
        return Ok(());
    }
    let lengths = response.headers.get_all(header::CONTENT_LENGTH).iter();
    let codings = response.headers.get_all(header::TRANSFER_ENCODING).iter();
    let (lengths, codings) = (lengths.count(), codings.count());
    if lengths + codings == 0 {
        return Ok(());
    }
    // RFC 9110, 8.6 and RFC 9112, 6.1: neither is sent where there is no body by definition.
    if response.status.is_informational() || response.status == StatusCode::NO_CONTENT {
        response.remove_header(&header::CONTENT_LENGTH);
        response.remove_header(&header::TRANSFER_ENCODING);
        return Ok(());
    }
    if codings > 0 {
        check_coding(&response.headers, codings)?;
    }
    if lengths > 0 {
        let length = one_length(&response.headers)?;
        if lengths > 1 || response.headers[header::CONTENT_LENGTH] != length {
            // Fails for malformed values only.
            response
                .insert_header(header::CONTENT_LENGTH, length)
                .map_err(|_| "Content-Length is not a number")?;
        }
    }
    Ok(())
}

/// Whether the framing is what nearly every response has, one length that is a number, and there
/// is nothing to settle.
fn is_plain(response: &ResponseHeader) -> bool {
    /// As many digits never make more than a signed counter holds.
    const DIGITS_MAX: usize = 18;
    let has_body = response.status.as_u16() >= 200 && response.status != StatusCode::NO_CONTENT;
    let mut lengths = response.headers.get_all(header::CONTENT_LENGTH).iter();
    let (Some(length), None) = (lengths.next(), lengths.next()) else { return false };
    has_body
        && (1..=DIGITS_MAX).contains(&length.len())
        && length.as_bytes().iter().all(u8::is_ascii_digit)
        && !response.headers.contains_key(header::TRANSFER_ENCODING)
}

/// RFC 9110, 15.2.2: the protocol that follows is one that the client asked for, and it has no length.
fn check_switch(
    response: &ResponseHeader,
    upgrade: Option<&HeaderMap>,
) -> Result<(), &'static str> {
    let asked = upgrade.ok_or("it switches protocols unasked")?;
    if response.version != Version::HTTP_11 {
        return Err("it switches protocols in HTTP/1.0");
    }
    let fields = &response.headers;
    if fields.contains_key(header::CONTENT_LENGTH) || fields.contains_key(header::TRANSFER_ENCODING)
    {
        return Err("it switches protocols and has a length");
    }
    let mut taken = protocols(fields);
    let Some(protocol) = taken.next() else {
        return Err("it switches to no protocol");
    };
    if taken.next().is_some() || !protocols(asked).any(|asked| asked.eq_ignore_ascii_case(protocol))
    {
        return Err("it switches to another protocol than was asked for");
    }
    Ok(())
}

/// The members of all `Upgrade` lines.
pub(super) fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    members(headers, &header::UPGRADE)
}

/// RFC 9112, 6.1: the request allowed no other coding, since `TE` ends here.
fn check_coding(headers: &HeaderMap, lines: usize) -> Result<(), &'static str> {
    let coding = &headers[header::TRANSFER_ENCODING];
    if lines > 1 || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
        return Err("its Transfer-Encoding is not chunked, once");
    }
    Ok(())
}

/// RFC 9110, 8.6: equal copies are one.
fn one_length(headers: &HeaderMap) -> Result<HeaderValue, &'static str> {
    let mut lengths = members(headers, &header::CONTENT_LENGTH);
    let length = lengths.next().unwrap_or_default();
    let digits: &str = std::str::from_utf8(length).unwrap_or_default();
    let is_number = !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.parse::<i64>().is_ok();
    if !is_number {
        return Err("its Content-Length is not a number");
    }
    if lengths.any(|other| other != length) {
        return Err("its Content-Lengths differ");
    }
    HeaderValue::from_bytes(length).map_err(|_| "its Content-Length is not a number")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields = &'static [(&'static str, &'static str)];

    fn settled(status: u16, fields: Fields, asked: Option<&'static str>) -> Option<Vec<String>> {
        let mut response = ResponseHeader::build(status, None).unwrap();
        response.set_version(Version::HTTP_11);
        for (name, value) in fields {
            response.append_header(*name, *value).unwrap();
        }
        let asked = asked.map(|asked| {
            HeaderMap::from_iter([(header::UPGRADE, HeaderValue::from_static(asked))])
        });
        settle(&mut response, asked.as_ref()).ok()?;
        let text = |(name, value): (&header::HeaderName, &HeaderValue)| {
            format!("{name}={}", value.to_str().unwrap())
        };
        Some(response.headers.iter().map(text).collect())
    }

    #[test]
    fn one_length_is_left_and_none_where_there_is_no_body() {
        let length: Fields = &[("content-length", "2")];
        let chunked: Fields = &[("transfer-encoding", "Chunked")];
        let none = Some(vec![]);
        for (status, fields, expected) in [
            (200, length, Some(vec!["content-length=2".to_owned()])),
            (200, &[("content-length", "2, 2")], Some(vec!["content-length=2".to_owned()])),
            (
                200,
                &[("content-length", "2"), ("content-length", "2")],
                Some(vec!["content-length=2".to_owned()]),
            ),
            (200, &[("content-length", "2, 3")], None),
            (200, &[("content-length", "2"), ("content-length", "3")], None),
            (200, &[("content-length", "+2")], None),
            (200, &[("content-length", "")], None),
            (200, &[("content-length", "99999999999999999999")], None),
            (200, chunked, Some(vec!["transfer-encoding=Chunked".to_owned()])),
            (200, &[("transfer-encoding", "xchunked")], None),
            (200, &[("transfer-encoding", "chunked, gzip")], None),
            (200, &[("transfer-encoding", "gzip, chunked")], None),
            (200, &[("transfer-encoding", "chunked, chunked")], None),
            (200, &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], None),
            (200, &[("transfer-encoding", "identity")], None),
            (204, length, none.clone()),
            (204, chunked, none.clone()),
            (103, length, none),
            (304, length, Some(vec!["content-length=2".to_owned()])),
        ] {
            assert_eq!(settled(status, fields, None), expected, "{status} {fields:?}");
        }
    }

    #[test]
    fn protocols_are_switched_to_one_that_was_asked_for() {
        for (fields, asked, holds) in [
            (&[("upgrade", "websocket")] as Fields, Some("websocket"), true),
            (&[("upgrade", "WebSocket")], Some("foo, websocket"), true),
            (&[("upgrade", "websocket")], None, false),
            (&[("upgrade", "bar")], Some("foo"), false),
            (&[("upgrade", "foo, bar")], Some("foo, bar"), false),
            (&[], Some("foo"), false),
            (&[("upgrade", "foo"), ("content-length", "0")], Some("foo"), false),
            (&[("upgrade", "foo"), ("transfer-encoding", "chunked")], Some("foo"), false),
        ] {
            assert_eq!(settled(101, fields, asked).is_some(), holds, "{fields:?} {asked:?}");
        }
    }
}
