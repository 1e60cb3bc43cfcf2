//! What a filter may do, through a gateway with a filter that does it: `examples/probe.rs`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::http2::{Dribble, dribble_h2, dribble_http1};
use crate::support::{Client, Gateway, Origin, Response, get, request};

/// The probe's gateway is built with the tests and lies beside the binary under test.
fn probe() -> Command {
    let binary = Path::new(env!("CARGO_BIN_EXE_sallyport"));
    Command::new(binary.with_file_name("examples").join("probe"))
}

/// Everything to these origins, past a probe that is so configured.
fn gateway(settings: &str, origins: &[&Origin]) -> Gateway {
    gateway_within("24h", "24h", settings, origins)
}

/// As [`gateway`], with the listener's `read` timeout and the route's own.
fn gateway_within(read: &str, timeout: &str, settings: &str, origins: &[&Origin]) -> Gateway {
    let endpoints: Vec<String> =
        origins.iter().map(|origin| format!("{{ address: \"{}\" }}", origin.address)).collect();
    let yaml = format!(
        "listeners:
  - {{ name: web, address: 127.0.0.1:0, h2c: true, timeouts: {{ read: {read} }} }}
admin: {{ address: 127.0.0.1:0 }}
upstreams:
  - {{ name: up, endpoints: [{}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - {{ name: own, match: {{ path: {{ prefix: /own }} }}, filters: [{{ probe: {settings} }}], respond: {{ status: 200, body: own }} }}
      - {{ name: up, filters: [{{ probe: {settings} }}], forward: {{ upstream: up, timeout: {timeout} }} }}
",
        endpoints.join(", ")
    );
    Gateway::start_with(&yaml, probe())
}

fn post(gateway: &Gateway, body: &str) -> Response {
    let bytes = body.len();
    let head =
        format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {bytes}");
    request(gateway.web(), &format!("{head}\r\n\r\n{body}"))
}

#[test]
fn a_body_may_change_its_length_both_ways() {
    let origin = Origin::named("one");
    let gateway = gateway("{ double: true }", &[&origin]);
    let response = post(&gateway, "abc");
    assert_eq!(response.body, "oonnee");
    assert_eq!(response.field("transfer-encoding").as_deref(), Some("chunked"));
    let got = origin.last();
    assert_eq!(got.body, b"aabbcc");
    assert!(got.fields("content-length").is_empty(), "{got:?}");

    let own = get(gateway.web(), "a", "/own");
    assert_eq!((own.body.as_str(), own.field("content-length").as_deref()), ("oowwnn", Some("6")));

    let head = "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let head = Client::connect(gateway.web()).send(head).try_receive(true).unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));

    let old = request(gateway.web(), "GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    assert_eq!((old.body.as_str(), old.field("transfer-encoding")), ("oonnee", None));
}

#[test]
fn large_bodies_stream_through_a_filter() {
    let origin = Origin::named("one");
    let gateway = gateway("{ double: true }", &[&origin]);
    let body = "0123456789abcdef".repeat(64 << 10);
    assert_eq!(post(&gateway, &body).status, 200);
    let got = origin.last().body;
    assert_eq!(got.len(), 2 * body.len());
    assert!(got.chunks(2).zip(body.bytes()).all(|(pair, byte)| pair == [byte, byte]));
}

#[test]
fn a_head_may_wait_for_its_body_up_to_a_limit() {
    let origin = Origin::named("one");
    let gateway = gateway("{ hold: true, double: true }", &[&origin]);
    assert_eq!(post(&gateway, "abc").status, 200);
    let got = origin.last();
    assert_eq!(
        (got.body.as_slice(), got.fields("x-body-bytes")),
        (&b"aabbcc"[..], vec!["6".into()])
    );
    assert_eq!(post(&gateway, &"x".repeat(60 << 10)).status, 200);
    assert_eq!(origin.last().body.len(), 120 << 10);
    let large = post(&gateway, &"x".repeat(65 << 10));
    assert_eq!((large.status, large.error().as_deref()), (413, Some("body_too_large")));
    let bodiless = get(gateway.web(), "a", "/");
    assert_eq!((bodiless.status, origin.last().fields("x-body-bytes")), (200, Vec::new()));
    assert_eq!(origin.requests().len(), 3);
}

#[test]
fn a_held_body_is_bounded_in_time_as_any_other() {
    let origin = Origin::named("one");
    let hold = "{ hold: true }";
    for (read, timeout, pause, status) in
        [("500ms", "24h", 3_600_000, 408), ("24h", "500ms", 100, 504), ("500ms", "5s", 60_000, 408)]
    {
        let gateway = gateway_within(read, timeout, hold, &[&origin]);
        let pause = Duration::from_millis(pause);
        for (protocol, dribble) in [("h2", dribble_h2 as Dribble), ("HTTP/1", dribble_http1)] {
            let (found, elapsed) = dribble(gateway.web(), pause);
            assert_eq!(found, status, "{protocol}, read {read}, timeout {timeout}");
            assert!(elapsed < Duration::from_millis(1_500), "{elapsed:?}");
        }
    }
    assert_eq!(origin.requests().len(), 0);
}

#[test]
fn a_filter_may_answer_in_any_phase() {
    for phase in ["request_headers", "wait", "request_body", "response_headers"] {
        let origin = Origin::named("one");
        let settings = format!("{{ answer_in: {phase}, wait: {} }}", phase == "wait");
        let gateway = gateway(&settings, &[&origin]);
        let response = post(&gateway, "abc");
        let said = (response.status, response.error(), response.body.as_str());
        assert_eq!(said, (418, Some("probe".into()), "probe: as configured\n"), "{phase}");
        assert_eq!(origin.requests().len(), usize::from(phase == "response_headers"), "{phase}");
        gateway.counts("sallyport_filter_answers_total{filter=\"probe\",reason=\"probe\"}", 1.0);
        let route = "sallyport_route_errors_total{virtual_host=\"all\",route=\"up\",kind=\"4xx\"}";
        gateway.counts(route, 1.0);
    }
}

#[test]
fn a_filter_may_wait() {
    let origin = Origin::named("one");
    let gateway = gateway("{ wait: true }", &[&origin]);
    assert_eq!(get(gateway.web(), "a", "/").status, 200);
    assert_eq!(origin.last().fields("x-waited"), ["yes"]);
}

#[test]
fn a_filter_may_choose_the_endpoint() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let gateway = gateway(&format!("{{ endpoint: \"{}\" }}", two.address), &[&one, &two]);
    for _ in 0..6 {
        assert_eq!(get(gateway.web(), "a", "/").body, "two");
    }
    let elsewhere = Origin::named("three");
    let gateway = self::gateway(&format!("{{ endpoint: \"{}\" }}", elsewhere.address), &[&one]);
    assert_eq!(get(gateway.web(), "a", "/").body, "one", "only the upstream's own endpoints");
}

#[test]
fn a_filter_may_ask_for_a_verdict() {
    let origin = Origin::named("one");
    let gateway = gateway("{ verdict: 1h }", &[&origin]);
    assert_eq!(get(gateway.web(), "a", "/").status, 200);
    let verdicts = get(gateway.admin(), "localhost", "/verdicts").body;
    assert!(verdicts.contains("127.0.0.1") && verdicts.contains("plugin"), "{verdicts}");
    assert!(Client::connect(gateway.web()).is_closed());
}

#[test]
fn labels_are_counted_and_bounded() {
    let origin = Origin::named("one");
    let gateway = gateway("{ label: x-plan }", &[&origin]);
    let mut client = Client::connect(gateway.web());
    let mut ask = |plan: &str| {
        client.send(format!("GET /own HTTP/1.1\r\nHost: a\r\nX-Plan: {plan}\r\n\r\n"));
        assert_eq!(client.receive().status, 200);
    };
    ask("gold");
    ask("gold");
    for plan in 0..10_005 {
        ask(&plan.to_string());
    }
    for (value, count) in [("gold", 2.0), ("other", 6.0)] {
        let labels = format!("label=\"probe\",value=\"{value}\"");
        let own = "sallyport_route_labels_total{virtual_host=\"all\",route=\"own\"";
        gateway.counts(&format!("{own},{labels}}}"), count);
    }
}

/// A route whose own filters have seen the origin's response when one of the listener's replaces it.
fn replaced(filters: &str, upstreams: &str, origin: &Origin) -> Response {
    let yaml = format!(
        "listeners:
  - {{ name: web, address: 127.0.0.1:0, filters: [{{ probe: {{ answer_in: response_headers }} }}] }}
admin: {{ address: 127.0.0.1:0 }}
upstreams:
  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}
{upstreams}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes: [{{ name: up, filters: [{filters}], forward: {{ upstream: up }} }}]
",
        origin.address
    );
    let gateway = Gateway::start_with(&yaml, probe());
    let head = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n";
    request(gateway.web(), head)
}

#[test]
fn a_replaced_response_leaves_no_coding_to_the_one_in_its_place() {
    let origin = Origin::start(|_, stream| {
        let (kind, body) = ("Content-Type: text/plain", "compressible ".repeat(200));
        let head = format!("HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\n\r\n", body.len());
        std::io::Write::write_all(stream, format!("{head}{body}").as_bytes()).is_ok()
    });
    let response = replaced("{ compression: {} }", "", &origin);
    let said = (response.status, response.field("content-encoding"), response.body.as_str());
    assert_eq!(said, (418, None, "probe: as configured\n"));
}

#[test]
fn a_replaced_response_passes_its_fields_to_the_one_in_its_place() {
    let origin = Origin::named("one");
    let asked = Origin::start(|_, stream| {
        let reply = "HTTP/1.1 200 OK\r\nX-Session: ann\r\nContent-Length: 0\r\n\r\n";
        std::io::Write::write_all(stream, reply.as_bytes()).is_ok()
    });
    let filters =
        "{ external_auth: { upstream: auth, path: /check, response_headers: [x-session] } }";
    let upstreams =
        format!("  - {{ name: auth, endpoints: [{{ address: \"{}\" }}] }}", asked.address);
    let response = replaced(filters, &upstreams, &origin);
    assert_eq!((response.status, response.fields("x-session")), (418, vec!["ann".to_owned()]));
}
