//! Ingress: classes, hosts, paths, TLS, and endpoints that change.

use serde_json::{Value, json};

use super::{ApiServer, answers, answers_status, gateway, service, slice, source};
use crate::support::{Origin, eventually, get};

/// An Ingress of the class `sallyport` with these rules.
pub(super) fn ingress(name: &str, spec: Value) -> Value {
    let mut spec = spec;
    spec["ingressClassName"] = "sallyport".into();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "namespace": "shop", "name": name },
        "spec": spec,
    })
}

/// A rule of one host: paths, their types, and the Services that they lead to.
pub(super) fn rule(host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let paths: Vec<_> = paths
        .iter()
        .map(|(path, kind, service)| {
            let backend = json!({ "service": { "name": service, "port": { "name": "http" } } });
            json!({ "path": path, "pathType": kind, "backend": backend })
        })
        .collect();
    json!({ "host": host, "http": { "paths": paths } })
}

#[test]
fn hosts_and_paths_lead_to_services() {
    let api = ApiServer::start().without_gateway_api();
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    service(&api, "one", &[one.address]);
    service(&api, "two", &[two.address]);
    let gateway = gateway(&api, "", "");
    api.apply(ingress(
        "shop",
        json!({ "rules": [
            rule("a.test", &[("/", "Prefix", "one"), ("/foo", "Prefix", "two"), ("/bar/", "Prefix", "two")]),
            rule("a.test", &[("/foo/exact", "Exact", "one")]),
            rule("b.test", &[("/", "ImplementationSpecific", "two")]),
        ] }),
    ));
    let web = gateway.web();
    answers(web, "a.test", "/", "one");
    for (host, path, expected) in [
        ("a.test", "/other", "one"),
        ("a.test", "/foo", "two"),
        ("a.test", "/foo/below", "two"),
        ("a.test", "/foobar", "one"),
        ("a.test", "/foo/exact", "one"),
        ("a.test", "/foo/exact/", "two"),
        // A slash at the end of a prefix says nothing.
        ("a.test", "/bar", "two"),
        ("a.test", "/bar/x", "two"),
        ("b.test", "/any", "two"),
    ] {
        assert_eq!(get(web, host, path).body, expected, "{host}{path}");
    }
    assert_eq!(get(web, "c.test", "/").status, 404);
    let source = source(&gateway);
    assert_eq!(source["name"], "kubernetes");
    assert_eq!(source["in_touch"], true);
    assert_eq!(source["problems"], json!([]));
}

#[test]
fn only_ones_own_class_is_served_and_a_default_class_takes_those_without() {
    let api = ApiServer::start();
    let one = Origin::named("one");
    service(&api, "one", &[one.address]);
    let rules = |host: &str| json!({ "rules": [rule(host, &[("/", "Prefix", "one")])] });
    let mut other = ingress("other", rules("other.test"));
    other["spec"]["ingressClassName"] = "nginx".into();
    api.apply(other);
    let mut none = ingress("none", rules("none.test"));
    none["spec"].as_object_mut().unwrap().remove("ingressClassName");
    api.apply(none.clone());
    let mut old = none;
    old["metadata"] = json!({
        "namespace": "shop", "name": "old",
        "annotations": { "kubernetes.io/ingress.class": "sallyport" },
    });
    old["spec"] = rules("old.test");
    api.apply(old);
    let gateway = gateway(&api, "", "");
    let web = gateway.web();
    answers(web, "old.test", "/", "one");
    assert_eq!(get(web, "other.test", "/").status, 404);
    assert_eq!(get(web, "none.test", "/").status, 404);
    api.apply(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {
            "name": "sallyport",
            "annotations": { "ingressclass.kubernetes.io/is-default-class": "true" },
        },
        "spec": { "controller": "sallyport.dev/ingress" },
    }));
    answers(web, "none.test", "/", "one");
    assert_eq!(get(web, "other.test", "/").status, 404);
}

#[test]
fn the_default_backend_takes_what_no_rule_does() {
    let api = ApiServer::start();
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    service(&api, "one", &[one.address]);
    service(&api, "two", &[two.address]);
    api.apply(ingress(
        "shop",
        json!({
            "defaultBackend": { "service": { "name": "two", "port": { "number": 80 } } },
            "rules": [rule("a.test", &[("/one", "Prefix", "one")])],
        }),
    ));
    let gateway = gateway(&api, "", "");
    answers(gateway.web(), "a.test", "/one", "one");
    answers(gateway.web(), "a.test", "/", "two");
    answers(gateway.web(), "b.test", "/", "two");
}

#[test]
fn endpoints_change_without_a_reload() {
    let api = ApiServer::start();
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    service(&api, "api", &[one.address]);
    api.apply(ingress("shop", json!({ "rules": [rule("a.test", &[("/", "Prefix", "api")])] })));
    let gateway = gateway(&api, "", "");
    let web = gateway.web();
    answers(web, "a.test", "/", "one");
    let version = gateway.version();
    slice(&api, "api", &[two.address]);
    answers(web, "a.test", "/", "two");
    slice(&api, "api", &[]);
    answers_status(web, "a.test", "/", 503);
    slice(&api, "api", &[one.address]);
    answers(web, "a.test", "/", "one");
    assert_eq!(gateway.version(), version, "no table was compiled");
}

#[test]
fn what_is_wrong_is_told_and_the_rest_is_served() {
    let api = ApiServer::start();
    let one = Origin::named("one");
    service(&api, "one", &[one.address]);
    api.apply(ingress(
        "shop",
        json!({ "rules": [
            rule("a.test", &[("/", "Prefix", "one"), ("/lost", "Prefix", "nobody")]),
            rule("not a host", &[("/", "Prefix", "one")]),
        ] }),
    ));
    api.apply(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": { "namespace": "shop", "name": "odd" },
        "spec": { "ingressClassName": "sallyport", "rules": "none" },
    }));
    let gateway = gateway(&api, "", "");
    answers(gateway.web(), "a.test", "/", "one");
    assert_eq!(get(gateway.web(), "a.test", "/lost").status, 503);
    let told = eventually("three problems", || {
        let problems = source(&gateway)["problems"].clone();
        (problems.as_array()?.len() == 3).then(|| problems.to_string())
    });
    assert!(told.contains("there is no Service shop/nobody"), "{told}");
    assert!(told.contains("Ingress shop/odd: cannot be read"), "{told}");
    assert!(told.contains("not a host"), "{told}");
}

#[test]
fn an_upstream_of_the_file_has_the_endpoints_of_a_service() {
    let api = ApiServer::start();
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    service(&api, "one", &[one.address]);
    let rest = "upstreams:\n  - { name: up, discovery: { kubernetes: { service: shop/one, port: http } } }\n\
                virtual_hosts:\n  - { name: own, domains: [own.test], routes: [ { name: all, forward: { upstream: up } } ] }\n";
    let gateway = gateway(&api, "", rest);
    answers(gateway.web(), "own.test", "/", "one");
    slice(&api, "one", &[two.address]);
    answers(gateway.web(), "own.test", "/", "two");
}
