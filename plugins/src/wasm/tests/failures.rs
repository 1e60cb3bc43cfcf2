//! What becomes of requests when a guest fails.

use std::time::{Duration, Instant};

use http::StatusCode;

use super::{CALM, counted, response, tried, tried_with};
use crate::Step;
use crate::host::Host;

/// A guest that fails as the request says.
const ROGUE: &str = r#"
(func $is (param $key i32) (param $size i32) (result i32)
  (i32.eqz (call $get (i32.const 0) (local.get $key) (local.get $size)
    (i32.const 16) (i32.const 20))))
(global $requests (mut i32) (i32.const 0))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (global.set $requests (i32.add (global.get $requests) (i32.const 1)))
  (call $put_number {x-requests} (global.get $requests))
  (if (call $is {x-trap}) (then unreachable))
  (if (call $is {x-exit}) (then (call $exit (i32.const 0))))
  (if (call $is {x-loop}) (then (loop (br 0))))
  (if (call $is {x-grow}) (then
    (if (i32.eq (memory.grow (i32.const 9999)) (i32.const -1)) (then unreachable))))
  (i32.const 0))
(func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
  (drop (call $replace (i32.const 2) {x-seen} {yes}))
  (i32.const 0))"#;

fn status(step: Step) -> Option<(StatusCode, &'static str)> {
    match step {
        Step::Answer(answer) => Some((answer.status, answer.reason)),
        _ => None,
    }
}

#[test]
fn a_failure_ends_its_request_and_no_other() {
    for (field, reason) in
        [("x-trap", "trap"), ("x-exit", "trap"), ("x-loop", "deadline"), ("x-grow", "memory")]
    {
        let host = Host::idle();
        let mut tried = tried_with(ROGUE, "deadline: 50ms", host.clone());
        // One that is half-way when the other fails.
        tried.request();
        let survivor = std::mem::take(&mut tried.run);
        tried.again();
        tried.header(field, "1");
        let began = Instant::now();
        let step = status(tried.request());
        assert_eq!(step, Some((StatusCode::SERVICE_UNAVAILABLE, "wasm")), "{field}");
        assert!(began.elapsed() < Duration::from_secs(5), "{field}");
        assert_eq!(counted(&host, "sallyport_wasm_failures_total", Some(reason)), 1, "{field}");
        // The gateway's answer passes the response hooks; the filter takes no more part in it.
        let mut answered = response();
        assert!(matches!(tried.response(&mut answered), Step::Continue));
        assert!(!answered.headers.contains_key("x-seen"));
        tried.run = survivor;
        let mut other = response();
        assert!(matches!(tried.response(&mut other), Step::Continue), "{field}");
        assert_eq!(other.headers["x-seen"], "yes", "{field}");
        tried.again();
        tried.request();
        assert_eq!(tried.request.headers["x-requests"], "01", "a new VM, {field}");
        assert_eq!(counted(&host, "sallyport_wasm_vm_starts_total", None), 2, "{field}");
    }
}

#[test]
fn an_open_filter_lets_its_request_go() {
    let mut tried = tried(ROGUE, &format!("{CALM}, on_failure: open"));
    tried.header("x-trap", "1");
    tried.header("x-kept", "1");
    assert!(matches!(tried.request(), Step::Continue));
    // Its parts were put back.
    assert_eq!(tried.request.headers["x-kept"], "1");
    let mut answered = response();
    tried.response(&mut answered);
    assert!(!answered.headers.contains_key("x-seen"));
}

#[test]
fn what_keeps_failing_is_not_started_for_every_request() {
    let host = Host::idle();
    let mut tried = tried_with(ROGUE, "deadline: 10ms", host.clone());
    let fail = |tried: &mut crate::testing::Tried| {
        tried.again();
        tried.header("x-trap", "1");
        tried.request();
    };
    // Fifty at a millisecond each; a slow machine saves up a few more meanwhile.
    let mut requests = 0;
    while counted(&host, "sallyport_wasm_bypassed_total", None) == 0 {
        fail(&mut tried);
        requests += 1;
        assert!(requests < 500);
    }
    let starts = counted(&host, "sallyport_wasm_vm_starts_total", None);
    assert!(starts >= 3, "{starts}");
    assert_eq!(starts, counted(&host, "sallyport_wasm_failures_total", Some("trap")));
    tried.again();
    let _ = status(tried.request());
}

#[test]
fn a_source_whose_requests_trap_takes_the_filter_from_nobody_else() {
    let host = Host::idle();
    let mut tried = tried_with(ROGUE, "deadline: 10ms", host.clone());
    tried.about.client = Some([192, 0, 2, 1].into());
    let mut requests = 0;
    while counted(&host, "sallyport_wasm_bypassed_total", None) < 20 {
        tried.again();
        tried.header("x-trap", "1");
        assert!(status(tried.request()).is_some());
        requests += 1;
        assert!(requests < 500);
    }
    tried.again();
    assert!(status(tried.request()).is_some(), "also those that would not trap");
    for other in 2..20 {
        tried.about.client = Some([192, 0, 2, other].into());
        tried.again();
        assert!(matches!(tried.request(), Step::Continue), "{other}");
    }
    assert_eq!(counted(&host, "sallyport_wasm_failures_total", Some("starting")), 0);
}

#[test]
fn a_vm_starts_beside_the_thread_that_serves() {
    // Takes some tenths of a second, more than its calls may.
    let slow = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) (local i32)
        (loop (local.set 2 (i32.add (local.get 2) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get 2) (i32.const 300000000))))
        (i32.const 1))"#;
    let mut tried = tried(&format!("{ROGUE} {slow}"), "deadline: 50ms");
    // The first has been started before it was asked for, and so has one to spare.
    for _ in 0..2 {
        tried.again();
        tried.header("x-trap", "1");
        assert!(status(tried.request()).is_some());
    }
    tried.again();
    let crate::testing::Tried { chain, run, request, about, .. } = &mut tried;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut asks = std::pin::pin!(chain.request_headers(run, request, about));
        tokio::select! {
            biased;
            step = &mut asks => unreachable!("it does not wait for the VM: {step:?}"),
            () = std::future::ready(()) => {}
        }
        assert!(matches!(asks.await, Step::Continue));
    });
    assert_eq!(tried.request.headers["x-requests"], "01");
}

#[test]
fn what_a_start_does_waits_until_its_vm_is_put_to_work() {
    let guest = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $register {q} (i32.const 24)))
          (drop (call $timer (i32.const 10)))
          (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
          (drop (call $metric (i32.const 1) {vms} (i32.const 24)))
          (drop (call $increment (i32.load (i32.const 24)) (i64.const 1)))
          (drop (call $timer (i32.const 0))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.const 0))"#;
    let host = Host::idle();
    let mut tried = tried_with(guest, CALM, host.clone());
    tried.request();
    // One for the background, one for this thread; the one to spare does not tick.
    let ticks = || {
        let families = host.metrics.gather();
        let gauge = families.iter().find(|family| family.name() == "sallyport_wasm_gauge");
        gauge.map_or(0.0, |gauge| gauge.get_metric()[0].get_gauge().get_value())
    };
    super::until(|| ticks() >= 2.0);
    assert!(ticks() < 3.0);
}

#[test]
fn a_guest_without_room_gets_errors() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (if (i32.ne (memory.grow (i32.const 9999)) (i32.const -1)) (then unreachable))
        (call $put_number {x-alive} (i32.const 1)) (i32.const 0))"#;
    let mut tried = tried(guest, CALM);
    assert!(matches!(tried.request(), Step::Continue));
    assert_eq!(tried.request.headers["x-alive"], "01");
}

#[test]
fn many_requests_share_a_vm() {
    let mut tried = tried(ROGUE, CALM);
    let mut runs = Vec::new();
    for number in 1..=20 {
        tried.request();
        assert_eq!(tried.request.headers["x-requests"], format!("{number:02}").as_str());
        runs.push(std::mem::take(&mut tried.run));
    }
}

#[test]
fn a_guest_that_calls_the_host_from_its_allocator_without_end_is_survived() {
    let guest = wat::parse_str(
        r#"(module
        (import "env" "proxy_get_buffer_bytes"
          (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "proxy_abi_version_0_2_1"))
        (func $again (export "malloc") (param i32) (result i32)
          (call $bytes (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 20)))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (call $again (i32.const 1))))"#,
    );
    let path = super::file(&guest.unwrap());
    let yaml = format!("{{ module: {path}, {CALM}, configuration: text }}");
    let mut tried = crate::testing::Tried::new(&crate::wasm::KIND, &yaml);
    std::fs::remove_file(path).unwrap();
    assert_eq!(status(tried.request()), Some((StatusCode::SERVICE_UNAVAILABLE, "wasm")));
}
