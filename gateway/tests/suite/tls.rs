//! TLS towards clients, as curl, OpenSSL and rustls meet it.

#[path = "tls/acme.rs"]
mod acme;
#[path = "tls/client_certificates.rs"]
mod client_certificates;
#[path = "tls/handshakes.rs"]
mod handshakes;
#[path = "tls/mistakes.rs"]
mod mistakes;
#[path = "tls/passthrough.rs"]
pub(crate) mod passthrough;
#[path = "tls/pki.rs"]
pub(crate) mod pki;
#[path = "tls/real_clients.rs"]
mod real_clients;
#[path = "tls/requests.rs"]
mod requests;
#[path = "tls/swaps.rs"]
mod swaps;

use std::net::SocketAddr;

use crate::support::forward_all;

/// A file with one listener called `web` that speaks TLS as `tls` says, an admin listener, and `rest`.
pub(crate) fn with_tls(tls: &str, rest: &str) -> String {
    format!(
        "listeners:\n  - name: web\n    address: 127.0.0.1:0\n    tls: {tls}\n\
         admin: {{ address: 127.0.0.1:0 }}\n{rest}"
    )
}

/// A virtual host for every name that answers `text`.
pub(crate) fn answering(text: &str) -> String {
    format!(
        "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    \
         routes: [ {{ name: r, respond: {{ status: 200, body: {text} }} }} ]\n"
    )
}

/// A virtual host for every name that sends everything to `origin`.
pub(crate) fn forwarding(origin: SocketAddr) -> String {
    let whole = forward_all(&[origin]);
    let upstreams = whole.find("upstreams:").expect("there is one");
    whole[upstreams..].to_owned()
}
