//! Limits that gateways share, with a real Redis: what a fleet admits in sum, what it costs, and what
//! becomes of requests while the server is away.

#[path = "shared_limits/fleet.rs"]
mod fleet;
#[path = "shared_limits/outage.rs"]
mod outage;
#[path = "shared_limits/redis.rs"]
mod redis;
#[path = "shared_limits/servers.rs"]
mod servers;
#[path = "shared_limits/service.rs"]
mod service;

use std::net::SocketAddr;

use crate::support::{Client, Gateway, Response, config};

/// A gateway that answers by itself, past `filter` on every route: `/a`, and all others.
fn behind(filter: &str) -> String {
    config(&format!(
        "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    filters: [{filter}]\n    routes:\n      \
         - {{ name: a, match: {{ path: {{ exact: /a }} }}, respond: {{ status: 200, body: a }} }}\n      \
         - {{ name: everything, respond: {{ status: 200, body: ok }} }}\n"
    ))
}

/// A limit by the field `x-key`, kept as `redis` says.
fn limit(requests: u32, rest: &str, redis: &str) -> String {
    format!(
        "{{ rate_limit: {{ key: {{ header: x-key }}, requests: {requests}, {rest} \
         shared: {{ redis: {{ {redis} }} }} }} }}"
    )
}

/// Sends a request with this key on `client`.
fn send(client: &mut Client, key: &str) -> Response {
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Key: {key}\r\n\r\n")).receive()
}

/// As [`send`], on a connection of its own.
fn ask(gateway: SocketAddr, key: &str) -> u16 {
    send(&mut Client::connect(gateway), key).status
}

/// The value of a counter of the filter `rate_limit`.
fn counted(gateway: &Gateway, name: &str, label: &str) -> f64 {
    let sample = format!("sallyport_shared_limit_{name}{{filter=\"rate_limit\",{label}}}");
    gateway.metric(&sample).unwrap_or_else(|| panic!("there is no {sample}"))
}

/// The sum of a counter over its results.
fn requests(gateway: &Gateway, results: &[&str]) -> f64 {
    let of = |result: &&str| counted(gateway, "requests_total", &format!("result=\"{result}\""));
    results.iter().map(of).sum()
}
