//! HTTP filters, of listeners and of routes.

use super::{ANSWER, refused, translated, with_manager, yaml};
use crate::findings::Outcome;

const ROUTER: &str = r#"- name: envoy.filters.http.router
  typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }"#;

fn manager(filters: &str) -> String {
    format!("http_filters:\n{filters}\n{ROUTER}")
}

/// The filters of the listener and the virtual host of a whole translation.
fn filters(of_manager: &str, routes: &str) -> (String, String) {
    let translation = translated(&with_manager(&manager(of_manager), routes));
    let refused: Vec<_> = translation.report.with(Outcome::Refused).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    let listener = yaml(&translation.listeners[0]);
    let filters = listener.split_once("filters:\n").map_or("", |(_, after)| after).to_owned();
    (filters, yaml(&translation.virtual_hosts[0]))
}

const TYPE: &str = "\"@type\": type.googleapis.com/envoy.extensions.filters.http";

#[test]
fn cors_is_a_routes() {
    let chain = format!("- {{ name: cors, typed_config: {{ {TYPE}.cors.v3.Cors }} }}");
    let routes = format!(
        "- match: {{ prefix: / }}
  direct_response: {{ status: 200 }}
  typed_per_filter_config:
    cors:
      {TYPE}.cors.v3.CorsPolicy
      allow_origin_string_match: [ {{ exact: https://a.example }}, {{ prefix: https://b. }} ]
      allow_methods: GET, PUT
      max_age: \"600\"
      allow_credentials: true"
    );
    let (listener, host) = filters(&chain, &routes);
    assert_eq!(listener, "");
    assert!(
        host.contains(
            "  - cors:
      origins:
      - https://a.example
      - regex: https://b\\..*
      methods:
      - GET
      - PUT
      credentials: true
      max_age: 10m
"
        ),
        "{host}"
    );
}

#[test]
fn compressors_are_one_filter_and_a_route_turns_it_off() {
    let one = |name: &str, library: &str, type_name: &str| {
        format!(
            "- name: {name}
  typed_config:
    {TYPE}.compressor.v3.Compressor
    response_direction_config:
      common_config: {{ min_content_length: 100, content_type: [text/html] }}
    compressor_library:
      name: {name}
      typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.compression.{library}.compressor.v3.{type_name} }}\n"
        )
    };
    let chain = one("gzip", "gzip", "Gzip") + one("br", "brotli", "Brotli").trim_end();
    let routes = format!(
        "- match: {{ prefix: / }}
  direct_response: {{ status: 200 }}
  typed_per_filter_config:
    gzip: {{ {TYPE}.compressor.v3.CompressorPerRoute, disabled: true }}"
    );
    let (listener, host) = filters(&chain, &routes);
    assert_eq!(
        listener,
        "- compression:
    algorithms:
    - gzip
    - br
    types:
    - text/html
    min_bytes: 100B
"
    );
    assert!(
        host.contains("  - compression: off\n") || host.contains("  - compression: 'off'\n"),
        "{host}"
    );
}

#[test]
fn tokens_are_asked_for_by_route() {
    let chain = format!(
        "- name: jwt
  typed_config:
    {TYPE}.jwt_authn.v3.JwtAuthentication
    providers:
      idp:
        issuer: https://idp.example
        audiences: [shop]
        forward: true
        remote_jwks:
          http_uri: {{ uri: https://next.internal/keys, cluster: next, timeout: 1s }}
          cache_duration: 300s
    rules:
    - match: {{ prefix: /open }}
    - match: {{ prefix: / }}
      requires: {{ provider_name: idp }}"
    );
    let routes = "- { name: open, match: { prefix: /open/ }, direct_response: { status: 200 } }
- { name: rest, match: { prefix: / }, direct_response: { status: 200 } }";
    let (_, host) = filters(&chain, routes);
    let (open, rest) = host.split_once("- name: rest").expect("both are there");
    assert!(!open.contains("jwt"), "{host}");
    assert!(
        rest.contains(
            "  - jwt:
      jwks:
        upstream: next
        path: /keys
        host: next.internal
        refresh: 5m
      issuer: https://idp.example
      audience:
      - shop
      leeway: 60s
      required_claims: []
"
        ),
        "{rest}"
    );
}

#[test]
fn rates_addresses_health_and_wasm() {
    let chain = format!(
        "- {{ name: rate, typed_config: {{ {TYPE}.local_ratelimit.v3.LocalRateLimit, stat_prefix: r }} }}
- name: access
  typed_config:
    {TYPE}.rbac.v3.RBAC
    rules:
      action: DENY
      policies:
        bad:
          permissions: [ {{ any: true }} ]
          principals: [ {{ direct_remote_ip: {{ address_prefix: 192.0.2.0, prefix_len: 24 }} }} ]
- name: health
  typed_config:
    {TYPE}.health_check.v3.HealthCheck
    pass_through_mode: false
    headers: [ {{ name: ':path', string_match: {{ exact: /healthz }} }} ]
- name: guest
  typed_config:
    {TYPE}.wasm.v3.Wasm
    config:
      root_id: r
      fail_open: true
      configuration: {{ \"@type\": type.googleapis.com/google.protobuf.StringValue, value: a=1 }}
      vm_config:
        runtime: envoy.wasm.runtime.v8
        code: {{ local: {{ filename: /etc/guest.wasm }} }}"
    );
    let routes = format!(
        "- name: limited
  match: {{ prefix: / }}
  direct_response: {{ status: 200 }}
  typed_per_filter_config:
    rate:
      {TYPE}.local_ratelimit.v3.LocalRateLimit
      stat_prefix: r
      token_bucket: {{ max_tokens: 20, tokens_per_fill: 10, fill_interval: 0.5s }}
      filter_enabled: {{ default_value: {{ numerator: 100 }} }}
      filter_enforced: {{ default_value: {{ numerator: 100 }} }}"
    );
    let (listener, host) = filters(&chain, &routes);
    assert_eq!(
        listener,
        "- ip_access:
    deny:
    - 192.0.2.0/24
- wasm:
    module: /etc/guest.wasm
    configuration: a=1
    root_id: r
    on_failure: open
"
    );
    for part in [
        "routes:\n- name: health\n  match:\n    path:\n      exact: /healthz\n  respond:\n    status: 200\n",
        "  - rate_limit:\n      key: route\n      requests: 20\n      per: 1s\n      burst: 20\n",
    ] {
        assert!(host.contains(part), "{part}\n{host}");
    }
}

#[test]
fn a_filter_without_an_equal_is_refused_unless_it_may_be_left_out() {
    let lua = format!("- {{ name: lua, typed_config: {{ {TYPE}.lua.v3.Lua }} }}");
    let found = refused(&with_manager(&manager(&lua), ANSWER));
    assert!(found[0].contains("is a script"), "{found:?}");
    let optional = lua.replace("{ name: lua", "{ name: lua, is_optional: true");
    assert_eq!(refused(&with_manager(&manager(&optional), ANSWER)), [""; 0]);
}
