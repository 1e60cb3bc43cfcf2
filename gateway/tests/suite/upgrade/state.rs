//! What goes over to the new process beside sockets.

use std::net::Ipv4Addr;
use std::sync::Arc;

use rustls::ClientConfig;

use super::Upgradable;
use crate::support::{Client, Response, config, eventually, get, write_by_rename};
use crate::tls::pki::{Pki, ask};
use crate::tls::{answering, with_tls};

const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn from(source: Ipv4Addr, upgradable: &Upgradable, path: &str) -> Option<Response> {
    let mut client = Client::connect_from(source, upgradable.gateway.web());
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.try_receive(false)
}

#[test]
fn verdicts_hold_after_an_upgrade() {
    let yaml = config(
        "verdicts:\n  rules:\n    - { on: 4xx, more_than: 2, within: 10s, for: 1h }\n\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    \
         routes: [ { name: ok, match: { path: { exact: /ok } }, respond: { status: 200 } } ]\n",
    );
    let mut upgradable = Upgradable::start(&yaml);
    // The address of the admin listener is that of the first process for all.
    let admin = upgradable.gateway.admin();
    for _ in 0..3 {
        assert_eq!(from(BAD, &upgradable, "/missing").unwrap().status, 404);
    }
    eventually("a verdict", || from(BAD, &upgradable, "/ok").is_none().then_some(()));
    for _ in 0..2 {
        upgradable.upgrade(&admin.to_string());
        assert!(from(BAD, &upgradable, "/ok").is_none(), "no connection to either process");
        assert_eq!(get(upgradable.gateway.web(), "x", "/ok").status, 200);
        let listed = get(admin, "localhost", "/verdicts").body;
        let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed[0]["address"], "127.0.0.2");
        assert_eq!(listed[0]["reason"], "4xx");
        assert!(listed[0]["seconds_left"].as_f64().unwrap() > 3_000.0);
        assert_eq!(upgradable.gateway.metric("sallyport_verdicts_active"), Some(1.0));
    }
    // One that the new file exempts is let in.
    let exempt = yaml.replace("verdicts:\n", "verdicts:\n  exempt: [127.0.0.2/32]\n");
    write_by_rename(&upgradable.gateway.config, &exempt);
    upgradable.upgrade(&admin.to_string());
    assert_eq!(from(BAD, &upgradable, "/ok").unwrap().status, 200);
}

#[test]
fn what_a_rate_limit_has_counted_goes_on_after_an_upgrade() {
    let yaml = config(
        "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    \
         filters: [ { rate_limit: { key: source, requests: 2, per: 1h } } ]\n    \
         routes: [ { name: ok, respond: { status: 200 } } ]\n",
    );
    let mut upgradable = Upgradable::start(&yaml);
    let admin = upgradable.gateway.admin().to_string();
    let status = |upgradable: &Upgradable, last| {
        from(Ipv4Addr::new(127, 0, 0, last), upgradable, "/").unwrap().status
    };
    assert_eq!([2, 2, 2, 3].map(|last| status(&upgradable, last)), [200, 200, 429, 200]);
    upgradable.upgrade(&admin);
    assert_eq!([2, 3, 3, 4].map(|last| status(&upgradable, last)), [429, 200, 429, 200]);
    // Another rate begins anew.
    write_by_rename(&upgradable.gateway.config, &yaml.replace("requests: 2", "requests: 1"));
    upgradable.upgrade(&admin);
    assert_eq!([2, 2].map(|last| status(&upgradable, last)), [200, 429]);
}

#[test]
fn sessions_are_resumed_after_an_upgrade_unless_the_rules_for_clients_changed() {
    let pki = Pki::new("test");
    pki.issue("site", &["a.example"]);
    let yaml = |more: &str| {
        let tls = format!("{{ certificates: [{}]{more} }}", pki.entry("site"));
        with_tls(&tls, &answering("hello"))
    };
    let mut upgradable = Upgradable::start(&yaml(""));
    let (web, admin) = (upgradable.gateway.web(), upgradable.gateway.admin().to_string());
    let resumes = |client: &Arc<ClientConfig>| {
        let seen = ask(client, web, "a.example", "a.example").unwrap();
        assert!(seen.answer.contains("hello"), "{}", seen.answer);
        seen.resumed
    };
    let newer = pki.client(None);
    let older = pki.client_of(&[&rustls::version::TLS12], None);
    assert!(!resumes(&newer) && !resumes(&older));
    for _ in 0..2 {
        upgradable.upgrade(&admin);
        assert!(resumes(&newer), "a session of the process before");
        assert!(resumes(&older));
    }
    let resumptions = r#"sallyport_tls_resumptions_total{listener="web"}"#;
    upgradable.gateway.counts(resumptions, 2.0);
    let ca = pki.path("ca.pem").display().to_string();
    let rules = format!(", client_certificates: {{ ca: {ca}, mode: optional }}");
    write_by_rename(&upgradable.gateway.config, &yaml(&rules));
    upgradable.upgrade(&admin);
    assert!(!resumes(&newer), "its client was judged by other rules");
}
