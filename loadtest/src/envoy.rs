//! Envoy, whose host for WebAssembly guests the gateway's is measured beside.
//!
//! Owns the file that Envoy is started with: one worker, no access log, a hundred routes like every
//! proxy here, and the V8 runtime for the guest. Nothing is tuned.

use std::net::SocketAddr;
use std::path::Path;

/// The command line that serves the file at `conf` with one worker.
pub fn command(program: &Path, conf: &Path) -> Vec<String> {
    let program = program.display().to_string();
    let conf = conf.display().to_string();
    // Two of them on one machine would share memory for a hot restart and refuse to start.
    let fixed = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"];
    [&program, "-c", &conf].into_iter().chain(fixed).map(str::to_owned).collect()
}

/// One route for each of `prefixes`, all to `upstream`, behind the guest `module` if there is one.
pub fn configuration(
    listen: SocketAddr,
    upstream: SocketAddr,
    prefixes: &[String],
    module: Option<&Path>,
) -> String {
    let route = |prefix: &String| {
        format!(
            "              - {{ match: {{ prefix: {prefix} }}, route: {{ cluster: origin }} }}\n"
        )
    };
    let routes: String = prefixes.iter().map(route).collect();
    let guest = module.map(guest).unwrap_or_default();
    let (listen, upstream) = (socket_address(listen), socket_address(upstream));
    format!(
        r#"static_resources:
  listeners:
  - address: {listen}
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          route_config:
            virtual_hosts:
            - name: everyone
              domains: ["*"]
              routes:
{routes}          http_filters:
{guest}          - name: router
            typed_config: {{ "@type": {TYPES}.filters.http.router.v3.Router }}
  clusters:
  - name: origin
    load_assignment:
      cluster_name: origin
      endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {upstream} }} }}] }}]
"#
    )
}

const TYPES: &str = "type.googleapis.com/envoy.extensions";

fn guest(module: &Path) -> String {
    let module = format!("{:?}", module.display().to_string());
    format!(
        r#"          - name: guest
            typed_config:
              "@type": {TYPES}.filters.http.wasm.v3.Wasm
              config:
                vm_config:
                  runtime: envoy.wasm.runtime.v8
                  code: {{ local: {{ filename: {module} }} }}
"#
    )
}

fn socket_address(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("{{ socket_address: {{ address: {ip}, port_value: {port} }} }}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_comes_before_the_router() {
        let address: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let prefixes = ["/r000".to_owned(), "/".to_owned()];
        let file = configuration(address, address, &prefixes, Some(Path::new("/tmp/m.wasm")));
        let at = |text| file.find(text).unwrap();
        assert!(at("filename: \"/tmp/m.wasm\"") < at("- name: router"), "{file}");
        assert_eq!(file.matches("route: { cluster: origin }").count(), 2);
        assert!(!configuration(address, address, &prefixes, None).contains("wasm"));
    }
}
