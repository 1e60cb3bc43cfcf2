//! A gateway under a control plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use sallyport_xds::ResourceKind;

use super::control_plane::ControlPlane;
use crate::support::{Client, Gateway, Origin, eventually, get, sallyport, write_by_rename};

const BOTH: [&str; 2] = ["delta", "state_of_the_world"];

/// A gateway that follows `plane`; it has nothing of its own but the admin listener.
pub(super) fn gateway(plane: &ControlPlane, variant: &str) -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("sallyport.yaml");
    let yaml = format!(
        "admin: {{ address: 127.0.0.1:0 }}
providers:
  storage: {storage}
  xds:
    server: http://{address}
    variant: {variant}
    node: {{ id: edge-1, cluster: edge, metadata: {{ fleet: test }} }}
    warming_timeout: 2s
",
        storage = folder.path().join("sources").display(),
        address = plane.address,
    );
    std::fs::write(&config, yaml).unwrap();
    Gateway::start_in(folder, config)
}

/// A listener whose routes come by themselves.
pub(super) fn listener() -> String {
    r#"
- "@type": type.googleapis.com/envoy.admin.v3.ListenersConfigDump
  dynamic_listeners:
  - name: web
    active_state:
      listener:
        "@type": type.googleapis.com/envoy.config.listener.v3.Listener
        name: web
        address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
        filter_chains:
        - filters:
          - name: http
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
              stat_prefix: in
              rds: { config_source: { ads: {} }, route_config_name: main }
              http_filters:
              - name: envoy.filters.http.router
                typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#
    .to_owned()
}

/// A route configuration: everything to `cluster`, but `/here`, which is answered with `text`.
pub(super) fn routes(cluster: &str, text: &str) -> String {
    format!(
        r#"
- "@type": type.googleapis.com/envoy.admin.v3.RoutesConfigDump
  dynamic_route_configs:
  - route_config:
      "@type": type.googleapis.com/envoy.config.route.v3.RouteConfiguration
      name: main
      virtual_hosts:
      - name: all
        domains: ["*"]
        routes:
        - {{ name: here, match: {{ path: /here }}, direct_response: {{ status: 200, body: {{ inline_string: {text} }} }} }}
        - {{ name: rest, match: {{ prefix: / }}, route: {{ cluster: {cluster} }} }}
"#
    )
}

/// A cluster whose endpoints come by themselves.
pub(super) fn cluster(name: &str, more: &str) -> String {
    format!(
        r#"
- "@type": type.googleapis.com/envoy.admin.v3.ClustersConfigDump
  dynamic_active_clusters:
  - cluster:
      "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
      name: {name}
      type: EDS
      eds_cluster_config: {{ eds_config: {{ ads: {{}} }} }}
{more}"#
    )
}

pub(super) fn endpoints(name: &str, addresses: &[SocketAddr]) -> String {
    let all = addresses.iter().map(|address| {
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}\n",
            address.ip(),
            address.port()
        )
    });
    format!(
        r#"
- "@type": type.googleapis.com/envoy.admin.v3.EndpointsConfigDump
  dynamic_endpoint_configs:
  - endpoint_config:
      "@type": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
{}"#,
        all.collect::<String>()
    )
}

pub(super) fn dump(parts: &[String]) -> String {
    format!("configs:{}", parts.concat())
}

/// Everything that a gateway needs to send requests to `origin`.
pub(super) fn world(origin: SocketAddr) -> String {
    dump(&[listener(), routes("api", "one"), cluster("api", ""), endpoints("api", &[origin])])
}

fn body(address: SocketAddr, path: &str) -> String {
    get(address, "a.example", path).body
}

/// Waits until `/here` is answered with `text`.
pub(super) fn answers(web: SocketAddr, text: &str) {
    eventually("the new route is in force", || (body(web, "/here") == text).then_some(()));
}

#[test]
fn what_a_control_plane_says_is_served_and_acknowledged() {
    for variant in BOTH {
        let origin = Origin::named("origin");
        let plane = ControlPlane::start();
        plane.set(&world(origin.address));
        let gateway = gateway(&plane, variant);
        let web = gateway.web();
        assert_eq!(body(web, "/here"), "one");
        assert_eq!(body(web, "/else"), "origin");
        for kind in [
            ResourceKind::Cluster,
            ResourceKind::ClusterLoadAssignment,
            ResourceKind::Listener,
            ResourceKind::RouteConfiguration,
        ] {
            plane.acknowledged(kind, 1);
            assert_eq!(plane.rejections(kind), [""; 0], "{variant}");
        }
        let first = &plane.told(ResourceKind::Cluster)[0];
        assert_eq!(first.node.as_deref(), Some("edge-1"));
        assert_eq!(plane.told(ResourceKind::RouteConfiguration)[0].names, ["main"]);

        plane.set(&dump(&[routes("api", "two")]));
        answers(web, "two");
        gateway.counts("sallyport_xds_connected", 1.0);
    }
}

#[test]
fn a_file_with_references_stands_beside_a_control_plane() {
    let origin = Origin::named("origin");
    let plane = ControlPlane::start();
    plane.set(&world(origin.address));
    let storage = tempfile::tempdir().unwrap();
    let yaml = |body: &str| {
        format!(
            "admin: {{ address: 127.0.0.1:0 }}
listeners: [ {{ name: own, address: 127.0.0.1:0, max_connections: \"${{env:SALLYPORT_TEST_MAX}}\" }} ]
virtual_hosts:
  - {{ name: own, domains: [\"*\"], routes: [ {{ name: r, respond: {{ status: 200, body: {body} }} }} ] }}
providers:
  storage: {storage}
  xds: {{ server: \"http://{address}\", node: {{ id: edge-1, cluster: edge }}, warming_timeout: 2s }}
",
            storage = storage.path().display(),
            address = plane.address,
        )
    };
    let mut program = sallyport();
    program.env("SALLYPORT_TEST_MAX", "77");
    let gateway = Gateway::start_with(&yaml("one"), program);
    let own = gateway.address("own");
    assert_eq!(body(own, "/"), "one");
    let web = gateway.web();
    answers(web, "one");
    let view = gateway.config_view();
    let effective = &view["effective"];
    let names = effective["listeners"].as_array().unwrap();
    let names: Vec<_> = names.iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["own", "web"], "{view}");
    assert_eq!(effective["listeners"][0]["max_connections"], "${env:SALLYPORT_TEST_MAX}");

    // Each goes on by itself: an edit of the file, and a word of the control plane.
    write_by_rename(&gateway.config, &yaml("two"));
    eventually("the edit is in force", || (body(own, "/") == "two").then_some(()));
    answers(web, "one");
    plane.set(&dump(&[routes("api", "more")]));
    answers(web, "more");
    assert_eq!(body(own, "/"), "two");

    // What is wrong with the file is told with its line, and nothing changes.
    write_by_rename(&gateway.config, &yaml("{}"));
    let refused = gateway.logged("configuration refused");
    assert!(!refused.is_empty());
    gateway.logged("sallyport.yaml:4: virtual_hosts[0].routes[0].respond.body");
    assert_eq!((body(own, "/"), body(web, "/here")), ("two".to_owned(), "more".to_owned()));
}

#[test]
fn a_bad_resource_is_rejected_with_its_place_and_changes_nothing() {
    for variant in BOTH {
        let origin = Origin::named("origin");
        let plane = ControlPlane::start();
        plane.set(&world(origin.address));
        let gateway = gateway(&plane, variant);
        let web = gateway.web();
        answers(web, "one");

        let bad = cluster("api", "      lb_subset_config: { fallback_policy: ANY_ENDPOINT }\n");
        plane.set(&dump(&[bad]));
        let told = eventually("the cluster is rejected", || {
            plane.rejections(ResourceKind::Cluster).first().cloned()
        });
        assert!(told.contains("Cluster[api].lb_subset_config: "), "{told}");
        assert_eq!(body(web, "/else"), "origin");

        plane.set_bytes(ResourceKind::RouteConfiguration, "main", &[0xff, 0xff]);
        eventually("what is no message is rejected", || {
            plane.rejections(ResourceKind::RouteConfiguration).first().cloned()
        });
        assert_eq!(body(web, "/here"), "one");

        // What is mended is in force.
        plane.set(&dump(&[cluster("api", ""), routes("api", "mended")]));
        answers(web, "mended");
    }
}

#[test]
fn endpoints_change_without_a_new_configuration() {
    for variant in BOTH {
        let (one, two) = (Origin::named("one"), Origin::named("two"));
        let plane = ControlPlane::start();
        plane.set(&world(one.address));
        let gateway = gateway(&plane, variant);
        let web = gateway.web();
        eventually("the first endpoint answers", || (body(web, "/else") == "one").then_some(()));
        plane.acknowledged(ResourceKind::RouteConfiguration, 1);
        let version = gateway.version();
        plane.set(&dump(&[endpoints("api", &[two.address])]));
        eventually("the second endpoint answers", || (body(web, "/else") == "two").then_some(()));
        assert_eq!(gateway.version(), version);
    }
}

#[test]
fn a_hundred_pushes_under_load_fail_no_request() {
    for variant in BOTH {
        let origin = Origin::named("origin");
        let plane = ControlPlane::start();
        plane.set(&world(origin.address));
        let gateway = gateway(&plane, variant);
        let web = gateway.web();
        answers(web, "one");
        let (ended, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (ended, sent) = (ended.clone(), sent.clone());
                thread::spawn(move || {
                    let mut client = Client::connect(web);
                    while !ended.load(Ordering::Relaxed) {
                        for path in ["/here", "/else"] {
                            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
                            assert_eq!(client.receive().status, 200);
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for push in 0..100 {
            match push % 10 {
                9 => plane.set(&dump(&[cluster("api", "      lb_policy: CLUSTER_PROVIDED\n")])),
                _ => {
                    plane.set(&dump(&[routes("api", &format!("push-{push}")), cluster("api", "")]))
                }
            }
        }
        plane.set(&dump(&[cluster("api", ""), routes("api", "last")]));
        answers(web, "last");
        ended.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(sent.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn a_control_plane_that_goes_away_and_comes_back_is_followed_again() {
    for variant in BOTH {
        let origin = Origin::named("origin");
        let mut plane = ControlPlane::start();
        plane.set(&world(origin.address));
        let gateway = gateway(&plane, variant);
        let web = gateway.web();
        answers(web, "one");
        plane.acknowledged(ResourceKind::RouteConfiguration, 1);
        let before = plane.told(ResourceKind::Cluster).len();
        plane.kill();
        gateway.counts("sallyport_xds_connected", 0.0);
        assert_eq!(body(web, "/else"), "origin", "what was said stays in force");

        plane.set(&dump(&[routes("api", "after")]));
        plane.come_back();
        answers(web, "after");
        let first = plane.told(ResourceKind::Cluster)[before].clone();
        if variant == "delta" {
            assert_eq!(first.known.len(), 1, "what is known need not come again: {first:?}");
        }
        assert_eq!(plane.rejections(ResourceKind::Cluster), [""; 0]);
    }
}

#[test]
fn a_listener_waits_for_its_routes_and_a_removed_one_ends() {
    let origin = Origin::named("origin");
    let plane = ControlPlane::start();
    plane.set(&world(origin.address));
    let gateway = gateway(&plane, "delta");
    let web = gateway.web();
    answers(web, "one");
    // Its route configuration is not there: the listener before it goes on.
    plane.set(&dump(&[listener().replace("route_config_name: main", "route_config_name: next")]));
    plane.acknowledged(ResourceKind::Listener, 2);
    assert_eq!(body(web, "/here"), "one");
    plane.set(&dump(&[routes("api", "next").replace("name: main", "name: next")]));
    answers(web, "next");
    plane.remove(ResourceKind::Listener, "web");
    eventually("the listener has ended", || std::net::TcpStream::connect(web).err());
}
