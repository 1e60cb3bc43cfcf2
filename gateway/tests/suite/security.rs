//! What must never reach an origin, and what a client must not be able to pretend.

use crate::support::{Client, Gateway, Origin, config, forward_all, request};

/// Requests that two parsers could read differently, or that are over a limit.
const REFUSED: [(&str, &str, u16); 27] = [
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
    ("asterisk form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
];

#[test]
fn ambiguous_requests_are_refused_before_they_reach_an_origin() {
    let origin = Origin::named("never");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for (what, text, status) in REFUSED {
        let mut client = Client::connect(gateway.web());
        let response = client.send(text).receive();
        assert_eq!(response.status, status, "{what}: {}", response.head);
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
    let huge = format!("X-Huge: {}\r\n", "v".repeat(2 << 20));
    for (what, fields, statuses) in [
        ("many", many, &[431][..]),
        ("more than can be parsed", too_many_for_the_parser, &[400, 431]),
        ("large", large, &[431]),
        ("huge", huge, &[400, 431]),
    ] {
        let response =
            request(gateway.web(), &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
        assert!(statuses.contains(&response.status), "{what}: {}", response.head);
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

const SPOOFED: &str = "GET / HTTP/1.1\r\nHost: shop.example:81\r\nX-Forwarded-For: 1.2.3.4\r\n\
     X-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\nForwarded: for=1.2.3.4\r\n\
     X-Real-IP: 1.2.3.4\r\nX-Request-Id: ok-1\r\nConnection: close\r\n\r\n";

#[test]
fn spoofed_forwarding_fields_are_replaced() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    request(gateway.web(), SPOOFED);
    let seen = origin.last();
    assert_eq!(seen.fields("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["http"]);
    assert_eq!(seen.fields("x-forwarded-host"), ["shop.example:81"]);
    assert_eq!(seen.fields("x-request-id"), ["ok-1"]);
    assert!(seen.fields("forwarded").is_empty() && seen.fields("x-real-ip").is_empty());
}

#[test]
fn trusted_proxies_are_believed() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]).replace(
        "address: 127.0.0.1:0 }\nadmin",
        "address: 127.0.0.1:0, trusted_proxies: [127.0.0.0/8] }\nadmin",
    );
    let gateway = Gateway::start(&yaml);
    request(gateway.web(), SPOOFED);
    let seen = origin.last();
    assert_eq!(seen.fields("x-forwarded-for"), ["1.2.3.4, 127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.fields("x-forwarded-host"), ["evil.example"]);
    assert_eq!(seen.fields("forwarded"), ["for=1.2.3.4"]);
}

#[test]
fn request_ids_are_made_where_they_are_missing_or_harmful() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for sent in ["", "X-Request-Id: a b\r\n", "X-Request-Id: \"><script>\r\n"] {
        request(
            gateway.web(),
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{sent}Connection: close\r\n\r\n"),
        );
        let ids = origin.last().fields("x-request-id");
        assert_eq!(ids.len(), 1);
        assert!(
            ids[0].len() == 32 && ids[0].bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{ids:?}"
        );
    }
}

#[test]
fn rfc9113_3_2_h2c_upgrades_do_not_reach_the_origin() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let response = request(
        gateway.web(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    let seen = origin.last();
    assert!(
        seen.fields("upgrade").is_empty() && seen.fields("http2-settings").is_empty(),
        "{}",
        seen.head
    );
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
