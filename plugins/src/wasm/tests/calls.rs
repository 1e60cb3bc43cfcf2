//! Calls of guests to upstreams, and requests that wait for them.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, StatusCode};
use tokio::sync::Semaphore;

use super::{counted, response, tried_with, until};
use crate::host::{Call, CallError, Calls, Host, Reply};
use crate::{BoxFuture, Step};

/// Answers every call with 207 and `body`, once it is let.
#[derive(Debug, Default)]
pub(super) struct Fake {
    pub(super) calls: Mutex<Vec<(String, Call)>>,
    fails: bool,
    hold: Option<Arc<Semaphore>>,
}

impl Calls for Fake {
    fn call(&self, upstream: &str, call: Call) -> BoxFuture<'static, Result<Reply, CallError>> {
        self.calls.lock().unwrap().push((upstream.to_owned(), call));
        let (fails, hold) = (self.fails, self.hold.clone());
        Box::pin(async move {
            if let Some(hold) = hold {
                // Closed is let go.
                drop(hold.acquire().await);
            }
            let mut headers = HeaderMap::new();
            headers.insert("x-user", "ann".parse().unwrap());
            let reply = Reply { status: StatusCode::MULTI_STATUS, headers, body: "body".into() };
            if fails { Err(CallError::Timeout) } else { Ok(reply) }
        })
    }
}

/// A guest that asks `auth` about each request, and lets it go once it is answered.
const ASK: &str = r#"
(global $stream (mut i32) (i32.const 0))
(func $ask (param $upstream i32) (param $size i32) (result i32)
  (call $call (local.get $upstream) (local.get $size)
    (i32.const 512) (i32.const 99) {sent} (i32.const 0) (i32.const 0) (i32.const 100)
    (i32.const 24)))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (global.set $stream (local.get 0))
  (call $put_number {x-other} (call $ask {other}))
  (call $put_number {x-asked} (call $ask {auth}))
  (i32.const 1))
(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
  (drop (call $choose (global.get $stream)))
  (call $put_number {x-token} (i32.eq (local.get 1) (i32.load (i32.const 24))))
  (call $put_number {x-fields} (local.get 2))
  (call $put_number {x-size} (local.get 3))
  (if (local.get 2) (then
    (drop (call $get (i32.const 6) {x-user} (i32.const 16) (i32.const 20)))
    (call $put {x-user})
    (drop (call $get (i32.const 6) {:status} (i32.const 16) (i32.const 20)))
    (call $put {x-status})
    (drop (call $bytes (i32.const 4) (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 20)))
    (call $put {x-body})))
  (drop (call $status (i32.const 28) (i32.const 16) (i32.const 20)))
  (call $put_number {x-code} (i32.load (i32.const 28)))
  (drop (call $continue (i32.const 0))))"#;

/// The map that [`ASK`] sends, at 512; its size takes the place of 99.
fn ask(text: &str) -> String {
    let pairs: [(&[u8], &[u8]); 5] = [
        (b":method", b"POST"),
        (b":path", b"/check"),
        (b":authority", b"auth.example"),
        (b"x-a", b"b"),
        (b"content-length", b"99"),
    ];
    let map = crate::wasm::maps::write(&pairs);
    let bytes: String = map.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = text.replace("(i32.const 99)", &format!("(i32.const {})", map.len()));
    format!("{text} (data (i32.const 512) \"{bytes}\")")
}

pub(super) fn host(fake: &Arc<Fake>) -> Host {
    Host { calls: fake.clone(), ..Host::idle() }
}

const AUTH: &str = "deadline: 5s, upstreams: [auth]";

#[test]
fn a_request_waits_for_its_call() {
    let fake = Arc::new(Fake::default());
    let mut tried = tried_with(&ask(ASK), AUTH, host(&fake));
    assert!(matches!(tried.request(), Step::Continue));
    for (name, expected) in [
        ("x-other", "02"),
        ("x-asked", "00"),
        ("x-token", "01"),
        ("x-fields", "02"),
        ("x-size", "04"),
        ("x-user", "ann"),
        ("x-status", "207"),
        ("x-body", "body"),
        ("x-code", "00"),
    ] {
        assert_eq!(tried.request.headers[name], expected, "{name}");
    }
    let calls = fake.calls.lock().unwrap();
    let (upstream, call) = calls.first().unwrap();
    assert_eq!((calls.len(), upstream.as_str()), (1, "auth"));
    assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/check"));
    assert_eq!((call.authority.as_str(), &*call.body), ("auth.example", b"sent".as_slice()));
    assert_eq!(super::fields(&call.headers), ["x-a: b"]);
    assert_eq!(call.timeout.as_millis(), 100);
}

#[test]
fn a_call_that_fails_is_told() {
    let fake = Arc::new(Fake { fails: true, ..Fake::default() });
    let mut tried = tried_with(&ask(ASK), AUTH, host(&fake));
    assert!(matches!(tried.request(), Step::Continue));
    assert_eq!(tried.request.headers["x-fields"], "00");
    assert_eq!(tried.request.headers["x-code"], "11");
}

#[test]
fn a_response_may_answer_the_request() {
    let fake = Arc::new(Fake::default());
    let text = ask(ASK).replace(
        "(drop (call $continue (i32.const 0)))",
        "(drop (call $respond (i32.const 401) (i32.const 0) (i32.const 0) {who}
          (i32.const 0) (i32.const 0) (i32.const -1)))",
    );
    let mut tried = tried_with(&text, AUTH, host(&fake));
    let Step::Answer(answer) = tried.request() else { unreachable!("it answers") };
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[test]
fn bodies_and_responses_wait_too() {
    let fake = Arc::new(Fake::default());
    let body = ask(ASK).replace("proxy_on_request_headers", "proxy_on_request_body");
    let mut tried = tried_with(&body, AUTH, host(&fake));
    let (passed, step) = tried.request_body(Some("abc"), false);
    assert!(matches!(step, Step::Continue));
    assert_eq!(passed.unwrap(), "abc");
    assert_eq!(tried.request.headers["x-user"], "ann");
    let head = ask(ASK).replace("proxy_on_request_headers", "proxy_on_response_headers");
    let mut tried = tried_with(&head, AUTH, host(&fake));
    assert!(matches!(tried.response(&mut response()), Step::Continue));
    assert_eq!(tried.request.headers["x-user"], "ann");
}

#[test]
fn what_nobody_waits_for_is_told_from_the_background() {
    let fake = Arc::new(Fake::default());
    // It goes on at once, and counts responses as they come.
    let text = ask(ASK).replace(
        "(i32.const 1))\n(func (export \"proxy_on_http",
        "(i32.const 0))\n(func (export \"proxy_on_http",
    );
    let text = text.replace(
        "(drop (call $choose (global.get $stream)))",
        "(drop (call $metric (i32.const 0) {replies} (i32.const 28)))
         (drop (call $increment (i32.load (i32.const 28)) (i64.const 1)))",
    );
    let host = host(&fake);
    let mut tried = tried_with(&text, AUTH, host.clone());
    assert!(matches!(tried.request(), Step::Continue));
    until(|| counted(&host, "sallyport_wasm_counter_total", Some("replies")) == 1);
}

#[test]
fn a_request_that_waits_begins_anew_when_its_vm_is_lost() {
    let hold = Arc::new(Semaphore::new(0));
    let fake = Arc::new(Fake { hold: Some(hold.clone()), ..Fake::default() });
    let text = ask(ASK).replace(
        "(global.set $stream (local.get 0))",
        "(if (i32.eqz (call $get (i32.const 0) {x-trap} (i32.const 16) (i32.const 20)))
          (then unreachable))
        (global.set $stream (local.get 0))",
    );
    let mut tried = tried_with(&text, AUTH, host(&fake));
    let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let asked = || fake.calls.lock().unwrap().len();
        let waits = chain.request_headers(run, request, about);
        let fails = async {
            while asked() < 1 {
                tokio::task::yield_now().await;
            }
            let mut other = http::Request::new(()).into_parts().0;
            other.headers.insert("x-trap", "1".parse().unwrap());
            let mut run = crate::chain::Run::default();
            let step = chain.request_headers(&mut run, &mut other, about).await;
            assert!(matches!(step, Step::Answer(_)));
            while asked() < 2 {
                tokio::task::yield_now().await;
            }
            hold.close();
        };
        let (step, ()) = tokio::join!(waits, fails);
        assert!(matches!(step, Step::Continue));
    });
    assert_eq!(tried.request.headers["x-user"], "ann");
}

#[test]
fn a_request_that_is_dropped_while_it_waits_ends_in_the_guest() {
    let hold = Arc::new(Semaphore::new(0));
    let fake = Arc::new(Fake { hold: Some(hold.clone()), ..Fake::default() });
    let text = format!(
        "{} (func (export \"proxy_on_delete\") (param i32)
        (drop (call $metric (i32.const 0) {{deleted}} (i32.const 28)))
        (drop (call $increment (i32.load (i32.const 28)) (i64.const 1))))",
        ask(ASK)
    );
    let host = host(&fake);
    let mut tried = tried_with(&text, AUTH, host.clone());
    let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let waits = chain.request_headers(run, request, about);
        let asked = async {
            while fake.calls.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = waits => unreachable!("nobody answers"),
            () = asked => {}
        }
    });
    tried.again();
    assert_eq!(counted(&host, "sallyport_wasm_counter_total", Some("deleted")), 1);
    hold.close();
}
