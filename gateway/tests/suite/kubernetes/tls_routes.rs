//! TLSRoutes: connections of a Gateway that are passed on by name.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::gateways::{class, place};
use super::{ApiServer, gateway, has_condition, service, source};
use crate::support::{Client, Gateway, eventually};
use crate::tls::passthrough::{INTERNAL_ERROR, UNRECOGNIZED_NAME, echo, hello};

const GROUP: &str = "gateway.networking.k8s.io";

fn edge(place: SocketAddr) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Gateway",
        "metadata": { "namespace": "shop", "name": "edge" },
        "spec": {
            "gatewayClassName": "sallyport",
            "addresses": [{ "type": "IPAddress", "value": place.ip() }],
            "listeners": [{
                "name": "tls", "port": place.port(), "protocol": "TLS", "hostname": "*.a.test",
                "tls": { "mode": "Passthrough" },
            }],
        },
    })
}

fn route(name: &str, hostnames: &[&str], backend: &Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "TLSRoute",
        "metadata": { "namespace": "shop", "name": name },
        "spec": {
            "parentRefs": [{ "name": "edge" }], "hostnames": hostnames,
            "rules": [{ "backendRefs": [backend] }],
        },
    })
}

fn to(name: &str) -> Value {
    json!({ "name": name, "port": 80 })
}

/// What a client that asks for `name` reads first.
fn answered(place: SocketAddr, name: &str) -> Vec<u8> {
    let mut client = Client::connect(place);
    client.send(hello(name));
    let mut answer = client.read_exact(1);
    if answer == [21] {
        answer.extend(client.read_to_end());
    }
    answer
}

/// Waits until a client that asks for `name` reads this first.
fn answers(place: SocketAddr, name: &str, first: &[u8]) {
    eventually(&format!("{name} to be answered by {first:?}"), || {
        std::net::TcpStream::connect(place).ok()?;
        (answered(place, name) == first).then_some(())
    });
}

fn scene(api: &ApiServer, routes: &[Value]) -> (Gateway, SocketAddr) {
    service(api, "one", &[echo("1")]);
    service(api, "two", &[echo("2")]);
    class(api);
    let place = place();
    api.apply(edge(place));
    for route in routes {
        api.apply(route.clone());
    }
    (gateway(api, "", ""), place)
}

const PARENT: &str = "/status/parents/0/conditions";

#[test]
fn connections_are_passed_on_by_name_and_routes_are_told() {
    let api = ApiServer::start();
    let one = route("one", &["x.a.test", "*.y.a.test"], &to("one"));
    let (gateway, place) = scene(&api, &[one, route("two", &["*.a.test"], &to("two"))]);
    answers(place, "x.a.test", b"1");
    for (name, first) in [
        ("deep.er.y.a.test", &b"1"[..]),
        ("other.a.test", b"2"),
        ("y.a.test", b"2"),
        ("elsewhere.test", &UNRECOGNIZED_NAME),
    ] {
        assert_eq!(answered(place, name), first, "{name}");
    }
    for name in ["one", "two"] {
        let object = ("TLSRoute", "shop", name);
        has_condition(&api, object, PARENT, "Accepted", "Accepted");
        has_condition(&api, object, PARENT, "ResolvedRefs", "ResolvedRefs");
    }
    let object = ("Gateway", "shop", "edge");
    has_condition(&api, object, "/status/listeners/0/conditions", "Programmed", "Programmed");
    let status = api.get("Gateway", "shop", "edge").unwrap()["status"].clone();
    assert_eq!(status["listeners"][0]["attachedRoutes"], 2, "{status}");
    // Endpoints move without a new configuration.
    let version = gateway.version();
    super::slice(&api, "one", &[echo("3")]);
    answers(place, "x.a.test", b"3");
    assert_eq!(gateway.version(), version);
    // A route that goes leaves its names to the others.
    api.delete("TLSRoute", "shop", "one");
    answers(place, "x.a.test", b"2");
    api.delete("TLSRoute", "shop", "two");
    eventually("nobody to listen", || std::net::TcpStream::connect(place).err());
}

#[test]
fn backends_elsewhere_have_to_be_granted() {
    let api = ApiServer::start();
    let backend = json!({ "name": "db", "namespace": "other", "port": 80 });
    let (gateway, place) = scene(&api, &[route("db", &["db.a.test"], &backend)]);
    let object = ("TLSRoute", "shop", "db");
    has_condition(&api, object, PARENT, "ResolvedRefs", "RefNotPermitted");
    answers(place, "db.a.test", &INTERNAL_ERROR);
    assert!(source(&gateway)["problems"].to_string().contains("lets TLSRoute objects"));
    let origin = echo("d");
    api.apply(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": "other", "name": "db" },
        "spec": { "ports": [{ "port": 80 }] },
    }));
    api.apply(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "namespace": "other", "name": "db-1",
            "labels": { "kubernetes.io/service-name": "db" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [origin.ip()] }],
        "ports": [{ "port": origin.port() }],
    }));
    api.apply(json!({
        "apiVersion": format!("{GROUP}/v1beta1"), "kind": "ReferenceGrant",
        "metadata": { "namespace": "other", "name": "from-shop" },
        "spec": {
            "from": [{ "group": GROUP, "kind": "TLSRoute", "namespace": "shop" }],
            "to": [{ "group": "", "kind": "Service" }],
        },
    }));
    answers(place, "db.a.test", b"d");
    has_condition(&api, object, PARENT, "ResolvedRefs", "ResolvedRefs");
}

#[test]
fn a_cluster_may_have_the_version_before() {
    let api = ApiServer::start().with_alpha_tls_routes();
    let (_gateway, place) = scene(&api, &[route("one", &["x.a.test"], &to("one"))]);
    answers(place, "x.a.test", b"1");
    has_condition(&api, ("TLSRoute", "shop", "one"), PARENT, "Accepted", "Accepted");
}
