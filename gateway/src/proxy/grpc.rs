//! gRPC over HTTP/2: deadlines, and answers of the gateway in the form that gRPC clients read.
//!
//! A gRPC client looks for `grpc-status` and takes any other answer for a broken server. So what the
//! gateway itself answers is HTTP 200 without a body, with the status among the fields
//! ("Trailers-Only" in gRPC's own description of its protocol over HTTP/2).
//! [`Web`] is the form of it that browsers speak.

mod web;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header, response};
use percent_encoding::{AsciiSet, CONTROLS, percent_encode};

pub(super) use self::web::{Decoder, NotBase64, Web};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Bytes of a `grpc-message`: one sentence, whatever the answer's body is.
const MESSAGE_BYTES_MAX: usize = 256;

/// What a `grpc-message` has percent-encoded, besides all that is no ASCII.
const ESCAPED: AsciiSet = CONTROLS.add(b'%').add(b'~');

/// What is known of a gRPC request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grpc {
    /// How long the client waits.
    pub(super) timeout: Option<Duration>,
    /// How it is written, where it is gRPC-web.
    pub(super) web: Option<Web>,
}

impl Grpc {
    /// What `headers` of a request say; `None` if it is no gRPC. Over HTTP/1 there is gRPC-web only.
    pub(super) fn of(version: Version, headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.as_bytes();
        let rest = kind.strip_prefix(b"application/grpc")?;
        let web = Web::of(headers);
        let is_grpc =
            version == Version::HTTP_2 && matches!(rest.first(), None | Some(b'+' | b';' | b' '));
        if !is_grpc && web.is_none() {
            return None;
        }
        Some(Self { timeout: headers.get(TIMEOUT).and_then(timeout), web })
    }
}

/// Reads a `grpc-timeout`: up to eight digits and a unit. One that cannot be read is none.
fn timeout(value: &HeaderValue) -> Option<Duration> {
    let (number, unit) = value.to_str().ok()?.split_at_checked(value.len().checked_sub(1)?)?;
    let is_number = (1..=8).contains(&number.len()) && number.bytes().all(|it| it.is_ascii_digit());
    let number: u64 = number.parse().ok().filter(|_| is_number)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Turns an answer of the gateway that is an error into gRPC's form; others stay as they are.
pub(super) fn translate(grpc: Grpc, head: &mut response::Parts, body: &mut Bytes) {
    if !head.status.is_client_error() && !head.status.is_server_error() {
        return;
    }
    let message = message(body);
    head.headers.insert(STATUS, status(head.status).into());
    if let Some(message) = message {
        head.headers.insert(MESSAGE, message);
    }
    let kind = HeaderValue::from_static("application/grpc");
    head.headers.insert(header::CONTENT_TYPE, grpc.web.map_or(kind, Web::content_type));
    head.status = StatusCode::OK;
    *body = Bytes::new();
}

/// The code of gRPC that a status of HTTP stands for. Where the gateway can know more than gRPC's own
/// table, which is for whatever answers in a server's place, it says so: an origin that is late is
/// DEADLINE_EXCEEDED, and what is over a limit is RESOURCE_EXHAUSTED.
fn status(status: StatusCode) -> u16 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        404 | 501 => 12,
        408 | 504 => 4,
        413 | 414 | 431 => 8,
        429 | 502 | 503 => 14,
        400 | 500 => 13,
        _ => 2,
    }
}

/// The first line of `body`, percent-encoded.
fn message(body: &[u8]) -> Option<HeaderValue> {
    let line = body.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
    if line.is_empty() {
        return None;
    }
    let line = &line[..line.len().min(MESSAGE_BYTES_MAX)];
    HeaderValue::try_from(percent_encode(line, &ESCAPED).to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NATIVE: Grpc = Grpc { timeout: None, web: None };

    fn of(fields: &[(&'static str, &'static str)]) -> Option<Grpc> {
        let fields = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Grpc::of(Version::HTTP_2, &fields.collect())
    }

    #[test]
    fn requests_are_known_by_their_content_type() {
        for (kind, is_one) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=x", true),
            ("application/grpc-web", true),
            ("application/grpcs", false),
            ("application/json", false),
        ] {
            assert_eq!(of(&[("content-type", kind)]).is_some(), is_one, "{kind}");
        }
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn deadlines_have_a_number_and_a_unit() {
        let timeout = |value| {
            of(&[("content-type", "application/grpc"), ("grpc-timeout", value)]).unwrap().timeout
        };
        assert_eq!(timeout("300m"), Some(Duration::from_millis(300)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(timeout("1n"), Some(Duration::from_nanos(1)));
        for value in ["", "m", "1", "1x", "123456789S", "-1S", "1.5S", "+1S"] {
            assert_eq!(timeout(value), None, "{value:?}");
        }
    }

    #[test]
    fn errors_become_a_status_of_grpc() {
        for (code, expected) in [(502, "14"), (503, "14"), (504, "4"), (404, "12"), (418, "2")] {
            let mut head = http::Response::new(()).into_parts().0;
            head.status = StatusCode::from_u16(code).unwrap();
            let mut body = Bytes::from_static(b"connect: 100 % gone\nmore");
            translate(NATIVE, &mut head, &mut body);
            assert_eq!((head.status, body.len()), (StatusCode::OK, 0));
            assert_eq!(head.headers[STATUS], expected, "{code}");
            assert_eq!(head.headers[MESSAGE], "connect: 100 %25 gone");
            assert_eq!(head.headers[header::CONTENT_TYPE], "application/grpc");
        }
        let mut head = http::Response::new(()).into_parts().0;
        translate(NATIVE, &mut head, &mut Bytes::from_static(b"fine"));
        assert!(head.headers.is_empty());
    }
}
