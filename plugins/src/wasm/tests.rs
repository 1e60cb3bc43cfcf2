//! Guests in WebAssembly text, each as small as what it shows, run through the filter as the gateway
//! runs it.

mod bodies;
mod calls;
mod cost;
mod envoy;
mod failures;
mod load;
mod messages;
mod pauses;
mod real;
mod runtimes;
mod services;

use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderMap, Response, response};

use super::KIND;
use crate::host::Host;
use crate::testing::Tried;

/// What every guest has: its imports, memory that is given out once, and a few shorthands. Results of
/// functions of the host go to 16 (address), 20 (size) and 24 (number).
const PRELUDE: &str = r#"
(import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_value"
  (func $get (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_pairs" (func $pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_set_header_map_pairs" (func $set_pairs (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_header_map_size" (func $map_size (param i32 i32) (result i32)))
(import "env" "proxy_add_header_map_value"
  (func $add (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_replace_header_map_value"
  (func $replace (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_remove_header_map_value" (func $remove (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_buffer_bytes"
  (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_buffer_bytes"
  (func $set_bytes (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_buffer_status" (func $buffer_status (param i32 i32 i32) (result i32)))
(import "env" "proxy_get_property" (func $property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_property" (func $set_property (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_send_local_response"
  (func $respond (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_http_call"
  (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
(import "env" "proxy_close_stream" (func $close (param i32) (result i32)))
(import "env" "proxy_set_effective_context" (func $choose (param i32) (result i32)))
(import "env" "proxy_done" (func $done (result i32)))
(import "env" "proxy_get_status" (func $status (param i32 i32 i32) (result i32)))
(import "env" "proxy_set_tick_period_milliseconds" (func $timer (param i32) (result i32)))
(import "env" "proxy_get_current_time_nanoseconds" (func $time (param i32) (result i32)))
(import "env" "proxy_get_shared_data"
  (func $shared (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_set_shared_data"
  (func $set_shared (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_register_shared_queue" (func $register (param i32 i32 i32) (result i32)))
(import "env" "proxy_resolve_shared_queue"
  (func $resolve (param i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_enqueue_shared_queue" (func $enqueue (param i32 i32 i32) (result i32)))
(import "env" "proxy_dequeue_shared_queue" (func $dequeue (param i32 i32 i32) (result i32)))
(import "env" "proxy_define_metric" (func $metric (param i32 i32 i32 i32) (result i32)))
(import "env" "proxy_increment_metric" (func $increment (param i32 i64) (result i32)))
(import "env" "proxy_record_metric" (func $record (param i32 i64) (result i32)))
(import "env" "proxy_get_metric" (func $metric_value (param i32 i32) (result i32)))
(import "env" "proxy_grpc_cancel" (func $grpc_cancel (param i32) (result i32)))
(import "env" "proxy_call_foreign_function"
  (func $foreign (param i32 i32 i32 i32 i32 i32) (result i32)))
(import "env" "proxy_get_log_level" (func $level (param i32) (result i32)))
(import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_sizes_get" (func $env_sizes (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "environ_get" (func $env_get (param i32 i32) (result i32)))
(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
(import "wasi_snapshot_preview1" "path_open"
  (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
(memory (export "memory") 64)
(global $heap (mut i32) (i32.const 65536))
(func (export "proxy_abi_version_0_2_1"))
(func (export "proxy_on_memory_allocate") (param i32) (result i32)
  (if (i32.gt_u (global.get $heap) (i32.const 2000000)) (then (global.set $heap (i32.const 65536))))
  (global.get $heap)
  (global.set $heap (i32.add (global.get $heap) (local.get 0))))
;; Sets the request's field to what was returned last.
(func $put (param i32 i32)
  (drop (call $replace (i32.const 0) (local.get 0) (local.get 1)
    (i32.load (i32.const 16)) (i32.load (i32.const 20)))))
;; Sets the request's field to a number under 100, in two digits.
(func $put_number (param i32 i32 i32)
  (i32.store8 (i32.const 32) (i32.add (i32.const 48) (i32.div_u (local.get 2) (i32.const 10))))
  (i32.store8 (i32.const 33) (i32.add (i32.const 48) (i32.rem_u (local.get 2) (i32.const 10))))
  (drop (call $replace (i32.const 0) (local.get 0) (local.get 1) (i32.const 32) (i32.const 2))))
"#;

/// A module of [`PRELUDE`] and `text`, in which `{text}` stands for the address and the size of that
/// text, and `\0` in it for a zero byte.
pub(super) fn module(text: &str) -> Vec<u8> {
    let (mut code, mut data, mut at) = (String::new(), String::new(), 1024);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (string, after) = after.split_once('}').expect("it is closed");
        let size = string.replace("\\0", "0").len();
        write!(code, "{before}(i32.const {at}) (i32.const {size})").unwrap();
        let string = string.replace("\\0", "\\00").replace('"', "\\22");
        writeln!(data, "(data (i32.const {at}) \"{string}\")").unwrap();
        at += size;
        rest = after;
    }
    code.push_str(rest);
    wat::parse_str(format!("(module {PRELUDE} {code} {data})")).unwrap()
}

/// The path of a file with this module, which lasts as long as the test's process.
pub(super) fn file(module: &[u8]) -> String {
    let file = tempfile::Builder::new().suffix(".wasm").tempfile().unwrap();
    let (_, path) = file.keep().unwrap();
    std::fs::write(&path, module).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The file of a guest of `plugins/examples`; `None`, and loudly so, where it has not been built.
pub(super) fn guest_file(name: &str) -> Option<String> {
    let path = format!("{}/../target/guests/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    let is_built = std::path::Path::new(&path).exists();
    if !is_built {
        eprintln!("NOT TESTED: there is no {path}; run plugins/examples/build.sh");
    }
    is_built.then_some(path)
}

/// A filter of this guest and these settings.
pub(super) fn tried(text: &str, settings: &str) -> Tried {
    tried_with(text, settings, Host::idle())
}

/// The same with what `host` provides.
pub(super) fn tried_with(text: &str, settings: &str, host: Host) -> Tried {
    let path = file(&module(text));
    let tried = Tried::with_host(&KIND, &format!("{{ module: {path}, {settings} }}"), host);
    std::fs::remove_file(path).unwrap();
    tried
}

/// A deadline that a slow machine keeps.
pub(super) const CALM: &str = "deadline: 5s";

/// A response without fields.
pub(super) fn response() -> response::Parts {
    Response::new(()).into_parts().0
}

/// The fields of a message, sorted.
pub(super) fn fields(headers: &HeaderMap) -> Vec<String> {
    let mut fields: Vec<_> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    fields.sort();
    fields
}

/// The value of a counter of the filter's; 0 where nothing was counted.
pub(super) fn counted(host: &Host, family: &str, label: Option<&str>) -> u64 {
    let families = host.metrics.gather();
    let family = families.iter().find(|found| found.name() == family);
    let metrics = family.map(|family| family.get_metric()).unwrap_or_default();
    let matches = |labels: &[prometheus::proto::LabelPair]| {
        label.is_none_or(|label| labels.iter().any(|pair| pair.value() == label))
    };
    let found = metrics.iter().filter(|metric| matches(metric.get_label()));
    found.map(|metric| metric.get_counter().get_value() as u64).sum()
}

/// Waits until `holds`, which some other thread brings about.
pub(super) fn until(mut holds: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(std::time::Instant::now() < end, "it never came to hold");
        std::thread::yield_now();
    }
}
