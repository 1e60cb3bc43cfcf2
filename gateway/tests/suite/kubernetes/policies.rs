//! Policies of this gateway's own kind, attached to Services, routes and Gateways.

use serde_json::{Value, json};

use super::gateways::{class, gateway_object, place, route, to};
use super::{ApiServer, answers, answers_status, gateway, has_condition, service};
use crate::support::{Gateway, Origin, eventually, get};

const GATEWAY_API: &str = "gateway.networking.k8s.io";

fn policy(name: &str, target: Value, keys: Value, made: &str) -> Value {
    let mut spec = keys;
    spec["targetRefs"] = json!([target]);
    json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "SallyportPolicy",
        "metadata": { "namespace": "shop", "name": name, "creationTimestamp": made },
        "spec": spec,
    })
}

fn of_route() -> Value {
    json!({ "group": GATEWAY_API, "kind": "HTTPRoute", "name": "shop" })
}

const OLD: &str = "2026-01-01T00:00:00Z";
const NEW: &str = "2026-02-01T00:00:00Z";

struct Scene {
    api: ApiServer,
    gateway: Gateway,
    place: std::net::SocketAddr,
    _origin: Origin,
}

fn scene(policies: &[Value]) -> Scene {
    let (api, origin) = (ApiServer::start(), Origin::named("one"));
    service(&api, "one", &[origin.address]);
    class(&api);
    let place = place();
    api.apply(gateway_object(place, &[None]));
    api.apply(route("shop", json!({ "rules": [to("/", "one")] })));
    api.apply(route("other", json!({ "rules": [to("/other", "one")] })));
    for policy in policies {
        api.apply(policy.clone());
    }
    let gateway = gateway(&api, "", "");
    answers(place, "a.test", "/other", "one");
    Scene { api, gateway, place, _origin: origin }
}

fn told(scene: &Scene, name: &str, reason: &str) -> String {
    let object = ("SallyportPolicy", "shop", name);
    has_condition(&scene.api, object, "/status/conditions", "Accepted", reason);
    let found = scene.api.get("SallyportPolicy", "shop", name).unwrap();
    found["status"]["conditions"][0]["message"].as_str().unwrap_or_default().to_owned()
}

/// What is in force of the upstream of Service `one`.
fn upstream(gateway: &Gateway) -> Value {
    let view = gateway.config_view();
    let upstreams = view["effective"]["upstreams"].as_array().unwrap().clone();
    upstreams.into_iter().find(|it| it["name"] == "kubernetes/shop/one:80").unwrap()
}

#[test]
fn a_service_is_balanced_bounded_and_watched_as_its_policies_say() {
    let one = json!({ "kind": "Service", "name": "one" });
    let first = json!({
        "load_balancing": { "policy": "maglev", "hash_on": { "header": "x-user" } },
        "limits": { "connections": 7 },
    });
    let second = json!({ "outlier_detection": { "consecutive_errors": 3 } });
    let late = json!({ "limits": { "connections": 9 }, "slow_start": "30s" });
    let scene = scene(&[
        policy("first", one.clone(), first, OLD),
        policy("second", one.clone(), second, NEW),
        policy("late", one, late, NEW),
    ]);
    let found = upstream(&scene.gateway);
    assert_eq!(found["load_balancing"]["policy"], "maglev");
    assert_eq!(found["load_balancing"]["hash_on"]["header"], "x-user");
    assert_eq!(found["limits"]["connections"], 7);
    assert_eq!(found["outlier_detection"]["consecutive_errors"], 3);
    // One that an older one contradicts does not hold at all.
    assert!(found["slow_start"].is_null(), "{found}");
    told(&scene, "first", "Accepted");
    told(&scene, "second", "Accepted");
    let why = told(&scene, "late", "Conflicted");
    assert!(why.contains("shop/first says `limits`"), "{why}");
    // It does once the older one is gone.
    scene.api.delete("SallyportPolicy", "shop", "first");
    told(&scene, "late", "Accepted");
    eventually("the policy that is left", || {
        (upstream(&scene.gateway)["limits"]["connections"] == 9).then_some(())
    });
}

#[test]
fn a_route_is_limited_and_others_are_not() {
    let filters = json!({
        "filters": [{ "rate_limit": { "key": "route", "requests": 1, "per": "1h" } }],
        "retry": { "attempts": 1 },
    });
    let scene = scene(&[policy("limit", of_route(), filters, OLD)]);
    answers(scene.place, "a.test", "/", "one");
    assert_eq!(get(scene.place, "a.test", "/").status, 429);
    answers(scene.place, "a.test", "/other", "one");
    told(&scene, "limit", "Accepted");
    scene.api.delete("SallyportPolicy", "shop", "limit");
    answers(scene.place, "a.test", "/", "one");
}

#[test]
fn a_gateway_has_filters_for_all() {
    let target = json!({ "group": GATEWAY_API, "kind": "Gateway", "name": "edge" });
    let filters = json!({ "filters": [
        { "headers": { "response": { "set": { "x-edge": "yes" } } } },
    ] });
    let scene = scene(&[policy("edge", target, filters, OLD)]);
    for path in ["/", "/other"] {
        let response = get(scene.place, "a.test", path);
        assert_eq!(response.field("x-edge").as_deref(), Some("yes"), "{path}");
    }
    told(&scene, "edge", "Accepted");
}

#[test]
fn what_does_not_fit_is_told() {
    let service = || json!({ "kind": "Service", "name": "one" });
    let filters = |requests: u64| {
        json!({ "filters": [
            { "rate_limit": { "key": "source", "requests": requests } },
        ] })
    };
    let scene = scene(&[
        policy(
            "missing",
            json!({ "kind": "Service", "name": "no" }),
            json!({ "slow_start": "1s" }),
            OLD,
        ),
        policy(
            "kind",
            json!({ "kind": "ConfigMap", "name": "x" }),
            json!({ "slow_start": "1s" }),
            OLD,
        ),
        policy("effect", service(), json!({ "retry": { "attempts": 1 } }), OLD),
        policy("key", service(), json!({ "slow_stat": "1s" }), OLD),
        policy("value", service(), json!({ "limits": { "connections": "many" } }), OLD),
        policy("bad", of_route(), filters(0), OLD),
    ]);
    assert!(told(&scene, "missing", "TargetNotFound").contains("no Service shop/no"));
    assert!(told(&scene, "kind", "Invalid").contains("ConfigMap"));
    assert!(told(&scene, "effect", "Invalid").contains("`retry` has no effect on a Service"));
    assert!(told(&scene, "key", "Invalid").contains("slow_stat"));
    told(&scene, "value", "Invalid");
    // What only the gateway can judge is told in the words of `check`, and not skipped.
    let why = told(&scene, "bad", "UnsupportedValue");
    assert!(why.contains("write a whole number from 1 to"), "{why}");
    answers_status(scene.place, "a.test", "/", 500);
    let object = ("HTTPRoute", "shop", "shop");
    let path = "/status/parents/0/conditions";
    has_condition(&scene.api, object, path, "ResolvedRefs", "InvalidFilter");
    answers(scene.place, "a.test", "/other", "one");
    scene.api.apply(policy("bad", of_route(), filters(100), OLD));
    answers(scene.place, "a.test", "/", "one");
    told(&scene, "bad", "Accepted");
}
