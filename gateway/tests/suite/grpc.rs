//! gRPC by a client and a server of tonic: what comes through the gateway equals what comes
//! directly, in clear and by TLS, while the configuration is replaced.

#[path = "grpc/client.rs"]
mod client;
#[path = "grpc/interop.rs"]
mod interop;
#[path = "grpc/messages.rs"]
mod messages;
#[path = "grpc/service.rs"]
pub(crate) mod service;
#[path = "grpc/volume.rs"]
mod volume;

use std::net::SocketAddr;

use self::client::Calls;
use self::service::Server;
use crate::origins::certificates::{Authority, Pair};
use crate::origins::grpc::runtime;
use crate::support::Gateway;

/// A gateway with a listener in clear and one with TLS, before an origin in clear and one with TLS.
struct Bench {
    runtime: tokio::runtime::Runtime,
    authority: Authority,
    certificate: Pair,
    clear: Server,
    encrypted: Server,
    gateway: Gateway,
}

/// How a call goes to the gateway, and on to the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    is_client_encrypted: bool,
    is_origin_encrypted: bool,
}

impl Way {
    fn all() -> impl Iterator<Item = Self> {
        [(false, false), (false, true), (true, false), (true, true)].into_iter().map(
            |(is_client_encrypted, is_origin_encrypted)| Self {
                is_client_encrypted,
                is_origin_encrypted,
            },
        )
    }
}

impl Bench {
    fn start() -> Self {
        // Tonic takes the process's; another test may have set it.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let runtime = runtime();
        let authority = Authority::new();
        let certificate = authority.issue(&["localhost", "127.0.0.1"]);
        let clear = Server::start(&runtime, None);
        let encrypted = Server::start(&runtime, Some(&certificate));
        let yaml = configuration(&authority, &certificate, [clear.address, encrypted.address], 0);
        let gateway = Gateway::start(&yaml);
        Self { runtime, authority, certificate, clear, encrypted, gateway }
    }

    /// The configuration of another turn: upstreams and routes are made anew.
    fn reload(&self, turn: u32) {
        let addresses = [self.clear.address, self.encrypted.address];
        let yaml = configuration(&self.authority, &self.certificate, addresses, turn);
        self.gateway.replace(&yaml);
    }

    fn server(&self, way: Way) -> &Server {
        if way.is_origin_encrypted { &self.encrypted } else { &self.clear }
    }

    /// Calls by the gateway.
    fn through(&self, way: Way) -> Calls {
        let listener = if way.is_client_encrypted { "encrypted" } else { "web" };
        let host = if way.is_origin_encrypted { "encrypted.test" } else { "clear.test" };
        let authority = way.is_client_encrypted.then_some(&self.authority);
        self.runtime.block_on(Calls::connect(self.gateway.address(listener), host, authority))
    }

    /// Calls without the gateway.
    fn directly(&self, way: Way) -> Calls {
        let authority = way.is_origin_encrypted.then_some(&self.authority);
        let address = self.server(way).address;
        self.runtime.block_on(Calls::connect(address, "clear.test", authority))
    }
}

fn configuration(
    authority: &Authority,
    certificate: &Pair,
    [clear, encrypted]: [SocketAddr; 2],
    turn: u32,
) -> String {
    let (cert, key) = (certificate.cert.display(), certificate.key_file.display());
    let (ca, idle) = (authority.file().display().to_string(), 40 + turn % 10);
    format!(
        "listeners:
  - {{ name: web, address: 127.0.0.1:0, h2c: true }}
  - name: encrypted
    address: 127.0.0.1:0
    protocols: [http1, http2]
    tls: {{ certificates: [ {{ cert: {cert}, key: {key} }} ] }}
admin: {{ address: 127.0.0.1:0 }}
upstreams:
  - name: clear
    protocol: http2
    timeouts: {{ idle: {idle}s }}
    endpoints: [ {{ address: \"{clear}\" }} ]
  - name: encrypted
    protocol: http2
    timeouts: {{ idle: {idle}s }}
    tls: {{ ca: {ca}, server_name: localhost }}
    endpoints: [ {{ address: \"{encrypted}\" }} ]
virtual_hosts:
  - name: clear
    domains: [clear.test]
    routes: [ {{ name: r{turn}, forward: {{ upstream: clear }} }} ]
  - name: encrypted
    domains: [encrypted.test]
    routes: [ {{ name: r{turn}, forward: {{ upstream: encrypted }} }} ]
"
    )
}
