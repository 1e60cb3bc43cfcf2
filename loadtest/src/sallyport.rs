//! Sallyport as the load tests run it: a file like the quickstart's, with a hundred routes.
//!
//! Owns that file and the command line. It knows of the gateway what an operator knows, the
//! configuration language, and nothing else.

use crate::bench::PATH;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The filters of the route that is measured; the other routes have none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Filters {
    /// None.
    #[default]
    None,
    /// So many `headers` filters, each of which sets one field of the request, `x-h1` and so on.
    Native(usize),
    /// The example guest `header`, from this file.
    Wasm(PathBuf),
}

impl Filters {
    /// A `filters:` list in one line; nothing where there are none.
    fn written(&self) -> Option<String> {
        let entries = match self {
            Self::None => return None,
            Self::Native(count) => (1..=*count).map(headers_filter).collect(),
            Self::Wasm(module) => vec![wasm_filter(module)],
        };
        Some(format!("[{}]", entries.join(", ")))
    }
}

fn headers_filter(number: usize) -> String {
    format!("{{ name: h{number}, headers: {{ request: {{ set: {{ x-h{number}: b }} }} }} }}")
}

fn wasm_filter(module: &Path) -> String {
    format!("{{ wasm: {{ module: {:?} }} }}", module.display().to_string())
}

/// The command line that serves the file at `conf` with one worker.
pub fn command(program: &Path, conf: &Path) -> Vec<String> {
    let program = program.display().to_string();
    let conf = conf.display().to_string();
    [&program, "run", "--config", &conf, "--threads", "1"].map(str::to_owned).to_vec()
}

/// One virtual host for every name, one route for each of `prefixes`, Maglev over one endpoint.
pub fn configuration(
    listen: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    prefixes: &[String],
    filters: &Filters,
) -> String {
    let head = format!(
        r#"listeners:
  - name: web
    address: "{listen}"
admin: {{ address: "{admin}" }}
upstreams:
  - name: origin
    load_balancing: {{ policy: maglev, hash_on: path }}
    endpoints:
      - {{ address: "{upstream}" }}
virtual_hosts:
  - name: everyone
    domains: ["*"]
    routes:
"#
    );
    let routes = prefixes.iter().enumerate().map(|(index, prefix)| route(index, prefix, filters));
    head + &routes.collect::<String>()
}

fn route(index: usize, prefix: &str, filters: &Filters) -> String {
    let measured = PATH.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    let filters = filters.written().filter(|_| measured);
    let filters = filters.map(|list| format!("        filters: {list}\n")).unwrap_or_default();
    format!(
        r#"      - name: r{index:03}
        match: {{ path: {{ prefix: {prefix} }} }}
{filters}        forward: {{ upstream: origin }}
"#
    )
}

/// `/r000` and so on up to `count` prefixes, the last of which is `/` and catches the rest.
pub fn prefixes(count: usize) -> Vec<String> {
    let numbered = (0..count.saturating_sub(1)).map(|index| format!("/r{index:03}"));
    numbered.chain(["/".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_routes_end_with_the_one_that_catches_all() {
        let prefixes = prefixes(100);
        assert_eq!(prefixes.len(), 100);
        assert_eq!(prefixes[50], "/r050");
        assert_eq!(prefixes[98], "/r098");
        assert_eq!(prefixes[99], "/");
    }

    #[test]
    fn every_prefix_becomes_a_route() {
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let file = configuration(address, address, address, &prefixes(100), &Filters::None);
        assert_eq!(file.matches("forward: { upstream: origin }").count(), 100);
        assert!(file.contains("      - name: r050\n        match: { path: { prefix: /r050 } }\n"));
        assert!(!file.contains("filters"));
    }

    #[test]
    fn filters_are_on_the_measured_route_alone() {
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let filtered = |filters| configuration(address, address, address, &prefixes(100), &filters);
        let native = filtered(Filters::Native(2));
        let list = "[{ name: h1, headers: { request: { set: { x-h1: b } } } }, \
                    { name: h2, headers: { request: { set: { x-h2: b } } } }]";
        assert!(
            native.contains(&format!("prefix: /r050 }} }}\n        filters: {list}\n")),
            "{native}"
        );
        assert_eq!(native.matches("filters:").count(), 1);
        let wasm = filtered(Filters::Wasm("/tmp/a b.wasm".into()));
        assert!(wasm.contains("filters: [{ wasm: { module: \"/tmp/a b.wasm\" } }]\n"), "{wasm}");
    }
}
