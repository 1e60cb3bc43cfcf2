//! Filters in their places: what runs, in which order, with whose configuration, and what a reload
//! makes of it.

use crate::support::{Gateway, Origin, config, get, sallyport};

fn header(name: &str, value: &str) -> String {
    format!(
        "{{ headers: {{ request: {{ add: {{ x-at: \"{value}\" }} }}, response: {{ add: {{ x-at: \"{value}\" }} }} }}, name: {name} }}"
    )
}

/// One listener, host and route with filters each, and a route that changes them.
fn layers(origin: &Origin) -> String {
    format!(
        "listeners:
  - name: web
    address: 127.0.0.1:0
    filters: [{}, {}]
  - {{ name: bare, address: 127.0.0.1:0 }}
admin: {{ address: 127.0.0.1:0 }}
upstreams:
  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    filters: [{}]
    routes:
      - name: own
        match: {{ path: {{ prefix: /own }} }}
        filters: [{}, {}, {{ headers: off, name: b }}]
        forward: {{ upstream: up }}
      - {{ name: redirected, match: {{ path: {{ prefix: /redirect }} }}, redirect: {{ path: /x }} }}
      - {{ name: plain, match: {{ path: {{ prefix: /plain }} }}, forward: {{ upstream: up }} }}
",
        header("a", "listener"),
        header("b", "second"),
        origin.address,
        header("c", "host"),
        header("d", "route"),
        header("a", "replaced"),
    )
}

fn at(values: &[String]) -> String {
    values.join(" ")
}

#[test]
fn places_are_merged_and_the_most_specific_wins() {
    let origin = Origin::named("one");
    let gateway = Gateway::start(&layers(&origin));
    let sent_up = |path: &str| {
        get(gateway.web(), "x", path);
        at(&origin.last().fields("x-at"))
    };
    assert_eq!(sent_up("/plain"), "listener second host");
    assert_eq!(sent_up("/own"), "replaced host route");
    let response = get(gateway.web(), "x", "/own");
    assert_eq!(at(&response.fields("x-at")), "route host replaced", "responses pass in reverse");
    let bare = get(gateway.address("bare"), "x", "/own");
    assert_eq!(at(&bare.fields("x-at")), "replaced route host", "the other listener has none");
}

#[test]
fn the_gateways_own_responses_pass_filters_too() {
    let origin = Origin::named("one");
    let gateway = Gateway::start(&layers(&origin));
    let redirect = get(gateway.web(), "x", "/redirect");
    assert_eq!(
        (redirect.status, at(&redirect.fields("x-at"))),
        (302, "host second listener".into())
    );
    let unmatched = get(gateway.web(), "x", "/nowhere");
    assert_eq!((unmatched.status, at(&unmatched.fields("x-at"))), (404, "second listener".into()));
    let malformed = get(gateway.web(), "a b", "/plain");
    assert_eq!((malformed.status, at(&malformed.fields("x-at"))), (400, "second listener".into()));
}

#[test]
fn explain_lists_them_in_order() {
    let origin = Origin::named("one");
    let gateway = Gateway::start(&layers(&origin));
    let output = sallyport()
        .args(["explain", "--host", "x", "--path", "/own", "--json"])
        .arg(&gateway.config)
        .output()
        .unwrap();
    let explained: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        explained["filters"],
        serde_json::json!(["a (headers)", "c (headers)", "d (headers)"])
    );
}

#[test]
fn a_reload_changes_filters_and_a_bad_one_changes_nothing() {
    let origin = Origin::named("one");
    let yaml = layers(&origin);
    let gateway = Gateway::start(&yaml);
    gateway.replace(&yaml.replace("\"host\"", "\"moved\""));
    get(gateway.web(), "x", "/plain");
    assert_eq!(at(&origin.last().fields("x-at")), "listener second moved");
    std::fs::write(&gateway.config, yaml.replace("x-at", "content-length")).unwrap();
    gateway.logged("may not be changed");
    get(gateway.web(), "x", "/plain");
    assert_eq!(at(&origin.last().fields("x-at")), "listener second moved");
}

#[test]
fn filters_name_upstreams_that_exist() {
    let yaml = config(
        "virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - name: r
        filters: [{ external_auth: { upstream: nobody, path: / } }]
        respond: { status: 200 }
",
    );
    let said = crate::support::check(&yaml);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(
        said.contains("filters[0].external_auth.upstream: unknown upstream \"nobody\""),
        "{said}"
    );
}
