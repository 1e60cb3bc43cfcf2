//! TLS towards a control plane, and secrets that it sends.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use sallyport_xds::ResourceKind;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::client::{answers, dump, listener, routes, world};
use super::control_plane::ControlPlane;
use crate::support::{Gateway, Origin, PATIENCE, eventually};

fn made(name: &str) -> CertifiedKey<KeyPair> {
    rcgen::generate_simple_self_signed([name.to_owned()]).unwrap()
}

/// Writes a pair as `NAME.pem` and `NAME.key`.
fn write(folder: &Path, name: &str, pair: &CertifiedKey<KeyPair>) {
    std::fs::write(folder.join(format!("{name}.pem")), pair.cert.pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), pair.signing_key.serialize_pem()).unwrap();
}

#[test]
fn a_control_plane_and_its_gateways_know_each_other() {
    // What the server of the test asks for; another test may have been first.
    (*sallyport_tls::provider()).clone().install_default().ok();
    let (server, own, stranger) = (made("127.0.0.1"), made("edge"), made("stranger"));
    let identity = Identity::from_pem(server.cert.pem(), server.signing_key.serialize_pem());
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(Certificate::from_pem(own.cert.pem()));
    let origin = Origin::named("origin");
    let plane = ControlPlane::start_with(Some(tls));
    plane.set(&world(origin.address).replace("name: web", "name: edge"));

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    let at = |name: &str| folder.path().join(name).display().to_string();
    write(folder.path(), "server", &server);
    write(folder.path(), "own", &stranger);
    let yaml = format!(
        "listeners: [ {{ name: web, address: 127.0.0.1:0, virtual_hosts: [own] }} ]
virtual_hosts: [ {{ name: own, domains: [own.test], routes: [] }} ]
admin: {{ address: 127.0.0.1:0 }}
providers:
  storage: {storage}
  xds:
    server: https://{address}
    node: {{ id: edge-1 }}
    tls: {{ ca: {ca}, client_certificate: {{ cert: {cert}, key: {key} }} }}
",
        storage = at("sources"),
        address = plane.address,
        ca = at("server.pem"),
        cert = at("own.pem"),
        key = at("own.key"),
    );
    let config = folder.path().join("sallyport.yaml");
    std::fs::write(&config, yaml).unwrap();
    let gateway = Gateway::start_in(folder, config);
    eventually("the stranger is turned away", || {
        let view = gateway.config_view();
        let why = view["sources"][0]["away_because"].as_str().map(str::to_owned);
        why.filter(|why| !why.contains("not been reached"))
    });
    assert!(plane.told(ResourceKind::Cluster).is_empty());

    // The next connection shows what is on disk.
    write(&path, "own", &own);
    answers(gateway.address("edge"), "one");
}

/// A secret with a certificate in itself.
fn secret(pair: &CertifiedKey<KeyPair>) -> String {
    let indented =
        |pem: String| pem.lines().map(|line| format!("            {line}\n")).collect::<String>();
    format!(
        r#"
- "@type": type.googleapis.com/envoy.admin.v3.SecretsConfigDump
  dynamic_active_secrets:
  - secret:
      "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret
      name: shop
      tls_certificate:
        certificate_chain:
          inline_string: |
{}        private_key:
          inline_string: |
{}"#,
        indented(pair.cert.pem()),
        indented(pair.signing_key.serialize_pem()),
    )
}

/// Whether `/here` is answered over TLS with this certificate.
fn shows(address: SocketAddr, trusted: &CertificateDer<'static>) -> Option<()> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(sallyport_tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerName::try_from("shop.example").unwrap();
    let client = ClientConnection::new(Arc::new(config), server).unwrap();
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(client, stream);
    stream
        .write_all(b"GET /here HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    // The end may come without a close_notify.
    stream.read_to_string(&mut answer).ok();
    answer.starts_with("HTTP/1.1 200").then_some(())
}

#[test]
fn a_certificate_comes_as_a_secret_and_is_replaced_by_the_next() {
    let tls = "        - transport_socket:
            name: tls
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                tls_certificate_sds_secret_configs: [ { name: shop, sds_config: { ads: {} } } ]
          filters:\n";
    let listener = listener().replacen("        - filters:\n", tls, 1);
    let (one, two) = (made("shop.example"), made("shop.example"));
    let plane = ControlPlane::start();
    let cluster = super::client::cluster("api", "");
    let nobody = super::client::endpoints("api", &["127.0.0.1:1".parse().unwrap()]);
    plane.set(&dump(&[listener, routes("api", "one"), cluster, nobody, secret(&one)]));
    let gateway = super::client::gateway(&plane, "delta");
    let web = gateway.web();
    eventually("the first certificate is shown", || shows(web, one.cert.der()));
    plane.set(&dump(&[secret(&two)]));
    eventually("the second certificate is shown", || shows(web, two.cert.der()));
}
