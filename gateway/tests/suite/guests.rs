//! WebAssembly guests through the whole gateway: the examples, built by `plugins/examples/build.sh`.

#[path = "guests/behaviour.rs"]
mod behaviour;
#[path = "guests/cache.rs"]
mod cache;
#[path = "guests/envoy.rs"]
mod envoy;
#[path = "guests/grpc.rs"]
mod grpc;
#[path = "guests/held.rs"]
mod held;
#[path = "guests/properties.rs"]
mod properties;
#[path = "guests/rogue.rs"]
mod rogue;
#[path = "guests/sources.rs"]
mod sources;
#[path = "guests/swap.rs"]
mod swap;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::support::{config, missing};

/// The languages that every guest is written in.
const LANGUAGES: [&str; 2] = ["rust", "as"];

/// A built guest, such as `header_rust`.
fn guest(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guests");
    let path = folder.join(format!("{name}.wasm"));
    if path.exists() {
        return Some(path);
    }
    missing(&format!("the guest {name}"));
    None
}

/// A guest of WebAssembly text, for what no SDK lets one write. The file lasts as long as the folder.
fn assembled(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("guest.wasm");
    let module = format!(
        "(module
        (import \"env\" \"proxy_remove_header_map_value\"
          (func $remove (param i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_http_call\"
          (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_set_tick_period_milliseconds\" (func $timer (param i32) (result i32)))
        (import \"env\" \"proxy_get_header_map_value\"
          (func $get (param i32 i32 i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_replace_header_map_value\"
          (func $replace (param i32 i32 i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_get_property\"
          (func $property (param i32 i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_set_effective_context\" (func $choose (param i32) (result i32)))
        (import \"env\" \"proxy_continue_stream\" (func $continue (param i32) (result i32)))
        (import \"env\" \"proxy_grpc_call\" (func $grpc_call
          (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_grpc_stream\" (func $grpc_stream
          (param i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_grpc_send\" (func $grpc_send (param i32 i32 i32 i32) (result i32)))
        (import \"env\" \"proxy_grpc_close\" (func $grpc_close (param i32) (result i32)))
        (import \"env\" \"proxy_grpc_cancel\" (func $grpc_cancel (param i32) (result i32)))
        (memory (export \"memory\") 4)
        (func (export \"proxy_abi_version_0_2_1\"))
        (func (export \"proxy_on_memory_allocate\") (param i32) (result i32) (i32.const 65536))
        {text})"
    );
    std::fs::write(&path, wat::parse_str(module).unwrap()).unwrap();
    path
}

/// `/guest` past a filter with these settings and `/plain` past none, both to the first of `upstreams`.
fn routes(upstreams: &[(&str, SocketAddr)], settings: &str) -> String {
    let defined: String = upstreams
        .iter()
        .map(|(name, at)| format!("  - {{ name: {name}, endpoints: [{{ address: \"{at}\" }}] }}\n"))
        .collect();
    let up = upstreams[0].0;
    config(&format!(
        "upstreams:\n{defined}virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - name: guest
        match: {{ path: {{ prefix: /guest }} }}
        filters: [{{ wasm: {{ {settings} }} }}]
        forward: {{ upstream: {up} }}
      - {{ name: plain, forward: {{ upstream: {up} }} }}
"
    ))
}
