use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::*;

fn object(value: Value) -> DynamicObject {
    serde_json::from_value(value).unwrap()
}

fn service(ports: Value) -> Value {
    json!({ "metadata": { "namespace": "shop", "name": "api" }, "spec": { "ports": ports } })
}

fn slice(name: &str, endpoints: Value, ports: Value) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": name,
            "labels": { "kubernetes.io/service-name": "api" }
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    })
}

fn of(service_value: Value, slices: &[Value], zone: Option<&str>) -> BTreeMap<String, Vec<String>> {
    let mut objects = Objects::default();
    objects.apply(Object::<Service>::read(object(service_value)).unwrap());
    for slice in slices {
        objects.apply(Object::<EndpointSlice>::read(object(slice.clone())).unwrap());
    }
    let groups = groups(&objects, &Key::new("shop", "api"), zone);
    let text = |endpoint: &Endpoint| match endpoint.priority.0 {
        0 => endpoint.address.to_string(),
        level => format!("{}@{level}", endpoint.address),
    };
    groups.into_iter().map(|(name, all)| (name, all.iter().map(text).collect())).collect()
}

#[test]
fn a_port_is_a_group_by_its_number_and_by_its_name() {
    let groups = of(
        service(json!([{ "name": "http", "port": 80 }, { "name": "admin", "port": 9901 }])),
        &[slice(
            "one",
            json!([{ "addresses": ["10.0.0.1"] }, { "addresses": ["10.0.0.2"] }]),
            json!([{ "name": "http", "port": 8080 }, { "name": "admin", "port": 9000 }]),
        )],
        None,
    );
    let http = vec!["10.0.0.1:8080".to_owned(), "10.0.0.2:8080".to_owned()];
    assert_eq!(groups["shop/api:80"], http);
    assert_eq!(groups["shop/api:http"], http);
    assert_eq!(groups["shop/api:9901"], ["10.0.0.1:9000", "10.0.0.2:9000"]);
    assert_eq!(groups.len(), 4);
}

#[test]
fn endpoints_that_are_not_ready_are_left_out_unless_those_that_end_are_all_there_is() {
    let port = json!([{ "port": 80 }]);
    let ports = json!([{ "port": 8080 }]);
    let ending = json!({
        "addresses": ["10.0.0.1"],
        "conditions": { "ready": false, "serving": true, "terminating": true }
    });
    let starting = json!({ "addresses": ["10.0.0.2"], "conditions": { "ready": false } });
    let ready = json!({ "addresses": ["10.0.0.3"], "conditions": { "ready": true } });
    let one = slice("one", json!([ending, starting, ready]), ports.clone());
    assert_eq!(of(service(port.clone()), &[one], None)["shop/api:80"], ["10.0.0.3:8080"]);
    let one = slice("one", json!([ending, starting]), ports);
    assert_eq!(of(service(port), &[one], None)["shop/api:80"], ["10.0.0.1:8080"]);
}

#[test]
fn hints_to_other_zones_are_a_later_choice_and_slices_add_up() {
    let endpoint = |address: &str, zone: &str| json!({ "addresses": [address], "hints": { "forZones": [{ "name": zone }] } });
    let ports = json!([{ "port": 8080 }]);
    let slices = [
        slice("one", json!([endpoint("10.0.0.1", "a")]), ports.clone()),
        slice("two", json!([endpoint("10.0.0.2", "b"), endpoint("10.0.0.1", "a")]), ports),
    ];
    let service = service(json!([{ "port": 80 }]));
    let both = of(service.clone(), &slices, None);
    assert_eq!(both["shop/api:80"], ["10.0.0.1:8080", "10.0.0.2:8080"]);
    let near = of(service, &slices, Some("b"));
    assert_eq!(near["shop/api:80"], ["10.0.0.2:8080", "10.0.0.1:8080@1"]);
}

#[test]
fn an_external_name_is_its_own_endpoint() {
    let service = json!({
        "metadata": { "namespace": "shop", "name": "api" },
        "spec": {
            "type": "ExternalName", "externalName": "api.example.com", "ports": [{ "port": 443 }]
        }
    });
    assert_eq!(of(service, &[], None)["shop/api:443"], ["api.example.com:443"]);
}

#[test]
fn a_slice_that_goes_takes_its_endpoints_along() {
    let mut objects = Objects::default();
    let service = service(json!([{ "port": 80 }]));
    objects.apply(Object::<Service>::read(object(service)).unwrap());
    let one = slice("one", json!([{ "addresses": ["10.0.0.1"] }]), json!([{ "port": 1 }]));
    objects.apply(Object::<EndpointSlice>::read(object(one)).unwrap());
    let key = Key::new("shop", "api");
    assert_eq!(groups(&objects, &key, None)["shop/api:80"].len(), 1);
    let touched = objects.delete::<EndpointSlice>(&Key::new("shop", "one"));
    assert_eq!(touched, crate::store::Touched::Endpoints(key.clone()));
    assert!(groups(&objects, &key, None)["shop/api:80"].is_empty());
    objects.delete::<Service>(&key);
    assert!(groups(&objects, &key, None).is_empty());
}
