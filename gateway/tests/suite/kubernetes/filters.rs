//! Filters of this gateway's own kind, attached to rules by `ExtensionRef`.

use serde_json::{Value, json};

use super::gateways::{class, gateway_object, place, route};
use super::{ApiServer, answers, answers_status, gateway, has_condition, service, source};
use crate::support::{Gateway, Origin, get, sallyport};

fn filter(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "sallyport.dev/v1alpha1", "kind": "SallyportFilter",
        "metadata": { "namespace": "shop", "name": name },
        "spec": spec,
    })
}

fn reference(name: &str) -> Value {
    json!({ "type": "ExtensionRef", "extensionRef": {
        "group": "sallyport.dev", "kind": "SallyportFilter", "name": name } })
}

/// A rule for a prefix with these filters.
fn rule(prefix: &str, filters: &[Value]) -> Value {
    json!({
        "matches": [{ "path": { "type": "PathPrefix", "value": prefix } }],
        "filters": filters,
        "backendRefs": [{ "name": "one", "port": 80 }],
    })
}

struct Scene {
    api: ApiServer,
    gateway: Gateway,
    place: std::net::SocketAddr,
    origin: Origin,
}

fn scene(objects: &[Value], rules: &[Value]) -> Scene {
    let (api, origin) = (ApiServer::start(), Origin::named("one"));
    service(&api, "one", &[origin.address]);
    class(&api);
    let place = place();
    api.apply(gateway_object(place, &[None]));
    for object in objects {
        api.apply(object.clone());
    }
    let mut rules = rules.to_vec();
    rules.push(rule("/up", &[]));
    api.apply(route("shop", json!({ "rules": rules })));
    let gateway = gateway(&api, "", "");
    answers(place, "a.test", "/up", "one");
    Scene { api, gateway, place, origin }
}

const ROUTE: (&str, &str, &str) = ("HTTPRoute", "shop", "shop");
const PARENT: &str = "/status/parents/0/conditions";

#[test]
fn filters_run_in_the_order_of_the_rule_beside_those_of_the_gateway_api() {
    let set = |value: &str| json!({ "headers": { "request": { "set": { "x-order": value } } } });
    let limit = json!({ "rate_limit": { "key": "route", "requests": 1, "per": "1h" } });
    let modifier = json!({ "type": "RequestHeaderModifier", "requestHeaderModifier": {
        "set": [{ "name": "x-order", "value": "second" }] } });
    let scene = scene(
        &[filter("first", set("first")), filter("third", set("third")), filter("limit", limit)],
        &[
            rule("/order", &[reference("first"), modifier.clone(), reference("third")]),
            rule("/other", &[reference("third"), reference("first"), modifier]),
            rule("/limited", &[reference("limit")]),
        ],
    );
    answers(scene.place, "a.test", "/order", "one");
    assert_eq!(scene.origin.last().fields("x-order"), ["third"]);
    answers(scene.place, "a.test", "/other", "one");
    assert_eq!(scene.origin.last().fields("x-order"), ["second"]);
    assert_eq!(get(scene.place, "a.test", "/limited").status, 200);
    let limited = get(scene.place, "a.test", "/limited");
    assert_eq!((limited.status, limited.error().as_deref()), (429, Some("rate_limited")));
    for name in ["first", "third", "limit"] {
        let object = ("SallyportFilter", "shop", name);
        has_condition(&scene.api, object, "/status/conditions", "Accepted", "Accepted");
    }
    has_condition(&scene.api, ROUTE, PARENT, "ResolvedRefs", "ResolvedRefs");
    // Its counts go by its name.
    let answers = r#"sallyport_filter_answers_total{filter="shop/limit",reason="rate_limited"}"#;
    scene.gateway.counts(answers, 1.0);
}

#[test]
fn one_that_is_not_there_or_not_good_is_told_and_never_skipped() {
    let bad = json!({ "rate_limit": { "key": "source", "requests": 0 } });
    let scene = scene(
        &[filter("bad", bad)],
        &[rule("/bad", &[reference("bad")]), rule("/missing", &[reference("missing")])],
    );
    for path in ["/bad", "/missing"] {
        answers_status(scene.place, "a.test", path, 500);
    }
    has_condition(&scene.api, ROUTE, PARENT, "ResolvedRefs", "InvalidFilter");
    has_condition(&scene.api, ROUTE, PARENT, "Accepted", "Accepted");
    let object = ("SallyportFilter", "shop", "bad");
    has_condition(&scene.api, object, "/status/conditions", "Accepted", "UnsupportedValue");
    // In the words of `check`.
    let told = scene.api.get("SallyportFilter", "shop", "bad").unwrap();
    let message = told["status"]["conditions"][0]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("write a whole number from 1 to"), "{message}");
    let problems = source(&scene.gateway)["problems"].to_string();
    assert!(problems.contains("SallyportFilter shop/bad"), "{problems}");
    assert!(problems.contains("there is no SallyportFilter shop/missing"), "{problems}");
    // Mended, both are served.
    let good = json!({ "rate_limit": { "key": "source", "requests": 100 } });
    scene.api.apply(filter("bad", good.clone()));
    answers(scene.place, "a.test", "/bad", "one");
    has_condition(&scene.api, object, "/status/conditions", "Accepted", "Accepted");
    has_condition(&scene.api, ROUTE, PARENT, "ResolvedRefs", "InvalidFilter");
    scene.api.apply(filter("missing", good));
    answers(scene.place, "a.test", "/missing", "one");
    has_condition(&scene.api, ROUTE, PARENT, "ResolvedRefs", "ResolvedRefs");
}

/// What is shipped is what the types say, and is structural: a server takes no other definition.
#[test]
fn the_definitions_are_those_of_the_declared_types() {
    let output = sallyport().args(["schema", "--kubernetes"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    let shipped = include_str!("../../../../conf/kubernetes/definitions.yaml");
    let how = "sallyport schema --kubernetes > conf/kubernetes/definitions.yaml";
    assert!(printed == shipped, "the definitions have changed: {how}");
    use serde::Deserialize as _;
    let documents = serde_yaml::Deserializer::from_str(&printed);
    let documents = documents.map(|it| Value::deserialize(it).unwrap());
    let documents: Vec<_> = documents.filter(|it| !it.is_null()).collect();
    assert!(!documents.is_empty());
    for definition in &documents {
        let version = &definition["spec"]["versions"][0];
        let schema = &version["schema"]["openAPIV3Schema"];
        let (kinds, name) = (&schema["properties"]["spec"], &definition["metadata"]["name"]);
        assert!(kinds["properties"].as_object().unwrap().len() > 5, "{name}");
        is_structural(schema, &name.to_string());
    }
}

fn is_structural(schema: &Value, at: &str) {
    let schema = schema.as_object().unwrap_or_else(|| panic!("{at} is no schema"));
    let is_open = schema.get("x-kubernetes-preserve-unknown-fields").is_some();
    let kind = schema.get("type").and_then(Value::as_str);
    assert!(is_open || kind.is_some(), "{at} has no type");
    let known = [
        "type",
        "description",
        "properties",
        "additionalProperties",
        "items",
        "required",
        "enum",
        "pattern",
        "minimum",
        "maximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "oneOf",
        "anyOf",
        "x-kubernetes-preserve-unknown-fields",
    ];
    for key in schema.keys() {
        assert!(known.contains(&&**key), "{at} has {key}");
    }
    assert!(!(schema.contains_key("properties") && schema.contains_key("additionalProperties")));
    for key in ["oneOf", "anyOf"] {
        for choice in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            let keys: Vec<_> = choice.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["required"], "{at}.{key}");
        }
    }
    for (key, value) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        is_structural(value, &format!("{at}.{key}"));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(key) {
            is_structural(inner, &format!("{at}.{key}"));
        }
    }
}
