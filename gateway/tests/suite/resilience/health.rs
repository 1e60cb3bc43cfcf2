//! Health checks: what is asked, what becomes of what they find, and when that is overruled.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::attempts::nobody;
use crate::support::{Client, Gateway, Origin, config, eventually, forward_all, get};

/// Probes often, and lets what they find decide whatever the others are.
const STRICT: &str = "interval: 10ms, timeout: 5s, healthy: 1, unhealthy: 1 }\n    outlier_detection: { panic_below: 0% }\n";

fn with_health_check(yaml: &str, keys: &str) -> String {
    yaml.replace("  - name: up\n", &format!("  - name: up\n    health_check: {{ {keys}"))
}

fn status(stream: &mut std::net::TcpStream, status: &str) -> bool {
    stream.write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes()).is_ok()
}

/// Answers `/wrong` with 404 and everything else with 200.
fn origin_without_wrong() -> Origin {
    Origin::start(|request, stream| {
        let wrong = request.request_line().contains("/wrong");
        status(stream, if wrong { "404 Not Found" } else { "200 OK" })
    })
}

fn asked(origin: &Origin, path: &str) -> usize {
    let requests = origin.requests();
    requests.iter().filter(|request| request.request_line().contains(path)).count()
}

fn upstream_view(gateway: &Gateway) -> serde_json::Value {
    let upstreams = get(gateway.admin(), "localhost", "/upstreams").body;
    serde_json::from_str::<serde_json::Value>(&upstreams).unwrap()[0].clone()
}

#[test]
fn probes_end_with_their_configuration() {
    let origin = origin_without_wrong();
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&with_health_check(&yaml, &format!("path: /wrong, {STRICT}")));
    // Begins under this configuration, and holds it for as long as it lasts.
    let mut old = Client::connect(gateway.web());
    old.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n");
    eventually("503", || (get(gateway.web(), "a", "/").status == 503).then_some(()));
    gateway.replace(&yaml);
    let asked_before = asked(&origin, "/wrong");
    let mut client = Client::connect(gateway.web());
    for _ in 0..300 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 200);
    }
    // One may have been under way.
    assert!(asked(&origin, "/wrong") <= asked_before + 1);
    drop(old);
}

#[test]
fn a_corrected_probe_decides_alone() {
    let origin = origin_without_wrong();
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&with_health_check(&yaml, &format!("path: /wrong, {STRICT}")));
    eventually("503", || (get(gateway.web(), "a", "/").status == 503).then_some(()));
    gateway.replace(&with_health_check(&yaml, &format!("path: /right, {STRICT}")));
    let mut client = Client::connect(gateway.web());
    eventually("a few more probes", || {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 200);
        (asked(&origin, "/right") > 20).then_some(())
    });
}

#[test]
fn what_a_probe_found_outlives_an_edit_of_anything_else() {
    let origin = origin_without_wrong();
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&with_health_check(&yaml, &format!("path: /wrong, {STRICT}")));
    eventually("503", || (get(gateway.web(), "a", "/").status == 503).then_some(()));
    let seldom = STRICT.replace("10ms", "1h").replace("unhealthy: 1", "unhealthy: 3");
    gateway.replace(&with_health_check(&yaml, &format!("path: /wrong, {seldom}")));
    assert_eq!(get(gateway.web(), "a", "/").status, 503);
    assert_eq!(upstream_view(&gateway)["endpoints"][0]["healthy"], false);
}

#[test]
fn success_and_redirects_are_healthy_and_the_host_is_the_endpoints_address() {
    for answer in ["200 OK", "204 No Content", "301 Moved Permanently"] {
        let origin = Origin::start(move |_, stream| status(stream, answer));
        let yaml = forward_all(&[origin.address]);
        let gateway = Gateway::start(&with_health_check(&yaml, &format!("path: /h, {STRICT}")));
        eventually("probes", || (asked(&origin, "GET /h ") > 3).then_some(()));
        assert_eq!(origin.last().fields("host"), [origin.address.to_string()]);
        assert_eq!(upstream_view(&gateway)["healthy"], 1, "{answer}");
    }
}

#[test]
fn a_probe_asks_and_expects_what_it_is_told_to() {
    let origin = Origin::start(|request, stream| {
        let found = request.request_line().starts_with("HEAD /h?full ")
            && request.fields("host") == ["api.internal"];
        status(stream, if found { "418 Teapot" } else { "200 OK" })
    });
    let yaml = forward_all(&[origin.address]);
    let asks = |expected: &str| {
        let http = format!("path: /h?full, host: api.internal, method: HEAD, status: {expected}");
        with_health_check(&yaml, &format!("http: {{ {http} }}, {STRICT}"))
    };
    let gateway = Gateway::start(&asks("[200, 410-420]"));
    eventually("probes", || (asked(&origin, "HEAD /h?full ") > 3).then_some(()));
    assert_eq!(upstream_view(&gateway)["healthy"], 1);
    gateway.replace(&asks("200-399"));
    eventually("the other verdict", || (upstream_view(&gateway)["healthy"] == 0).then_some(()));
}

#[test]
fn why_a_probe_failed_is_in_the_log_and_in_upstreams() {
    let failing = Origin::start(|_, stream| status(stream, "500 No"));
    let mute = Origin::start(|_, _| false);
    for (address, keys, reason) in [
        (failing.address, "path: /", "status 500, expected 200-399"),
        (mute.address, "path: /", "the connection was closed without an answer"),
        (nobody(), "tcp: {}", "no connection: Connection refused"),
    ] {
        let yaml = with_health_check(&forward_all(&[address]), &format!("{keys}, {STRICT}"));
        let gateway = Gateway::start(&yaml);
        let line = gateway.logged("endpoint found unhealthy");
        assert!(line.contains(reason) && line.contains(&address.to_string()), "{line}");
        let view = upstream_view(&gateway);
        let shown = view["endpoints"][0]["reason"].as_str().unwrap();
        assert!(shown.contains(reason), "{shown}");
    }
}

#[test]
fn below_half_healthy_all_endpoints_are_used() {
    let sick = ["a", "b"].map(|name| {
        Origin::start(move |request, stream| {
            let probe = request.request_line().contains("/healthz");
            let status = if probe { "500 No" } else { "200 OK" };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: 1\r\n\r\n{name}");
            stream.write_all(head.as_bytes()).is_ok()
        })
    });
    let well = Origin::named("c");
    let yaml = forward_all(&[sick[0].address, sick[1].address, well.address]);
    let probing = "path: /healthz, interval: 10ms, timeout: 5s, unhealthy: 1 }\n";
    let gateway = Gateway::start(&with_health_check(&yaml, probing));
    let view = eventually("two to be found unhealthy", || {
        Some(upstream_view(&gateway)).filter(|view| view["healthy"] == 1)
    });
    assert_eq!(view["panicking"], true);
    gateway.logged("too few endpoints are healthy");
    let spread = |gateway: &Gateway| {
        let mut client = Client::connect(gateway.web());
        let mut names: Vec<_> = (0..12)
            .map(|_| {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                client.receive().body
            })
            .collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(spread(&gateway), ["a", "b", "c"]);
    // One of three is a third: below 30 % there would be no reason yet.
    let patient = format!("{probing}    outlier_detection: {{ panic_below: 30% }}\n");
    gateway.replace(&with_health_check(&yaml, &patient));
    assert_eq!(spread(&gateway), ["c"]);
}

#[test]
fn the_share_of_an_unhealthy_upstream_goes_to_the_others() {
    let healthy = Arc::new(AtomicBool::new(true));
    let state = healthy.clone();
    let a = Origin::start(move |request, stream| {
        let sick = request.request_line().contains("/healthz") && !state.load(Ordering::Relaxed);
        status(stream, if sick { "503 No" } else { "202 Accepted" })
    });
    let b = Origin::named("b");
    let yaml = |failover: &str| {
        config(&format!(
            "upstreams:
  - name: a
    endpoints: [ {{ address: \"{}\" }} ]
    health_check: {{ path: /healthz, interval: 10ms, timeout: 5s, healthy: 1, unhealthy: 1 }}
    outlier_detection: {{ panic_below: 0% }}
  - {{ name: b, endpoints: [ {{ address: \"{}\" }} ] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - name: r
        forward: {{ split: [ {{ upstream: a, weight: 50 }}, {{ upstream: b, weight: 50 }} ]{failover} }}
",
            a.address, b.address
        ))
    };
    let gateway = Gateway::start(&yaml(""));
    // A connection each: what is refused may close it.
    let statuses = |gateway: &Gateway| {
        let mut statuses: Vec<_> = (0..64).map(|_| get(gateway.web(), "a", "/").status).collect();
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    };
    // Not both: once in 2^63 times.
    assert_eq!(statuses(&gateway), [200, 202]);
    healthy.store(false, Ordering::Relaxed);
    eventually("a to be unhealthy", || (upstream_view(&gateway)["healthy"] == 0).then_some(()));
    assert_eq!(statuses(&gateway), [200]);
    gateway.replace(&yaml(", failover: false"));
    assert_eq!(statuses(&gateway), [200, 503]);
    gateway.replace(&yaml(", failover: true"));
    healthy.store(true, Ordering::Relaxed);
    eventually("a to be back", || (statuses(&gateway) == [200, 202]).then_some(()));
}

#[test]
fn probes_and_readiness_do_not_wait_behind_scrapes() {
    const ROUTES: usize = 2_000;
    let origin = Origin::named("a");
    let mut yaml = with_health_check(
        &forward_all(&[origin.address]),
        "path: /, interval: 20ms, timeout: 1s, healthy: 1, unhealthy: 1 }\n",
    );
    yaml += "  - name: many\n    domains: [many]\n    routes:\n";
    for index in 0..ROUTES {
        yaml += &format!(
            "      - {{ name: r{index}, match: {{ path: {{ exact: /{index} }} }}, respond: {{ status: 200 }} }}\n"
        );
    }
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    for index in 0..ROUTES {
        client.send(format!("GET /{index} HTTP/1.1\r\nHost: many\r\n\r\n"));
        assert_eq!(client.receive().status, 200);
    }
    let admin = gateway.admin();
    let scrapes = [(); 3].map(|()| {
        std::thread::spawn(move || (0..3).for_each(|_| drop(get(admin, "localhost", "/metrics"))))
    });
    while scrapes.iter().any(|scrape| !scrape.is_finished()) {
        assert_eq!(get(admin, "localhost", "/healthz").status, 200);
    }
    let unhealthy = gateway.log().into_iter().find(|line| line.contains("found unhealthy"));
    assert_eq!(unhealthy, None);
}
