//! What is asked of a request head whatever the version of HTTP.
//!
//! The bytes of an HTTP/1 head have been checked before Pingora parsed them (`sallyport-http1`), and the h2
//! crate has checked those of HTTP/2. What is left is what both have in common.

use http::{Method, Version, header};
use pingora_http::RequestHeader;
use sallyport_http1::head;

use super::cause::Cause;
use crate::config::Limits;

/// Refuses a request that is over a limit or asks for a tunnel.
pub(super) fn check(request: &RequestHeader, limits: &Limits) -> Result<(), Cause> {
    if request.headers.len() as u64 > limits.request_headers {
        return Err(Cause::HeadTooLarge);
    }
    if request.method == Method::CONNECT {
        return Err(Cause::Method);
    }
    if request.version == Version::HTTP_2 {
        check_values(request)?;
    }
    if content_length(request)?.is_some_and(|length| length > limits.request_body_bytes) {
        return Err(Cause::BodyTooLarge);
    }
    Ok(())
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
    Ok(Some(head::content_length(value.as_bytes())?))
}

#[cfg(test)]
mod tests {
    use super::content_length;
    use pingora_http::RequestHeader;

    #[test]
    fn rfc9110_8_6_content_length_is_one_number() {
        let length = |values: &[&str]| {
            let mut request = RequestHeader::build("POST", b"/", None).unwrap();
            for value in values {
                request.append_header("content-length", *value).unwrap();
            }
            content_length(&request).ok()
        };
        assert_eq!(length(&[]), Some(None));
        assert_eq!(length(&["42"]), Some(Some(42)));
        assert_eq!(length(&["9223372036854775807"]), Some(Some(9_223_372_036_854_775_807)));
        for refused in [
            &["42", "42"][..],
            &["1", "2"],
            &["+1"],
            &["1, 1"],
            &["0x10"],
            &[""],
            &["9223372036854775808"],
            &["99999999999999999999"],
        ] {
            assert_eq!(length(refused), None, "{refused:?}");
        }
    }
}
