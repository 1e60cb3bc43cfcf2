//! Whole files through the translation.

use sallyport_config::{Value, to_yaml};

use super::{NoInline, Setting, Translation, translate};
use crate::file;
use crate::findings::Outcome;

mod filters;
mod listeners;
mod routes;

/// Reads and translates a file.
fn translated(text: &str) -> Translation {
    let mut problems = Vec::new();
    let tree = sallyport_config::parse(0, text, &mut problems).expect("it is YAML");
    assert!(problems.is_empty(), "{problems:?}");
    let file = file::read(&tree).expect("it is Envoy's");
    translate(&file.resources, &NoInline, Setting::File, file.findings)
}

/// Our file for one of Envoy's, of which nothing is refused.
fn whole(text: &str) -> String {
    let translation = translated(text);
    let refused: Vec<_> = translation.report.with(Outcome::Refused).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    yaml(&translation.into_value())
}

fn yaml(value: &Value) -> String {
    to_yaml(value).expect("it can be written")
}

/// The places that are refused, with why.
fn refused(text: &str) -> Vec<String> {
    let translation = translated(text);
    translation.report.with(Outcome::Refused).map(ToString::to_string).collect()
}

/// A route that answers.
const ANSWER: &str = "- { match: { prefix: / }, direct_response: { status: 200 } }";

/// A bootstrap with these routes and this cluster beside those that every test uses.
fn with_routes(routes: &str) -> String {
    with_manager("", routes)
}

/// The same with more keys of the connection manager, two levels within it.
fn with_manager(manager: &str, routes: &str) -> String {
    let indent = |text: &str, by: usize| {
        let pad = " ".repeat(by);
        text.lines().map(|line| format!("{pad}{line}\n")).collect::<String>()
    };
    format!(
        r#"
static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 0.0.0.0, port_value: 10000 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress
{manager}          route_config:
            name: local
            virtual_hosts:
            - name: app
              domains: ["*"]
              routes:
{routes}  clusters:
  - name: api
    load_assignment:
      cluster_name: api
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 10.0.0.1, port_value: 8080 }} }} }}
  - name: next
    type: STRICT_DNS
    load_assignment:
      cluster_name: next
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: next.internal, port_value: 8443 }} }} }}
"#,
        manager = indent(manager, 10),
        routes = indent(routes, 14),
    )
}

/// The one virtual host of a translation.
fn host(text: &str) -> String {
    let translation = translated(text);
    let refused: Vec<_> = translation.report.with(Outcome::Refused).collect();
    assert!(refused.is_empty(), "{refused:#?}");
    yaml(&translation.virtual_hosts[0])
}

#[test]
fn a_file_that_is_not_envoys_is_refused_as_a_whole() {
    let mut problems = Vec::new();
    let tree = sallyport_config::parse(0, "listeners: []\n", &mut problems).expect("it is YAML");
    let error = file::read(&tree).expect_err("it is ours");
    assert!(error.contains("static_resources"), "{error}");
}

#[test]
fn a_field_that_nobody_asks_for_is_refused_by_its_name() {
    let text = with_routes("- match: { prefix: /, surprise: 1 }\n  route: { cluster: api }");
    let found = refused(&text);
    let place = "route_config.virtual_hosts[0].routes[0].match.surprise: is no field of";
    assert!(found.iter().any(|one| one.contains(place)), "{found:?}");

    let text = with_routes("- match: { prefix: / }\n  route: { cluster: api, cluster_header: x }");
    assert_eq!(refused(&text).len(), 1, "a choice that is made twice is one problem");

    let text = with_manager("scheme_header_transformation: { match_upstream: true }", ANSWER);
    let found = refused(&text);
    assert!(found[0].contains("scheme_header_transformation"), "{found:?}");
}

#[test]
fn a_dump_holds_what_came_from_a_control_plane() {
    let text = r#"
configs:
- "@type": type.googleapis.com/envoy.admin.v3.ClustersConfigDump
  dynamic_active_clusters:
  - version_info: "7"
    cluster:
      "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
      name: api
      type: EDS
      eds_cluster_config: { eds_config: { ads: {} }, service_name: shop/api }
- "@type": type.googleapis.com/envoy.admin.v3.EndpointsConfigDump
  dynamic_endpoint_configs:
  - endpoint_config:
      "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
      cluster_name: shop/api
      endpoints:
      - priority: 1
        lb_endpoints:
        - load_balancing_weight: 3
          endpoint: { address: { socket_address: { address: "fd00::1", port_value: 80 } } }
        - health_status: DRAINING
          endpoint: { address: { socket_address: { address: 10.0.0.9, port_value: 80 } } }
- "@type": type.googleapis.com/envoy.admin.v3.ListenersConfigDump
  dynamic_listeners:
  - name: web
    active_state:
      listener:
        "@type": type.googleapis.com/envoy.config.listener.v3.Listener
        name: web
        address: { socket_address: { address: 127.0.0.1, port_value: 80 } }
        filter_chains:
        - filters:
          - name: http
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: in
              codec_type: HTTP1
              rds: { config_source: { ads: {} }, route_config_name: main }
- "@type": type.googleapis.com/envoy.admin.v3.RoutesConfigDump
  dynamic_route_configs:
  - route_config:
      "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
      name: main
      virtual_hosts:
      - name: all
        domains: ["*"]
        routes:
        - name: one
          match: { path: /one }
          route: { cluster: api, timeout: 0s }
"#;
    assert_eq!(
        whole(text),
        "listeners:
- name: web
  address: 127.0.0.1:80
  virtual_hosts:
  - main/all
  protocols:
  - http1
upstreams:
- name: api
  load_balancing:
    policy: round_robin
  endpoints:
  - address: '[fd00::1]:80'
    weight: 3
    priority: 1
  timeouts:
    connect: 5s
virtual_hosts:
- name: main/all
  domains:
  - '*'
  routes:
  - name: one
    match:
      path:
        exact: /one
    forward:
      upstream: api
      retries: 0
"
    );
}

#[test]
fn a_route_to_a_cluster_that_cannot_be_used_is_left_out_and_told() {
    let text = with_routes("- match: { prefix: / }\n  route: { cluster: api }")
        .replace("  - name: api\n", "  - name: api\n    lb_policy: CLUSTER_PROVIDED\n");
    let translation = translated(&text);
    assert_eq!(translation.upstreams.len(), 1);
    let found: Vec<_> =
        translation.report.with(Outcome::Refused).map(ToString::to_string).collect();
    assert!(found.iter().any(|one| one.contains("lb_policy is CLUSTER_PROVIDED")), "{found:?}");
    assert!(found.iter().any(|one| one.contains("leads to cluster \"api\"")), "{found:?}");
}

#[test]
fn a_field_from_a_newer_api_is_told_and_does_no_harm() {
    use prost_reflect::prost::Message as _;

    // Field 9,999 as a varint, behind a name.
    let bytes = [&[0x0a, 1, b'x'][..], &[0xf8, 0xf0, 0x04, 1][..]].concat();
    let descriptor = crate::descriptors::message("envoy.config.cluster.v3.Cluster").expect("known");
    let mut message = prost_reflect::DynamicMessage::new(descriptor);
    message.merge(&bytes[..]).expect("it is a message");
    let findings = crate::Findings::default();
    drop(crate::fields::Fields::new(&message, "Cluster x", &findings));
    let report = findings.into_report();
    assert!(report.with(Outcome::Ignored).any(|it| it.what.contains("number 9999")), "{report:?}");
}

/// The table by message and field in docs/xds.md.
#[test]
fn the_documentation_names_fields_that_there_are() {
    let page = include_str!("../../../../docs/xds.md");
    let rows = page.lines().filter(|line| line.starts_with("| `envoy."));
    let mut count = 0;
    for row in rows {
        let mut cells = row.trim_matches('|').split(" | ");
        let message = cells.next().expect("a row begins with a message").trim().trim_matches('`');
        let descriptor = crate::descriptors::message(message);
        assert!(descriptor.is_some(), "{message} is no message");
        let Some(descriptor) = descriptor else { continue };
        for cell in cells {
            // What stands in brackets explains the field before it.
            let mut depth = 0;
            let names: String = cell
                .chars()
                .filter(|character| {
                    depth += i32::from(*character == '(') - i32::from(*character == ')');
                    depth == 0
                })
                .collect();
            for name in names.split('`').skip(1).step_by(2) {
                assert!(descriptor.get_field_by_name(name).is_some(), "{message} has no {name}");
                count += 1;
            }
        }
    }
    assert!(count > 200, "{count}");
}
