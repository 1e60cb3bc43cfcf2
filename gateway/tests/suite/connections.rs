//! Connections before their first request: how many there may be, who has them, and where they go.

#[path = "connections/leaving.rs"]
mod leaving;
#[path = "connections/proxy_protocol.rs"]
mod proxy_protocol;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Client, Gateway, Origin, check, config, eventually, forward_all, request};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const OK: &str = "virtual_hosts: [ { name: all, domains: [\"*\"], routes: \
                  [ { name: ok, respond: { status: 200, body: ok } } ] } ]\n";

/// A configuration whose listener has `keys` too.
fn with_keys(keys: &str, rest: &str) -> String {
    config(rest).replace("web, address: 127.0.0.1:0", &format!("web, address: 127.0.0.1:0, {keys}"))
}

/// Whether a request on a connection from `source` is answered; the connection with it.
fn opens(gateway: &Gateway, source: Ipv4Addr) -> Option<Client> {
    let mut client = Client::connect_from(source, gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    client.try_receive(false).map(|response| {
        assert_eq!(response.status, 200);
        client
    })
}

#[test]
fn a_listener_has_as_many_connections_as_it_may_and_counts_them() {
    let gateway = Gateway::start(&with_keys("max_connections: 2", OK));
    let active = "sallyport_connections_active{listener=\"web\"}";
    let held = [ONE, OTHER].map(|source| opens(&gateway, source).expect("room"));
    gateway.counts(active, 2.0);
    assert!(opens(&gateway, ONE).is_none());
    let refused = "sallyport_connections_refused_total{listener=\"web\",reason=\"listener\"}";
    gateway.counts(refused, 1.0);
    drop(held);
    gateway.counts(active, 0.0);
    let _one = eventually("room for another", || opens(&gateway, ONE));
    gateway.counts(active, 1.0);
    // A bound that is raised holds for the next one.
    gateway.replace(&with_keys("max_connections: 1000", OK));
    let _more: Vec<_> = (0..5).map(|_| opens(&gateway, ONE).expect("room")).collect();
    gateway.counts(active, 6.0);
}

#[test]
fn a_source_has_as_many_connections_as_it_may_and_takes_none_from_others() {
    let keys = "max_connections_per_source: 2, trusted_proxies: [127.0.0.3]";
    let gateway = Gateway::start(&with_keys(keys, OK));
    let held = [ONE, ONE].map(|source| opens(&gateway, source).expect("room"));
    assert!(opens(&gateway, ONE).is_none());
    let _others: Vec<_> = (0..5).map(|_| opens(&gateway, OTHER).expect("a proxy")).collect();
    let _third = opens(&gateway, Ipv4Addr::new(127, 0, 0, 4)).expect("another source");
    let refused = "sallyport_connections_refused_total{listener=\"web\",reason=\"source\"}";
    gateway.counts(refused, 1.0);
    drop(held);
    eventually("room for another", || opens(&gateway, ONE).map(drop));
}

#[test]
fn bounds_that_let_nobody_in_are_refused() {
    for keys in ["max_connections: 0", "max_connections_per_source: many"] {
        let output = check(&with_keys(keys, OK));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!output.status.success(), "{keys}: {said}");
    }
}

#[test]
fn connections_are_spread_evenly_over_the_workers() {
    let go_on = Arc::new(AtomicBool::new(false));
    let waiting = go_on.clone();
    let origin = Origin::start(move |_, stream| {
        while !waiting.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        std::io::Write::write_all(stream, answer).is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut clients: Vec<_> = (0..12).map(|_| Client::connect(gateway.web())).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    for worker in ["0", "1"] {
        gateway.counts(&format!("sallyport_worker_requests_active{{worker=\"{worker}\"}}"), 6.0);
    }
    go_on.store(true, Ordering::Relaxed);
    for client in &mut clients {
        assert_eq!(client.receive().status, 200);
    }
}

#[test]
fn redirects_keep_the_scheme_that_a_trusted_proxy_names() {
    let routes = "virtual_hosts: [ { name: all, domains: [\"*\"], routes: \
                  [ { name: moved, redirect: { path: /new } } ] } ]\n";
    let location = |trusted: &str, proto: &str| {
        let gateway = Gateway::start(&with_keys(&format!("trusted_proxies: [{trusted}]"), routes));
        let head = format!("GET /old HTTP/1.1\r\nHost: shop.example\r\n{proto}\r\n");
        request(gateway.web(), &head).field("location")
    };
    let proto = |value: &str| format!("X-Forwarded-Proto: {value}\r\n");
    let (https, http) = ("https://shop.example/new", "http://shop.example/new");
    for (trusted, proto, expected) in [
        ("127.0.0.1", proto("https"), https),
        ("127.0.0.1", proto("HTTPS"), https),
        ("127.0.0.1", proto("http, https"), https),
        ("127.0.0.1", proto("https, http"), http),
        ("127.0.0.1", proto("gopher"), http),
        ("127.0.0.1", String::new(), http),
        ("10.0.0.0/8", proto("https"), http),
    ] {
        assert_eq!(location(trusted, &proto).as_deref(), Some(expected), "{trusted} {proto}");
    }
}

#[test]
fn a_listener_sends_everything_to_https_but_challenges_of_acme() {
    let keys = "redirect: { scheme: https }, trusted_proxies: [127.0.0.3]";
    let gateway = Gateway::start(&with_keys(keys, OK));
    let ask = |source, method: &str, path: &str, more: &str| {
        let mut client = Client::connect_from(source, gateway.web());
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: shop.example:8080\r\n{more}\r\n"));
        let response = client.try_receive(method == "HEAD").unwrap();
        (response.status, response.field("location"))
    };
    let to = |path: &str| (301, Some(format!("https://shop.example{path}")));
    assert_eq!(ask(ONE, "GET", "/a/../b?c=d", ""), to("/b?c=d"));
    assert_eq!(ask(ONE, "HEAD", "/", ""), to("/"));
    assert_eq!(ask(ONE, "DELETE", "/nowhere/.well-known/acme-challenge/x", "").0, 301);
    let challenge = "/.well-known/acme-challenge/token";
    assert_eq!(ask(ONE, "GET", challenge, ""), (200, None));
    assert_eq!(ask(ONE, "GET", "/.well-known/acme-challenge/../x", "").0, 301);
    // Behind a proxy that speaks TLS the two would send the client in circles.
    let proto = "X-Forwarded-Proto: https\r\n";
    assert_eq!(ask(OTHER, "GET", "/", proto), (200, None));
    assert_eq!(ask(ONE, "GET", "/", proto), to("/"));
    let none = "route=\"none\",virtual_host=\"none\"";
    gateway.counts(&format!("sallyport_route_requests_total{{code_class=\"3xx\",{none}}}"), 5.0);

    let other = keys.replace("https }", "https, status: 308, port: 8443 }");
    gateway.replace(&with_keys(&other, OK));
    let location = Some("https://shop.example:8443/x".to_owned());
    assert_eq!(ask(ONE, "POST", "/x", "Content-Length: 0\r\n"), (308, location));
    let file = gateway.config.to_str().unwrap();
    let explain = crate::support::sallyport()
        .args(["explain", file, "--host", "shop.example", "--path", "/x", "--json"])
        .output()
        .unwrap();
    let told: serde_json::Value = serde_json::from_slice(&explain.stdout).unwrap();
    assert_eq!(told["location"], "https://shop.example:8443/x", "{told}");
}

#[test]
fn a_redirect_of_a_listener_says_where_to() {
    for (keys, says) in [
        ("redirect: { scheme: http }", "listeners[0].redirect.scheme"),
        ("redirect: { status: 301 }", "scheme"),
        ("redirect: { scheme: https, host: x.example }", "host"),
        ("redirect: { scheme: https, status: 200 }", "status"),
        (
            "redirect: { scheme: https }, tls: { certificates: [ { self_signed: true } ] }",
            "listeners[0].redirect: has no effect",
        ),
    ] {
        let output = check(&with_keys(keys, OK));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success() && said.contains(says), "{keys}: {said}");
    }
}

#[test]
fn routes_match_the_scheme_that_the_client_used() {
    let routes = "virtual_hosts: [ { name: all, domains: [\"*\"], routes: [ \
                  { name: tls, match: { scheme: https }, respond: { status: 200, body: tls } }, \
                  { name: clear, respond: { status: 200, body: clear } } ] } ]\n";
    let gateway = Gateway::start(&with_keys("trusted_proxies: [127.0.0.1]", routes));
    let body = |more: &str| {
        request(gateway.web(), &format!("GET / HTTP/1.1\r\nHost: a\r\n{more}\r\n")).body
    };
    assert_eq!(body(""), "clear");
    assert_eq!(body("X-Forwarded-Proto: https\r\n"), "tls");
    let explain = |header: &str| {
        let file = gateway.config.to_str().unwrap();
        let args = ["explain", file, "--host", "a", "--path", "/", "--header", header, "--json"];
        let output = crate::support::sallyport().args(args).output().unwrap();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let told = explain("x-forwarded-proto: http");
    assert_eq!(
        (&told["route"], &told["passed_over"][0]["because"]),
        (&"clear".into(), &"scheme is not https".into())
    );
    assert_eq!(explain("x-forwarded-proto: https")["route"], "tls");
    let bad = check(&config(&routes.replace("scheme: https", "scheme: gopher")));
    assert!(!bad.status.success());
}
