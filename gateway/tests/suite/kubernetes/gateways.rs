//! Gateway API: listeners, routes, references, and what objects are told of themselves.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::{Value, json};

use super::{ApiServer, answers, answers_status, gateway, has_condition, service, source};
use crate::support::{Gateway, Origin, eventually, get, request};

/// An address of its own for a Gateway, and a port that is free there.
pub(super) fn place() -> SocketAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(0);
    let id = std::process::id();
    let (low, high) = ((id % 250) as u8 + 2, (id / 250 % 100) as u8 + 90);
    let ip = Ipv4Addr::new(127, high, TAKEN.fetch_add(1, Ordering::Relaxed), low);
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

pub(super) fn class(api: &ApiServer) {
    api.apply(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
        "metadata": { "name": "sallyport" },
        "spec": { "controllerName": "sallyport.dev/gateway" },
    }));
}

/// A Gateway with one listener in clear text for each hostname, at one place.
pub(super) fn gateway_object(place: SocketAddr, hostnames: &[Option<&str>]) -> Value {
    let listeners = hostnames.iter().enumerate().map(|(index, hostname)| {
        let mut listener =
            json!({ "name": format!("http-{index}"), "port": place.port(), "protocol": "HTTP" });
        if let Some(hostname) = hostname {
            listener["hostname"] = (*hostname).into();
        }
        listener
    });
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "namespace": "shop", "name": "edge" },
        "spec": {
            "gatewayClassName": "sallyport",
            "addresses": [{ "type": "IPAddress", "value": place.ip() }],
            "listeners": listeners.collect::<Vec<_>>(),
        },
    })
}

pub(super) fn route(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    if spec.get("parentRefs").is_none() {
        spec["parentRefs"] = json!([{ "name": "edge" }]);
    }
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": { "namespace": "shop", "name": name },
        "spec": spec,
    })
}

/// A rule that sends what has this prefix to a Service.
pub(super) fn to(prefix: &str, name: &str) -> Value {
    json!({
        "matches": [{ "path": { "type": "PathPrefix", "value": prefix } }],
        "backendRefs": [{ "name": name, "port": 80 }],
    })
}

/// A cluster with a class, a Gateway and two Services, and the gateway that serves it.
struct Scene {
    api: ApiServer,
    gateway: Gateway,
    place: SocketAddr,
    _origins: [Origin; 2],
}

fn scene(hostnames: &[Option<&str>], routes: &[Value]) -> Scene {
    let api = ApiServer::start();
    let origins = [Origin::named("one"), Origin::named("two")];
    service(&api, "one", &[origins[0].address]);
    service(&api, "two", &[origins[1].address]);
    class(&api);
    let place = place();
    api.apply(gateway_object(place, hostnames));
    for route in routes {
        api.apply(route.clone());
    }
    let gateway = gateway(&api, "", "");
    eventually("the Gateway to be served", || std::net::TcpStream::connect(place).ok());
    Scene { api, gateway, place, _origins: origins }
}

#[test]
fn routes_are_served_in_the_order_of_the_specification() {
    let rules = json!({ "rules": [
        to("/", "one"),
        to("/two", "two"),
        { "matches": [{ "path": { "type": "Exact", "value": "/two/exact" } }],
          "backendRefs": [{ "name": "one", "port": 80 }] },
        { "matches": [{ "path": { "type": "PathPrefix", "value": "/two" }, "method": "POST" }],
          "backendRefs": [{ "name": "one", "port": 80 }] },
        { "matches": [{ "headers": [{ "name": "X-To", "value": "two" }] }],
          "backendRefs": [{ "name": "two", "port": 80 }] },
        { "matches": [{ "queryParams": [{ "name": "to", "value": "two" }] }],
          "backendRefs": [{ "name": "two", "port": 80 }] },
    ] });
    let scene = scene(&[None], &[route("shop", rules)]);
    let place = scene.place;
    for (path, expected) in [
        ("/", "one"),
        ("/two", "two"),
        ("/two/below", "two"),
        ("/twofold", "one"),
        ("/two/exact", "one"),
        ("/?to=two", "two"),
    ] {
        assert_eq!(get(place, "a.test", path).body, expected, "{path}");
    }
    let sent = |head: &str| request(place, &format!("{head}\r\nConnection: close\r\n\r\n")).body;
    assert_eq!(sent("POST /two HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0"), "one");
    assert_eq!(sent("GET / HTTP/1.1\r\nHost: a.test\r\nX-To: two"), "two");
    let object = ("Gateway", "shop", "edge");
    has_condition(&scene.api, object, "/status/conditions", "Accepted", "Accepted");
    has_condition(&scene.api, object, "/status/conditions", "Programmed", "Programmed");
    has_condition(&scene.api, object, "/status/listeners/0/conditions", "Programmed", "Programmed");
    let object = ("HTTPRoute", "shop", "shop");
    has_condition(&scene.api, object, "/status/parents/0/conditions", "Accepted", "Accepted");
    has_condition(
        &scene.api,
        object,
        "/status/parents/0/conditions",
        "ResolvedRefs",
        "ResolvedRefs",
    );
    let object = ("GatewayClass", "", "sallyport");
    has_condition(&scene.api, object, "/status/conditions", "Accepted", "Accepted");
    let status = scene.api.get("Gateway", "shop", "edge").unwrap()["status"].clone();
    assert_eq!(status["listeners"][0]["attachedRoutes"], 1, "{status}");
    assert_eq!(status["addresses"][0]["value"], scene.place.ip().to_string());
}

#[test]
fn hostnames_of_listeners_and_routes_meet() {
    let to =
        |hostnames: Value, name: &str| json!({ "hostnames": hostnames, "rules": [to("/", name)] });
    let scene = scene(
        &[Some("*.example.com"), Some("very.specific.com")],
        &[
            route(
                "one",
                to(json!(["a.example.com", "very.specific.com", "elsewhere.test"]), "one"),
            ),
            route("two", to(json!(["*.example.com"]), "two")),
            route("none", to(json!(["elsewhere.test"]), "one")),
        ],
    );
    let place = scene.place;
    for (host, expected) in [
        ("a.example.com", Some("one")),
        ("b.example.com", Some("two")),
        ("b.c.example.com", Some("two")),
        ("very.specific.com", Some("one")),
        ("elsewhere.test", None),
        ("example.com", None),
    ] {
        match expected {
            Some(body) => assert_eq!(get(place, host, "/").body, body, "{host}"),
            None => assert_eq!(get(place, host, "/").status, 404, "{host}"),
        }
    }
    let object = ("HTTPRoute", "shop", "none");
    let path = "/status/parents/0/conditions";
    has_condition(&scene.api, object, path, "Accepted", "NoMatchingListenerHostname");
    assert!(source(&scene.gateway)["problems"].to_string().contains("shop/none"));
}

#[test]
fn filters_of_rules_change_requests() {
    let rules = json!({ "rules": [
        { "matches": [{ "path": { "type": "PathPrefix", "value": "/rewrite" } }],
          "filters": [
            { "type": "URLRewrite", "urlRewrite": {
                "hostname": "inner.test",
                "path": { "type": "ReplacePrefixMatch", "replacePrefixMatch": "/new" } } },
            { "type": "RequestHeaderModifier", "requestHeaderModifier": {
                "set": [{ "name": "X-Set", "value": "a$b" }], "remove": ["X-Gone"] } },
            { "type": "ResponseHeaderModifier", "responseHeaderModifier": {
                "add": [{ "name": "X-Added", "value": "yes" }] } },
          ],
          "backendRefs": [{ "name": "one", "port": 80 }] },
        { "matches": [{ "path": { "type": "PathPrefix", "value": "/old" } }],
          "filters": [{ "type": "RequestRedirect", "requestRedirect": {
            "scheme": "https", "hostname": "new.test", "statusCode": 301,
            "path": { "type": "ReplaceFullPath", "replaceFullPath": "/moved" } } }] },
        { "matches": [{ "path": { "type": "PathPrefix", "value": "/odd" } }],
          "filters": [{ "type": "ExtensionRef", "extensionRef": {
            "group": "example.com", "kind": "Foo", "name": "x" } }],
          "backendRefs": [{ "name": "one", "port": 80 }] },
        { "matches": [{ "path": { "type": "PathPrefix", "value": "/slow" } }],
          "timeouts": { "request": "30s" },
          "retry": { "codes": [503], "attempts": 1, "backoff": "1ms" },
          "backendRefs": [{ "name": "one", "port": 80, "weight": 9 }, { "name": "two", "port": 80, "weight": 0 }] },
    ] });
    let scene = scene(&[None], &[route("shop", rules)]);
    let text = "GET /rewrite/x HTTP/1.1\r\nHost: a.test\r\nX-Gone: 1\r\nConnection: close\r\n\r\n";
    let response = request(scene.place, text);
    assert_eq!((response.status, response.field("x-added").as_deref()), (200, Some("yes")));
    let seen = scene._origins[0].last();
    assert_eq!(seen.request_line(), "GET /new/x HTTP/1.1");
    assert_eq!(seen.fields("host"), ["inner.test"]);
    assert_eq!(seen.fields("x-set"), ["a$b"]);
    assert!(seen.fields("x-gone").is_empty());
    let moved = get(scene.place, "a.test", "/old/x");
    assert_eq!(moved.status, 301);
    assert_eq!(moved.field("location").as_deref(), Some("https://new.test/moved"));
    assert_eq!(get(scene.place, "a.test", "/odd").status, 500);
    assert_eq!(get(scene.place, "a.test", "/slow").body, "one");
    let object = ("HTTPRoute", "shop", "shop");
    has_condition(
        &scene.api,
        object,
        "/status/parents/0/conditions",
        "Accepted",
        "UnsupportedValue",
    );
}

#[test]
fn backends_that_are_not_there_or_not_granted_answer_500_until_they_are() {
    let elsewhere = json!({ "rules": [
        to("/missing", "nobody"),
        { "matches": [{ "path": { "type": "PathPrefix", "value": "/other" } }],
          "backendRefs": [{ "name": "api", "namespace": "other", "port": 80 }] },
    ] });
    let scene = scene(&[None], &[route("shop", elsewhere)]);
    let object = ("HTTPRoute", "shop", "shop");
    let path = "/status/parents/0/conditions";
    assert_eq!(get(scene.place, "a.test", "/missing").status, 500);
    assert_eq!(get(scene.place, "a.test", "/other").status, 500);
    has_condition(&scene.api, object, path, "ResolvedRefs", "BackendNotFound");
    let origin = Origin::named("nobody");
    service(&scene.api, "nobody", &[origin.address]);
    answers(scene.place, "a.test", "/missing", "nobody");
    has_condition(&scene.api, object, path, "ResolvedRefs", "RefNotPermitted");
    scene.api.apply(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": "other", "name": "api" },
        "spec": { "ports": [{ "port": 80 }] },
    }));
    scene.api.apply(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "namespace": "other", "name": "api-1",
            "labels": { "kubernetes.io/service-name": "api" } },
        "addressType": "IPv4",
        "endpoints": [{ "addresses": [origin.address.ip()] }],
        "ports": [{ "port": origin.address.port() }],
    }));
    scene.api.apply(json!({
        "apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": { "namespace": "other", "name": "from-shop" },
        "spec": {
            "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop" }],
            "to": [{ "group": "", "kind": "Service" }],
        },
    }));
    answers(scene.place, "a.test", "/other", "nobody");
    has_condition(&scene.api, object, path, "ResolvedRefs", "ResolvedRefs");
    scene.api.delete("ReferenceGrant", "other", "from-shop");
    answers_status(scene.place, "a.test", "/other", 500);
}

#[test]
fn statuses_are_written_again_where_others_write_at_the_same_time_and_theirs_stay() {
    let api = ApiServer::start();
    let one = Origin::named("one");
    service(&api, "one", &[one.address]);
    class(&api);
    let place = place();
    api.apply(gateway_object(place, &[None]));
    let mut shop = route("shop", json!({ "rules": [to("/", "one")] }));
    let theirs = json!({
        "parentRef": { "name": "theirs" }, "controllerName": "example.com/other", "conditions": [],
    });
    shop["status"] = json!({ "parents": [theirs] });
    api.apply(shop);
    api.conflict(3);
    let _gateway = gateway(&api, "", "");
    answers(place, "a.test", "/", "one");
    let object = ("HTTPRoute", "shop", "shop");
    has_condition(&api, object, "/status/parents/1/conditions", "Accepted", "Accepted");
    assert_eq!(api.conflicts_left(), 0);
    let parents = api.get("HTTPRoute", "shop", "shop").unwrap()["status"]["parents"].clone();
    assert_eq!(parents[0], theirs);
    assert_eq!(parents.as_array().unwrap().len(), 2);
}
