//! Clients that show a certificate, and those that do not.

use std::fs;

use rcgen::{DnType, ExtendedKeyUsagePurpose};

use super::pki::{Pki, ask, connect};
use super::{forwarding, with_tls};
use crate::support::{Gateway, Origin, eventually, forward_all, request};

fn status(answer: &std::io::Result<super::pki::Seen>) -> Option<u16> {
    answer.as_ref().ok()?.answer.split(' ').nth(1)?.parse().ok()
}

/// An authority whose certificates are clients'.
fn clients(name: &str) -> Pki {
    let pki = Pki::new(name);
    for (client, name) in [("ann", "ann.example"), ("bob", "bob.example")] {
        pki.issue_changed(client, &[name], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.distinguished_name.push(DnType::OrganizationName, "Example");
            params.distinguished_name.push(DnType::CommonName, client);
        });
    }
    pki
}

#[test]
fn a_listener_asks_for_certificates_and_sends_them_upstream() {
    let (sites, ours, theirs) = (Pki::new("sites"), clients("ours"), clients("theirs"));
    sites.issue("site", &["a.example"]);
    let origin = Origin::named("origin");
    let ca = ours.path("ca.pem").display().to_string();
    let yaml = |mode: &str| {
        let tls = format!(
            "{{ certificates: [{}], client_certificates: {{ ca: {ca}, mode: {mode} }}, forward_client_certificate: true }}",
            sites.entry("site")
        );
        with_tls(&tls, &forwarding(origin.address))
    };
    let gateway = Gateway::start(&yaml("required"));
    let web = gateway.web();
    let ann = sites.client(Some((&ours, "ann")));
    let seen = ask(&ann, web, "a.example", "a.example");
    assert_eq!(status(&seen), Some(200));
    let sent = origin.last().fields("client-cert");
    let body = fs::read_to_string(ours.path("ann.pem")).unwrap();
    let body: String = body.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(sent, [format!(":{body}:")]);
    for refused in [sites.client(None), sites.client(Some((&theirs, "ann")))] {
        assert!(ask(&refused, web, "a.example", "a.example").is_err());
    }
    for kind in ["no_client_certificate", "client_certificate"] {
        let labels = format!(r#"listener="web",version="1.3",result="{kind}""#);
        gateway.counts(&format!("sallyport_tls_handshakes_total{{{labels}}}"), 1.0);
    }
    gateway.replace(&yaml("optional"));
    let none = ask(&sites.client(None), web, "a.example", "a.example");
    assert_eq!(status(&none), Some(200));
    assert!(origin.last().fields("client-cert").is_empty());
    // A session from before the rules changed is judged anew.
    let again = ask(&ann, web, "a.example", "a.example").unwrap();
    assert!(!again.resumed);
    assert!(ask(&ann, web, "a.example", "a.example").unwrap().resumed);
    assert_eq!(origin.last().fields("client-cert").len(), 1);
}

#[test]
fn clients_cannot_write_the_fields_themselves() {
    let origin = Origin::named("origin");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let forged =
        "GET / HTTP/1.1\r\nhost: a\r\nclient-cert: :AAAA:\r\nClient-Cert-Chain: :AAAA:\r\n\r\n";
    assert_eq!(request(gateway.web(), forged).status, 200);
    assert!(origin.last().fields("client-cert").is_empty());
    assert!(origin.last().fields("client-cert-chain").is_empty());
}

#[test]
fn a_new_revocation_list_holds_for_the_next_handshake() {
    let (sites, ours) = (Pki::new("sites"), clients("ours"));
    sites.issue("site", &["a.example"]);
    let list = |serials: &[Vec<u8>]| {
        use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams};
        let now = std::time::SystemTime::now();
        let revoked = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: serial.clone().into(),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + std::time::Duration::from_secs(86_400)).into(),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(ours.authority()).unwrap().pem().unwrap()
    };
    ours.issue_changed("eve", &["eve.example"], |params| {
        params.serial_number = Some(vec![7, 7].into());
    });
    fs::write(ours.path("crl.pem"), list(&[])).unwrap();
    let (ca, crl) = (ours.path("ca.pem"), ours.path("crl.pem"));
    let tls = format!(
        "{{ certificates: [{}], client_certificates: {{ ca: {}, crl: {}, mode: required }} }}",
        sites.entry("site"),
        ca.display(),
        crl.display()
    );
    let gateway = Gateway::start(&with_tls(&tls, &super::answering("hello")));
    let eve = sites.client(Some((&ours, "eve")));
    assert_eq!(status(&ask(&eve, gateway.web(), "a.example", "a.example")), Some(200));
    let version = gateway.version();
    fs::write(&crl, list(&[vec![7, 7]])).unwrap();
    eventually("the new list", || (gateway.version() > version).then_some(()));
    assert!(ask(&eve, gateway.web(), "a.example", "a.example").is_err(), "not by a ticket either");
    let ann = sites.client(Some((&ours, "ann")));
    assert_eq!(status(&ask(&ann, gateway.web(), "a.example", "a.example")), Some(200));
}

#[test]
fn rules_are_by_virtual_host_and_a_connection_for_another_is_misdirected() {
    let (sites, ours) = (Pki::new("sites"), clients("ours"));
    sites.issue("site", &["open.example", "closed.example"]);
    let ca = ours.path("ca.pem").display().to_string();
    let host = |name: &str, more: &str| {
        format!(
            "  - name: {name}\n    domains: [{name}.example]\n{more}    routes: [ {{ name: r, respond: {{ status: 200, body: {name} }} }} ]\n"
        )
    };
    let rules = format!("    client_certificates: {{ ca: {ca}, mode: required }}\n");
    let rest = format!("virtual_hosts:\n{}{}", host("open", ""), host("closed", &rules));
    let tls = format!("{{ certificates: [{}] }}", sites.entry("site"));
    let clear = "  - { name: clear, address: 127.0.0.1:0 }\nadmin:";
    let gateway = Gateway::start(&with_tls(&tls, &rest).replace("admin:", clear));
    let web = gateway.web();
    let (none, ann) = (sites.client(None), sites.client(Some((&ours, "ann"))));
    for (client, sni, host, expected) in [
        (&none, "open.example", "open.example", Some(200)),
        (&none, "closed.example", "closed.example", None),
        (&ann, "closed.example", "closed.example", Some(200)),
        (&ann, "open.example", "open.example", Some(200)),
        (&none, "open.example", "closed.example", Some(421)),
        (&ann, "closed.example", "open.example", Some(421)),
    ] {
        let seen = ask(client, web, sni, host);
        assert_eq!(status(&seen), expected, "{sni} {host}: {seen:?}");
    }
    // Nobody has shown a certificate in clear text.
    let clear = gateway.address("clear");
    for (host, status) in [("open.example", 200), ("closed.example", 421)] {
        assert_eq!(crate::support::get(clear, host, "/").status, status);
    }
    assert!(connect(&none, web, "open.example").is_ok());
}
