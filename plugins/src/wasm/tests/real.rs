//! Guests as people write them, in Rust and AssemblyScript: those of `plugins/examples`, where they
//! have been built.

use std::sync::Arc;

use http::StatusCode;

use super::calls::{Fake, host};
use super::{counted, guest_file, response};
use crate::Step;
use crate::host::Host;
use crate::testing::Tried;
use crate::wasm::KIND;

/// A filter of this guest in each language; none where they have not been built.
fn each(name: &str, settings: &str, host: &Host) -> Vec<Tried> {
    let files = ["rust", "as"].into_iter().filter_map(|way| guest_file(&format!("{name}_{way}")));
    files
        .map(|path| format!("{{ module: {path}, deadline: 1s, {settings} }}"))
        .map(|yaml| Tried::with_host(&KIND, &yaml, host.clone()))
        .collect()
}

#[test]
fn header_sets_fields() {
    for (settings, value) in [("", "hello"), ("configuration: hi", "hi")] {
        for mut tried in each("header", settings, &Host::idle()) {
            tried.header("x-remove-me", "1");
            tried.header("x-wasm", "forged");
            assert!(matches!(tried.request(), Step::Continue));
            assert_eq!(super::fields(&tried.request.headers), [format!("x-wasm: {value}")]);
            let mut response = response();
            tried.response(&mut response);
            assert_eq!(response.headers["x-wasm-response"], "hello");
        }
    }
}

#[test]
fn body_rewrites_bodies() {
    for mut tried in each("body", "", &Host::idle()) {
        tried.header("content-length", "9");
        assert!(matches!(tried.request(), Step::Continue));
        assert!(tried.run.marks.request_body_changes);
        assert_eq!(tried.request_body(Some("a ca"), false).0, None);
        assert_eq!(tried.request_body(Some("t."), true).0.unwrap(), "a giraffe.");
        let mut response = response();
        response.headers.insert("content-length", "9".parse().unwrap());
        tried.response(&mut response);
        assert!(!response.headers.contains_key("content-length"));
        assert_eq!(tried.response_body(Some("ca".into()), false), None);
        assert_eq!(tried.response_body(Some("tcat".into()), true).unwrap(), "giraffegiraffe");
    }
}

#[test]
fn auth_asks_and_lets_go() {
    let fake = Arc::new(Fake::default());
    let settings = "configuration: auth, upstreams: [auth]";
    for mut tried in each("auth", settings, &host(&fake)) {
        tried.header("authorization", "Bearer good");
        tried.header("host", "a.example");
        let step = tried.request();
        let calls = std::mem::take(&mut *fake.calls.lock().unwrap());
        assert_eq!(calls.len(), 1);
        assert_eq!(calls[0].0, "auth");
        // It takes 200 alone for leave, and the upstream answers 207.
        assert!(matches!(step, Step::Answer(_)), "{step:?}");
    }
}

#[test]
fn rogue_is_survived() {
    for (what, reason) in
        [("trap", "trap"), ("nested", "trap"), ("allocate", "memory"), ("loop", "deadline")]
    {
        let host = Host::idle();
        let all = each("rogue", "memory: 16MiB", &host);
        let count = all.len() as u64;
        for mut tried in all {
            tried.header("x-rogue", what);
            let Step::Answer(answer) = tried.request() else { unreachable!("{what} fails") };
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
            tried.again();
            assert!(matches!(tried.request(), Step::Continue), "{what}");
        }
        let failures = counted(&host, "sallyport_wasm_failures_total", Some(reason));
        assert_eq!(failures, count, "{what}");
    }
}
