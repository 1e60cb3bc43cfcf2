//! What a guest holds goes no further without it: neither to the origin nor into another answer.

use std::io::Write;

use super::{assembled, routes};
use crate::support::{Client, Gateway, Origin, Response, get, request};

/// Holds the response's body to its end, and traps there.
const TRAPS_WITH_THE_BODY: &str = r#"
(data (i32.const 16) "content-length")
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (call $remove (i32.const 2) (i32.const 16) (i32.const 14)))
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
  (if (local.get 2) (then unreachable))
  (i32.const 1))"#;

/// Wants to ask an upstream that it is not granted, holds the request and waits for the response that
/// never comes. Its body hooks pass everything, as those do that SDKs export.
const WAITS_FOR_A_REFUSED_CALL: &str = r#"
(data (i32.const 16) "autj")
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $call (i32.const 16) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 64)))
  (i32.const 1))
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))"#;

/// Holds every response's head.
const HOLDS_RESPONSES: &str = r#"
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32) (i32.const 1))
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 0))"#;

#[test]
fn a_body_held_by_a_guest_that_traps_is_no_part_of_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let module = assembled(folder.path(), TRAPS_WITH_THE_BODY);
    let origin = Origin::named("the origin's secret");
    let settings = format!("module: {}, deadline: 1s", module.display());
    let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
    let response =
        request(gateway.web(), "GET /guest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(response.status, 500, "{response:?}");
    assert!(!response.body.contains("secret"), "{response:?}");
    let length = response.field("content-length").map(|length| length.parse().unwrap());
    assert_eq!(length, Some(response.body.len()));
}

fn post(gateway: &Gateway, fields: &str, body: &str) -> Response {
    let head = "POST /guest HTTP/1.1\r\nHost: a\r\nConnection: close";
    request(gateway.web(), &format!("{head}\r\n{fields}\r\n{body}"))
}

#[test]
fn a_request_held_with_nothing_to_wait_for_never_reaches_the_origin() {
    let folder = tempfile::tempdir().unwrap();
    let module = assembled(folder.path(), WAITS_FOR_A_REFUSED_CALL);
    let origin = Origin::named("one");
    for stop_iteration in [false, true] {
        let settings = format!(
            "module: {}, deadline: 1s, pause_timeout: 100ms, allow_on_headers_stop_iteration: {stop_iteration}",
            module.display()
        );
        let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
        assert_eq!(get(gateway.web(), "a", "/guest").status, 503);
        // A length of 00 is no `0` to every reader, and no body all the same.
        for length in ["0", "00"] {
            let response = post(&gateway, &format!("Content-Length: {length}\r\n"), "");
            assert_eq!(response.status, 503, "{length}");
        }
        let response = post(&gateway, "Content-Length: 3\r\n", "abc");
        assert_eq!(response.status, if stop_iteration { 200 } else { 503 });
        assert_eq!(origin.requests().len(), usize::from(stop_iteration));
    }
}

#[test]
fn a_request_held_with_nothing_to_wait_for_goes_on_where_the_filter_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let module = assembled(folder.path(), WAITS_FOR_A_REFUSED_CALL);
    let origin = Origin::named("one");
    let settings = format!("module: {}, pause_timeout: 100ms, on_failure: open", module.display());
    let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
    assert_eq!(get(gateway.web(), "a", "/guest").status, 200);
    gateway.counts("sallyport_wasm_failures_total{filter=\"wasm\",reason=\"paused\"}", 1.0);
}

#[test]
fn a_response_held_with_nothing_to_wait_for_never_reaches_the_client() {
    let folder = tempfile::tempdir().unwrap();
    let module = assembled(folder.path(), HOLDS_RESPONSES);
    let origin = Origin::named("secret");
    let settings = format!("module: {}, deadline: 1s, pause_timeout: 100ms", module.display());
    let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
    let response = get(gateway.web(), "a", "/guest");
    assert_eq!((response.status, response.error()), (503, Some("wasm".into())));
    assert!(!response.body.contains("secret"));
}

#[test]
fn a_response_that_ends_too_early_leaves_nothing_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let holds = TRAPS_WITH_THE_BODY.replace("(then unreachable)", "(then (return (i32.const 0)))");
    let module = assembled(folder.path(), &holds);
    let origin = Origin::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nsecret").unwrap();
        false
    });
    let settings = format!("module: {}, deadline: 1s", module.display());
    let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
    let mut client = Client::connect(gateway.web());
    client.send("GET /guest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    // Cut off, or an error of the gateway's own.
    if let Some(response) = client.try_receive(false) {
        assert!(!response.body.contains("secret"), "{response:?}");
    }
}

#[test]
fn a_request_body_over_what_a_guest_may_hold_is_answered_with_413() {
    let folder = tempfile::tempdir().unwrap();
    let holds = "(func (export \"proxy_on_request_body\") (param i32 i32 i32) (result i32)
        (i32.eqz (local.get 2)))";
    let module = assembled(folder.path(), holds);
    let origin = Origin::named("one");
    let settings = format!("module: {}, deadline: 1s", module.display());
    let gateway = Gateway::start(&routes(&[("up", origin.address)], &settings));
    let body = "a".repeat((1 << 20) + 1);
    let fields = format!("Content-Length: {}\r\n", body.len());
    assert_eq!(post(&gateway, &fields, &body).status, 413);
    let fields = format!("Content-Length: {}\r\n", 1 << 20);
    assert_eq!(post(&gateway, &fields, &body[1..]).status, 200);
    assert_eq!(origin.last().body.len(), 1 << 20);
}
