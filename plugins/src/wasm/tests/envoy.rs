//! What guests written for Envoy count on.

use std::time::Duration;

use super::{CALM, counted, file, response, tried, tried_with};
use crate::Step;
use crate::exchange::About;
use crate::host::Host;
use crate::testing::Tried;
use crate::wasm::KIND;
use crate::wasm::tests::messages::outcome;

const HOOK: &str = "(func (export \"proxy_on_request_headers\") (param i32 i32 i32) (result i32)";

#[test]
fn a_guest_of_abi_0_1_0_is_served() {
    let module = wat::parse_str(
        r#"(module
        (import "env" "proxy_get_configuration" (func $configuration (param i32 i32) (result i32)))
        (import "env" "proxy_continue_request" (func $continue_request (result i32)))
        (import "env" "proxy_continue_response" (func $continue_response (result i32)))
        (import "env" "proxy_clear_route_cache" (func $clear (result i32)))
        (import "env" "proxy_grpc_call"
          (func $grpc (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_replace_header_map_value"
          (func $replace (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "x-configured")
        (func (export "proxy_abi_version_0_1_0"))
        (func (export "malloc") (param i32) (result i32) (i32.const 4096))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (i32.eqz (call $configuration (i32.const 64) (i32.const 68))))
        (func (export "proxy_on_request_headers") (param i32 i32) (result i32)
          (drop (call $replace (i32.const 0) (i32.const 16) (i32.const 12)
            (i32.load (i32.const 64)) (i32.load (i32.const 68))))
          (drop (call $continue_request))
          (i32.const 1))
        (func (export "proxy_on_response_headers") (param i32 i32) (result i32)
          (drop (call $continue_response))
          (i32.const 1)))"#,
    );
    let path = file(&module.unwrap());
    let settings = format!("{{ module: {path}, {CALM}, configuration: text }}");
    let mut tried = Tried::new(&KIND, &settings);
    std::fs::remove_file(path).unwrap();
    assert!(matches!(tried.request(), Step::Continue));
    assert_eq!(tried.request.headers["x-configured"], "text");
    assert!(matches!(tried.response(&mut response()), Step::Continue));
}

#[test]
fn fields_that_cannot_be_are_the_guests_to_handle() {
    let guest = format!(
        "{HOOK} (local $fields i32)
        (call $put_number {{x-name}} (call $add (i32.const 0) {{a b}} {{b}}))
        (call $put_number {{x-value}} (call $add (i32.const 0) {{a}} (i32.const 40) (i32.const 1)))
        (call $put_number {{x-long}} (call $add (i32.const 0) {{a}} (i32.const 65536) (i32.const 65537)))
        (loop
          (local.set $fields (i32.add (local.get $fields) (i32.const 1)))
          (br_if 0 (i32.eqz (call $add (i32.const 0) {{x-many}} {{1}}))))
        (i32.store (i32.const 24) (local.get $fields))
        (call $put_number {{x-value}} (call $add (i32.const 0) {{x-many}} {{1}}))
        (i32.const 0))
        (data (i32.const 40) \"\\0a\")"
    );
    let host = Host::idle();
    let mut tried = tried_with(&guest, CALM, host.clone());
    assert!(matches!(tried.request(), Step::Continue));
    for (name, status) in [("x-name", "02"), ("x-long", "02"), ("x-value", "10")] {
        assert_eq!(tried.request.headers[name], status, "{name}");
    }
    assert_eq!(tried.request.headers.len(), 1000);
    assert_eq!(counted(&host, "sallyport_wasm_failures_total", None), 0);
}

#[test]
fn a_guest_that_ends_itself_over_a_field_is_told_apart() {
    let guest = format!(
        "{HOOK} (if (call $add (i32.const 0) {{a b}} {{b}}) (then unreachable)) (i32.const 0))"
    );
    let host = Host::idle();
    let mut tried = tried_with(&guest, CALM, host.clone());
    assert!(matches!(tried.request(), Step::Answer(_)));
    assert_eq!(counted(&host, "sallyport_wasm_failures_total", Some("field")), 1);
}

#[test]
fn compress_and_uncompress_are_inverse() {
    let guest = format!(
        "{HOOK} (local $at i32) (local $size i32)
        (call $put_number {{x-compress}}
          (call $foreign {{compress}} {{text text text text}} (i32.const 16) (i32.const 20)))
        (local.set $at (i32.load (i32.const 16))) (local.set $size (i32.load (i32.const 20)))
        (call $put_number {{x-uncompress}}
          (call $foreign {{uncompress}} (local.get $at) (local.get $size)
            (i32.const 16) (i32.const 20)))
        (call $put {{x-text}})
        (call $put_number {{x-bad}}
          (call $foreign {{uncompress}} {{no zlib}} (i32.const 16) (i32.const 20)))
        (i32.const 0))"
    );
    let mut tried = tried(&guest, CALM);
    tried.request();
    for (name, expected) in [
        ("x-compress", "00"),
        ("x-uncompress", "00"),
        ("x-text", "text text text text"),
        ("x-bad", "03"),
    ] {
        assert_eq!(tried.request.headers[name], expected, "{name}");
    }
}

#[test]
fn state_and_metadata_are_the_requests() {
    // A message of two texts: path `key`, value `worth`.
    let guest = format!(
        "{HOOK}
        (call $put_number {{x-set}} (call $foreign {{set_envoy_filter_state}}
          (i32.const 512) (i32.const 14) (i32.const 16) (i32.const 20)))
        (drop (call $property {{filter_state\\0key}} (i32.const 16) (i32.const 20)))
        (call $put {{x-state}})
        (drop (call $set_property {{metadata\\0filter_metadata\\0ns\\0user}} {{ann}}))
        (drop (call $property {{metadata.filter_metadata.ns.user}} (i32.const 16) (i32.const 20)))
        (call $put {{x-user}})
        (call $put_number {{x-bad}} (call $foreign {{set_envoy_filter_state}}
          (i32.const 512) (i32.const 9) (i32.const 16) (i32.const 20)))
        (i32.const 0))
        (data (i32.const 512) \"\\0a\\03key\\12\\05worth\\18\\02\")"
    );
    let mut tried = tried(&guest, CALM);
    tried.request();
    for (name, expected) in
        [("x-set", "00"), ("x-state", "worth"), ("x-user", "ann"), ("x-bad", "03")]
    {
        assert_eq!(tried.request.headers[name], expected, "{name}");
    }
}

/// A guest that writes a property of eight bytes, as far as it is under 100, or a text.
fn reads(number: bool, path: &str) -> String {
    let put = match number {
        true => "(call $put_number {x-read} (i32.load (i32.load (i32.const 16))))",
        false => "(call $put {x-read})",
    };
    let read = format!(
        "(if (i32.eqz (call $property {{{path}}} (i32.const 16) (i32.const 20))) (then {put}))"
    );
    format!(
        "{HOOK} {read} (i32.const 0))
        (func (export \"proxy_on_log\") (param i32) {read})"
    )
}

#[test]
fn properties_are_those_of_envoy() {
    for (path, number, in_request, in_log) in [
        ("response.flags", true, Some("00"), "04"),
        ("response.grpc_status", true, None, "14"),
        ("response.backend_latency", true, Some("50"), "50"),
        ("response.total_size", true, None, "26"),
        ("request.size", true, Some("03"), "11"),
        ("request.total_size", true, None, "63"),
        ("xds.node.cluster", false, Some("sallyport"), "sallyport"),
        ("xds.listener_direction", true, Some("01"), "01"),
        ("upstream.local_address", false, Some("127.0.0.1:9"), "127.0.0.1:9"),
        ("upstream.request_attempt_count", true, Some("02"), "02"),
    ] {
        let mut tried = tried(&reads(number, path), CALM);
        tried.about = About {
            upstream_local: Some(([127, 0, 0, 1], 9).into()),
            attempts: 2,
            backend_latency: Some(Duration::from_nanos(50)),
            ..About::nothing()
        };
        tried.header("content-length", "3");
        tried.request();
        let read = |tried: &mut Tried| {
            let value = tried.request.headers.remove("x-read");
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(read(&mut tried).as_deref(), in_request, "{path}");
        let mut sent = response();
        sent.headers.insert("grpc-status", "14".parse().unwrap());
        let mut ended = outcome(&sent);
        (ended.cause, ended.request_bytes) = (Some("timeout"), 11);
        tried.log(&ended);
        let logged = read(&mut tried).unwrap();
        if !path.contains("total") {
            assert_eq!(logged, in_log, "{path}");
        } else {
            // What the heads take is added to what the bodies took: 5 and 11.
            assert!(logged.parse::<u32>().unwrap() > 11, "{path}: {logged}");
        }
    }
}
