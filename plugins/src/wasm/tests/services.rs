//! Timers, shared data, queues and metrics.

use super::{CALM, counted, tried, tried_with, until};
use crate::Step;
use crate::host::Host;

#[test]
fn shared_data_is_shared_by_vm_id() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $put_number {x-found}
          (call $shared {key} (i32.const 16) (i32.const 20) (i32.const 24)))
        (call $put {x-value})
        (call $put_number {x-stale} (call $set_shared {key} {no} (i32.const 12345678)))
        (call $put_number {x-set} (call $set_shared {key} {value} (i32.load (i32.const 24))))
        (i32.const 0))"#;
    let mut first = tried(guest, "deadline: 5s, vm_id: services-shared");
    let mut second = tried(guest, "deadline: 5s, vm_id: services-shared");
    first.request();
    assert_eq!(first.request.headers["x-found"], "01");
    assert_eq!(first.request.headers["x-stale"], "08");
    second.request();
    assert_eq!(second.request.headers["x-found"], "00");
    assert_eq!(second.request.headers["x-value"], "value");
    assert_eq!(second.request.headers["x-set"], "00");
}

#[test]
fn timers_run_from_the_start_and_let_requests_go() {
    let guest = r#"(global $stream (mut i32) (i32.const 0))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $timer (i32.const 10))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32)
          (drop (call $metric (i32.const 0) {ticks} (i32.const 24)))
          (drop (call $increment (i32.load (i32.const 24)) (i64.const 1)))
          (if (global.get $stream) (then
            (drop (call $choose (global.get $stream)))
            (drop (call $continue (i32.const 0))))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (global.set $stream (local.get 0)) (i32.const 1))"#;
    let host = Host::idle();
    let mut tried = tried_with(guest, CALM, host.clone());
    // Before the first request.
    until(|| counted(&host, "sallyport_wasm_counter_total", Some("ticks")) > 1);
    assert!(matches!(tried.request(), Step::Continue));
}

#[test]
fn a_timer_that_is_set_with_every_request_is_one_task() {
    let guest = r#"(global $period (mut i32) (i32.const 1000000))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (global.set $period (i32.add (global.get $period) (i32.const 1)))
          (drop (call $timer (global.get $period)))
          (i32.const 0))"#;
    let mut tried = tried(guest, CALM);
    for _ in 0..200 {
        tried.again();
        tried.request();
    }
    assert!(tried.background_tasks() <= 2, "{}", tried.background_tasks());
}

#[test]
fn a_timer_that_is_set_with_every_request_ticks_all_the_same() {
    let guest = r#"(func (export "proxy_on_tick") (param i32)
          (drop (call $metric (i32.const 0) {reset.ticks} (i32.const 24)))
          (drop (call $increment (i32.load (i32.const 24)) (i64.const 1))))
        (global $odd (mut i32) (i32.const 0))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (global.set $odd (i32.xor (global.get $odd) (i32.const 1)))
          (drop (call $timer (i32.add (i32.const 50) (global.get $odd))))
          (i32.const 0))"#;
    let host = Host::idle();
    let mut tried = tried_with(guest, CALM, host.clone());
    until(|| {
        tried.again();
        tried.request();
        counted(&host, "sallyport_wasm_counter_total", Some("reset.ticks")) > 2
    });
}

#[test]
fn queues_wake_their_reader() {
    let reader = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $register {queue} (i32.const 24))) (i32.const 1))
        (func (export "proxy_on_queue_ready") (param i32 i32)
          (if (call $dequeue (local.get 1) (i32.const 16) (i32.const 20)) (then unreachable))
          (if (i32.ne (i32.load (i32.const 20)) (i32.const 4)) (then unreachable))
          (drop (call $metric (i32.const 0) {items} (i32.const 28)))
          (drop (call $increment (i32.load (i32.const 28)) (i64.const 1))))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.const 0))"#;
    let writer = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $put_number {x-none} (call $resolve {services-queue} {none} (i32.const 24)))
        (drop (call $resolve {services-queue} {queue} (i32.const 24)))
        (call $put_number {x-sent} (call $enqueue (i32.load (i32.const 24)) {item}))
        (call $put_number {x-bad} (call $enqueue (i32.const 99999) {item}))
        (i32.const 0))"#;
    let host = Host::idle();
    let mut readers = tried_with(reader, "deadline: 5s, vm_id: services-queue", host.clone());
    // Its VM has registered by then.
    readers.request();
    let mut writers = tried(writer, CALM);
    writers.request();
    assert_eq!(writers.request.headers["x-none"], "01");
    assert_eq!(writers.request.headers["x-sent"], "00");
    assert_eq!(writers.request.headers["x-bad"], "01");
    until(|| counted(&host, "sallyport_wasm_counter_total", Some("items")) == 1);
}

#[test]
fn metrics_are_exposed() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (drop (call $metric (i32.const 0) {hits.total} (i32.const 24)))
        (drop (call $increment (i32.load (i32.const 24)) (i64.const 2)))
        (call $put_number {x-down} (call $increment (i32.load (i32.const 24)) (i64.const -1)))
        (drop (call $metric (i32.const 1) {level} (i32.const 28)))
        (drop (call $record (i32.load (i32.const 28)) (i64.const 7)))
        (drop (call $increment (i32.load (i32.const 28)) (i64.const -2)))
        (drop (call $metric_value (i32.load (i32.const 28)) (i32.const 40)))
        (call $put_number {x-level} (i32.load (i32.const 40)))
        (drop (call $metric (i32.const 2) {times} (i32.const 28)))
        (drop (call $record (i32.load (i32.const 28)) (i64.const 3)))
        (call $put_number {x-kind} (call $metric (i32.const 3) {other} (i32.const 28)))
        (call $put_number {x-same} (call $metric (i32.const 1) {hits.total} (i32.const 28)))
        (call $put_number {x-none} (call $record (i32.const 99) (i64.const 3)))
        (i32.const 0))"#;
    let host = Host::idle();
    let mut tried = tried_with(guest, CALM, host.clone());
    tried.request();
    tried.again();
    tried.request();
    assert_eq!(counted(&host, "sallyport_wasm_counter_total", Some("hits.total")), 4);
    for (name, expected) in
        [("x-down", "02"), ("x-level", "05"), ("x-kind", "02"), ("x-same", "02"), ("x-none", "01")]
    {
        assert_eq!(tried.request.headers[name], expected, "{name}");
    }
    let families = host.metrics.gather();
    let names: Vec<_> = families.iter().map(|family| family.name()).collect();
    assert!(names.contains(&"sallyport_wasm_gauge"), "{names:?}");
    assert!(names.contains(&"sallyport_wasm_histogram"), "{names:?}");
}

#[test]
fn a_filter_that_is_dropped_ends_its_timers() {
    let guest = r#"(func (export "proxy_on_configure") (param i32 i32) (result i32)
          (drop (call $timer (i32.const 10))) (i32.const 1))
        (func (export "proxy_on_tick") (param i32))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (i32.const 0))"#;
    let mut tried = tried(guest, CALM);
    tried.request();
    let filter = std::sync::Arc::downgrade(&tried.chain.filters()[0].filter);
    drop(tried);
    assert_eq!(filter.strong_count(), 0);
}
