//! Listeners and clusters.

use super::{refused, translated, whole, yaml};

/// A listener with TLS and a filter chain for each of `chains`: names by SNI, and a route
/// configuration.
fn by_names(chains: &[(&str, &str)]) -> String {
    let mut text = String::from(
        "static_resources:
  listeners:
  - name: https
    address: { socket_address: { address: 0.0.0.0, port_value: 443 } }
    listener_filters:
    - name: tls_inspector
      typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector }
    filter_chains:\n",
    );
    for (names, routes) in chains {
        text.push_str(&format!(
            "    - filter_chain_match: {{ server_names: [{names}] }}
      transport_socket:
        name: tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - {{ certificate_chain: {{ filename: /tls/{routes}.pem }}, private_key: {{ filename: /tls/{routes}.key }} }}
      filters:
      - name: http
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {routes}
          route_config:
            name: {routes}
            virtual_hosts:
            - name: all
              domains: ['*']
              routes: [ {{ name: r, match: {{ prefix: / }}, direct_response: {{ status: 200 }} }} ]\n"
        ));
    }
    text
}

#[test]
fn chains_by_sni_are_virtual_hosts_of_their_names() {
    let found = whole(&by_names(&[("a.example", "a"), ("'*.b.example'", "b")]));
    assert_eq!(
        found,
        "listeners:
- name: https
  address: 0.0.0.0:443
  virtual_hosts:
  - a/all
  - b/all
  tls:
    certificates:
    - cert: /tls/a.pem
      key: /tls/a.key
    - cert: /tls/b.pem
      key: /tls/b.key
    default: refuse
  protocols:
  - http1
  - http2
virtual_hosts:
- name: a/all
  domains:
  - a.example
  routes:
  - name: r
    respond:
      status: 200
- name: b/all
  domains:
  - '*.b.example'
  routes:
  - name: r
    respond:
      status: 200
"
    );
}

#[test]
fn a_chain_by_source_is_refused_by_its_field() {
    let text = by_names(&[("a.example", "a")]).replace(
        "server_names: [a.example]",
        "source_prefix_ranges: [ { address_prefix: 10.0.0.0, prefix_len: 8 } ]",
    );
    let found = refused(&text);
    assert!(
        found.iter().any(|one| one.contains("source_prefix_ranges: chains are chosen")),
        "{found:?}"
    );
}

fn cluster(rest: &str) -> String {
    format!("static_resources:\n  clusters:\n  - name: api\n{rest}")
}

/// The upstream that a cluster becomes.
fn upstream(rest: &str) -> String {
    let text = cluster(rest);
    drop(whole(&text));
    yaml(&translated(&text).upstreams[0])
}

const ENDPOINTS: &str = "    load_assignment:
      cluster_name: api
      endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: api.internal, port_value: 443 } } } } ] } ]\n";

#[test]
fn what_is_written_and_is_the_default_is_the_default() {
    let plain = ENDPOINTS.replace("api.internal", "10.0.0.1");
    let written = format!("    type: STATIC\n    lb_policy: ROUND_ROBIN\n{plain}");
    assert_eq!(upstream(&written), upstream(&plain));
}

#[test]
fn a_cluster_with_everything() {
    let found = upstream(&format!(
        "    type: STRICT_DNS
    connect_timeout: 0.25s
    lb_policy: MAGLEV
    maglev_lb_config: {{ table_size: 1009 }}
{ENDPOINTS}    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        common_http_protocol_options: {{ idle_timeout: 60s }}
        explicit_http_config: {{ http2_protocol_options: {{ max_concurrent_streams: 100 }} }}
    transport_socket:
      name: tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: api.internal
        common_tls_context:
          validation_context: {{ trusted_ca: {{ filename: /tls/ca.pem }} }}
    health_checks:
    - timeout: 1s
      interval: 10s
      unhealthy_threshold: 3
      healthy_threshold: 2
      http_health_check: {{ path: /healthz, expected_statuses: [ {{ start: 200, end: 300 }} ] }}
    circuit_breakers: {{ thresholds: [ {{ max_connections: 100, max_requests: 200, max_pending_requests: 50 }} ] }}
    outlier_detection: {{ consecutive_5xx: 7, base_ejection_time: 15s, max_ejection_percent: 20 }}
    common_lb_config: {{ healthy_panic_threshold: {{ value: 40 }} }}\n"
    ));
    assert_eq!(
        found,
        "name: api
load_balancing:
  policy: maglev
  table_size: 1009
endpoints:
- address: api.internal:443
protocol: http2
http2:
  max_streams: 100
tls:
  server_name: api.internal
  ca: /tls/ca.pem
timeouts:
  connect: 250ms
  idle: 60s
health_check:
  http:
    path: /healthz
    status: 200-299
  interval: 10s
  timeout: 1s
  healthy: 2
  unhealthy: 3
outlier_detection:
  consecutive_errors: 7
  base_ejection: 15s
  max_ejected: 20%
  panic_below: 40%
limits:
  connections: 100
  requests: 200
  pending: 50
"
    );
}

#[test]
fn a_cluster_whose_endpoints_are_chosen_otherwise_is_refused() {
    for (rest, part) in [
        ("    type: ORIGINAL_DST\n", "type is ORIGINAL_DST"),
        ("    type: EDS\n", "names ClusterLoadAssignment \"api\""),
        ("    type: STRICT_DNS\n", "has no endpoints"),
    ] {
        let found = refused(&cluster(rest));
        assert!(found.iter().any(|one| one.contains(part)), "{part}: {found:?}");
    }
    let subset = format!("    lb_subset_config: {{}}\n{ENDPOINTS}");
    assert!(refused(&cluster(&subset))[0].contains("lb_subset_config"));
}
