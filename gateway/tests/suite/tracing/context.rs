//! Which trace a request belongs to, whether it is recorded, and what its origin is told of that.

use super::collector::{Collector, SERVER};
use super::{CALLER, TRACE, ask, gateway, parent, told};
use crate::support::{Gateway, Origin, config, forward_all};

#[test]
fn the_caller_decides_and_its_state_goes_on() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let gateway = gateway(&origin, &collector.url(), "  sample: 0%\n");
    ask(&gateway, "/no", &[&parent("00"), "tracestate: a=1"]);
    let (trace, span, flags) = told(&origin);
    assert_eq!((&*trace, &*flags), (TRACE, "00"));
    assert_ne!(span, CALLER);
    ask(&gateway, "/yes", &[&parent("01"), "tracestate: a=1", "tracestate: b=2"]);
    let (trace, span, flags) = told(&origin);
    assert_eq!((&*trace, &*flags), (TRACE, "01"));
    assert_eq!(origin.last().fields("tracestate").join(","), "a=1,b=2");

    let spans = collector.taken.trace(TRACE);
    let server = spans.iter().find(|span| span.kind == SERVER).unwrap();
    assert_eq!((&*server.parent_id, server.at("url.path")), (CALLER, "/yes"));
    assert_eq!((&*server.state, server.flags & 0x300), ("a=1,b=2", 0x300));
    let attempt = spans.iter().find(|seen| seen.span_id == span).expect("the origin's caller");
    assert_eq!((&attempt.parent_id, attempt.flags & 0x300), (&server.span_id, 0x100));
    assert_eq!(spans.len(), 2, "the request that is not recorded has none: {spans:?}");
}

#[test]
fn what_cannot_be_read_begins_a_trace() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let gateway = gateway(&origin, &collector.url(), "");
    let good = parent("01");
    for fields in [
        &["traceparent: what", "tracestate: a=1"][..],
        &[
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "tracestate: a=1",
        ],
        &[&*good, &*good, "tracestate: a=1"],
        &["tracestate: a=1"],
        &[],
    ] {
        ask(&gateway, "/", fields);
        let (trace, _, flags) = told(&origin);
        assert_ne!(trace, TRACE, "{fields:?}");
        assert_eq!(flags, "01");
        assert_eq!(origin.last().fields("tracestate"), [] as [&str; 0], "{fields:?}");
        let spans = collector.taken.trace(&trace);
        let server = spans.iter().find(|span| span.kind == SERVER).unwrap();
        assert_eq!((&*server.parent_id, &*server.state), ("", ""));
    }
}

#[test]
fn without_tracing_the_fields_are_not_ours() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    ask(&gateway, "/", &[&parent("01"), "tracestate: a=1", "b3: 0"]);
    assert_eq!(origin.last().fields("traceparent").join(""), parent("01")["traceparent: ".len()..]);
    assert_eq!(origin.last().fields("tracestate"), ["a=1"]);
    assert_eq!(origin.last().fields("b3"), ["0"]);
    ask(&gateway, "/", &["traceparent: what"]);
    assert_eq!(origin.last().fields("traceparent"), ["what"]);
    assert_eq!(gateway.metric("sallyport_tracing_spans_exported_total"), None);
}

#[test]
fn b3_is_read_and_goes_on_as_it_came() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let gateway = gateway(&origin, &collector.url(), "  sample: 0%\n");
    let caller = "e457b5a2e4d86bd1";
    let single = |trace: &str| format!("b3: {trace}-{caller}-1-05e3ac9a4f6e3b90");
    let short = "64fe8b2a57d3eff7";
    let padded = format!("{}{short}", "0".repeat(16));
    for (sent, expected) in [("80f198ee56343ba864fe8b2a57d3eff7", None), (short, Some(&*padded))] {
        let expected = expected.unwrap_or(sent);
        ask(&gateway, "/", &[&single(sent)]);
        let (trace, span, flags) = told(&origin);
        assert_eq!((&*trace, &*flags), (expected, "01"));
        assert_eq!(origin.last().fields("b3"), [format!("{trace}-{span}-1")]);
        let spans = collector.taken.trace(expected);
        let server = spans.iter().find(|span| span.kind == SERVER).unwrap();
        assert_eq!(server.parent_id, caller);
    }

    let trace = "90f198ee56343ba864fe8b2a57d3eff7";
    let ids = [format!("X-B3-TraceId: {trace}"), format!("X-B3-SpanId: {caller}")];
    ask(
        &gateway,
        "/",
        &[&ids[0], &ids[1], "X-B3-Sampled: 1", "X-B3-ParentSpanId: 05e3ac9a4f6e3b90"],
    );
    let (told_trace, span, flags) = told(&origin);
    assert_eq!((&*told_trace, &*flags), (trace, "01"));
    assert_eq!(origin.last().fields("x-b3-traceid"), [trace]);
    assert_eq!(origin.last().fields("x-b3-spanid"), [&*span]);
    assert_eq!(origin.last().fields("x-b3-sampled"), ["1"]);
    assert_eq!(origin.last().fields("x-b3-parentspanid"), [] as [&str; 0]);
    let spans = collector.taken.trace(trace);
    assert_eq!(spans.iter().find(|span| span.kind == SERVER).unwrap().parent_id, caller);

    // A decision without a trace, and W3C's fields before Zipkin's.
    ask(&gateway, "/", &["b3: 1"]);
    assert_eq!(told(&origin).2, "01");
    ask(&gateway, "/", &["X-B3-Flags: 1"]);
    assert_eq!(told(&origin).2, "01");
    ask(&gateway, "/", &["b3: 0"]);
    assert_eq!(told(&origin).2, "00");
    ask(&gateway, "/", &[&parent("00"), &ids[0], &ids[1], "X-B3-Sampled: 1"]);
    let (told_trace, span, flags) = told(&origin);
    assert_eq!((&*told_trace, &*flags), (TRACE, "00"));
    assert_eq!(origin.last().fields("x-b3-traceid"), [TRACE]);
    assert_eq!(origin.last().fields("x-b3-spanid"), [span]);
}

#[test]
fn whose_context_is_taken_is_said() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let base = forward_all(&[origin.address]);
    let trusting = |trust: &str, proxies: &str| {
        let proxies = format!("address: 127.0.0.1:0, trusted_proxies: [{proxies}] }}\n");
        let base = base.replacen("address: 127.0.0.1:0 }\n", &proxies, 1);
        base + &super::tracing(&collector.url(), &format!("  trust: {trust}\n"))
    };
    for (trust, proxies, is_taken) in [
        ("everyone", "10.0.0.0/8", true),
        ("trusted_proxies", "10.0.0.0/8", false),
        ("trusted_proxies", "127.0.0.0/8", true),
        ("nobody", "127.0.0.0/8", false),
    ] {
        let gateway = Gateway::start(&trusting(trust, proxies));
        let b3 = format!("b3: {TRACE}-{CALLER}-0");
        ask(&gateway, "/", &[&parent("01"), "tracestate: a=1", &b3, "X-B3-Sampled: 0"]);
        let (trace, ..) = told(&origin);
        assert_eq!(trace == TRACE, is_taken, "{trust} {proxies}");
        let last = origin.last();
        assert_eq!(last.fields("tracestate").is_empty(), !is_taken);
        assert_eq!(last.fields("b3").is_empty(), !is_taken);
        assert_eq!(last.fields("x-b3-sampled"), [] as [&str; 0]);
    }
}

#[test]
fn routes_and_virtual_hosts_have_rates_of_their_own() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let yaml = config(&format!(
        "tracing: {{ otlp: {{ url: \"{}\" }}, sample: 0% }}
upstreams: [{{ name: up, endpoints: [{{ address: \"{}\" }}] }}]
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - {{ name: seen, match: {{ path: {{ prefix: /seen }} }}, tracing: {{ sample: 100% }}, forward: {{ upstream: up }} }}
      - {{ name: rest, forward: {{ upstream: up }} }}
  - name: watched
    domains: [a]
    tracing: {{ sample: 100.0% }}
    routes:
      - {{ name: unseen, match: {{ path: {{ prefix: /unseen }} }}, tracing: {{ sample: 0% }}, forward: {{ upstream: up }} }}
      - {{ name: others, match: {{ path: {{ prefix: /other }} }}, forward: {{ upstream: up }} }}
",
        collector.url(),
        origin.address
    ));
    let gateway = Gateway::start(&yaml);
    let asked = |host: &str, path: &str| {
        crate::support::get(gateway.web(), host, path);
        told(&origin).2
    };
    assert_eq!(asked("b", "/seen"), "01");
    assert_eq!(asked("b", "/x"), "00");
    assert_eq!(asked("a", "/unseen"), "00");
    assert_eq!(asked("a", "/other"), "01");
    // Of no route, but of a virtual host.
    assert_eq!(crate::support::get(gateway.web(), "a", "/nowhere").status, 404);
    let spans = collector.taken.servers(3);
    let mut paths: Vec<_> =
        spans.iter().filter(|span| span.kind == SERVER).map(|span| span.at("url.path")).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/nowhere", "/other", "/seen"]);
}

#[test]
fn a_share_of_the_requests_is_that_share() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let gateway = gateway(&origin, &collector.url(), "  sample: 25%\n");
    let mut client = crate::support::Client::connect(gateway.web());
    const REQUESTED: usize = 1_000;
    for _ in 0..REQUESTED {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 200);
    }
    let told: Vec<String> =
        origin.requests().iter().flat_map(|request| request.fields("traceparent")).collect();
    assert_eq!(told.len(), REQUESTED);
    let sampled = told.iter().filter(|field| field.ends_with("-01")).count();
    // Seven standard deviations of 13.7.
    assert!((150..350).contains(&sampled), "{sampled}");
    collector.taken.servers(sampled);
}
