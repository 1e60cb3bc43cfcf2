//! Hints without a classifier: configured, asked for, explained, and never taken from a client. What
//! real maps say is tested with the classifier.

use std::process::Command;

use crate::support::{Gateway, Origin, config, forward_all, get, request, sallyport};

const ABSENT: &str = "classifier: { pin_path: /nowhere/sallyport, upstream_headers: [network] }\n";

const ROUTES: &str = "
upstreams:
  - name: up
    load_balancing: { policy: maglev, hash_on: { hint: network } }
    endpoints: [ { address: 10.0.0.1:1 }, { address: 10.0.0.2:1 }, { address: 10.0.0.3:1 } ]
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - { name: scan, match: { hint: { screens: [port_scan, land] } }, respond: { status: 403 } }
      - { name: fast, match: { hint: { syn_rate: { above: 100 } } }, respond: { status: 429 } }
      - name: office
        match: { hint: { network: office, zone: internet, protocol: tls } }
        respond: { status: 200, body: office }
      - { name: hashed, match: { path: { prefix: /hashed } }, forward: { upstream: up } }
      - { name: rest, respond: { status: 200, body: rest } }
";

fn requests(labels: &str) -> String {
    format!("sallyport_classifier_requests_total{{{labels}}}")
}

const UNKNOWN: &str = "network=\"unknown\",protocol=\"unknown\",zone=\"unknown\"";

#[test]
fn fields_of_the_gateway_are_never_taken_from_a_client() {
    for classifier in ["", ABSENT] {
        let origin = Origin::named("a");
        let yaml = forward_all(&[origin.address]) + classifier;
        let matched = "      - { name: m, match: { headers: [ { name: x-sallyport-network, present: true } ] }, respond: { status: 403 } }\n";
        let yaml = yaml.replace("    routes:\n", &format!("    routes:\n{matched}"));
        let gateway = Gateway::start(&yaml);
        let response = request(
            gateway.web(),
            "GET / HTTP/1.1\r\nHost: x\r\nX-Sallyport-Network: office\r\nx-other: 1\r\n\
             x-SALLYPORT-anything: 1\r\nx-sallyport-network: home\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(response.status, 200, "no route sees them either");
        let received = origin.received.lock().unwrap()[0].clone();
        assert!(!received.head.to_ascii_lowercase().contains("x-sallyport"), "{}", received.head);
        assert_eq!(received.fields("x-other"), ["1"]);
    }
}

#[test]
fn without_a_classifier_it_serves_and_says_so_once() {
    let gateway = Gateway::start(&(config("") + ABSENT + ROUTES));
    let line = gateway.logged("classifier: no hints");
    assert!(line.contains("/nowhere/sallyport/meta does not exist"), "{line}");
    assert_eq!(get(gateway.web(), "x", "/").body, "rest");
    gateway.counts("sallyport_classifier_up", 0.0);
    gateway.counts(&requests(UNKNOWN), 1.0);
    // Several looks later.
    std::thread::sleep(std::time::Duration::from_millis(800));
    let lines = gateway.log().iter().filter(|line| line.contains("classifier:")).count();
    assert_eq!(lines, 1, "{:#?}", gateway.log());
}

#[test]
fn without_the_section_there_is_nothing_of_it() {
    let gateway = Gateway::start(&(config("") + ROUTES));
    assert_eq!(get(gateway.web(), "x", "/").body, "rest");
    assert_eq!(gateway.metric("sallyport_classifier_up"), None);
    assert_eq!(gateway.metric(&requests(UNKNOWN)), None);
    assert!(!gateway.log().iter().any(|line| line.contains("classifier:")));
}

#[test]
fn where_it_is_required_start_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sallyport.yaml");
    let required = ABSENT.replace("{ pin", "{ required: true, pin");
    std::fs::write(&file, config("") + &required + ROUTES).unwrap();
    let output = sallyport().args(["run", "--config"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("the classifier is required") && said.contains("/nowhere/"), "{said}");
}

#[test]
fn where_the_maps_are_is_fixed_and_what_is_sent_is_not() {
    let gateway = Gateway::start(&(config("") + ABSENT + ROUTES));
    gateway.replace(&(config("") + &ABSENT.replace("[network]", "[zone, protocol]") + ROUTES));
    let moved = config("") + &ABSENT.replace("/nowhere", "/elsewhere") + ROUTES;
    std::fs::write(&gateway.config, moved).unwrap();
    let line = gateway.logged("`pin_path` or `required` changed");
    assert!(line.contains("restart sallyport"), "{line}");
}

fn explain(arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("sallyport.yaml");
    std::fs::write(&file, config("") + ROUTES).unwrap();
    let mut command: Command = sallyport();
    command.arg("explain").arg(&file).args(["--host", "x", "--path", "/hashed"]).args(arguments);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn explained(arguments: &[&str]) -> serde_json::Value {
    let (success, said) = explain(&[arguments, &["--json"]].concat());
    assert!(success, "{said}");
    serde_json::from_str(&said).unwrap()
}

#[test]
fn routes_go_by_hints() {
    let office = ["--hint", "network=office", "--hint", "zone=internet", "--hint", "protocol=tls"];
    for (arguments, route) in [
        (&[][..], "hashed"),
        (&office, "office"),
        (&office[..4], "hashed"),
        (
            &["--hint", "network=home", "--hint", "zone=internet", "--hint", "protocol=tls"],
            "hashed",
        ),
        (&["--hint", "screens=syn_fin,port_scan"], "scan"),
        (&["--hint", "screens=syn_fin"], "hashed"),
        (&["--hint", "syn_rate=101"], "fast"),
        (&["--hint", "syn_rate=100"], "hashed"),
    ] {
        assert_eq!(explained(arguments)["route"], route, "{arguments:?}");
    }
    let (_, said) = explain(&[]);
    assert!(said.contains("scan: there are no hints"), "{said}");
    let (_, said) = explain(&["--hint", "network=home"]);
    assert!(said.contains("office: hint network is not office"), "{said}");
    for wrong in ["network", "colour=red", "protocol=gopher", "screens=verdict", "syn_rate=x"] {
        let (success, said) = explain(&["--hint", wrong]);
        assert!(!success && said.contains(wrong), "{wrong}: {said}");
    }
}

#[test]
fn a_client_hashed_by_its_network_stays_with_it() {
    let endpoint = |arguments: &[&str]| explained(arguments)["endpoint"].clone();
    let home = endpoint(&["--hint", "network=home", "--client", "192.0.2.1"]);
    assert_eq!(home, endpoint(&["--hint", "network=home", "--client", "192.0.2.77"]));
    let networks = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let all: std::collections::BTreeSet<String> = networks
        .iter()
        .map(|network| endpoint(&["--hint", &format!("network={network}")]).to_string())
        .collect();
    assert!(all.len() > 1, "{all:?}");
    let by_address = |address: &str| endpoint(&["--client", address]).to_string();
    let addresses: std::collections::BTreeSet<String> =
        (1..9).map(|last| by_address(&format!("192.0.2.{last}"))).collect();
    assert!(addresses.len() > 1, "without the hint it is the address: {addresses:?}");
}

#[test]
fn the_admin_explains_with_hints_too() {
    let gateway = Gateway::start(&(config("") + ROUTES));
    let explain =
        |more: &str| get(gateway.admin(), "localhost", &format!("/explain?host=x&path=/{more}"));
    let office = explain("&hint=network=office&hint=zone=internet&hint=protocol=tls");
    assert!(office.body.contains("\"route\":\"office\""), "{}", office.body);
    assert_eq!(explain("&hint=colour=red").status, 400);
    assert_eq!(explain("&colour=red").status, 400);
}

#[test]
fn requests_are_recorded_where_that_is_asked_for() {
    let yaml = config("") + ROUTES;
    let gateway = Gateway::start_logging(&yaml, "info,access=debug");
    assert_eq!(get(gateway.web(), "x", "/some/path").status, 200);
    let line = gateway.logged("request virtual_host");
    for part in
        ["virtual_host=\"all\"", "route=\"rest\"", "status=200", "duration_ms=", "client=127.0.0.1"]
    {
        assert!(line.contains(part), "{line}\nlacks {part}");
    }
    let silent = Gateway::start(&yaml);
    assert_eq!(get(silent.web(), "x", "/some/path").status, 200);
    assert!(!silent.log().iter().any(|line| line.contains("virtual_host")));
}
