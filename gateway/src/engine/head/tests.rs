use http::StatusCode;
use sallyport_http1::{HeadLimits, ResponseCheck};

use super::*;

fn raw(head: &'static str) -> Bytes {
    Bytes::from_static(head.as_bytes())
}

#[test]
fn requests_of_http11_for_a_path_are_the_engines() {
    for (head, is_taken) in [
        ("GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n", true),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n", true),
        ("GET / HTTP/1.0\r\nHost: a\r\n\r\n", false),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\n\r\n", false),
        ("GET /\u{e4} HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ("", false),
    ] {
        assert_eq!(request(&raw(head)).is_some(), is_taken, "{head:?}");
    }
}

#[test]
fn a_request_has_its_fields_in_order_and_its_values_in_place() {
    let raw = raw("GET /a HTTP/1.1\r\nHost: a\r\nX-One:  1 \r\nx-one:2\r\nX-Empty:\r\n\r\n");
    let head = request(&raw).unwrap();
    let fields: Vec<_> =
        head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    assert_eq!(fields, [("host", "a"), ("x-one", "1"), ("x-one", "2"), ("x-empty", "")]);
    let within = raw.as_ptr_range();
    assert!(within.contains(&head.headers["host"].as_bytes().as_ptr()), "no value is copied");
}

#[test]
fn what_is_about_the_clients_connection_goes_no_further() {
    let raw = raw(
        "GET / HTTP/1.1\r\nHost: a\r\nTE: x\r\nKeep-Alive: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\n\
         Transfer-Encoding: chunked\r\nX-Stays: 1\r\n\r\n",
    );
    let mut head = request(&raw).unwrap();
    strip(&mut head);
    let names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
    assert_eq!(names, ["host", "x-stays"]);
    finish_request(&mut head, true, false).unwrap();
    assert_eq!(head.headers["transfer-encoding"], "chunked");
    head.remove_header("host");
    finish_request(&mut head, false, true).unwrap();
    assert_eq!(head.headers["host"], "");
    head.insert_header("host", "a@b").unwrap();
    assert!(finish_request(&mut head, false, true).is_err());
}

#[test]
fn names_of_a_response_are_written_as_they_came() {
    let raw = raw("HTTP/1.1 299 Fine\r\ncontent-LENGTH: 2\r\nX-a: 1\r\nx-A: 2\r\nX-Empty:\r\n\r\n");
    let limits = HeadLimits { bytes: 1 << 16, fields: 100 };
    let found = ResponseCheck::default().advance(&raw, false, limits).unwrap().unwrap();
    let mut head = response(&raw, &found).unwrap();
    assert_eq!(
        (head.status, head.get_reason_phrase()),
        (StatusCode::from_u16(299).unwrap(), Some("Fine"))
    );
    head.insert_header(header::DATE, "now").unwrap();
    head.insert_header("x-own", "3").unwrap();
    let mut out = BytesMut::new();
    write_response(&head, Some(Written { raw: &raw, fields: found.fields }), &mut out);
    let text = std::str::from_utf8(&out).unwrap();
    assert_eq!(
        text,
        "HTTP/1.1 299 Fine\r\ncontent-LENGTH: 2\r\nX-a: 1\r\nx-A: 2\r\nX-Empty: \r\nDate: now\r\n\
         x-own: 3\r\n\r\n"
    );
}

#[test]
fn the_framing_is_what_the_fields_say() {
    for (name, value, expected) in [
        ("content-length", "5", Some(BodyWriter::Sized(5))),
        ("transfer-encoding", "chunked", Some(BodyWriter::Chunked)),
        ("transfer-encoding", "gzip, Chunked", Some(BodyWriter::Chunked)),
        ("content-length", "x", None),
        ("x-other", "5", None),
    ] {
        let fields = [(HeaderName::from_static(name), HeaderValue::from_static(value))];
        assert_eq!(body_writer(&fields.into_iter().collect()), expected, "{name}: {value}");
    }
}
