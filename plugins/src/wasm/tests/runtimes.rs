//! What the runtimes of languages ask for before a guest's own code runs.

use super::{CALM, fields, file, guest_file, response};
use crate::Step;
use crate::testing::Tried;
use crate::wasm::KIND;

/// Starts as a program in Go does: it asks for its arguments, its environment, the clock and random
/// numbers, looks for the folders that it was given from 3 on until the answer is 8 (EBADF), and
/// ends itself at any other; later it sleeps and yields.
const AS_GO: &str = r#"(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $env (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $env_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get"
    (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $stat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags"
    (func $flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff"
    (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 4096))
  (func $fine (param i32) (if (local.get 0) (then (call $exit (i32.const 2)))))
  (func (export "_initialize")
    (call $fine (call $args (i32.const 16) (i32.const 20)))
    (call $fine (call $args_get (i32.const 256) (i32.const 512)))
    (call $fine (call $env (i32.const 16) (i32.const 20)))
    (call $fine (call $env_get (i32.const 256) (i32.const 512)))
    (call $fine (call $clock (i32.const 0) (i64.const 0) (i32.const 32)))
    (call $fine (call $clock (i32.const 1) (i64.const 0) (i32.const 32)))
    (call $fine (call $random (i32.const 64) (i32.const 32)))
    (call $fine (call $stat (i32.const 0) (i32.const 128)))
    (call $fine (call $stat (i32.const 1) (i32.const 128)))
    (call $fine (call $stat (i32.const 2) (i32.const 128)))
    (call $fine (call $flags (i32.const 2) (i32.const 4)))
    (call $fine (i32.ne (call $prestat (i32.const 3) (i32.const 128)) (i32.const 8)))
    ;; One thing to wait for, by the monotonic clock: 48 bytes asked, 32 answered.
    (i64.store (i32.const 1024) (i64.const 77))
    (call $fine (call $poll (i32.const 1024) (i32.const 2048) (i32.const 1) (i32.const 16)))
    (call $fine (i32.ne (i32.load (i32.const 16)) (i32.const 1)))
    (call $fine (i64.ne (i64.load (i32.const 2048)) (i64.const 77)))
    (call $fine (i32.load16_u (i32.const 2056)))
    (call $fine (i32.ne (call $poll (i32.const 1024) (i32.const 2048) (i32.const 0)
      (i32.const 16)) (i32.const 28)))
    (call $fine (i32.ne (call $poll (i32.const -8) (i32.const 2048) (i32.const 1)
      (i32.const 16)) (i32.const 21)))
    (call $fine (call $yield)))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) (i32.const 0)))"#;

#[test]
fn a_program_that_starts_as_go_does_starts() {
    let path = file(&wat::parse_str(AS_GO).unwrap());
    let mut tried = Tried::new(&KIND, &format!("{{ module: {path}, {CALM} }}"));
    std::fs::remove_file(path).unwrap();
    assert!(matches!(tried.request(), Step::Continue));
}

#[test]
fn a_guest_in_go_sets_fields() {
    let Some(path) = guest_file("header_go") else { return };
    for (settings, value) in [("", "hello"), ("configuration: hi", "hi")] {
        let mut tried = Tried::new(&KIND, &format!("{{ module: {path}, {CALM}, {settings} }}"));
        tried.header("x-remove-me", "1");
        tried.header("x-wasm", "forged");
        assert!(matches!(tried.request(), Step::Continue));
        assert_eq!(fields(&tried.request.headers), [format!("x-wasm: {value}")]);
        let mut response = response();
        tried.response(&mut response);
        assert_eq!(response.headers["x-wasm-response"], "hello");
    }
}
