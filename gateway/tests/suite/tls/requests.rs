//! What requests see of the TLS that they came by.

use rcgen::{DnType, ExtendedKeyUsagePurpose};

use super::pki::{Pki, ask};
use super::with_tls;
use crate::support::{Gateway, Origin, check, sallyport};

/// An authority with the clients ann, whose certificate has several names, and bob.
fn clients() -> Pki {
    let pki = Pki::new("clients");
    for (client, names) in [("ann", &["ann.example", "192.0.2.7"][..]), ("bob", &["bob.example"])] {
        pki.issue_changed(client, names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let mut name = rcgen::DistinguishedName::new();
            name.push(DnType::OrganizationName, "Example, Inc.");
            name.push(DnType::CommonName, client);
            params.distinguished_name = name;
        });
    }
    pki
}

/// A listener that asks for certificates of `clients`, in front of what `rest` says.
fn optional(sites: &Pki, clients: &Pki, rest: &str) -> String {
    let tls = format!(
        "{{ certificates: [{}], client_certificates: {{ ca: {}, mode: optional }} }}",
        sites.entry("site"),
        clients.path("ca.pem").display()
    );
    with_tls(&tls, rest)
}

fn body(seen: &super::pki::Seen) -> &str {
    seen.answer.split("\r\n\r\n").nth(1).unwrap_or("")
}

#[test]
fn templates_tell_of_handshake_and_certificate() {
    let (sites, clients, origin) = (Pki::new("sites"), clients(), Origin::named("origin"));
    sites.issue("site", &["a.example"]);
    let filter = "    filters:\n      - headers:\n          request:\n            set:\n              \
        x-tls: \"${tls.version} ${tls.sni} ${tls.alpn} ${tls.cipher}\"\n              \
        x-subject: \"${tls.client.subject}\"\n              x-san: \"${tls.client.san}\"\n              \
        x-print: \"${tls.client.fingerprint} ${tls.client.serial}\"\n              \
        x-ja4: \"${hint.ja4}\"\n";
    let rest = super::forwarding(origin.address)
        .replace("    routes:\n", &format!("{filter}    routes:\n"));
    let gateway = Gateway::start(&optional(&sites, &clients, &rest));
    let ann = sites.client(Some((&clients, "ann")));
    ask(&ann, gateway.web(), "a.example", "a.example").unwrap();
    let asked = origin.last();
    let field = |name: &str| asked.fields(name).join("|");
    let tls = field("x-tls");
    assert!(tls.starts_with("1.3 a.example  TLS_"), "{tls}");
    assert_eq!(field("x-subject"), "CN=ann,O=Example\\, Inc.");
    assert_eq!(field("x-san"), "ann.example,192.0.2.7");
    let print = field("x-print");
    assert!(print.len() > 65 && print.starts_with(|it: char| it.is_ascii_hexdigit()), "{print}");
    let ja4 = field("x-ja4");
    assert!(ja4.starts_with("t13d") && ja4.len() == 36, "{ja4}");
    // Without a certificate there is nothing to tell, and no field.
    ask(&sites.client(None), gateway.web(), "a.example", "a.example").unwrap();
    assert!(origin.last().fields("x-subject").is_empty());
}

#[test]
fn routes_ask_for_certificates_and_fingerprints() {
    let (sites, clients) = (Pki::new("sites"), clients());
    sites.issue("site", &["a.example"]);
    let yaml = |ja4: &str| {
        let route = |name: &str, matches: &str| {
            format!(
                "      - {{ name: {name}, match: {matches}, respond: {{ status: 200, body: {name} }} }}\n"
            )
        };
        let rest = format!(
            "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n{}{}{}{}{}",
            route("known", &format!("{{ hint: {{ ja4: {ja4} }}, path: {{ prefix: /known }} }}")),
            route("subject", "{ client_certificate: { subject: \"CN=ann,O=Example\\\\, Inc.\" } }"),
            route("san", "{ client_certificate: { verified: true, san: bob.example } }"),
            route("none", "{ client_certificate: { verified: false } }"),
            "      - { name: rest, respond: { status: 200, body: rest } }\n"
        );
        optional(&sites, &clients, &rest)
    };
    let gateway = Gateway::start(&yaml("t13d000000_000000000000_000000000000"));
    let answer = |identity: Option<&str>| {
        let client = sites.client(identity.map(|name| (&clients, name)));
        let seen = ask(&client, gateway.web(), "a.example", "a.example").unwrap();
        body(&seen).to_owned()
    };
    assert_eq!(answer(Some("ann")), "subject");
    assert_eq!(answer(Some("bob")), "san");
    assert_eq!(answer(None), "none");
}

#[test]
fn a_fingerprint_leads_to_its_route() {
    let sites = Pki::new("sites");
    sites.issue("site", &["a.example"]);
    let origin = Origin::named("origin");
    let tls = format!("{{ certificates: [{}] }}", sites.entry("site"));
    let shown = "    filters: [{ headers: { request: { set: { x-ja4: \"${hint.ja4}\" } } } }]\n    routes:\n";
    let all = super::forwarding(origin.address);
    let gateway = Gateway::start(&with_tls(&tls, &all.replace("    routes:\n", shown)));
    ask(&sites.client(None), gateway.web(), "a.example", "a.example").unwrap();
    let ja4 = origin.last().fields("x-ja4").join("");
    let known = format!(
        "    routes:\n      - {{ name: known, match: {{ hint: {{ ja4: {ja4} }} }}, respond: {{ status: 200, body: known }} }}\n"
    );
    gateway.replace(&with_tls(&tls, &all.replace("    routes:\n", &known)));
    let again = ask(&sites.client(None), gateway.web(), "a.example", "a.example").unwrap();
    assert_eq!(body(&again), "known");
}

#[test]
fn a_certificate_or_fingerprint_decides_the_endpoint() {
    let (sites, clients) = (Pki::new("sites"), clients());
    sites.issue("site", &["a.example"]);
    let origins: Vec<_> = ["a", "b", "c", "d"].into_iter().map(Origin::named).collect();
    let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
    let whole = crate::support::forward_all(&addresses);
    let rest = &whole[whole.find("upstreams:").unwrap()..];
    for hash_on in
        ["{ client_certificate: fingerprint }", "{ client_certificate: subject }", "{ hint: ja4 }"]
    {
        let balancing = format!(
            "    load_balancing: {{ policy: maglev, hash_on: {hash_on} }}\n    endpoints:\n"
        );
        let rest = rest.replacen("    endpoints:\n", &balancing, 1);
        let gateway = Gateway::start(&optional(&sites, &clients, &rest));
        // Those of a client that resumes have an extension more, and another fingerprint.
        let ann = sites.forgetful_client(Some((&clients, "ann")));
        let answers = (0..6).map(|_| {
            let seen = ask(&ann, gateway.web(), "a.example", "a.example").unwrap();
            body(&seen).to_owned()
        });
        let answers: std::collections::BTreeSet<_> = answers.collect();
        assert_eq!(answers.len(), 1, "{hash_on}: {answers:?}");
    }
}

#[test]
fn explain_names_the_certificate() {
    let sites = Pki::new("sites");
    sites.issue("site", &["a.example"]);
    let own = "{ self_signed: true, domains: [b.example] }";
    let tls = format!("{{ default: refuse, certificates: [{}, {own}] }}", sites.entry("site"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.yaml");
    std::fs::write(&file, with_tls(&tls, &super::answering("hello"))).unwrap();
    let explained = |name: &str| {
        let mut command = sallyport();
        command.arg("explain").arg(&file).args([
            "--host",
            "a.example",
            "--path",
            "/",
            "--sni",
            name,
        ]);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let said = explained("a.example");
    assert!(
        said.contains(&format!("certificate   {}", sites.path("site.pem").display())),
        "{said}"
    );
    assert!(explained("b.example").contains("self-signed"));
    assert!(explained("c.example").contains("no certificate is for c.example"));
}

#[test]
fn what_asks_for_nothing_or_for_both_is_refused() {
    for (matches, part) in [
        ("{ client_certificate: {} }", "asks for nothing"),
        ("{ client_certificate: { verified: false, san: a } }", "for a certificate and for none"),
        ("{ client_certificate: { issuer: a } }", "unknown key `issuer`"),
        ("{ hint: { ja4: t13d } }", "is no JA4 fingerprint"),
    ] {
        let rest = format!(
            "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes: [ {{ name: r, match: {matches}, respond: {{ status: 200 }} }} ]\n"
        );
        let tls = "{ certificates: [{ self_signed: true, domains: [localhost] }] }";
        let output = check(&with_tls(tls, &rest));
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        assert_eq!(output.status.code(), Some(78), "{matches}: {text}");
        assert!(text.contains(part), "{matches}: {text}");
    }
}
