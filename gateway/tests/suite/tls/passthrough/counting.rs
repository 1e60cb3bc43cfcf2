//! What is counted and logged of connections that are passed on, and what bounds their bytes.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{NOBODY, echo, file, hello, passed, upstream};
use crate::support::{Client, Gateway, eventually};

const TLS: &str = "{ passthrough: [{ sni: [db.example.com], upstream: db }] }";

#[test]
fn bytes_and_connections_are_counted_while_they_pass() {
    let address = echo("").to_string();
    let gateway = Gateway::start(&file(TLS, &[upstream("db", &[&address], "")], ""));
    let sent = hello("db.example.com");
    let (mut client, _) = passed(gateway.web(), &sent, sent.len());
    let of = |name: &str, more: &str| {
        format!("sallyport_passthrough_{name}{{listener=\"web\",upstream=\"db\"{more}}}")
    };
    let upstream_of =
        |name: &str| format!("sallyport_upstream_{name}{{upstream=\"db\",endpoint=\"{address}\"}}");
    gateway.counts(&of("connections_active", ""), 1.0);
    gateway.counts(&of("bytes_total", ",direction=\"request\""), sent.len() as f64);
    gateway.counts(&of("bytes_total", ",direction=\"response\""), sent.len() as f64);
    gateway.counts(&upstream_of("requests_active"), 1.0);
    gateway.counts("sallyport_connections_active{listener=\"web\"}", 1.0);
    client.send("more").read_exact(4);
    gateway.counts(&of("bytes_total", ",direction=\"response\""), sent.len() as f64 + 4.0);
    drop(client);
    gateway.counts(&of("connections_total", ",result=\"success\""), 1.0);
    gateway.counts(&of("connections_active", ""), 0.0);
    gateway.counts(&upstream_of("requests_total"), 1.0);
    gateway.counts(&upstream_of("requests_active"), 0.0);
    gateway.counts("sallyport_connections_total{listener=\"web\"}", 1.0);
    // It is the origin's handshake, not this listener's.
    let handshakes =
        r#"sallyport_tls_handshakes_total{listener="web",version="1.3",result="success"}"#;
    gateway.counts(handshakes, 0.0);
}

#[test]
fn the_log_of_the_listener_has_a_line_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let tls = "{ passthrough: [{ sni: [db.example.com], upstream: db }, { sni: [\"*\"], upstream: no }] }";
    let address = echo("").to_string();
    let upstreams = [upstream("db", &[&address], ""), upstream("no", &[NOBODY], "")];
    let fields = "{ method: \"${method}\", host: \"${host}\", sni: \"${tls.sni}\", status: \"${status}\", \
                  up: \"${request_bytes}\", down: \"${response_bytes}\", upstream: \"${upstream}\", \
                  endpoint: \"${endpoint}\", cause: \"${cause}\", route: \"${route}\", client: \"${client}\" }";
    let rest = format!("access_log: {{ to: {{ file: {} }}, fields: {fields} }}\n", log.display());
    let gateway = Gateway::start(&file(tls, &upstreams, &rest));
    let sent = hello("db.example.com");
    drop(passed(gateway.web(), &sent, sent.len()));
    let lines = |count: usize| {
        eventually("lines of the log", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
            let lines: Vec<Value> =
                complete.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            (lines.len() >= count).then_some(lines)
        })
    };
    let line = lines(1).remove(0);
    let bytes = sent.len();
    for (key, value) in [
        ("method", Value::from("CONNECT")),
        ("host", "db.example.com".into()),
        ("sni", "db.example.com".into()),
        ("status", 200.into()),
        ("up", bytes.into()),
        ("down", bytes.into()),
        ("upstream", "db".into()),
        ("endpoint", address.as_str().into()),
        ("route", "none".into()),
        ("client", "127.0.0.1".into()),
    ] {
        assert_eq!(line[key], value, "{key} of {line}");
    }
    let mut nameless = Client::connect(gateway.web());
    nameless.send(hello("192.0.2.1"));
    nameless.read_to_end();
    let line = lines(2).remove(1);
    assert_eq!((&line["status"], &line["cause"]), (&502.into(), &"connect".into()), "{line}");
    assert_eq!((&line["sni"], &line["upstream"]), (&Value::Null, &"no".into()), "{line}");
}

#[test]
fn bytes_wait_for_the_bandwidth_of_the_upstream() {
    let address = echo("").to_string();
    // A megabyte at 1 MB/s, each way, but for what passes at once.
    let db = upstream("db", &[&address], ", bandwidth: { rate: 8Mbps }");
    let gateway = Gateway::start(&file(TLS, &[db], ""));
    let sent = hello("db.example.com");
    let (mut client, _) = passed(gateway.web(), &sent, sent.len());
    let began = Instant::now();
    let upload = vec![7; 1_000_000];
    let mut writer = client.stream().try_clone().unwrap();
    let copy = upload.clone();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &copy));
    assert!(client.read_exact(upload.len()) == upload);
    writing.join().unwrap().unwrap();
    let took = began.elapsed();
    assert!(took > Duration::from_millis(800), "{took:?} for a megabyte");
    let passed = |direction: &str| {
        let labels = format!("upstream=\"db\",direction=\"{direction}\"");
        gateway.metric(&format!("sallyport_upstream_bandwidth_bytes_total{{{labels}}}"))
    };
    assert!(passed("request") >= Some(1_000_000.0) && passed("response") >= Some(1_000_000.0));
}
