//! Certificates from Secrets: served, exchanged, lost.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use super::gateways::{class, place, route, to};
use super::ingress::{ingress, rule};
use super::{ApiServer, gateway, has_condition, service};
use crate::support::{Gateway, Origin, PATIENCE, eventually};

/// Makes a Secret with a new certificate for `name`, which is returned.
fn secret(api: &ApiServer, name: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    api.apply(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": { "namespace": "shop", "name": "cert" },
        "data": {
            "tls.crt": BASE64_STANDARD.encode(made.cert.pem()),
            "tls.key": BASE64_STANDARD.encode(made.signing_key.serialize_pem()),
        },
    }));
    made.cert.der().clone()
}

/// The body of an answer over TLS, if the certificate shown is the one that is trusted.
fn ask(address: SocketAddr, name: &str, trusted: &CertificateDer<'static>) -> Option<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(sallyport_tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let client = ClientConnection::new(Arc::new(config), server).unwrap();
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut stream = StreamOwned::new(client, stream);
    let head = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = String::new();
    // The end may come without a close_notify.
    stream.read_to_string(&mut answer).ok();
    answer.rsplit_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

fn shows(address: SocketAddr, name: &str, trusted: &CertificateDer<'static>) {
    eventually("the certificate", || ask(address, name, trusted).filter(|body| body == "one"));
}

#[test]
fn a_gateways_certificate_is_exchanged_and_outlives_its_secret() {
    let api = ApiServer::start();
    let one = Origin::named("one");
    service(&api, "one", &[one.address]);
    class(&api);
    let place = place();
    api.apply(json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": { "namespace": "shop", "name": "edge" },
        "spec": {
            "gatewayClassName": "sallyport",
            "addresses": [{ "type": "IPAddress", "value": place.ip() }],
            "listeners": [{
                "name": "https", "port": place.port(), "protocol": "HTTPS",
                "tls": { "certificateRefs": [{ "name": "cert" }] },
            }],
        },
    }));
    api.apply(route("shop", json!({ "rules": [to("/", "one")] })));
    let _gateway = gateway(&api, "", "");
    let (object, path) = (("Gateway", "shop", "edge"), "/status/listeners/0/conditions");
    has_condition(&api, object, path, "ResolvedRefs", "InvalidCertificateRef");
    let first = secret(&api, "a.test");
    shows(place, "a.test", &first);
    has_condition(&api, object, path, "ResolvedRefs", "ResolvedRefs");
    let second = secret(&api, "a.test");
    shows(place, "a.test", &second);
    assert_eq!(ask(place, "a.test", &first), None);
    api.delete("Secret", "shop", "cert");
    has_condition(&api, object, path, "ResolvedRefs", "InvalidCertificateRef");
    assert_eq!(ask(place, "a.test", &second).as_deref(), Some("one"));
    let third = secret(&api, "a.test");
    shows(place, "a.test", &third);
}

#[test]
fn certificates_of_ingresses_are_added_to_those_of_the_files_listener() {
    let api = ApiServer::start();
    let one = Origin::named("one");
    service(&api, "one", &[one.address]);
    let trusted = secret(&api, "a.test");
    api.apply(ingress(
        "shop",
        json!({
            "tls": [{ "hosts": ["a.test"], "secretName": "cert" }],
            "rules": [rule("a.test", &[("/", "Prefix", "one")])],
        }),
    ));
    let (folder, config) = super::written(&api, "", "");
    let yaml = std::fs::read_to_string(&config).unwrap();
    let tls = "  - name: https\n    address: 127.0.0.1:0\n    tls: { certificates: [ { self_signed: true, domains: [localhost] } ] }\nadmin:";
    std::fs::write(&config, yaml.replacen("admin:", tls, 1)).unwrap();
    let gateway = Gateway::start_in(folder, config);
    shows(gateway.address("https"), "a.test", &trusted);
}

#[test]
fn ingresses_have_listeners_of_their_own_where_they_are_given_some() {
    let api = ApiServer::start();
    let one = Origin::named("one");
    service(&api, "one", &[one.address]);
    let trusted = secret(&api, "a.test");
    api.apply(ingress(
        "shop",
        json!({
            "tls": [{ "secretName": "cert" }],
            "rules": [rule("a.test", &[("/", "Prefix", "one")])],
        }),
    ));
    let keys = "ingress: { http: \"127.0.0.1:0\", https: \"127.0.0.1:0\" }";
    let gateway = gateway(&api, keys, "");
    super::answers(gateway.address("ingress-http"), "a.test", "/", "one");
    shows(gateway.address("ingress-https"), "a.test", &trusted);
    assert_eq!(crate::support::get(gateway.web(), "a.test", "/").status, 404);
}
