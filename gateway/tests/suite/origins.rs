//! Where origins are and how they are spoken to: names, sockets, files, priorities, TLS, HTTP/2.

#[path = "origins/certificates.rs"]
pub(crate) mod certificates;
#[path = "origins/discovery.rs"]
mod discovery;
#[path = "origins/dns_server.rs"]
mod dns_server;
#[path = "origins/endpoints.rs"]
mod endpoints;
#[path = "origins/grpc.rs"]
pub(crate) mod grpc;
#[path = "origins/grpc_web.rs"]
mod grpc_web;
#[path = "origins/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "origins/tls.rs"]
mod tls;

use std::collections::BTreeSet;

use crate::support::{Gateway, Response, config, get};

/// A gateway that sends everything to an upstream `up` with these keys.
fn upstream(keys: &str) -> String {
    config(&format!(
        "upstreams:\n  - name: up\n{}\n\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n      \
         - {{ name: r, forward: {{ upstream: up }} }}\n",
        keys.lines().map(|line| format!("    {line}\n")).collect::<String>()
    ))
}

fn ask(gateway: &Gateway) -> Response {
    get(gateway.web(), "x", "/")
}

/// The addresses of the upstream's endpoints as the admin listener shows them.
fn shown(gateway: &Gateway) -> BTreeSet<String> {
    let body = get(gateway.admin(), "admin", "/upstreams").body;
    let view: serde_json::Value = serde_json::from_str(&body).unwrap();
    let endpoints = view[0]["endpoints"].as_array().unwrap();
    endpoints.iter().map(|endpoint| endpoint["address"].as_str().unwrap().to_owned()).collect()
}
