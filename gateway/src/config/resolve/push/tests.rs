use std::time::Duration;

use sallyport_config::decode;

use super::*;

/// What is read of `yaml`, and the problems.
fn read(yaml: &str) -> (Option<Push>, String) {
    let mut sink = Sink::new();
    let decoded = decode::text::<spec::Push>(0, yaml, &mut sink);
    let read = decoded.map(|decoded| push(&decoded.value, &Place::File(0), &mut sink));
    let said = sink.iter().map(|found| format!("{}: {}, {}\n", found.place, found.what, found.fix));
    (read, said.collect())
}

fn exporter_of(entry: &str) -> ExporterSpec {
    let (push, said) = read(&format!("exporters: [{{ name: a, {entry} }}]"));
    assert_eq!(said, "", "{entry}");
    push.unwrap().exporters.remove(0)
}

#[test]
fn what_is_left_out_has_a_default() {
    let (push, said) = read("exporters: [{ name: a, statsd: { address: localhost:8125 } }]");
    let push = push.expect(&said);
    assert_eq!((push.every, push.series), (Duration::from_secs(10), 10_000));
    assert_eq!(push.buffer_bytes, 4 << 20);
    let (push, said) = read(
        "{ every: 1.5s, series: 7, buffer: 1MiB, \
         exporters: [{ name: a, statsd: { address: localhost:8125 } }] }",
    );
    let push = push.expect(&said);
    assert_eq!((push.every, push.series), (Duration::from_millis(1_500), 7));
    assert_eq!(push.buffer_bytes, 1 << 20);
}

/// An exporter, and keys of it that differ from what they are by default.
const KEYS: [(&str, &str, &[&str]); 6] = [
    (
        "dogstatsd",
        "address: h:1",
        &["prefix: p", "tags: { a: b }", "distributions: false", "datagram_bytes: 512B"],
    ),
    ("statsd", "address: h:1", &["prefix: p", "tags: influx", "datagram_bytes: 512B"]),
    (
        "emf",
        "address: h:1",
        &[
            "namespace: n",
            "dimensions: { a: b }",
            "log_group: g",
            "log_stream: s",
            "high_resolution: true",
        ],
    ),
    (
        "remote_write",
        "url: http://h/w",
        &["headers: { a: b }", "timeout: 1s", "labels: { a: b }", "every: 1s"],
    ),
    (
        "otlp",
        "url: http://h:4317",
        &[
            "headers: { a: b }",
            "timeout: 1s",
            "protocol: http",
            "resource: { a: b }",
            "temporality: cumulative",
            "histograms: explicit",
        ],
    ),
    (
        "otlp",
        "url: http://h:4318/v1/metrics, protocol: http",
        &[
            "headers: { a: b }",
            "timeout: 1s",
            "resource: { a: b }",
            "temporality: cumulative",
            "histograms: explicit",
        ],
    ),
];

#[test]
fn every_key_of_every_kind_changes_its_exporter() {
    for (kind, needed, keys) in KEYS {
        let plain = exporter_of(&format!("{kind}: {{ {needed} }}"));
        assert!(plain.is_as(&exporter_of(&format!("{kind}: {{ {needed} }}"))));
        for key in keys {
            let changed = exporter_of(&format!("{kind}: {{ {needed}, {key} }}"));
            assert!(!plain.is_as(&changed), "{kind}: {key} has no effect");
        }
        for key in [
            "breaker: { failures: 2 }",
            "breaker: { open: 1s }",
            "attempts: 2",
            "queue: { batches: 9 }",
            "queue: { bytes: 1MiB }",
        ] {
            let changed = exporter_of(&format!("{key}, {kind}: {{ {needed} }}"));
            assert!(!plain.is_as(&changed), "{kind}: {key} has no effect");
        }
    }
}

#[test]
fn what_may_be_secret_is_never_told() {
    for (entry, expected) in [
        ("url: 'http://user:secret@h/w'", "url: has a user in it"),
        ("url: 'secret'", "url: is no URL"),
        ("url: 'ftp://secret/'", "url: is no URL"),
        ("url: http://h/w, headers: { a: \"secret\\n\" }", "headers.a: is no header value"),
        ("url: http://h/w, headers: { a: 'sécret' }", "headers.a: is no header value"),
    ] {
        let (push, said) =
            read(&format!("exporters: [{{ name: a, remote_write: {{ {entry} }} }}]"));
        assert!(push.is_none() || !said.is_empty());
        assert!(said.contains(expected), "{entry}: {said}");
        assert!(!said.contains("secret") && !said.contains("sécret"), "{said}");
    }
    let entry = "otlp: { url: http://h, headers: { authorization: secret } }";
    assert!(!format!("{:?}", exporter_of(entry)).contains("secret"));
}

#[test]
fn header_names_are_taken_in_any_case() {
    let with =
        |name: &str| exporter_of(&format!("otlp: {{ url: http://h, headers: {{ {name}: b }} }}"));
    assert!(with("authorization").is_as(&with("Authorization")));
}
