mod tls_routes;

use serde_json::{Value, json};

use super::*;
use crate::objects::{
    Gateway, GatewayClass, Http, Ingress, Object, ReferenceGrant, Secret, Service, Tls, TlsAlpha,
};
use crate::status::StatusOf;
use crate::store::Held;

/// A cluster with these objects.
fn cluster(objects: &[Value]) -> Objects {
    fn add<T: Held>(to: &mut Objects, object: Value) {
        to.apply(Object::<T>::read(serde_json::from_value(object).unwrap()).unwrap());
    }
    let mut to = Objects::default();
    for object in objects.iter().cloned() {
        match object["kind"].as_str().unwrap() {
            "Gateway" => add::<Gateway>(&mut to, object),
            "GatewayClass" => add::<GatewayClass>(&mut to, object),
            "HTTPRoute" => add::<Http>(&mut to, object),
            "Ingress" => add::<Ingress>(&mut to, object),
            "ReferenceGrant" => add::<ReferenceGrant>(&mut to, object),
            "Secret" => add::<Secret>(&mut to, object),
            "TLSRoute" => add::<Tls>(&mut to, object),
            "AlphaTLSRoute" => add::<TlsAlpha>(&mut to, object),
            _ => add::<Service>(&mut to, object),
        }
    }
    to
}

fn translated(objects: &[Value]) -> Translation {
    translate(&cluster(objects), &Kubernetes::default(), Path::new("/storage"), &Pairs::new())
}

fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": kind,
        "metadata": { "namespace": namespace, "name": name, "generation": 3 }, "spec": spec,
    })
}

fn class() -> Value {
    object("GatewayClass", "", "sallyport", json!({ "controllerName": "sallyport.dev/gateway" }))
}

fn service(name: &str) -> Value {
    object("Service", "shop", name, json!({ "ports": [{ "name": "http", "port": 80 }] }))
}

fn gateway(name: &str, listeners: Value) -> Value {
    let spec = json!({ "gatewayClassName": "sallyport", "listeners": listeners });
    object("Gateway", "shop", name, spec)
}

fn made(mut object: Value, time: &str) -> Value {
    object["metadata"]["creationTimestamp"] = time.into();
    object
}

/// The status of an object, and within it the reason of a condition at `path`.
fn reason(translation: &Translation, of: StatusOf, name: &str, path: &str, kind: &str) -> String {
    let mut statuses = translation.statuses.iter();
    let status = statuses.find(|it| it.of == of && &*it.key.name == name).expect("a status");
    let conditions = status.wanted.pointer(path).and_then(Value::as_array).expect("conditions");
    let condition = conditions.iter().find(|it| it["type"] == kind).expect("the condition");
    assert_eq!(condition["observedGeneration"], 3);
    condition["reason"].as_str().unwrap().to_owned()
}

fn domains(translation: &Translation) -> Vec<(String, Vec<String>)> {
    let hosts = translation.fragment.virtual_hosts.iter();
    let routes = |host: &VirtualHost| host.routes.iter().map(|it| it.name.to_string()).collect();
    let mut all: Vec<_> = hosts.map(|it| (it.domains[0].to_string(), routes(it))).collect();
    all.sort();
    all
}

#[test]
fn nothing_is_made_of_nothing() {
    let translation = translated(&[]);
    assert!(translation.fragment.is_empty() && translation.problems.is_empty());
}

#[test]
fn paths_of_ingresses_are_exact_first_then_by_length_and_the_older_has_what_both_want() {
    let ingress = |name: &str, time: &str, paths: Value| {
        let rules = json!([{ "host": "a.test", "http": { "paths": paths } }]);
        let spec = json!({ "ingressClassName": "sallyport", "rules": rules });
        made(object("Ingress", "shop", name, spec), time)
    };
    let path = |path: &str, kind: &str| {
        let service = json!({ "name": "api", "port": { "number": 80 } });
        json!({ "path": path, "pathType": kind, "backend": { "service": service } })
    };
    let translation = translated(&[
        service("api"),
        ingress("young", "2026-02-01T00:00:00Z", json!([path("/a", "Prefix")])),
        ingress(
            "old",
            "2026-01-01T00:00:00Z",
            json!([
                path("/", "Prefix"),
                path("/a/b", "Prefix"),
                path("/a", "Prefix"),
                path("/a", "Exact")
            ]),
        ),
    ]);
    let routes = [
        "Ingress/shop/old/0/3",
        "Ingress/shop/old/0/1",
        "Ingress/shop/old/0/2",
        "Ingress/shop/young/0/0",
        "Ingress/shop/old/0/0",
    ];
    let routes = routes.map(str::to_owned).to_vec();
    assert_eq!(domains(&translation), [("a.test".to_owned(), routes)]);
    assert!(translation.problems.is_empty(), "{:?}", translation.problems);
    assert_eq!(&*translation.fragment.upstreams[0].name, "kubernetes/shop/api:80");
}

#[test]
fn of_two_listeners_with_one_hostname_the_older_gateways_is_served() {
    let listener = |hostname: &str| json!([{ "name": "http", "port": 80, "protocol": "HTTP", "hostname": hostname }]);
    let translation = translated(&[
        class(),
        made(gateway("young", listener("a.test")), "2026-02-01T00:00:00Z"),
        made(gateway("old", listener("A.test")), "2026-01-01T00:00:00Z"),
    ]);
    let (path, of) = ("/listeners/0/conditions", StatusOf::Gateway);
    assert_eq!(reason(&translation, of, "old", path, "Conflicted"), "NoConflicts");
    assert_eq!(reason(&translation, of, "young", path, "Conflicted"), "HostnameConflict");
    assert_eq!(reason(&translation, of, "young", path, "Programmed"), "Invalid");
    assert_eq!(translation.fragment.listeners.len(), 1);
    assert_eq!(domains(&translation), [("a.test".to_owned(), vec![])]);
}

#[test]
fn a_port_has_one_protocol_and_unknown_ones_are_told() {
    let translation = translated(&[
        class(),
        gateway(
            "edge",
            json!([
                { "name": "http", "port": 80, "protocol": "HTTP" },
                { "name": "tls", "port": 80, "protocol": "HTTPS" },
                { "name": "udp", "port": 53, "protocol": "UDP" },
            ]),
        ),
    ]);
    let listener = |index: usize, kind: &str| {
        let path = format!("/listeners/{index}/conditions");
        reason(&translation, StatusOf::Gateway, "edge", &path, kind)
    };
    assert_eq!(listener(0, "Accepted"), "Accepted");
    assert_eq!(listener(1, "Conflicted"), "ProtocolConflict");
    assert_eq!(listener(1, "ResolvedRefs"), "InvalidCertificateRef");
    assert_eq!(listener(2, "Accepted"), "UnsupportedProtocol");
    let of = StatusOf::Gateway;
    assert_eq!(reason(&translation, of, "edge", "/conditions", "Accepted"), "ListenersNotValid");
}

#[test]
fn a_listener_with_a_hostname_of_its_own_keeps_its_requests_from_wider_ones() {
    let route = |name: &str, listener: &str, hostnames: Value| {
        let spec = json!({
            "parentRefs": [{ "name": "edge", "sectionName": listener }], "hostnames": hostnames,
            "rules": [{ "backendRefs": [{ "name": "api", "port": 80 }] }],
        });
        object("HTTPRoute", "shop", name, spec)
    };
    let http = |name: &str, hostname: &str| json!({ "name": name, "port": 80, "protocol": "HTTP", "hostname": hostname });
    let translation = translated(&[
        class(),
        service("api"),
        gateway("edge", json!([http("wide", "*.example.com"), http("narrow", "a.example.com")])),
        route("one", "wide", json!(["a.example.com", "b.example.com"])),
        route("two", "narrow", json!([])),
    ]);
    let expected = [
        ("*.example.com", vec![]),
        ("a.example.com", vec!["HTTPRoute/shop/two/0/0".to_owned()]),
        ("b.example.com", vec!["HTTPRoute/shop/one/0/0".to_owned()]),
    ];
    let expected = expected.map(|(domain, routes)| (domain.to_owned(), routes));
    assert_eq!(domains(&translation), expected);
}

#[test]
fn routes_of_other_namespaces_need_to_be_allowed_and_references_to_be_granted() {
    let listeners = |from: &str| {
        json!([{ "name": "http", "port": 80, "protocol": "HTTP",
            "allowedRoutes": { "namespaces": { "from": from } } }])
    };
    let spec = json!({
        "parentRefs": [{ "name": "edge", "namespace": "shop" }],
        "rules": [{ "backendRefs": [{ "name": "api", "namespace": "shop", "port": 80 }] }],
    });
    let route = object("HTTPRoute", "other", "route", spec);
    let (path, of) = ("/parents/0/conditions", StatusOf::HttpRoute);
    let same =
        translated(&[class(), service("api"), gateway("edge", listeners("Same")), route.clone()]);
    assert_eq!(reason(&same, of, "route", path, "Accepted"), "NotAllowedByListeners");
    let all = [class(), service("api"), gateway("edge", listeners("All")), route];
    let ungranted = translated(&all);
    assert_eq!(reason(&ungranted, of, "route", path, "Accepted"), "Accepted");
    assert_eq!(reason(&ungranted, of, "route", path, "ResolvedRefs"), "RefNotPermitted");
    assert!(ungranted.fragment.virtual_hosts[0].routes[0].respond.is_some());
    let grant = json!({
        "from": [{ "group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "other" }],
        "to": [{ "group": "", "kind": "Service", "name": "api" }],
    });
    let mut granted = all.to_vec();
    granted.push(object("ReferenceGrant", "shop", "grant", grant));
    let granted = translated(&granted);
    assert_eq!(reason(&granted, of, "route", path, "ResolvedRefs"), "ResolvedRefs");
    assert!(granted.fragment.virtual_hosts[0].routes[0].forward.is_some());
}

#[test]
fn weights_are_kept_and_the_share_of_what_is_lost_goes_to_nobody_else() {
    let refs = json!([
        { "name": "api", "port": 80, "weight": 3 },
        { "name": "lost", "port": 80, "weight": 1 },
        { "name": "web", "port": 80, "weight": 0 },
    ]);
    let spec = json!({ "parentRefs": [{ "name": "edge" }], "rules": [{ "backendRefs": refs }] });
    let translation = translated(&[
        class(),
        service("api"),
        service("web"),
        gateway("edge", json!([{ "name": "http", "port": 80, "protocol": "HTTP" }])),
        object("HTTPRoute", "shop", "route", spec),
    ]);
    let forward = translation.fragment.virtual_hosts[0].routes[0].forward.clone().unwrap();
    let split = forward.split.unwrap();
    let shares: Vec<_> = split.iter().map(|it| (&*it.upstream.0, it.weight.0)).collect();
    assert_eq!(shares, [("kubernetes/shop/api:80", 3), ("kubernetes/nowhere", 1)]);
    assert_eq!(forward.failover, Some(false));
}

#[test]
fn a_secret_that_holds_no_pair_is_told_and_odd_objects_are_taken_as_far_as_they_go() {
    let tls = json!({ "certificateRefs": [{ "name": "cert" }] });
    let listeners = json!([{ "name": "https", "port": 443, "protocol": "HTTPS", "tls": tls }]);
    let secret = json!({
        "kind": "Secret", "metadata": { "namespace": "shop", "name": "cert" },
        "data": { "tls.crt": "eA==", "tls.key": "eA==" },
    });
    let translation = translated(&[class(), gateway("edge", listeners), secret]);
    let path = "/listeners/0/conditions";
    let found = reason(&translation, StatusOf::Gateway, "edge", path, "ResolvedRefs");
    assert_eq!(found, "InvalidCertificateRef");
    assert!(translation.fragment.listeners.is_empty() && translation.files.is_empty());
    // Kinds and fields that are not known, and parents that are no Gateways of ours.
    let spec = json!({
        "parentRefs": [{ "kind": "Service", "name": "x" }, { "name": "nobody" }],
        "rules": [{ "name": "new", "filters": [{ "type": "New", "new": {} }], "newer": [] }],
    });
    let translation = translated(&[class(), object("HTTPRoute", "shop", "route", spec)]);
    assert!(translation.statuses.iter().all(|status| status.of != StatusOf::HttpRoute));
}
