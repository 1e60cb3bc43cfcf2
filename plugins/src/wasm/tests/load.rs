//! What a configuration is told when it is read.

use std::path::Path;

use super::{file, module, tried};
use crate::testing::problems;
use crate::wasm::KIND;

fn said(module: &[u8], settings: &str) -> String {
    let path = file(module);
    let said = problems(&KIND, &format!("{{ module: {path}, {settings} }}"), Path::new(""));
    std::fs::remove_file(path).unwrap();
    said
}

#[test]
fn modules_that_cannot_be_used_are_refused() {
    let text = |text: &str| wat::parse_str(text).unwrap();
    for (module, what) in [
        (b"\0asm".to_vec(), "is no WebAssembly module"),
        (text("(module)"), "is not built for proxy-wasm"),
        (text(r#"(module (func (export "proxy_abi_version_0_3_0")))"#), "proxy-wasm ABI 0.3.0"),
        (text(r#"(module (func (export "proxy_abi_version_0_2_0")))"#), "exports neither"),
        (
            text(
                r#"(module (import "env" "no_such" (func)) (func (export "malloc"))
                (func (export "proxy_abi_version_0_2_1")))"#,
            ),
            "unknown import: `env::no_such`",
        ),
        (
            module(r#"(func (export "proxy_on_request_headers") (param i32))"#),
            "proxy_on_request_headers has the wrong type",
        ),
        (module(r#"(func (export "_initialize") unreachable)"#), "it failed in _initialize"),
        (
            module(r#"(func (export "_initialize") (loop (br 0)))"#),
            "it took over 100 ms in _initialize",
        ),
        (
            module(
                r#"(func (export "_initialize")
                (if (i32.eq (memory.grow (i32.const 9999)) (i32.const -1)) (then unreachable)))"#,
            ),
            "it needs more than 67108864 bytes of memory in _initialize",
        ),
        (
            module(
                r#"(func (export "proxy_on_configure") (param i32 i32) (result i32) i32.const 0)"#,
            ),
            "it refuses its configuration: proxy_on_configure returned false",
        ),
    ] {
        let said = said(&module, "start_deadline: 100ms");
        assert!(said.contains(what), "{what}: {said}");
    }
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let guest = module("");
    for (settings, what) in [
        ("deadline: 0ms", "deadline"),
        ("deadline: 11s", "from 1ms to 10s"),
        ("start_deadline: 6m", "from 1ms to 5m"),
        ("pause_timeout: 2h", "from 10ms to 1h"),
        ("allow_on_headers_stop_iteration: maybe", "allow_on_headers_stop_iteration"),
        ("memory: 1KiB", "write a size from 64KiB to 1GiB"),
        ("on_failure: maybe", "closed"),
        ("phases: [request_header]", "is no phase"),
        ("phases: [log]", "the module has no hook for one of them"),
        ("configuration: 7", "put it in quotes"),
        ("environment: { a=b: c }", "is no variable"),
        ("vmid: a", "did you mean `vm_id`?"),
    ] {
        let said = said(&guest, settings);
        assert!(said.contains(what), "{settings}: {said}");
    }
    let missing = problems(&KIND, "{ module: /none.wasm }", Path::new(""));
    assert!(missing.contains("/none.wasm cannot be read"), "{missing}");
}

/// A guest that takes the configuration `expected` alone.
fn picky(expected: &str) -> String {
    format!(
        "(func (export \"proxy_on_configure\") (param i32 i32) (result i32) (local $i i32)
        (drop (call $bytes (i32.const 7) (i32.const 0) (i32.const -1)
          (i32.const 16) (i32.const 20)))
        (if (i32.ne (local.get 1) (i32.const {size})) (then (return (i32.const 0))))
        (loop
          (if (i32.ne
            (i32.load8_u (i32.add (i32.load (i32.const 16)) (local.get $i)))
            (i32.load8_u (i32.add (i32.const 512) (local.get $i))))
            (then (return (i32.const 0))))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br_if 0 (i32.lt_u (local.get $i) (i32.const {size}))))
        (i32.const 1))
        (data (i32.const 512) \"{text}\")",
        size = expected.len(),
        text = expected.replace('"', "\\22"),
    )
}

#[test]
fn configuration_reaches_the_guest_as_text_or_json() {
    for (written, given) in [("text", "text"), ("{ a: [1, x] }", r#"{"a":[1,"x"]}"#), ("[]", "[]")]
    {
        let guest = wat_of(&picky(given));
        let settings = format!("deadline: 5s, configuration: {written}");
        assert_eq!(said(&guest, &settings), "", "{written}");
        assert!(said(&guest, "configuration: other").contains("proxy_on_configure"), "{written}");
    }
}

/// A module of text that has braces of its own.
fn wat_of(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {} {text})", super::PRELUDE)).unwrap()
}

#[test]
fn a_program_may_end_its_start_in_good_order() {
    let guest = module(r#"(func (export "_start") (call $exit (i32.const 0)))"#);
    assert_eq!(said(&guest, ""), "");
    let guest = module(r#"(func (export "_start") (call $exit (i32.const 1)))"#);
    assert!(said(&guest, "").contains("it exited with code 1"));
}

#[test]
fn phases_are_those_of_the_hooks_unless_chosen() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (call $put {x-none}) (i32.const 0))
        (func (export "proxy_on_log") (param i32))"#;
    use crate::filter::Phases;
    let tried_all = tried(guest, "deadline: 5s");
    assert!(tried_all.chain.has(Phases::REQUEST_HEADERS | Phases::LOG));
    assert!(!tried_all.chain.has(Phases::RESPONSE_HEADERS));
    let tried_one = tried(guest, "deadline: 5s, phases: [request_headers]");
    assert!(!tried_one.chain.has(Phases::LOG));
}

#[test]
fn wasi_is_there_as_far_as_runtimes_need_it() {
    let guest = r#"(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
        (i32.store (i32.const 40) (i32.const 1024)) (i32.store (i32.const 44) (i32.const 2))
        (call $put_number {x-write}
          (call $fd_write (i32.const 1) (i32.const 40) (i32.const 1) (i32.const 24)))
        (call $put_number {x-written} (i32.load (i32.const 24)))
        (call $put_number {x-file}
          (call $fd_write (i32.const 3) (i32.const 40) (i32.const 1) (i32.const 24)))
        (call $put_number {x-fault}
          (call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 24)))
        (call $put_number {x-clock} (call $clock (i32.const 1) (i64.const 0) (i32.const 48)))
        (if (i64.eqz (i64.load (i32.const 48))) (then unreachable))
        (call $put_number {x-random} (call $random (i32.const 48) (i32.const 8)))
        (drop (call $env_sizes (i32.const 24) (i32.const 28)))
        (call $put_number {x-variables} (i32.load (i32.const 24)))
        (drop (call $env_get (i32.const 56) (i32.const 80)))
        (i32.store (i32.const 16) (i32.load (i32.const 56)))
        (i32.store (i32.const 20) (i32.const 3))
        (call $put {x-variable})
        (call $put_number {x-open} (call $path_open (i32.const 0) (i32.const 0) (i32.const 0)
          (i32.const 0) (i32.const 0) (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
        (call $put_number {x-grpc} (call $grpc_cancel (i32.const 1)))
        (call $put_number {x-foreign} (call $foreign {f} {a} (i32.const 16) (i32.const 20)))
        (call $put_number {x-log} (call $log (i32.const 2) {a line}))
        (call $put_number {x-level} (call $log (i32.const 9) {a line}))
        (drop (call $time (i32.const 48)))
        (if (i64.lt_u (i64.load (i32.const 48)) (i64.const 1700000000000000000)) (then unreachable))
        (call $put_number {x-levels} (call $level (i32.const 24)))
        (i32.const 0))"#;
    let mut tried = tried(guest, "deadline: 5s, environment: { A: b }");
    tried.request();
    for (name, expected) in [
        ("x-write", "00"),
        ("x-written", "02"),
        ("x-file", "08"),
        ("x-fault", "21"),
        ("x-clock", "00"),
        ("x-random", "00"),
        ("x-variables", "01"),
        ("x-variable", "A=b"),
        ("x-open", "52"),
        // There is no such call.
        ("x-grpc", "01"),
        // As in Envoy, whoever asks for a function that there is not is told so.
        ("x-foreign", "01"),
        ("x-log", "00"),
        ("x-level", "02"),
        ("x-levels", "00"),
    ] {
        assert_eq!(tried.request.headers[name], expected, "{name}");
    }
}

#[test]
fn the_example_is_assembled_from_its_source() {
    let assembled = wat::parse_str(include_str!("../hello.wat")).unwrap();
    assert!(assembled == include_bytes!("../hello.wasm"), "assemble hello.wat anew");
    let settings = "phases: [request_headers, response_headers]";
    assert_eq!(said(&assembled, settings), "");
}
