//! What spans say.

use std::io::Write as _;

use super::collector::{CLIENT, Collector, SERVER, Seen};
use super::{TRACE, ask, gateway, nobody, parent, told, tracing};
use crate::support::{Gateway, Origin, config, eventually, forward_all, get, request};

fn only(spans: &[Seen], kind: i32) -> &Seen {
    let found: Vec<_> = spans.iter().filter(|span| span.kind == kind).collect();
    assert_eq!(found.len(), 1, "{spans:#?}");
    found[0]
}

#[test]
fn a_request_and_its_attempt_are_told_by_the_conventions_names() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let gateway = gateway(&origin, &collector.url(), "");
    let before = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let head = format!(
        "POST /cart?secret=1 HTTP/1.1\r\nHost: shop.example:8080\r\nUser-Agent: tester\r\n{}\r\n\
         X-Request-Id: id-1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        parent("01")
    );
    assert_eq!(request(gateway.web(), &head).status, 200);
    let (_, asked_in, _) = told(&origin);
    let spans = collector.taken.trace(TRACE);
    let (server, client) = (only(&spans, SERVER), only(&spans, CLIENT));
    assert_eq!(server.name, "POST everything");
    let port = origin.address.port().to_string();
    for (key, value) in [
        ("http.request.method", "POST"),
        ("url.path", "/cart"),
        ("url.scheme", "http"),
        ("url.query", ""),
        ("server.address", "shop.example"),
        ("server.port", "8080"),
        ("http.route", "everything"),
        ("http.response.status_code", "200"),
        ("error.type", ""),
        ("client.address", "127.0.0.1"),
        ("network.peer.address", "127.0.0.1"),
        ("network.protocol.version", "1.1"),
        ("user_agent.original", "tester"),
        ("http.request.header.x-request-id", "id-1"),
        ("http.request.body.size", "2"),
        ("http.response.body.size", "1"),
        ("sallyport.virtual_host", "all"),
        ("sallyport.listener", "web"),
        ("sallyport.cause", ""),
    ] {
        assert_eq!(server.at(key), value, "{key}");
    }
    for (key, value) in [
        ("http.request.method", "POST"),
        ("server.address", "127.0.0.1"),
        ("server.port", &*port),
        ("network.peer.address", "127.0.0.1"),
        ("network.peer.port", &*port),
        ("http.response.status_code", "200"),
        ("http.request.resend_count", ""),
        ("error.type", ""),
        ("sallyport.upstream", "up"),
    ] {
        assert_eq!(client.at(key), value, "{key}");
    }
    assert_eq!((&*client.name, &client.parent_id), ("POST", &server.span_id));
    assert_eq!(client.span_id, asked_in);
    assert!(!server.is_error && !client.is_error);
    assert_eq!(server.resource["service.name"], "sallyport");
    let before = u64::try_from(before.as_nanos()).unwrap();
    assert!(before <= server.times.0 + 1_000_000 && server.times.0 <= client.times.0);
    assert!(client.times.0 <= client.times.1 && client.times.1 <= server.times.1, "{spans:#?}");
}

#[test]
fn each_attempt_has_a_span_and_its_origin_is_told_of_it() {
    let failing = Origin::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let (alive, collector) = (Origin::named("alive"), Collector::start());
    let yaml = forward_all(&[failing.address, alive.address])
        .replace("upstream: up }", "upstream: up, retry: { attempts: 1, on: [503] } }");
    let gateway = Gateway::start(&(yaml + &tracing(&collector.url(), "")));
    eventually("a request that is sent again", || {
        assert_eq!(ask(&gateway, "/", &[]).body, "alive");
        (!failing.requests().is_empty()).then_some(())
    });
    let (trace, second, _) = told(&alive);
    let (first_trace, first, _) = told(&failing);
    assert_eq!((&first_trace, first == second), (&trace, false));
    let spans = collector.taken.trace(&trace);
    let server = only(&spans, SERVER);
    let of = |id: &str| spans.iter().find(|span| span.span_id == id).expect("its span").clone();
    let (first, second) = (of(&first), of(&second));
    assert_eq!((&first.parent_id, &second.parent_id), (&server.span_id, &server.span_id));
    assert_eq!(first.at("http.response.status_code"), "503");
    assert_eq!((first.at("error.type"), first.is_error), ("503", true));
    assert_eq!(first.at("http.request.resend_count"), "");
    assert_eq!(second.at("http.request.resend_count"), "1");
    assert_eq!((second.at("http.response.status_code"), second.is_error), ("200", false));
    assert_eq!((server.at("http.response.status_code"), server.is_error), ("200", false));
    assert_eq!(spans.len(), 3, "{spans:#?}");
    let id = alive.last().fields("x-request-id");
    assert_eq!([server.at("http.request.header.x-request-id")], [&*id[0]]);
}

#[test]
fn errors_are_told_by_their_cause() {
    let collector = Collector::start();
    let (_held, address) = nobody();
    let gateway = Gateway::start(&(forward_all(&[address]) + &tracing(&collector.url(), "")));
    assert_eq!(ask(&gateway, "/", &[&parent("01")]).status, 502);
    let spans = collector.taken.trace(TRACE);
    let server = only(&spans, SERVER);
    assert_eq!((server.at("error.type"), server.at("sallyport.cause")), ("connect", "connect"));
    assert_eq!((server.at("http.response.status_code"), server.is_error), ("502", true));
    let client = spans.iter().find(|span| span.kind == CLIENT).unwrap();
    assert_eq!((client.at("error.type"), client.is_error), ("connect", true));
    assert_eq!(client.at("http.response.status_code"), "");

    // What the client did wrong is no error of the server's.
    let trace = "5bf92f3577b34da6a3ce929d0e0e4736";
    let sent = format!("traceparent: 00-{trace}-00f067aa0ba902b7-01");
    assert_eq!(ask(&gateway, "/..", &[&sent]).status, 400);
    let spans = collector.taken.trace(trace);
    let server = only(&spans, SERVER);
    assert_eq!(server.at("sallyport.cause"), "bad_request");
    assert_eq!((server.at("error.type"), server.is_error), ("", false));
    assert_eq!((&*server.name, server.at("http.route")), ("GET", ""));
}

#[test]
fn hostile_texts_are_texts_and_bounded() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let gateway = gateway(&origin, &collector.url(), "");
    let agent = "x".repeat(5_000);
    let head = format!(
        "FROB /%3Cscript%3E HTTP/1.1\r\nHost: a\r\nUser-Agent: {agent}\r\n{}\r\n\
         Connection: close\r\n\r\n",
        parent("01")
    );
    assert_eq!(request(gateway.web(), &head).status, 200);
    let spans = collector.taken.trace(TRACE);
    let server = only(&spans, SERVER);
    assert_eq!(server.at("http.request.method"), "_OTHER");
    assert_eq!(server.at("http.request.method_original"), "FROB");
    assert_eq!(server.name, "HTTP everything");
    assert_eq!(server.at("user_agent.original").len(), 1_024);
    assert_eq!(server.at("url.path"), "/%3Cscript%3E");
}

#[test]
fn calls_of_filters_are_spans_of_the_request() {
    let (origin, access, collector) =
        (Origin::named("a"), Origin::named("may"), Collector::start());
    let yaml = config(&format!(
        "upstreams:
  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}
  - {{ name: access, endpoints: [{{ address: \"{}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    filters: [{{ external_auth: {{ upstream: access, path: /ask }} }}]
    routes: [{{ name: everything, forward: {{ upstream: up }} }}]
{}",
        origin.address,
        access.address,
        tracing(&collector.url(), "  sample: 0%\n")
    ));
    let gateway = Gateway::start(&yaml);
    assert_eq!(ask(&gateway, "/", &[&parent("01")]).status, 200);
    let (trace, called_in, flags) = told(&access);
    assert_eq!((&*trace, &*flags), (TRACE, "01"));
    let spans = eventually("three spans", || {
        let spans = collector.taken.all();
        (spans.len() >= 3).then_some(spans)
    });
    let server = only(&spans, SERVER);
    let call = spans.iter().find(|span| span.span_id == called_in).expect("the call's span");
    assert_eq!((&*call.name, &call.parent_id), ("GET access", &server.span_id));
    assert_eq!(call.at("sallyport.upstream"), "access");
    assert_eq!((call.at("http.response.status_code"), call.is_error), ("200", false));

    // One that is not recorded is told so, and nobody else is.
    assert_eq!(ask(&gateway, "/", &[]).status, 200);
    assert_eq!(told(&access).2, "00");
    assert_eq!(told(&access).0, told(&origin).0);
}

#[test]
fn templates_logs_and_histograms_name_the_trace() {
    let (origin, collector) = (Origin::named("a"), Collector::start());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("access.log");
    let yaml = config(&format!(
        "upstreams: [{{ name: up, endpoints: [{{ address: \"{}\" }}] }}]
virtual_hosts:
  - name: all
    domains: [\"*\"]
    filters:
      - headers:
          request: {{ set: {{ x-trace: \"${{trace_id}}/${{span_id}}\" }} }}
          response: {{ set: {{ x-trace: \"${{trace_id}}\" }} }}
      - access_log: {{ to: {{ file: \"{}\" }} }}
    routes: [{{ name: everything, forward: {{ upstream: up }} }}]
{}",
        origin.address,
        file.display(),
        tracing(&collector.url(), "")
    ));
    let gateway = Gateway::start(&yaml);
    let answer = ask(&gateway, "/", &[&parent("01")]);
    assert_eq!(answer.field("x-trace").as_deref(), Some(TRACE));
    let spans = collector.taken.trace(TRACE);
    let server = only(&spans, SERVER);
    assert_eq!(origin.last().fields("x-trace"), [format!("{TRACE}/{}", server.span_id)]);
    let line = eventually("a line of the access log", || {
        let text = std::fs::read_to_string(&file).ok()?;
        Some(text.lines().next()?.to_owned())
    });
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(line["request_id"], origin.last().fields("x-request-id")[0]);

    let scrape = |accept: &str| {
        let head = format!(
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nConnection: close\r\n\r\n"
        );
        request(gateway.admin(), &head)
    };
    // What Prometheus asks for.
    let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    let mark = format!(" # {{trace_id=\"{TRACE}\"}} ");
    let text = eventually("an exemplar", || {
        let answer = scrape(accept);
        let kind = answer.field("content-type").unwrap();
        assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
        answer.body.contains(&mark).then_some(answer.body)
    });
    assert!(text.ends_with("# EOF\n"));
    let of_trace: Vec<_> = text.lines().filter(|line| line.contains(&mark)).collect();
    assert_eq!(of_trace.len(), 1, "{of_trace:?}");
    let series = "sallyport_route_request_duration_seconds_bucket{";
    assert!(of_trace[0].starts_with(series), "{of_trace:?}");
    let plain = get(gateway.admin(), "admin", "/metrics");
    assert!(plain.field("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(!plain.body.contains("trace_id"));
}
