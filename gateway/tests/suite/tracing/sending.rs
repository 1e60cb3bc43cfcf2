//! How spans leave: over both protocols, through reloads, to the end, and to collectors that are
//! not there.

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::collector::{Collector, SERVER, over_http};
use super::{TRACE, ask, gateway, nobody, parent, tracing};
use crate::support::{Client, Gateway, Origin, check, eventually, forward_all};

fn dropped(gateway: &Gateway, reason: &str) -> f64 {
    let sample = format!("sallyport_tracing_spans_dropped_total{{reason=\"{reason}\"}}");
    gateway.metric(&sample).unwrap_or_else(|| panic!("there is no {sample}"))
}

fn requested(gateway: &Gateway, count: usize) {
    let mut client = Client::connect(gateway.web());
    for _ in 0..count {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 200);
    }
}

#[test]
fn spans_leave_over_http_as_well() {
    let origin = Origin::named("a");
    for path in ["", "/v1/traces"] {
        let (collector, taken) = over_http();
        let protocol = if path.is_empty() { ", protocol: http" } else { "" };
        let yaml = forward_all(&[origin.address])
            + &format!(
                "tracing: {{ otlp: {{ url: \"http://{}{path}\"{protocol}, headers: {{ x-key: k }}, \
                 resource: {{ service.name: edge, zone: z }} }} }}\n",
                collector.address
            );
        let gateway = Gateway::start(&yaml);
        ask(&gateway, "/", &[&parent("01")]);
        let spans = taken.trace(TRACE);
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[0].resource["service.name"], "edge");
        assert_eq!(spans[0].resource["zone"], "z");
        assert_eq!(collector.last().fields("x-key"), ["k"]);
        gateway.counts("sallyport_tracing_spans_exported_total", 2.0);
    }
}

#[test]
fn headers_are_metadata_over_grpc() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let yaml = forward_all(&[origin.address])
        + &format!(
            "tracing: {{ otlp: {{ url: \"{}\", headers: {{ authorization: Bearer t }} }} }}\n",
            collector.url()
        );
    let gateway = Gateway::start(&yaml);
    ask(&gateway, "/", &[]);
    collector.taken.servers(1);
    assert_eq!(collector.metadata.lock().unwrap().get("authorization").unwrap(), "Bearer t");
    let shown = gateway.config_view()["effective"]["tracing"].to_string();
    assert!(shown.contains("<secret>") && !shown.contains("Bearer"), "{shown}");
}

#[test]
fn a_dead_collector_costs_spans_and_no_request() {
    let origin = Origin::named("a");
    let (_held, address) = nobody();
    let gateway = gateway(&origin, &format!("http://{address}"), "  queue: 10\n");
    requested(&gateway, 2_000);
    assert!(dropped(&gateway, "queue_full") > 0.0);
    eventually("a failure", || {
        (gateway.metric("sallyport_tracing_export_failures_total")? > 0.0).then_some(())
    });
    gateway.logged("tracing: cannot deliver");
    // All of them are somewhere: two spans each.
    let all = || {
        let lost: f64 = ["queue_full", "failed", "refused", "ended"]
            .map(|it| dropped(&gateway, it))
            .iter()
            .sum();
        let waiting = gateway.metric("sallyport_tracing_spans_waiting").unwrap();
        assert!(waiting <= 20.0, "{waiting}");
        lost
    };
    eventually("all but what waits or is being sent", || {
        (all() >= 4_000.0 - 20.0 - 512.0).then_some(())
    });
}

#[test]
fn a_silent_collector_does_not_hold_up_the_end() {
    let origin = Origin::named("a");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let mut gateway = gateway(&origin, &url, "");
    requested(&gateway, 5);
    let began = Instant::now();
    gateway.signal("-TERM");
    assert!(gateway.wait().success());
    // Three seconds for the spans, and what a loaded machine takes.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}

#[test]
fn what_waits_is_sent_at_the_end() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let mut gateway = gateway(&origin, &collector.url(), "");
    requested(&gateway, 20);
    gateway.signal("-TERM");
    assert!(gateway.wait().success());
    let servers = collector.taken.all().iter().filter(|span| span.kind == SERVER).count();
    assert_eq!(servers, 20);
}

#[test]
fn what_the_collector_refuses_is_counted() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    collector.refuses.store(true, Ordering::Relaxed);
    let gateway = gateway(&origin, &collector.url(), "");
    requested(&gateway, 3);
    gateway.counts("sallyport_tracing_spans_dropped_total{reason=\"refused\"}", 6.0);
    assert_eq!(gateway.metric("sallyport_tracing_spans_exported_total"), Some(0.0));
    collector.refuses.store(false, Ordering::Relaxed);
    requested(&gateway, 2);
    gateway.counts("sallyport_tracing_spans_exported_total", 4.0);
}

#[test]
fn a_reload_adds_changes_and_removes_it() {
    let (origin, one, other) = (Origin::named("a"), Collector::start(), Collector::start());
    let base = forward_all(&[origin.address]);
    let to = |collector: &Collector, more: &str| base.clone() + &tracing(&collector.url(), more);
    let gateway = Gateway::start(&base);
    requested(&gateway, 1);
    assert_eq!(origin.last().fields("traceparent"), [] as [&str; 0]);
    gateway.replace(&to(&one, ""));
    requested(&gateway, 2);
    one.taken.servers(2);
    gateway.replace(&to(&other, "  queue: 8\n"));
    requested(&gateway, 3);
    other.taken.servers(3);
    gateway.replace(&to(&other, "  queue: 8\n  sample: 0%\n"));
    requested(&gateway, 1);
    assert!(origin.last().fields("traceparent")[0].ends_with("-00"));
    gateway.replace(&base);
    requested(&gateway, 1);
    assert_eq!(origin.last().fields("traceparent"), [] as [&str; 0]);
    gateway.replace(&to(&one, ""));
    requested(&gateway, 4);
    one.taken.servers(6);
    let count = |collector: &Collector| {
        collector.taken.all().iter().filter(|span| span.kind == SERVER).count()
    };
    assert_eq!((count(&one), count(&other)), (6, 3));
}

#[test]
fn a_collector_that_comes_back_is_delivered_to() {
    let origin = Origin::named("a");
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let gateway = {
        // Connections are taken by the kernel and never by anybody, until they are reset.
        let gateway = Gateway::start(
            &(forward_all(&[origin.address])
                + &format!(
                    "tracing: {{ otlp: {{ url: \"http://{address}\", timeout: 300ms }} }}\n"
                )),
        );
        requested(&gateway, 1);
        eventually("a failure", || {
            (gateway.metric("sallyport_tracing_export_failures_total")? > 0.0).then_some(())
        });
        gateway
    };
    let collector = Collector::start_on(socket);
    eventually("spans", || {
        requested(&gateway, 1);
        (!collector.taken.all().is_empty()).then_some(())
    });
    gateway.logged("tracing: delivers again");
}

#[test]
fn mistakes_are_told_with_what_to_write() {
    let base = forward_all(&["127.0.0.1:1".parse().unwrap()]);
    let said = |yaml: String| {
        let output = check(&yaml);
        assert_eq!(output.status.code(), Some(78), "{yaml}");
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    let otlp = "otlp: { url: \"http://c:4317\" }";
    for (section, expected) in [
        ("tracing: {}", "tracing: has no `otlp`"),
        ("tracing: { otlp: {} }", "tracing.otlp: has no `url`"),
        ("tracing: { otlp: { url: c:4317 } }", "write http://HOST:PORT/PATH"),
        (
            &format!("tracing: {{ {otlp}, sample: 1 }}"),
            "tracing.sample: is 1, which is no share, write a share from 0%",
        ),
        (&format!("tracing: {{ {otlp}, sample: 101% }}"), "such as 1% or 0.1%"),
        (
            &format!("tracing: {{ {otlp}, trust: all }}"),
            "write everyone, trusted_proxies or nobody",
        ),
        (&format!("tracing: {{ {otlp}, queue: 0 }}"), "tracing.queue: is 0"),
        (&format!("tracing: {{ {otlp}, exporter: zipkin }}"), "unknown key `exporter`"),
    ] {
        let text = said(format!("{base}{section}\n"));
        assert!(text.contains(expected), "{section}: {text}");
    }
    // Without a receiver a share of a route has no effect.
    let route = base.replace("name: everything,", "name: everything, tracing: { sample: 5% },");
    let text = said(route.clone());
    assert!(text.contains("routes[0].tracing: has no effect"), "{text}");
    assert!(check(&(route + &tracing("http://c:4317", ""))).status.success());
}
