//! Envoy: routes in a file of their own, which it watches, and everything else fixed at start.
//!
//! Owns both files. One worker, no access log, the V8 runtime for WebAssembly guests; nothing is tuned.

use super::{Reload, Setup, Unsupported};
use crate::site::{Feature, Place, Route, Site, Upstream};
use std::net::SocketAddr;
use std::path::Path;

const TYPES: &str = "type.googleapis.com/envoy.extensions";
const LIMIT: &str = "filters.http.local_ratelimit.v3.LocalRateLimit";
/// Fields written by the table of routes.
const FIELDS: &str = "  request_headers_to_add:\n  \
    - { header: { key: x-h1, value: b }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }\n  \
    response_headers_to_add:\n  \
    - { header: { key: x-seen, value: b }, append_action: OVERWRITE_IF_EXISTS_OR_ADD }\n  \
    response_headers_to_remove: [x-origin]\n";

/// What serves `site` with the program at `program`.
///
/// # Errors
/// The site runs filters of another proxy.
pub fn setup(program: &Path, site: &Site, place: &Place) -> Result<Setup, Unsupported> {
    // Envoy goes by the name's end; and it watches the folder for files that are moved into it.
    let (conf, routes) = (place.file("envoy.yaml"), place.file("routes.yaml"));
    let program = program.display().to_string();
    // Two of them on one machine would share memory for a hot restart and refuse to start.
    let fixed = "--concurrency 1 --disable-hot-restart --log-level error";
    let node = "--service-node loadtest --service-cluster loadtest";
    let fixed = fixed.split(' ').chain(node.split(' '));
    let command = [&program, "-c", &conf].into_iter().chain(fixed).map(str::to_owned).collect();
    let text = configuration(site, place, &routes)?;
    let files = vec![(conf.into(), text), (routes.into(), table(site))];
    Ok(Setup { files, command, reload: Reload::Watched })
}

fn configuration(site: &Site, place: &Place, routes: &str) -> Result<String, Unsupported> {
    let filter = filter(&site.feature)?;
    let clusters: String = site.upstreams.iter().map(cluster).collect();
    let (listen, front) = (socket_address(place.listen), socket_address(place.front));
    let manager = manager(&filter, routes, place);
    let front = site.front.as_ref().map(|one| {
        let socket = one.tls.as_ref().map(|_| transport_socket(one.http2, place));
        listener(&front, &format!("{manager}{}", socket.unwrap_or_default()))
    });
    Ok(format!(
        "static_resources:\n  listeners:\n{}{}  clusters:\n{clusters}",
        listener(&listen, &manager),
        front.unwrap_or_default()
    ))
}

fn listener(address: &str, chain: &str) -> String {
    format!("  - address: {address}\n    filter_chains:\n{chain}")
}

/// A filter chain, to which a transport socket may be added.
fn manager(filter: &str, routes: &str, place: &Place) -> String {
    let dir = place.dir.display();
    format!(
        r#"    - filters:
      - name: http
        typed_config:
          "@type": {TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          use_remote_address: true
          rds:
            route_config_name: web
            config_source:
              path_config_source: {{ path: "{routes}", watched_directory: {{ path: "{dir}" }} }}
          http_filters:
{filter}          - name: router
            typed_config: {{ "@type": {TYPES}.filters.http.router.v3.Router }}
"#
    )
}

fn transport_socket(http2: bool, place: &Place) -> String {
    let [chain, key] = place.certificate();
    let alpn = if http2 { "h2" } else { "http/1.1" };
    format!(
        r#"      transport_socket:
        name: tls
        typed_config:
          "@type": {TYPES}.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: ["{alpn}"]
            tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}
            tls_certificates:
            - {{ certificate_chain: {{ filename: "{chain}" }}, private_key: {{ filename: "{key}" }} }}
"#
    )
}

fn cluster(upstream: &Upstream) -> String {
    let name = &upstream.name;
    let endpoint = |&at| format!("      - {{ endpoint: {{ address: {} }} }}\n", socket_address(at));
    let endpoints: String = upstream.endpoints.iter().map(endpoint).collect();
    format!(
        "  - name: {name}\n    load_assignment:\n      cluster_name: {name}\n      \
         endpoints:\n      - lb_endpoints:\n{}",
        endpoints.replace("      - {", "        - {")
    )
}

fn socket_address(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("{{ socket_address: {{ address: {ip}, port_value: {port} }} }}")
}

fn table(site: &Site) -> String {
    let fields = if site.feature == Feature::Headers { FIELDS } else { "" };
    let routes: String = site.routes.iter().map(|one| route(one, site)).collect();
    format!(
        r#"resources:
- "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
  name: web
{fields}  virtual_hosts:
  - name: everyone
    domains: ["*"]
    routes:
{routes}"#
    )
}

fn route(route: &Route, site: &Site) -> String {
    let (prefix, upstream) = (&route.prefix, &site.upstream_of(route).name);
    format!("    - {{ match: {{ prefix: {prefix} }}, route: {{ cluster: {upstream} }} }}\n")
}

/// The HTTP filter of a feature, ahead of the router.
fn filter(feature: &Feature) -> Result<String, Unsupported> {
    match feature {
        Feature::None | Feature::Headers => Ok(String::new()),
        Feature::RateLimit { per_s } | Feature::Flood { per_s } => Ok(limit(*per_s)),
        Feature::Wasm(module) => Ok(guest(module)),
        Feature::Native(_) | Feature::Push { .. } => Err(Unsupported::feature("Envoy", feature)),
    }
}

/// A descriptor without a value makes a bucket for each address that comes; the bucket outside, which
/// is everybody's, is for those that come when there are too many.
fn limit(per_s: u32) -> String {
    let bucket = format!("{{ max_tokens: {per_s}, tokens_per_fill: {per_s}, fill_interval: 1s }}");
    format!(
        r#"          - name: limit
            typed_config:
              "@type": {TYPES}.{LIMIT}
              stat_prefix: limit
              token_bucket: {bucket}
              filter_enabled: {{ default_value: {{ numerator: 100 }} }}
              filter_enforced: {{ default_value: {{ numerator: 100 }} }}
              rate_limits: [{{ actions: [{{ remote_address: {{}} }}] }}]
              descriptors: [{{ entries: [{{ key: remote_address }}], token_bucket: {bucket} }}]
              always_consume_default_token_bucket: false
              max_dynamic_descriptors: 10000
"#
    )
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::samples;

    fn files(feature: Feature) -> (String, String) {
        let site = samples::site().with(feature);
        let setup = setup(Path::new("envoy"), &site, &samples::place()).unwrap();
        (setup.files[0].1.clone(), setup.files[1].1.clone())
    }

    #[test]
    fn routes_are_in_a_file_of_their_own() {
        let (conf, table) = files(Feature::None);
        assert_eq!(table.matches("route: { cluster: u000 }").count(), 2);
        assert!(conf.contains("path: \"/run/test/routes.yaml\""), "{conf}");
        assert!(conf.contains("address: 127.0.0.2, port_value: 9001"));
        assert!(!conf.contains("prefix: /r"));
    }

    #[test]
    fn another_way_in_is_another_listener_with_the_same_routes() {
        let site = Site { front: Some(samples::front(true, true)), ..samples::site() };
        let conf = configuration(&site, &samples::place(), "/run/test/routes.yaml").unwrap();
        assert_eq!(conf.matches("route_config_name: web").count(), 2, "{conf}");
        assert_eq!(conf.matches("alpn_protocols: [\"h2\"]").count(), 1);
    }

    #[test]
    fn features_come_before_the_router() {
        let (conf, _) = files(Feature::Wasm("/tmp/m.wasm".into()));
        let at = |text| conf.find(text).unwrap();
        assert!(at("filename: \"/tmp/m.wasm\"") < at("- name: router"), "{conf}");
        assert!(files(Feature::RateLimit { per_s: 7 }).0.contains("max_tokens: 7"));
        assert!(files(Feature::Headers).1.contains("response_headers_to_remove: [x-origin]"));
    }
}
