//! What must never reach an origin, and what a client must not be able to pretend.

#[path = "security/framing.rs"]
mod framing;
#[path = "security/upgrades.rs"]
mod upgrades;
#[path = "security/vouched.rs"]
mod vouched;

use crate::support::{Client, Gateway, Origin, config, forward_all, request};

/// Requests that two parsers could read differently, or that are over a limit.
const REFUSED: [(&str, &str, u16); 40] = [
    (
        "rfc9112_6_1 Content-Length with Transfer-Encoding",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "rfc9112_6_1 Transfer-Encoding with Content-Length",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "rfc9112_6_1 Transfer-Encoding repeated",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "rfc9112_6_1 Transfer-Encoding not chunked last",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "rfc9112_6_1 Transfer-Encoding unknown",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "rfc9112_6_1 Transfer-Encoding in HTTP/1.0",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "rfc9110_8_6 two Content-Lengths that differ",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
        400,
    ),
    (
        "rfc9110_8_6 two Content-Lengths that agree",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nabcd",
        400,
    ),
    (
        "rfc9110_8_6 Content-Length list",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\nabcd",
        400,
    ),
    (
        "rfc9110_8_6 Content-Length signed",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +4\r\n\r\nabcd",
        400,
    ),
    ("rfc9112_5_2 folded line", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n", 400),
    ("rfc9112_5_2 folded first line", "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n", 400),
    ("rfc9112_5_1 space before the colon", "GET / HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n", 400),
    (
        "rfc9112_2_2 bare LF after a field",
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\nX-B: c\r\n\r\n",
        400,
    ),
    ("rfc9112_2_2 bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("rfc9112_2_2 bare LF everywhere", "GET / HTTP/1.1\nHost: a\n\n", 400),
    ("rfc9110_5_5 bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rc\r\n\r\n", 400),
    ("rfc9110_5_5 NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n", 400),
    ("rfc9112_3_2 Host missing", "GET / HTTP/1.1\r\nX-A: b\r\n\r\n", 400),
    ("rfc9112_3_2 Host repeated", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("rfc9112_3_2 Host repeated alike", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    (
        "rfc9112_3_2_2 absolute form disagrees with Host",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    ("rfc3986_6_2_2_3 above the root", "GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a hidden dot segment", "GET /a/..%2fx HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a NUL in the path", "GET /a%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("a broken escape", "GET /a%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("rfc9112_3_2_4 asterisk form of another method", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("rfc9112_3_2 a space in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("rfc9112_3_2 a fragment in the target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("rfc3986_2 a control in the query", "GET /?\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("rfc3986_2 DEL in the query", "GET /?\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("rfc3986_2 a control in the path", "GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    (
        "rfc9112_3_2_2 absolute form with another port",
        "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
        400,
    ),
    ("rfc9112_3 two spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("rfc9112_2_3 another version", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("rfc9110_9_3_6 CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 501),
    (
        "rfc9110_8_6 Content-Length over 2^63",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775808\r\n\r\n",
        400,
    ),
    (
        "rfc9110_7_6_1 Connection names Host",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n",
        400,
    ),
    (
        "rfc9110_7_6_1 Connection names a forwarding field",
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Forwarded-For\r\n\r\n",
        400,
    ),
    ("a record of TLS", "\x16\x03\x01\x02", 400),
];

#[test]
fn ambiguous_requests_are_refused_before_they_reach_an_origin() {
    let origin = Origin::named("never");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for (what, text, status) in REFUSED {
        let mut client = Client::connect(gateway.web());
        let response = client.send(text).receive();
        assert_eq!(response.status, status, "{what}: {}", response.head);
        let error = response.error().unwrap_or_default();
        assert!(!error.is_empty(), "{what}: no cause in {}", response.head);
        assert_eq!(response.field("server"), None, "{what}: the product is named");
        assert_eq!(response.field("connection").as_deref(), Some("close"), "{what}");
        assert!(client.is_closed(), "{what}: the connection is kept");
        assert!(origin.requests().is_empty(), "{what}: the origin saw {:?}", origin.requests());
    }
    assert_eq!(*origin.connections.lock().unwrap(), 0);
}

#[test]
fn too_many_and_too_large_headers_are_refused() {
    let origin = Origin::named("never");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let many: String = (0..101).map(|i| format!("X-{i}: v\r\n")).collect();
    let too_many_for_the_parser: String = (0..400).map(|i| format!("X-{i}: v\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "v".repeat(65 << 10));
    let target = |bytes: usize| format!("/{}", "x".repeat(bytes));
    for (what, target, fields, status) in [
        ("many", "/", many, 431),
        ("more than can be parsed", "/", too_many_for_the_parser, 431),
        ("large", "/", large, 431),
        ("a target of 70 kB", &target(70_000), String::new(), 414),
    ] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let response = request(gateway.web(), &text);
        assert_eq!(response.status, status, "{what}: {}", response.head);
        let error = if status == 414 { "target_too_long" } else { "head_too_large" };
        assert_eq!(response.error().as_deref(), Some(error), "{what}");
        assert_eq!(response.field("server"), None, "{what}");
    }
    assert!(origin.requests().is_empty());
}

#[test]
fn a_refused_request_leaves_nothing_to_be_read_as_the_next_one() {
    let origin = Origin::named("never");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.receive().status, 400);
    assert!(client.try_receive(false).is_none(), "a second response");
    assert!(origin.requests().is_empty());
}

#[test]
fn bodies_over_the_limit_are_refused_whether_announced_or_not() {
    let origin = Origin::named("never");
    let yaml = forward_all(&[origin.address]) + "limits: { request_body_bytes: 10B }\n";
    let gateway = Gateway::start(&yaml);
    let announced = request(
        gateway.web(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
    );
    assert_eq!((announced.status, announced.error().as_deref()), (413, Some("body_too_large")));
    assert!(origin.requests().is_empty());
    let streamed = request(
        gateway.web(),
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
    );
    assert_eq!((streamed.status, streamed.error().as_deref()), (413, Some("body_too_large")));
    let allowed = request(
        gateway.web(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhelloworld",
    );
    assert_eq!(allowed.status, 200);
}

#[test]
fn limits_on_headers_are_configurable() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address])
        + "limits: { request_headers: 3, request_header_bytes: 300B }\n";
    let gateway = Gateway::start(&yaml);
    let send = |fields: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
        request(gateway.web(), &text).status
    };
    assert_eq!(send("A: 1\r\n"), 200);
    assert_eq!(send("A: 1\r\nB: 2\r\n"), 431);
    assert_eq!(send(&format!("A: {}\r\n", "v".repeat(300))), 431);
}

#[test]
fn arbitrary_bytes_do_not_end_the_gateway() {
    let gateway = Gateway::start(&config(""));
    let mut seed = 7_u64;
    for length in 0..200 {
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 33) as u8
            })
            .chain(*b"\r\n\r\n")
            .collect();
        let mut client = Client::connect(gateway.web());
        client.send(&bytes);
        drop(client.stream().shutdown(std::net::Shutdown::Write));
        drop(client.try_receive(false));
    }
    assert_eq!(
        request(gateway.web(), "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status,
        404
    );
    assert!(!gateway.log().iter().any(|line| line.contains("panicked")));
}
