//! What is wrong with certificates and keys is told with its line and its file, and changes nothing.

use std::fs;
use std::time::{Duration, SystemTime};

use super::pki::{Pki, ask};
use super::{answering, with_tls};
use crate::support::{Gateway, check};

const DAY: Duration = Duration::from_secs(86_400);

/// What `check` says of `tls:` on line 4, with its exit status.
fn said(tls: &str) -> (i32, String) {
    let output = check(&with_tls(tls, &answering("hello")));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
}

fn is_refused(tls: &str, parts: &[&str]) {
    let (status, text) = said(tls);
    assert_eq!(status, 78, "{tls}: {text}");
    let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
    assert!(line.is_some_and(|line| line.contains(":4: ")), "{tls}: {parts:?} in {text}");
}

#[test]
fn every_mistake_has_a_line_and_a_remedy() {
    let (pki, other) = (Pki::new("test"), Pki::new("other"));
    pki.issue("site", &["a.example"]);
    pki.issue("same", &["b.example", "a.example"]);
    pki.issue("broad", &["*.com"]);
    pki.issue("suffix", &["*.co.uk"]);
    pki.issue("nameless", &[]);
    let now = SystemTime::now();
    pki.issue_changed("expired", &["a.example"], |params| {
        params.not_after = (now - DAY / 2).into();
    });
    pki.issue_changed("early", &["a.example"], |params| params.not_before = (now + DAY).into());
    let site = fs::read_to_string(pki.path("site.pem")).unwrap();
    let ca = fs::read_to_string(pki.path("ca.pem")).unwrap();
    fs::write(pki.path("reversed.pem"), format!("{ca}{site}")).unwrap();
    fs::copy(pki.path("site.key"), pki.path("reversed.key")).unwrap();
    fs::write(pki.path("empty.pem"), "").unwrap();
    let list = rcgen::CertificateRevocationListParams {
        this_update: now.into(),
        next_update: (now + DAY).into(),
        crl_number: 1.into(),
        issuing_distribution_point: None,
        revoked_certs: vec![],
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    };
    let list = list.signed_by(other.authority()).unwrap().pem().unwrap();
    fs::write(pki.path("other.crl"), list).unwrap();

    let path = |name: &str| pki.path(name).display().to_string();
    let one = |entry: &str| format!("{{ certificates: [{entry}] }}");
    let pair =
        |cert: &str, key: &str| one(&format!("{{ cert: {}, key: {} }}", path(cert), path(key)));
    let place = "listeners[0].tls.certificates[0]";
    is_refused(&pair("site.pem", "gone.key"), &[place, ".key: ", "gone.key cannot be read"]);
    is_refused(&pair("site.pem", "same.key"), &[".key: ", "is the key of another certificate"]);
    is_refused(&pair("site.pem", "empty.pem"), &[".key: ", "holds no private key"]);
    is_refused(&pair("empty.pem", "site.key"), &[".cert: ", "holds no certificate in PEM form"]);
    is_refused(&pair("reversed.pem", "reversed.key"), &[".cert: ", "chain in the wrong order"]);
    is_refused(&pair("expired.pem", "expired.key"), &[".cert: ", "expired at 2"]);
    is_refused(&pair("early.pem", "early.key"), &[".cert: ", "is not valid before 2"]);
    is_refused(
        &pair("broad.pem", "broad.key"),
        &[".cert: ", "*.com, a wildcard for a public suffix"],
    );
    is_refused(&pair("suffix.pem", "suffix.key"), &[".cert: ", "*.co.uk"]);
    is_refused(&pair("nameless.pem", "nameless.key"), &["without a subject alternative name"]);
    let two = one(&format!("{}, {}", pki.entry("site"), pki.entry("same")));
    is_refused(&two, &["certificates[1]: ", "is for a.example", "certificates[0]"]);
    let clients = |rules: &str| {
        format!("{{ certificates: [{}], client_certificates: {rules} }}", pki.entry("site"))
    };
    let (ca, empty, crl) = (path("ca.pem"), path("empty.pem"), path("other.crl"));
    is_refused(
        &clients(&format!("{{ ca: {empty}, mode: required }}")),
        &[".ca: ", "holds no certificate"],
    );
    is_refused(
        &clients(&format!("{{ ca: {ca}, crl: {crl}, mode: required }}")),
        &[".crl: ", "no authority of `ca`"],
    );
    is_refused(
        &clients(&format!("{{ ca: {ca}, mode: maybe }}")),
        &[".mode: ", "required or optional"],
    );
    is_refused(&clients(&format!("{{ ca: {ca} }}")), &["has no `mode`"]);
    for (tls, parts) in [
        ("{ certificates: [] }", &[".certificates: ", "is empty"][..]),
        ("{ min_version: \"1.2\" }", &["has no `certificates`"]),
        ("{ certificates: [{}] }", &["has none of `cert`, `acme`, `self_signed`"]),
        ("{ certificates: [{ self_signed: true }] }", &["has no `domains`"]),
        ("{ certificates: [{ self_signed: false, domains: [a] }] }", &["self_signed: false"]),
        (
            "{ certificates: [{ self_signed: true, domains: [\"*.com\"] }] }",
            &["wildcard for a public"],
        ),
        ("{ certificates: [{ self_signed: true, domains: [\"a b\"] }] }", &["is no domain"]),
    ] {
        is_refused(tls, parts);
    }
    let own = "certificates: [{ self_signed: true, domains: [localhost] }]";
    for (more, parts) in [
        ("min_version: \"1.1\"", &[".min_version: ", "is no version of TLS"][..]),
        ("min_version: 1.2", &[".min_version: ", "is 1.2, not a string"]),
        ("default: second", &[".default: ", "write first or refuse"]),
        ("forward_client_certificate: true", &["has no effect: no client is asked"]),
        ("handshake_timeout: 10", &["write 10s"]),
        ("max_handshakes: 0", &["is 0"]),
        ("ciphers: all", &["unknown key `ciphers`"]),
    ] {
        is_refused(&format!("{{ {own}, {more} }}"), parts);
    }
}

#[test]
fn what_the_listener_says_besides_must_fit() {
    let own = "{ certificates: [{ self_signed: true, domains: [localhost] }] }";
    let with = |more: &str| {
        let yaml = with_tls(own, &answering("hello"));
        let changed = yaml.replace("    tls:", &format!("    {more}\n    tls:"));
        let output = check(&changed);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8_lossy(&text).into_owned())
    };
    for (more, part) in [
        ("h2c: true", "the listener speaks TLS"),
        ("protocols: []", "is empty"),
        ("protocols: [http1, http1]", "is there twice"),
        ("protocols: [http4]", "write http1 or http2"),
        ("protocols: [http1]\n    http2: { max_streams: 1 }", "the listener speaks no HTTP/2"),
    ] {
        let (status, text) = with(more);
        assert!(status == 78 && text.contains(part), "{more}: {status} {text}");
    }
    for good in ["protocols: [http2]", "protocols: [http2, http1]", "http2: { max_streams: 1 }"] {
        assert_eq!(with(good).0, 0, "{good}: {}", with(good).1);
    }
}

#[test]
fn what_expires_soon_is_a_warning() {
    let pki = Pki::new("test");
    let soon = SystemTime::now() + 10 * DAY + DAY / 2;
    pki.issue_changed("site", &["a.example"], |params| params.not_after = soon.into());
    let tls = format!("{{ certificates: [{}] }}", pki.entry("site"));
    let (status, text) = said(&tls);
    assert_eq!(status, 0, "{text}");
    assert!(text.contains(":4: ") && text.contains("expires in 10 days"), "{text}");
    let gateway = Gateway::start(&with_tls(&tls, &answering("hello")));
    gateway.logged("a certificate expires in 10 days");
    assert!(ask(&pki.client(None), gateway.web(), "a.example", "a.example").is_ok());
}
