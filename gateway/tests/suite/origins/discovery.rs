//! Endpoints that are found: by name, by SRV records, and in a file.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::time::Duration;

use super::dns_server::{DnsServer, Zone};
use super::{ask, shown, upstream};
use crate::support::{
    Client, Gateway, Origin, PATIENCE, eventually, eventually_within, get, write_by_rename,
};

/// Origins at these addresses and one port, each named as its address.
fn origins(addresses: &[&'static str]) -> (Vec<Origin>, u16) {
    loop {
        let first = TcpListener::bind((addresses[0], 0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let others = addresses[1..].iter().map(|address| TcpListener::bind((*address, port)));
        let Ok(others) = others.collect::<Result<Vec<_>, _>>() else { continue };
        let origin = |(listener, name): (TcpListener, &'static str)| {
            Origin::start_on(listener, move |_, stream| {
                use std::io::Write as _;
                let response =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}", name.len());
                stream.write_all(response.as_bytes()).is_ok()
            })
        };
        let listeners = std::iter::once(first).chain(others);
        return (listeners.zip(addresses.iter().copied()).map(origin).collect(), port);
    }
}

fn at(addresses: &[&str], port: u16) -> BTreeSet<String> {
    addresses.iter().map(|address| format!("{address}:{port}")).collect()
}

fn named(dns: &DnsServer, endpoint: &str, port: u16) -> Gateway {
    let keys = format!("endpoints: [ {{ address: \"{endpoint}:{port}\" }} ]");
    Gateway::start(&format!("{}{}", dns.key(), upstream(&keys)))
}

fn becomes(gateway: &Gateway, expected: &BTreeSet<String>) {
    eventually(&format!("endpoints {expected:?}, not {:?}", shown(gateway)), || {
        (shown(gateway) == *expected).then_some(())
    });
}

fn failures(gateway: &Gateway, reason: &str) -> f64 {
    let sample =
        format!("sallyport_discovery_failures_total{{upstream=\"up\",reason=\"{reason}\"}}");
    gateway.metric(&sample).unwrap_or_default()
}

#[test]
fn a_name_is_all_its_addresses_and_follows_its_ttl() {
    let (origins, port) = origins(&["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let dns = DnsServer::start();
    dns.addresses("api.internal", &["127.0.0.1", "127.0.0.2"], 1);
    let gateway = named(&dns, "api.internal", port);
    becomes(&gateway, &at(&["127.0.0.1", "127.0.0.2"], port));
    let answered: BTreeSet<_> = (0..4).map(|_| ask(&gateway).body).collect();
    assert_eq!(answered, ["127.0.0.1", "127.0.0.2"].map(str::to_owned).into());

    let version = gateway.version();
    dns.addresses("api.internal", &["127.0.0.3"], 1);
    becomes(&gateway, &at(&["127.0.0.3"], port));
    assert_eq!(ask(&gateway).body, "127.0.0.3");
    assert_eq!(gateway.version(), version, "the configuration is not compiled for it");
    // What left is no longer shown, either.
    let metrics = get(gateway.admin(), "admin", "/metrics").body;
    assert!(!metrics.contains(&format!("endpoint=\"127.0.0.1:{port}\"")), "{metrics}");
    assert!(metrics.contains(&format!("endpoint=\"127.0.0.3:{port}\"")), "{metrics}");
    drop(origins);
}

#[test]
fn requests_under_way_keep_their_endpoint_when_it_leaves() {
    let (origins, port) = origins(&["127.0.0.1", "127.0.0.2"]);
    let dns = DnsServer::start();
    dns.addresses("api.internal", &["127.0.0.1"], 1);
    let gateway = named(&dns, "api.internal", port);
    becomes(&gateway, &at(&["127.0.0.1"], port));
    let mut client = Client::connect(gateway.web());
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
    eventually("the request to be under way", || {
        gateway
            .metric(&format!(
                "sallyport_upstream_requests_active{{upstream=\"up\",endpoint=\"127.0.0.1:{port}\"}}"
            ))
            .filter(|active| *active == 1.0)
    });
    dns.addresses("api.internal", &["127.0.0.2"], 1);
    becomes(&gateway, &at(&["127.0.0.2"], port));
    assert_eq!(client.send("cd").receive().body, "127.0.0.1");
    assert_eq!(ask(&gateway).body, "127.0.0.2");
    drop(origins);
}

#[test]
fn failures_keep_the_last_answer_and_are_counted() {
    let (_origins, port) = origins(&["127.0.0.1"]);
    let dns = DnsServer::start();
    dns.addresses("api.internal", &["127.0.0.1"], 1);
    let gateway = named(&dns, "api.internal", port);
    becomes(&gateway, &at(&["127.0.0.1"], port));
    for (zone, reason) in [
        (Zone::ServFail, "servfail"),
        (Zone::Silence, "timeout"),
        (Zone::Addresses(vec![], 1), "no_address"),
    ] {
        dns.set("api.internal", zone);
        eventually(reason, || (failures(&gateway, reason) > 0.0).then_some(()));
        assert_eq!(ask(&gateway).body, "127.0.0.1", "{reason}");
        dns.addresses("api.internal", &["127.0.0.1"], 1);
    }
    dns.remove("api.internal");
    eventually("nxdomain", || (failures(&gateway, "nxdomain") > 0.0).then_some(()));
    assert_eq!(ask(&gateway).body, "127.0.0.1");
    assert_eq!(shown(&gateway), at(&["127.0.0.1"], port));
    assert!(gateway.logged("could not be looked up").contains("api.internal"));
    // An edit of the upstream keeps them as well.
    let yaml = std::fs::read_to_string(&gateway.config).unwrap();
    gateway.replace(&yaml.replace("- name: up", "- name: up\n    timeouts: { connect: 3s }"));
    assert_eq!(ask(&gateway).body, "127.0.0.1");
}

#[test]
fn an_upstream_whose_names_do_not_resolve_yet_answers_503_and_is_there_later() {
    let (_origins, port) = origins(&["127.0.0.1"]);
    let dns = DnsServer::start();
    let gateway = named(&dns, "api.internal", port);
    let response = ask(&gateway);
    assert_eq!((response.status, response.error().as_deref()), (503, Some("no_endpoint")));
    // Asked for once, it is as ready as it will be.
    eventually("readiness", || {
        (get(gateway.admin(), "admin", "/readyz").status == 200).then_some(())
    });
    dns.addresses("api.internal", &["127.0.0.1"], 60);
    eventually("the name to resolve", || (ask(&gateway).status == 200).then_some(()));
}

#[test]
fn readyz_waits_for_the_first_answers() {
    let dns = DnsServer::start();
    dns.set("api.internal", Zone::Silence);
    let yaml =
        format!("{}{}", dns.key(), upstream("endpoints: [ { address: \"api.internal:80\" } ]"))
            .replace("timeout: 500ms", "timeout: 10s");
    let gateway = Gateway::start(&yaml);
    let ready = get(gateway.admin(), "admin", "/readyz");
    assert_eq!((ready.status, &*ready.body), (503, "looking endpoints up\n"));
    dns.addresses("api.internal", &["127.0.0.1"], 60);
    eventually("readiness", || {
        (get(gateway.admin(), "admin", "/readyz").status == 200).then_some(())
    });
}

#[test]
fn aliases_are_followed_and_a_hundred_addresses_are_taken() {
    let dns = DnsServer::start();
    let addresses: Vec<_> = (1..=100).map(|last| format!("127.0.1.{last}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    dns.set("api.internal", Zone::Alias("one.internal"));
    dns.set("one.internal", Zone::Alias("two.internal"));
    dns.addresses("two.internal", &addresses, 60);
    let gateway = named(&dns, "api.internal", 80);
    becomes(&gateway, &at(&addresses, 80));
}

#[test]
fn both_families_are_used_and_one_failing_takes_nothing_from_the_other() {
    let dns = DnsServer::start();
    dns.addresses("api.internal", &["127.0.0.1", "::1"], 1);
    let gateway = named(&dns, "api.internal", 80);
    let both: BTreeSet<_> = ["127.0.0.1:80", "[::1]:80"].map(str::to_owned).into();
    becomes(&gateway, &both);
    dns.addresses("api.internal", &["127.0.0.1"], 1);
    becomes(&gateway, &at(&["127.0.0.1"], 80));
}

#[test]
fn names_of_the_hosts_file_need_no_server() {
    let dns = DnsServer::start();
    let (_origins, port) = origins(&["127.0.0.1"]);
    let gateway = named(&dns, "localhost", port);
    eventually("localhost", || (ask(&gateway).body == "127.0.0.1").then_some(()));
    assert!(!dns.questions.lock().unwrap().contains(&"localhost".to_owned()));
}

#[test]
fn search_domains_are_tried() {
    let dns = DnsServer::start();
    dns.addresses("api.shop.internal", &["127.0.0.9"], 60);
    let keys = upstream("endpoints: [ { address: \"api:80\" } ]");
    let key = dns.key().replace("search: []", "search: [shop.internal]");
    let gateway = Gateway::start(&format!("{key}{keys}"));
    becomes(&gateway, &at(&["127.0.0.9"], 80));
}

#[test]
fn srv_records_give_ports_weights_and_priorities() {
    let (_origins, port) = origins(&["127.0.0.1", "127.0.0.2"]);
    let dns = DnsServer::start();
    dns.addresses("a.internal", &["127.0.0.1"], 60);
    dns.addresses("b.internal", &["127.0.0.2"], 60);
    let services = vec![(10, 3, port, "a.internal"), (20, 0, port, "b.internal")];
    dns.set("_http._tcp.api.internal", Zone::Services(services, 1));
    let keys = upstream("discovery: { srv: _http._tcp.api.internal }");
    let gateway = Gateway::start(&format!("{}{keys}", dns.key()));
    becomes(&gateway, &at(&["127.0.0.1", "127.0.0.2"], port));
    let view = get(gateway.admin(), "admin", "/upstreams").body;
    let view: serde_json::Value = serde_json::from_str(&view).unwrap();
    let member = |index: usize| {
        let endpoint = &view[0]["endpoints"][index];
        (endpoint["weight"].as_u64(), endpoint["priority"].as_u64())
    };
    assert_eq!([member(0), member(1)], [(Some(3), Some(0)), (Some(1), Some(1))]);
    assert!((0..10).all(|_| ask(&gateway).body == "127.0.0.1"), "the lower priority first");

    dns.set("_http._tcp.api.internal", Zone::Services(vec![(1, 1, port, "b.internal")], 1));
    becomes(&gateway, &at(&["127.0.0.2"], port));
}

#[test]
fn a_file_of_endpoints_is_followed_and_a_bad_one_changes_nothing() {
    let (_origins, port) = origins(&["127.0.0.1", "127.0.0.2"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("endpoints.yaml");
    let write = |addresses: &[&str]| {
        let endpoints: String = addresses
            .iter()
            .map(|address| format!("  - {{ address: \"{address}:{port}\" }}\n"))
            .collect();
        write_by_rename(&file, &format!("endpoints:\n{endpoints}"));
    };
    write(&["127.0.0.1"]);
    let keys = format!("discovery: {{ file: {} }}", file.display());
    let gateway = Gateway::start(&upstream(&keys));
    becomes(&gateway, &at(&["127.0.0.1"], port));
    assert_eq!(ask(&gateway).body, "127.0.0.1");

    let version = gateway.version();
    write(&["127.0.0.1", "127.0.0.2"]);
    becomes(&gateway, &at(&["127.0.0.1", "127.0.0.2"], port));

    write_by_rename(&file, "endpoints:\n  - { address: nowhere }\n  - { adress: 10.0.0.1:80 }\n");
    eventually("a failure", || (failures(&gateway, "file") > 0.0).then_some(()));
    gateway.logged("endpoints.yaml:2: endpoints[0].address");
    gateway.logged("endpoints.yaml:3: endpoints[1]");
    assert_eq!(shown(&gateway), at(&["127.0.0.1", "127.0.0.2"], port));

    std::fs::remove_file(&file).unwrap();
    write(&["127.0.0.2"]);
    becomes(&gateway, &at(&["127.0.0.2"], port));
    assert_eq!(gateway.version(), version, "the configuration is not compiled for it");
}

#[test]
fn a_thousand_names_are_followed_while_requests_run() {
    let (_origins, port) = origins(&["127.0.0.1", "127.0.0.2"]);
    let dns = DnsServer::start();
    let name = |number: usize| format!("n{number}.internal");
    let set = |address: &str| {
        (0..1_000).for_each(|number| dns.addresses(&name(number), &[address], 1));
    };
    set("127.0.0.1");
    let endpoints: String = (0..1_000)
        .map(|number| format!("  - {{ address: \"{}:{port}\" }}\n", name(number)))
        .collect();
    // A machine with much else to do is late to answer and to ask, which is no failure to back off from.
    let key = dns.key().replace("timeout: 500ms", "timeout: 20s");
    let gateway =
        Gateway::start(&format!("{key}{}", upstream(&format!("endpoints:\n{endpoints}"))));
    let mut client = Client::connect(gateway.web());
    let mut follows = |address: &str| {
        eventually_within(6 * PATIENCE, Duration::from_millis(200), address, || {
            let response = client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").receive();
            let is_all = shown(&gateway) == at(&[address], port);
            (response.status == 200 && is_all).then_some(response.status)
        })
    };
    follows("127.0.0.1");
    let refused = gateway.metric(
        "sallyport_route_requests_total{virtual_host=\"all\",route=\"r\",code_class=\"5xx\"}",
    );
    for address in ["127.0.0.2", "127.0.0.1", "127.0.0.2"] {
        set(address);
        follows(address);
    }
    let since = gateway.metric(
        "sallyport_route_requests_total{virtual_host=\"all\",route=\"r\",code_class=\"5xx\"}",
    );
    assert_eq!(since, refused, "requests fail while names are followed");
}
