//! Heads of messages, properties and local responses.

use http::{StatusCode, Version};

use super::{CALM, fields, response, tried};
use crate::Step;
use crate::exchange::{About, Outcome};
use crate::wasm::maps;

const HOOK: &str = "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)";

#[test]
fn fields_are_read_written_added_and_removed() {
    let guest = format!(
        "{HOOK}
        (drop (call $get (i32.const 0) {{x-in}} (i32.const 16) (i32.const 20)))
        (call $put {{x-out}})
        (drop (call $add (i32.const 0) {{x-twice}} {{2}}))
        (drop (call $replace (i32.const 0) {{x-new}} {{new}}))
        (drop (call $remove (i32.const 0) {{x-gone}}))
        (call $put_number {{x-missing}}
          (call $get (i32.const 0) {{x-none}} (i32.const 16) (i32.const 20)))
        (call $put_number {{x-no-map}}
          (call $get (i32.const 9) {{x-none}} (i32.const 16) (i32.const 20)))
        (call $put_number {{x-response}} (call $replace (i32.const 2) {{x-a}} {{b}}))
        (call $put_number {{x-bad}} (call $replace (i32.const 0) {{a b}} {{b}}))
        (call $put_number {{x-memory}}
          (call $replace (i32.const 0) {{x-a}} (i32.const -8) (i32.const 16)))
        (call $put_number {{x-count}} (local.get 1))
        (i32.const 0))"
    );
    let mut tried = tried(&guest, CALM);
    tried.header("x-in", "a");
    tried.request.headers.append("x-in", "b".parse().unwrap());
    tried.header("x-twice", "1");
    tried.header("x-gone", "1");
    assert!(matches!(tried.request(), Step::Continue));
    let expected = [
        "x-bad: 02",
        "x-count: 08",
        "x-in: a",
        "x-in: b",
        "x-memory: 06",
        "x-missing: 01",
        "x-new: new",
        "x-no-map: 02",
        "x-out: a,b",
        "x-response: 02",
        "x-twice: 1",
        "x-twice: 2",
    ];
    assert_eq!(fields(&tried.request.headers), expected);
}

#[test]
fn pseudo_fields_are_parts_of_the_head() {
    let guest = format!(
        "{HOOK}
        (drop (call $get (i32.const 0) {{:path}} (i32.const 16) (i32.const 20)))
        (call $put {{x-path}})
        (drop (call $get (i32.const 0) {{:authority}} (i32.const 16) (i32.const 20)))
        (call $put {{x-authority}})
        (drop (call $get (i32.const 0) {{:scheme}} (i32.const 16) (i32.const 20)))
        (call $put {{x-scheme}})
        (drop (call $replace (i32.const 0) {{:method}} {{PUT}}))
        (drop (call $replace (i32.const 0) {{:path}} {{/new?a=b}}))
        (drop (call $replace (i32.const 0) {{:authority}} {{b.example}}))
        (i32.const 0))
        (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)
        (drop (call $get (i32.const 2) {{:status}} (i32.const 16) (i32.const 20)))
        (drop (call $replace (i32.const 2) {{x-status}}
          (i32.load (i32.const 16)) (i32.load (i32.const 20))))
        (drop (call $replace (i32.const 2) {{:status}} {{204}}))
        (drop (call $replace (i32.const 2) {{:status}} {{418}}))
        (i32.const 0))"
    );
    let mut tried = tried(&guest, CALM);
    tried.request.uri = "/old?x".parse().unwrap();
    tried.header("host", "a.example");
    tried.request();
    assert_eq!(tried.request.headers["x-path"], "/old?x");
    assert_eq!(tried.request.headers["x-authority"], "a.example");
    assert_eq!(tried.request.headers["x-scheme"], "http");
    assert_eq!(tried.request.headers["host"], "b.example");
    assert_eq!((tried.request.method.as_str(), tried.request.uri.path()), ("PUT", "/new"));
    assert_eq!(tried.run.marks.client_path.as_deref(), Some("/old?x"));
    let mut response = response();
    tried.response(&mut response);
    assert_eq!(response.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(response.headers["x-status"], "200");
}

#[test]
fn maps_are_read_and_written_whole() {
    let guest = format!(
        "{HOOK}
        (drop (call $map_size (i32.const 0) (i32.const 24)))
        (drop (call $pairs (i32.const 0) (i32.const 16) (i32.const 20)))
        (if (i32.ne (i32.load (i32.const 24)) (i32.load (i32.const 20))) (then unreachable))
        ;; A map is written back as it is, but for the first letter of the last value.
        (i32.store8 (i32.sub (i32.add (i32.load (i32.const 16)) (i32.load (i32.const 20)))
          (i32.const 2)) (i32.const 90))
        (drop (call $set_pairs (i32.const 0) (i32.load (i32.const 16)) (i32.load (i32.const 20))))
        (i32.const 0))"
    );
    let mut tried = tried(&guest, CALM);
    tried.header("host", "a.example");
    tried.header("content-length", "5");
    tried.header("x-a", "1");
    tried.request();
    let expected = ["content-length: 5", "host: a.example", "x-a: Z"];
    assert_eq!(fields(&tried.request.headers), expected);
    assert!(!tried.run.marks.request_body_changes);
}

#[test]
fn framing_is_not_the_guests() {
    let guest = format!(
        "{HOOK}
        (drop (call $replace (i32.const 0) {{content-length}} {{9}}))
        (drop (call $replace (i32.const 0) {{Transfer-Encoding}} {{chunked}}))
        (drop (call $add (i32.const 0) {{connection}} {{x-a}}))
        (drop (call $replace (i32.const 0) {{x-sallyport-network}} {{office}}))
        (drop (call $remove (i32.const 0) {{upgrade}}))
        (drop (call $remove (i32.const 0) {{content-length}}))
        (call $put_number {{x-hidden}}
          (call $get (i32.const 0) {{content-length}} (i32.const 16) (i32.const 20)))
        (i32.const 0))
        (func (export \"proxy_on_response_headers\") (param i32 i32 i32) (result i32)
        (drop (call $remove (i32.const 2) {{content-length}}))
        (i32.const 0))"
    );
    let mut tried = tried(&guest, CALM);
    tried.header("content-length", "5");
    tried.header("upgrade", "x");
    tried.request();
    let expected = ["content-length: 5", "upgrade: x", "x-hidden: 01"];
    assert_eq!(fields(&tried.request.headers), expected);
    assert!(tried.run.marks.request_body_changes);
    let mut response = response();
    response.headers.insert("content-length", "5".parse().unwrap());
    tried.response(&mut response);
    assert_eq!(fields(&response.headers), ["transfer-encoding: chunked"]);
}

#[test]
fn properties_are_those_of_the_request() {
    let mut guest = HOOK.to_owned();
    let names = [
        ("request\\0path", "x-1"),
        ("request.url_path", "x-2"),
        ("request\\0query\\0", "x-3"),
        ("request\\0headers\\0x-in", "x-4"),
        ("source\\0address", "x-5"),
        ("sallyport\\0listener", "x-6"),
        ("plugin_root_id", "x-7"),
        ("own\\0name", "x-8"),
        ("request\\0protocol", "x-9"),
    ];
    guest.push_str("(drop (call $set_property {own\\0name} {mine}))");
    guest.push_str("(drop (call $set_property {sallyport\\0endpoint} {127.0.0.1:9001}))");
    guest.push_str("(drop (call $set_property {sallyport\\0verdict} {60s}))");
    for (name, field) in names {
        let get = format!("(call $property {{{name}}} (i32.const 16) (i32.const 20))");
        guest.push_str(&format!("(if (i32.eqz {get}) (then (call $put {{{field}}})))"));
    }
    guest.push_str(
        "(call $put_number {x-10} (call $property {no\\0such} (i32.const 16) (i32.const 20)))
        (call $put_number {x-11} (call $set_property {sallyport\\0route} {x}))
        (i32.const 0))
        (func (export \"proxy_on_log\") (param i32)
        (drop (call $property {response\\0code} (i32.const 16) (i32.const 20)))
        (call $put_number {x-12} (i32.rem_u (i32.load (i32.load (i32.const 16))) (i32.const 100)))
        (drop (call $property {own\\0name} (i32.const 16) (i32.const 20)))
        (call $put {x-13}))",
    );
    let mut tried = tried(&guest, "deadline: 5s, root_id: root");
    tried.about = About {
        client: Some([192, 0, 2, 1].into()),
        peer: Some(([10, 0, 0, 1], 9).into()),
        ..About::nothing()
    };
    tried.request.uri = "/a?b=c".parse().unwrap();
    tried.request.version = Version::HTTP_2;
    tried.header("x-in", "in");
    tried.request();
    let value = |tried: &crate::testing::Tried, name: &str| {
        tried.request.headers.get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    for (name, expected) in [
        ("x-1", "/a?b=c"),
        ("x-2", "/a"),
        ("x-3", "b=c"),
        ("x-4", "in"),
        ("x-5", "192.0.2.1:0"),
        ("x-6", "web"),
        ("x-7", "root"),
        ("x-8", "mine"),
        ("x-9", "HTTP/2"),
        ("x-10", "01"),
        ("x-11", "02"),
    ] {
        assert_eq!(value(&tried, name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(tried.run.marks.endpoint, Some(([127, 0, 0, 1], 9001).into()));
    assert_eq!(tried.run.marks.verdict.unwrap().lasting.as_secs(), 60);
    let sent = response();
    tried.log(&outcome(&sent));
    assert_eq!(value(&tried, "x-12").as_deref(), Some("00"));
    assert_eq!(value(&tried, "x-13").as_deref(), Some("mine"));
}

pub(in crate::wasm) fn outcome(sent: &http::response::Parts) -> Outcome<'_> {
    Outcome {
        status: Some(sent.status),
        response: Some(sent),
        cause: None,
        duration: std::time::Duration::from_millis(3),
        request_bytes: 0,
        response_bytes: 5,
    }
}

#[test]
fn the_log_sees_what_was_sent_and_contexts_end() {
    let guest = format!(
        "(global $contexts (mut i32) (i32.const 0))
        (func (export \"proxy_on_context_create\") (param i32 i32)
          (global.set $contexts (i32.add (global.get $contexts) (i32.const 1))))
        (func (export \"proxy_on_delete\") (param i32)
          (global.set $contexts (i32.sub (global.get $contexts) (i32.const 1))))
        {HOOK} (call $put_number {{x-contexts}} (global.get $contexts)) (i32.const 0))
        (func (export \"proxy_on_log\") (param i32)
        (drop (call $get (i32.const 2) {{x-sent}} (i32.const 16) (i32.const 20)))
        (call $put {{x-log}}))"
    );
    let mut tried = tried(&guest, CALM);
    for round in 0..3 {
        tried.request();
        // The root's and this request's.
        assert_eq!(tried.request.headers["x-contexts"], "02", "{round}");
        if round == 0 {
            let mut sent = response();
            sent.headers.insert("x-sent", "yes".parse().unwrap());
            tried.log(&outcome(&sent));
            assert_eq!(tried.request.headers["x-log"], "yes");
        }
        // Or it is dropped half-way.
        tried.again();
    }
}

#[test]
fn a_context_may_outlive_its_request() {
    let guest = format!(
        "(global $last (mut i32) (i32.const 0)) (global $deleted (mut i32) (i32.const 0))
        (func (export \"proxy_on_done\") (param i32) (result i32)
          (global.set $last (local.get 0)) (i32.const 0))
        (func (export \"proxy_on_delete\") (param i32)
          (global.set $deleted (i32.add (global.get $deleted) (i32.const 1))))
        {HOOK}
        (call $put_number {{x-deleted}} (global.get $deleted))
        (call $put_number {{x-unknown}} (call $choose (i32.const 77)))
        (call $put_number {{x-not-done}} (call $done))
        (if (global.get $last) (then
          (drop (call $choose (global.get $last))) (drop (call $done))))
        (i32.const 0))"
    );
    let mut tried = tried(&guest, CALM);
    for deleted in ["00", "00", "01"] {
        tried.request();
        assert_eq!(tried.request.headers["x-deleted"], deleted);
        assert_eq!(tried.request.headers["x-unknown"], "02");
        assert_eq!(tried.request.headers["x-not-done"], "01");
        tried.again();
    }
}

#[test]
fn local_responses_are_answers() {
    let map = maps::write(&[(b"x-a", b"b"), (b"content-length", b"9")]);
    let bytes: String = map.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let guest = format!(
        "{HOOK} (call $respond (i32.const 403) (i32.const 0) (i32.const 0) {{no}}
          (i32.const 512) (i32.const {}) (i32.const -1)))
        (data (i32.const 512) \"{bytes}\")",
        map.len()
    );
    let mut tried = tried(&guest, CALM);
    let Step::Answer(answer) = tried.request() else { unreachable!("it answers") };
    assert_eq!((answer.status, &*answer.body), (StatusCode::FORBIDDEN, b"no".as_slice()));
    let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-a", "content-type"]);
    assert_eq!(answer.reason, "wasm_answer");
}

#[test]
fn a_closed_stream_is_answered() {
    let guest = format!("{HOOK} (call $close (i32.const 0)))");
    let mut tried = tried(&guest, CALM);
    let Step::Answer(answer) = tried.request() else { unreachable!("it answers") };
    assert_eq!(answer.reason, "wasm_closed");
}

#[test]
fn trailers_are_changed() {
    let guest = "(func (export \"proxy_on_response_trailers\") (param i32 i32) (result i32)
        (call $replace (i32.const 3) {x-sum} {1}))";
    let mut tried = tried(guest, CALM);
    let mut trailers = http::HeaderMap::new();
    let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
    assert!(chain.response_trailers(run, request, about, &mut trailers).is_ok());
    assert_eq!(trailers["x-sum"], "1");
}
