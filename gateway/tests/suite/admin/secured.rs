//! The admin listener over TLS: certificates that it shows, and those that it asks for.

use std::net::SocketAddr;

use crate::support::{Gateway, check, config, eventually, request, sallyport};
use crate::tls::pki::{Pki, ask};

const ADMIN: &str = "admin: { address: 127.0.0.1:0 }";

fn with_admin(terms: &str) -> String {
    config("").replace(ADMIN, &format!("admin: {{ {terms} }}"))
}

fn secured(pki: &Pki, address: &str, more: &str) -> String {
    with_admin(&format!(
        "address: {address}, tls: {{ certificates: [{}]{more} }}",
        pki.entry("admin")
    ))
}

fn clients(pki: &Pki, mode: &str) -> String {
    format!(", client_certificates: {{ ca: {}, mode: {mode} }}", pki.path("ca.pem").display())
}

/// A gateway whose admin listener is not asked in clear text.
fn started(yaml: &str) -> (Gateway, SocketAddr) {
    let gateway = Gateway::start(yaml);
    let admin = gateway.admin();
    (gateway, SocketAddr::from(([127, 0, 0, 1], admin.port())))
}

#[test]
fn a_client_certificate_opens_the_admin_listener_to_other_machines() {
    let (pki, theirs) = (Pki::new("ours"), Pki::new("theirs"));
    pki.issue("admin", &["localhost"]);
    pki.issue("ann", &["ann.example"]);
    theirs.issue("eve", &["ann.example"]);
    let (gateway, admin) = started(&secured(&pki, "0.0.0.0:0", &clients(&pki, "required")));
    let ann = pki.client(Some((&pki, "ann")));
    let seen = ask(&ann, admin, "localhost", "localhost").unwrap();
    assert!(seen.answer.starts_with("HTTP/1.1 200 "), "{}", seen.answer);
    for refused in [pki.client(None), pki.client(Some((&theirs, "eve")))] {
        assert!(ask(&refused, admin, "localhost", "localhost").is_err());
    }
    let in_clear = request(admin, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!((in_clear.status, in_clear.body.contains("https")), (400, true));
    // A certificate that is exchanged is shown by the next handshake, on the same socket.
    let before = seen.serial;
    let (certificate, key) = pki.pair(&["localhost"], |params| {
        params.serial_number = Some(vec![0x0a, 0xbc].into());
    });
    std::fs::write(pki.path("admin.key"), key).unwrap();
    std::fs::write(pki.path("admin.pem"), certificate).unwrap();
    let forgetful = pki.forgetful_client(Some((&pki, "ann")));
    eventually("the new certificate", || {
        let seen = ask(&forgetful, admin, "localhost", "localhost").unwrap();
        (seen.serial == "0ABC").then_some(())
    });
    assert_ne!(before, "0ABC");
    drop(gateway);
}

#[test]
fn an_upgrade_is_asked_for_over_tls() {
    let pki = Pki::new("ours");
    pki.issue("admin", &["admin.internal"]);
    pki.issue("ann", &["ann.example"]);
    let (mut gateway, admin) = started(&secured(&pki, "127.0.0.1:0", &clients(&pki, "required")));
    let path = |name: &str| pki.path(name).display().to_string();
    let (address, server) = (admin.to_string(), path("admin.pem"));
    let upgrade = |more: &[&str]| {
        let asked = ["upgrade", "--admin", &address, "--server-certificate"];
        sallyport().args(asked).args(more).output().unwrap()
    };
    let (certificate, key) = (path("ann.pem"), path("ann.key"));
    let shown = ["--client-certificate", &certificate, "--client-key", &key];
    assert_eq!(upgrade(&[&server]).status.code(), Some(1), "no certificate is shown");
    let other = upgrade(&[&[&*certificate][..], &shown].concat());
    assert_eq!(other.status.code(), Some(1), "it is not the one in the file");
    let done = upgrade(&[&[&*server][..], &shown].concat());
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let process = said.split("process ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let ended = gateway.wait().success();
    let ann = pki.client(Some((&pki, "ann")));
    let seen = ask(&ann, admin, "admin.internal", "localhost");
    std::process::Command::new("kill").args(["-9", &process]).status().unwrap();
    assert!(ended && seen.unwrap().answer.starts_with("HTTP/1.1 200 "));
}

#[test]
fn an_admin_listener_that_anybody_may_ask_is_refused() {
    let pki = Pki::new("ours");
    pki.issue("admin", &["localhost"]);
    let said = |yaml: &str| {
        let output = check(yaml);
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&text).into_owned())
    };
    for open in [
        secured(&pki, "0.0.0.0:0", ""),
        secured(&pki, "0.0.0.0:0", &clients(&pki, "optional")),
        with_admin("address: 0.0.0.0:0"),
    ] {
        let (code, text) = said(&open);
        assert_eq!(code, Some(78), "{text}");
        assert!(text.contains("nobody has to show who they are"), "{text}");
        assert!(text.contains("mode: required"), "{text}");
    }
    assert_eq!(said(&secured(&pki, "0.0.0.0:0", &clients(&pki, "required"))).0, Some(0));
    assert_eq!(said(&secured(&pki, "127.0.0.1:0", "")).0, Some(0));
    for (yaml, problem) in [
        (secured(&pki, "\"unix:/tmp/a.sock\"", ""), "is for addresses with a port only"),
        (secured(&pki, "127.0.0.1:0", ", default: refuse"), "default"),
        (with_admin("address: 127.0.0.1:0, tls: { certificates: [] }"), "is empty"),
        (with_admin("address: 0.0.0.0:0, tls: {}"), "certificates"),
    ] {
        let (code, text) = said(&yaml);
        assert_eq!(code, Some(78), "{text}");
        assert!(text.contains(problem), "{text}");
    }
}
