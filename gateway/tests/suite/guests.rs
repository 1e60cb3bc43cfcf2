//! WebAssembly guests through the whole gateway: the examples, built by `plugins/examples/build.sh`.

#[path = "guests/behaviour.rs"]
mod behaviour;
#[path = "guests/cache.rs"]
mod cache;
#[path = "guests/envoy.rs"]
mod envoy;
#[path = "guests/rogue.rs"]
mod rogue;
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
