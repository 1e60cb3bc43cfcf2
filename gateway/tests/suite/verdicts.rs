//! Sources that misbehave are shut out for a time, without a classifier too; others notice nothing.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Origin, Response, config, eventually, forward_all, get};

const BAD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

const ROUTES: &str = "virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - { name: slow, match: { path: { exact: /429 } }, respond: { status: 429 } }
      - { name: ok, match: { path: { exact: /ok } }, respond: { status: 200, body: ok } }
";

fn rules(more: &str, rule: &str) -> String {
    config("") + &format!("verdicts:\n{more}  rules:\n    - {rule}\n") + ROUTES
}

const ERRORS: &str = "{ on: 4xx, more_than: 5, within: 10s, for: 1h }";

fn ask(client: &mut Client, path: &str) -> Option<Response> {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
    client.try_receive(false)
}

/// The status of one request from `source`, if it is let in.
fn status(gateway: &Gateway, source: Ipv4Addr, path: &str) -> Option<u16> {
    ask(&mut Client::connect_from(source, gateway.web()), path).map(|response| response.status)
}

fn offend(gateway: &Gateway, source: Ipv4Addr, times: usize) {
    for _ in 0..times {
        assert_eq!(status(gateway, source, "/missing"), Some(404));
    }
}

/// Waits until `source` is shut out: what a request earns is settled just after its response.
fn shut_out(gateway: &Gateway, source: Ipv4Addr) {
    eventually("a verdict", || status(gateway, source, "/ok").is_none().then_some(()));
}

fn verdicts(gateway: &Gateway) -> Vec<serde_json::Value> {
    serde_json::from_str(&get(gateway.admin(), "localhost", "/verdicts").body).unwrap()
}

fn lift(gateway: &Gateway, address: &str) -> u16 {
    let request = format!(
        "DELETE /verdicts/{address} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    );
    Client::connect(gateway.admin()).send(request).receive().status
}

#[test]
fn a_source_that_earns_a_verdict_is_cut_off_and_no_other() {
    let gateway = Gateway::start(&rules("", ERRORS));
    let mut kept = Client::connect_from(BAD, gateway.web());
    let mut other = Client::connect_from(GOOD, gateway.web());
    assert_eq!(ask(&mut kept, "/ok").unwrap().status, 200);
    assert_eq!(ask(&mut other, "/ok").unwrap().status, 200);
    offend(&gateway, BAD, 5);
    assert_eq!(status(&gateway, BAD, "/ok"), Some(200), "five are borne");
    let sixth = Instant::now();
    offend(&gateway, BAD, 1);
    assert!(gateway.logged("verdict").contains("127.0.0.2"), "{:#?}", gateway.log());
    assert_eq!(status(&gateway, BAD, "/ok"), None, "no new connection");
    assert!(ask(&mut kept, "/ok").is_none() && kept.is_closed(), "and the open one is closed");
    assert!(sixth.elapsed() < Duration::from_secs(1), "{:?}", sixth.elapsed());
    assert_eq!(ask(&mut other, "/ok").unwrap().status, 200);
    assert_eq!(status(&gateway, GOOD, "/ok"), Some(200));
    let listed = verdicts(&gateway);
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0]["address"], &listed[0]["reason"]), (&"127.0.0.2".into(), &"4xx".into()));
    let left = listed[0]["seconds_left"].as_f64().unwrap();
    assert!((3_500.0..=3_600.0).contains(&left), "{left}");
    for (sample, value) in [
        ("sallyport_verdicts_total{reason=\"4xx\"}", 1.0),
        ("sallyport_verdicts_total{reason=\"limit\"}", 0.0),
        ("sallyport_verdicts_refused_total{why=\"full\"}", 0.0),
        ("sallyport_verdicts_active", 1.0),
        ("sallyport_verdict_connections_refused_total", 2.0),
    ] {
        gateway.counts(sample, value);
    }
}

#[test]
fn a_verdict_expires_on_time() {
    let rule = ERRORS.replace("1h", "1500ms");
    let gateway = Gateway::start(&rules("", &rule));
    offend(&gateway, BAD, 6);
    let given = Instant::now();
    shut_out(&gateway, BAD);
    eventually("to be let in again", || status(&gateway, BAD, "/ok"));
    let shut_out = given.elapsed();
    assert!(shut_out > Duration::from_millis(1_300), "{shut_out:?}");
    assert!(shut_out < Duration::from_millis(2_500), "{shut_out:?}");
    gateway.counts("sallyport_verdicts_active", 0.0);
    assert!(verdicts(&gateway).is_empty());
}

#[test]
fn a_verdict_can_be_lifted() {
    let gateway = Gateway::start(&rules("", ERRORS));
    offend(&gateway, BAD, 6);
    shut_out(&gateway, BAD);
    assert_eq!(lift(&gateway, "127.0.0.3"), 404);
    assert_eq!(lift(&gateway, "nonsense"), 400);
    assert_eq!(lift(&gateway, "127.0.0.2"), 204);
    assert_eq!(lift(&gateway, "127.0.0.2"), 404);
    assert_eq!(status(&gateway, BAD, "/ok"), Some(200));
    gateway.counts("sallyport_verdicts_active", 0.0);
}

#[test]
fn exempt_sources_and_trusted_proxies_are_never_shut_out() {
    let gateway = Gateway::start(&rules("  exempt: [127.0.0.2/32]\n", ERRORS));
    offend(&gateway, BAD, 20);
    assert_eq!(status(&gateway, BAD, "/ok"), Some(200));
    let refused = "sallyport_verdicts_refused_total{why=\"exempt\"}";
    eventually("a refusal", || (gateway.metric(refused) >= Some(1.0)).then_some(()));
    offend(&gateway, GOOD, 6);
    shut_out(&gateway, GOOD);

    let trusted = rules("", ERRORS)
        .replace("127.0.0.1:0 }\nadmin", "127.0.0.1:0, trusted_proxies: [127.0.0.2] }\nadmin");
    let gateway = Gateway::start(&trusted);
    for _ in 0..20 {
        let mut client = Client::connect_from(BAD, gateway.web());
        client.send("GET /missing HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 127.0.0.3\r\n\r\n");
        assert_eq!(client.receive().status, 404);
    }
    assert!(verdicts(&gateway).is_empty(), "neither the proxy nor whom it names");
}

#[test]
fn there_are_at_most_so_many() {
    let gateway = Gateway::start(&rules("  max: 1\n", ERRORS));
    offend(&gateway, BAD, 6);
    shut_out(&gateway, BAD);
    offend(&gateway, GOOD, 6);
    assert_eq!(status(&gateway, GOOD, "/ok"), Some(200));
    let full = "sallyport_verdicts_refused_total{why=\"full\"}";
    gateway.counts(full, 1.0);
}

#[test]
fn each_rule_counts_its_own() {
    for (rule, request, answer) in [
        (
            "{ on: refused, more_than: 2, within: 10s, for: 1h }",
            "GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            400,
        ),
        (
            "{ on: limit, more_than: 2, within: 10s, for: 1h }",
            "GET /429 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
            429,
        ),
        (
            "{ on: limit, more_than: 2, within: 10s, for: 1h }",
            format!("GET /ok HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(150)),
            431,
        ),
    ] {
        let gateway = Gateway::start(&rules("", rule));
        offend(&gateway, BAD, 5);
        for _ in 0..3 {
            let mut client = Client::connect_from(BAD, gateway.web());
            assert_eq!(client.send(&request).receive().status, answer, "{rule}");
        }
        shut_out(&gateway, BAD);
    }
}

#[test]
fn what_an_origin_answers_counts_too_and_rules_come_with_a_reload() {
    let origin = Origin::start(|_, stream| {
        use std::io::Write;
        stream.write_all(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&yaml);
    for _ in 0..10 {
        assert_eq!(status(&gateway, BAD, "/"), Some(403));
    }
    assert_eq!(gateway.metric("sallyport_verdicts_active"), None);
    gateway.replace(&(yaml + &format!("verdicts:\n  rules:\n    - {ERRORS}\n")));
    for _ in 0..6 {
        assert_eq!(status(&gateway, BAD, "/"), Some(403));
    }
    eventually("a verdict", || status(&gateway, BAD, "/").is_none().then_some(()));
}
