//! Bodies: read, changed, held back and let go.

use bytes::Bytes;

use super::{CALM, response, tried};
use crate::Step;

/// A guest that holds the body until its end, and then puts brackets around it.
const BRACKETS: &str = r#"
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $remove (i32.const 0) {content-length}))
  (i32.const 1))
(func $brackets (param $kind i32) (param $end i32) (result i32)
  (if (i32.eqz (local.get $end)) (then (return (i32.const 1))))
  (drop (call $set_bytes (local.get $kind) (i32.const 0) (i32.const 0) {[}))
  (drop (call $set_bytes (local.get $kind) (i32.const -1) (i32.const 0) {]}))
  (i32.const 0))
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (call $put_number {x-size} (local.get 1))
  (call $brackets (i32.const 0) (local.get 2)))
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (call $remove (i32.const 2) {content-length}))
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
  (call $brackets (i32.const 1) (local.get 2)))"#;

#[test]
fn bodies_are_held_changed_and_let_go() {
    let mut tried = tried(BRACKETS, &format!("{CALM}, allow_on_headers_stop_iteration: true"));
    tried.header("content-length", "6");
    assert!(matches!(tried.request(), Step::HoldHead));
    assert!(tried.run.marks.request_body_changes);
    assert_eq!(tried.request_body(Some("abc"), false).0, None);
    assert_eq!(tried.request_body(Some("def"), false).0, None);
    assert_eq!(tried.request.headers["x-size"], "06");
    assert_eq!(tried.request_body(None, true).0.unwrap(), "[abcdef]");
    let mut response = response();
    tried.response(&mut response);
    assert_eq!(tried.response_body(Some("abc".into()), false), None);
    assert_eq!(tried.response_body(Some("def".into()), true).unwrap(), "[abcdef]");
}

#[test]
fn parts_of_a_body_are_read() {
    let guest = r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
        (drop (call $bytes (i32.const 0) (i32.const 1) (i32.const 2) (i32.const 16) (i32.const 20)))
        (call $put {x-part})
        (drop (call $bytes (i32.const 0) (i32.const 2) (i32.const -1) (i32.const 16) (i32.const 20)))
        (call $put {x-rest})
        (call $put_number {x-beyond}
          (call $bytes (i32.const 0) (i32.const 9) (i32.const 1) (i32.const 16) (i32.const 20)))
        (call $put {x-nothing})
        (call $put_number {x-other}
          (call $bytes (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
        (call $put_number {x-none}
          (call $bytes (i32.const 99) (i32.const 0) (i32.const 1) (i32.const 16) (i32.const 20)))
        (call $put_number {x-fixed}
          (call $set_bytes (i32.const 7) (i32.const 0) (i32.const 1) {a}))
        (drop (call $buffer_status (i32.const 0) (i32.const 24) (i32.const 28)))
        (call $put_number {x-size} (i32.load (i32.const 24)))
        (i32.const 0))"#;
    let mut tried = tried(guest, CALM);
    let (passed, _) = tried.request_body(Some("abcd"), true);
    assert_eq!(passed.unwrap(), "abcd");
    for (name, expected) in [
        ("x-part", "bc"),
        ("x-rest", "cd"),
        ("x-beyond", "00"),
        ("x-nothing", ""),
        ("x-other", "01"),
        ("x-none", "02"),
        ("x-fixed", "02"),
        ("x-size", "04"),
    ] {
        assert_eq!(tried.request.headers[name], expected, "{name}");
    }
}

/// A guest that never lets a body go.
const HOLD: &str = r#"(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
    (i32.const 1))
    (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32) (i32.const 1))"#;

#[test]
fn what_is_held_at_the_end_waits_for_its_guest_and_then_goes_by_on_failure() {
    for (settings, open) in [("on_failure: closed", false), ("on_failure: open", true)] {
        let mut tried = tried(HOLD, &format!("{CALM}, pause_timeout: 50ms, {settings}"));
        assert_eq!(tried.request_body(Some("a"), false).0, None);
        let (passed, step) = tried.request_body(Some("b"), true);
        assert_eq!(matches!(step, Step::Continue), open, "{step:?}");
        assert_eq!(passed.as_deref(), open.then_some(b"ab".as_slice()));

        // A response's cannot wait.
        tried.again();
        assert_eq!(tried.response_body(Some("a".into()), false), None);
        let mut data = Some("b".into());
        let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
        assert_eq!(chain.response_body(run, request, about, &mut data, true).is_ok(), open);
        assert_eq!(data.as_deref(), open.then_some(b"ab".as_slice()));
    }
}

/// A guest that holds bodies and traps at their end.
const HOLD_AND_TRAP: &str = r#"
(func $hold (param $end i32) (result i32) (if (local.get $end) (then unreachable)) (i32.const 1))
(func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
  (call $hold (local.get 2)))
(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
  (call $hold (local.get 2)))"#;

#[test]
fn what_a_closed_guest_held_is_dropped_when_it_traps() {
    let mut tried = tried(HOLD_AND_TRAP, CALM);
    assert_eq!(tried.request_body(Some("secret"), false).0, None);
    let (passed, step) = tried.request_body(None, true);
    assert!(matches!(step, Step::Answer(_)));
    assert_eq!(passed, None);

    tried.again();
    tried.response(&mut response());
    assert_eq!(tried.response_body(Some("secret".into()), false), None);
    let mut data = None;
    let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
    assert!(chain.response_body(run, request, about, &mut data, true).is_err());
    assert_eq!(data, None);
    // What answers instead is another response, and passes as it is.
    tried.response(&mut response());
    assert_eq!(tried.response_body(Some("error".into()), true).unwrap(), "error");
}

#[test]
fn what_an_open_guest_held_goes_on_when_it_traps() {
    let mut tried = tried(HOLD_AND_TRAP, &format!("{CALM}, on_failure: open"));
    assert_eq!(tried.response_body(Some("a".into()), false), None);
    assert_eq!(tried.response_body(Some("b".into()), true).unwrap(), "ab");
}

#[test]
fn what_is_held_of_a_response_that_is_replaced_is_dropped() {
    let guest = r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (i32.eqz (local.get 2)))"#;
    let mut tried = tried(guest, CALM);
    tried.response(&mut response());
    assert_eq!(tried.response_body(Some("half".into()), false), None);
    tried.response(&mut response());
    assert_eq!(tried.response_body(Some("error".into()), true).unwrap(), "error");
}

#[test]
fn a_request_body_over_what_may_be_held_is_answered_with_413() {
    let part: &'static str = Box::leak("a".repeat(600 << 10).into_boxed_str());
    let mut tried = tried(HOLD, CALM);
    tried.request_body(Some(part), false);
    let (_, step) = tried.request_body(Some(part), false);
    let Step::Answer(answer) = step else { unreachable!("it is refused: {step:?}") };
    assert_eq!(answer.status, http::StatusCode::PAYLOAD_TOO_LARGE);
}

#[test]
fn no_more_is_held_than_may_be() {
    let half = || Some(Bytes::from(vec![b'a'; 600 << 10]));
    for (settings, open) in [("on_failure: closed", false), ("on_failure: open", true)] {
        let mut tried = tried(HOLD, &format!("{CALM}, {settings}"));
        let mut data = half();
        let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
        assert!(chain.response_body(run, request, about, &mut data, false).is_ok());
        assert!(data.is_none());
        data = half();
        let second = chain.response_body(run, request, about, &mut data, false);
        assert_eq!(second.is_ok(), open, "{settings}");
        if open {
            assert_eq!(data.unwrap().len(), 1200 << 10);
            // What comes after passes.
            assert_eq!(tried.response_body(Some("x".into()), true).unwrap(), "x");
        }
    }
}

#[test]
fn an_answer_comes_too_late_for_a_response() {
    let guest = r#"(func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
        (call $respond (i32.const 403) (i32.const 0) (i32.const 0) {no}
          (i32.const 0) (i32.const 0) (i32.const -1)))"#;
    let mut tried = tried(guest, CALM);
    let mut data = Some("a".into());
    let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
    assert!(chain.response_body(run, request, about, &mut data, true).is_err());
}
