//! The way over from Envoy: `convert` and `check --xds-dump`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use tempfile::TempDir;

use crate::support::{Gateway, Origin, get, sallyport};

/// A bootstrap as one finds it in front of two services.
fn bootstrap(shop: SocketAddr, news: SocketAddr) -> String {
    let cluster = |name: &str, address: SocketAddr| {
        format!(
            "  - name: {name}
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }}\n",
            ip = address.ip(),
            port = address.port(),
        )
    };
    format!(
        r#"admin:
  address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
static_resources:
  listeners:
  - name: web
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: 0 }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress_http
          codec_type: AUTO
          common_http_protocol_options: {{ idle_timeout: 30s }}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            name: local_route
            virtual_hosts:
            - name: services
              domains: ["*"]
              response_headers_to_add:
              - header: {{ key: x-from, value: "%UPSTREAM_CLUSTER%" }}
              routes:
              - match: {{ prefix: /news }}
                route: {{ cluster: news, prefix_rewrite: /articles }}
              - match: {{ path: /old }}
                redirect: {{ path_redirect: /new }}
              - match:
                  prefix: /
                  headers: [ {{ name: x-shop, present_match: true }} ]
                route: {{ cluster: shop, retry_policy: {{ retry_on: connect-failure }} }}
              - match: {{ prefix: / }}
                direct_response: {{ status: 404, body: {{ inline_string: nothing here }} }}
  clusters:
{}{}"#,
        cluster("shop", shop),
        cluster("news", news),
    )
}

fn written(text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.yaml");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

fn convert(text: &str) -> Output {
    let (_folder, file) = written(text);
    sallyport().args(["convert", "--from", "envoy"]).arg(&file).output().unwrap()
}

fn xds_dump(text: &str, more: &[&str]) -> Output {
    let (_folder, file) = written(text);
    sallyport().arg("check").arg("--xds-dump").arg(&file).args(more).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn what_was_converted_passes_check_and_serves() {
    let (shop, news) = (Origin::named("shop"), Origin::named("news"));
    let output = convert(&bootstrap(shop.address, news.address));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let yaml = text(&output.stdout);

    let mut check = sallyport()
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(yaml.as_bytes()).unwrap();
    assert!(check.wait_with_output().unwrap().status.success(), "{yaml}");

    let gateway = Gateway::start(&yaml);
    assert_eq!(get(gateway.web(), "a.example", "/").status, 404);
    let response = get(gateway.web(), "a.example", "/newsletter?x=1");
    assert_eq!((response.status, response.field("x-from").as_deref()), (200, Some("news")));
    assert_eq!(news.last().request_line(), "GET /articlesletter?x=1 HTTP/1.1");
    let response = get(gateway.web(), "a.example", "/old?y");
    assert_eq!(response.status, 301);
    assert_eq!(response.field("location").as_deref(), Some("http://a.example/new?y"));
    let response = crate::support::request(
        gateway.web(),
        "GET /cart HTTP/1.1\r\nHost: a.example\r\nX-Shop: 1\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    assert_eq!(shop.last().request_line(), "GET /cart HTTP/1.1");
}

#[test]
fn what_is_refused_is_told_with_its_line() {
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let good = bootstrap(address, address);
    let bad = good.replace("{ cluster: news,", "{ cluster: news, internal_redirect_policy: {},");
    let line = 1 + bad.lines().position(|line| line.contains("internal_redirect")).unwrap();
    let place = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.route_config\
                 .virtual_hosts[0].routes[0].route.internal_redirect_policy";

    let output = xds_dump(&bad, &[]);
    assert_eq!(output.status.code(), Some(78));
    let told = text(&output.stderr);
    assert!(told.contains(&format!(":{line}: refused: {place}: ")), "{told}");
    assert!(text(&output.stdout).contains("1 refused"), "{}", text(&output.stdout));

    let output = convert(&bad);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains(place));
    assert!(text(&output.stdout).contains("name: news"), "the rest is written all the same");
}

#[test]
fn a_dump_is_told_to_programs_as_json() {
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let good = bootstrap(address, address);
    let output = xds_dump(&good, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], true);
    assert_eq!(report["refused"], 0);
    assert_eq!((&report["listeners"], &report["upstreams"]), (&1.into(), &2.into()));
    assert!(report["percent_taken"].as_f64().unwrap() > 90.0, "{report}");

    let odd = good.replace("codec_type: AUTO", "codec_type: AUTO\n          server_name: mine");
    let output = xds_dump(&odd, &["--format", "json"]);
    assert_eq!(output.status.code(), Some(0), "what is ignored is no refusal");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["findings"][0]["outcome"], "ignored");
    assert_eq!(xds_dump(&odd, &["--strict"]).status.code(), Some(78));
}

#[test]
fn a_file_that_is_none_of_envoys_is_refused() {
    for (file, part) in [
        ("listeners: []\n", "static_resources"),
        ("- a\n", "is no mapping"),
        ("a: [\n", "envoy.yaml:"),
        ("", "is no mapping"),
    ] {
        let output = convert(file);
        assert_eq!(output.status.code(), Some(78), "{file:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(part), "{file:?}: {}", text(&output.stderr));
    }
}
