//! What becomes of messages that a guest holds with nothing under way that could let them go.

use http::StatusCode;

use super::{CALM, response, tried};
use crate::Step;

/// A guest that holds every head, and has body hooks that pass everything, as SDKs export them.
const HOLD: &str = r#"
(func $pause (param i32 i32 i32) (result i32) (i32.const 1))
(func $pass (param i32 i32 i32) (result i32) (i32.const 0))
(export "proxy_on_request_headers" (func $pause))
(export "proxy_on_response_headers" (func $pause))
(export "proxy_on_request_body" (func $pass))
(export "proxy_on_response_body" (func $pass))"#;

/// The same, because the call it wanted to make was refused: no such upstream is granted.
const REFUSED: &str = r#"
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (call $put_number {x-refused} (call $call {autj} (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 100) (i32.const 24)))
  (i32.const 1))
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32) (i32.const 0))"#;

/// Whether the request was let go; if not, it must have been refused for want of its filter.
fn passed(step: Step) -> bool {
    match step {
        Step::Continue => true,
        Step::Answer(answer) => {
            assert_eq!((answer.status, answer.reason), (StatusCode::SERVICE_UNAVAILABLE, "wasm"));
            false
        }
        Step::HoldHead => unreachable!("its body would let it go"),
    }
}

#[test]
fn a_head_is_held_until_the_pause_timeout_and_then_goes_by_on_failure() {
    for guest in [HOLD, REFUSED] {
        for (settings, open) in [("on_failure: closed", false), ("on_failure: open", true)] {
            let mut tried = tried(guest, &format!("{CALM}, pause_timeout: 50ms, {settings}"));
            assert_eq!(passed(tried.request()), open, "without a body");
            tried.again();
            tried.header("content-length", "3");
            assert_eq!(passed(tried.request()), open, "with a body");
        }
    }
}

#[test]
fn a_response_head_is_held_until_the_pause_timeout_and_then_goes_by_on_failure() {
    for (settings, open) in [("on_failure: closed", false), ("on_failure: open", true)] {
        let settings = format!("{CALM}, pause_timeout: 50ms, {settings}");
        let mut tried = tried(&HOLD.replace("proxy_on_request_headers", "unused"), &settings);
        for length in ["0", "3"] {
            tried.again();
            let mut head = response();
            head.headers.insert("content-length", length.parse().unwrap());
            assert_eq!(passed(tried.response(&mut head)), open, "content-length: {length}");
        }
    }
}

#[test]
fn a_head_without_a_body_is_held_also_where_bodies_may_let_heads_go() {
    let settings = "pause_timeout: 50ms, allow_on_headers_stop_iteration: true";
    let mut tried = tried(HOLD, &format!("{CALM}, {settings}"));
    assert!(!passed(tried.request()));
    tried.again();
    tried.header("content-length", "3");
    assert!(matches!(tried.request(), Step::HoldHead));
}

#[test]
fn trailers_that_are_held_end_the_response() {
    let guest = r#"(func (export "proxy_on_response_trailers") (param i32 i32) (result i32)
        (i32.const 1))"#;
    for (settings, open) in [("on_failure: closed", false), ("on_failure: open", true)] {
        let mut tried = tried(guest, &format!("{CALM}, {settings}"));
        let mut trailers = http::HeaderMap::new();
        let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
        assert_eq!(chain.response_trailers(run, request, about, &mut trailers).is_ok(), open);
    }
}
