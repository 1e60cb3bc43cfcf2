//! A Kubernetes cluster as a source, played by an API server in this process.

#[path = "kubernetes/api_server.rs"]
mod api_server;
#[path = "kubernetes/events.rs"]
mod events;
#[path = "kubernetes/filters.rs"]
mod filters;
#[path = "kubernetes/gateways.rs"]
mod gateways;
#[path = "kubernetes/ingress.rs"]
mod ingress;
#[path = "kubernetes/outages.rs"]
mod outages;
#[path = "kubernetes/policies.rs"]
mod policies;
#[path = "kubernetes/secrets.rs"]
mod secrets;
#[path = "kubernetes/tls_routes.rs"]
mod tls_routes;

use std::net::SocketAddr;

use serde_json::{Value, json};
use tempfile::TempDir;

use self::api_server::ApiServer;
use crate::support::{Gateway, eventually, get};

/// A gateway whose file names the cluster, with `keys` in its section and `rest` behind it.
fn gateway(api: &ApiServer, keys: &str, rest: &str) -> Gateway {
    let (folder, config) = written(api, keys, rest);
    Gateway::start_in(folder, config)
}

/// The file of such a gateway, and its folder.
fn written(api: &ApiServer, keys: &str, rest: &str) -> (TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, api.kubeconfig()).unwrap();
    let storage = folder.path().join("sources");
    let yaml = format!(
        "listeners:\n  - {{ name: web, address: 127.0.0.1:0 }}\nadmin: {{ address: 127.0.0.1:0 }}\n\
         providers:\n  storage: {}\n  kubernetes: {{ kubeconfig: {}, {keys} }}\n{rest}",
        storage.display(),
        kubeconfig.display(),
    );
    let config = folder.path().join("sallyport.yaml");
    std::fs::write(&config, yaml).unwrap();
    (folder, config)
}

/// A Service with one port, and the slice of its endpoints.
fn service(api: &ApiServer, name: &str, endpoints: &[SocketAddr]) {
    api.apply(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "namespace": "shop", "name": name },
        "spec": { "ports": [{ "name": "http", "port": 80 }] },
    }));
    slice(api, name, endpoints);
}

/// The endpoints of a Service: one slice for each, since they have ports of their own.
fn slice(api: &ApiServer, name: &str, endpoints: &[SocketAddr]) {
    for (index, endpoint) in endpoints.iter().enumerate() {
        api.apply(json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "namespace": "shop", "name": format!("{name}-{index}"),
                "labels": { "kubernetes.io/service-name": name },
            },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": [endpoint.ip()], "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "port": endpoint.port() }],
        }));
    }
    for index in endpoints.len()..8 {
        api.delete("EndpointSlice", "shop", &format!("{name}-{index}"));
    }
}

/// Waits until a GET is answered with this body.
fn answers(address: SocketAddr, host: &str, path: &str, body: &str) {
    eventually(&format!("{host}{path} to be answered by {body}"), || {
        // Its listener may be about to come.
        std::net::TcpStream::connect(address).ok()?;
        let response = get(address, host, path);
        (response.status == 200 && response.body == body).then_some(())
    });
}

/// Waits until a GET is answered with this status.
fn answers_status(address: SocketAddr, host: &str, path: &str, status: u16) {
    eventually(&format!("{host}{path} to be answered with {status}"), || {
        (get(address, host, path).status == status).then_some(())
    });
}

/// What `/config` says of the source.
fn source(gateway: &Gateway) -> Value {
    gateway.config_view()["sources"][0].clone()
}

/// Waits until a condition of an object is as it is to be; `path` leads to its list.
fn has_condition(
    api: &ApiServer,
    object: (&str, &str, &str),
    path: &str,
    kind: &str,
    reason: &str,
) {
    let (of, namespace, name) = object;
    let mut last = Value::Null;
    eventually(&format!("{kind}/{reason} of {of} {namespace}/{name}"), || {
        last = api.get(of, namespace, name)?;
        let conditions = last.pointer(path)?.as_array()?;
        let found = conditions.iter().find(|condition| condition["type"] == kind)?;
        (found["reason"] == reason).then_some(())
    });
}

/// The file in the manifests is good, and the rights cover what is asked for.
#[test]
fn the_manifests_hold_a_good_file() {
    use serde::Deserialize as _;
    let text = include_str!("../../../conf/kubernetes/sallyport.yaml");
    let documents = serde_yaml::Deserializer::from_str(text);
    let documents: Vec<_> = documents.map(|it| Value::deserialize(it).unwrap()).collect();
    let map = documents.iter().find(|it| it["kind"] == "ConfigMap").unwrap();
    let output = crate::support::check(map["data"]["sallyport.yaml"].as_str().unwrap());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
