//! What filters may hold and write, whatever their configuration and their traffic are.

use std::io::{Read as _, Write as _};

use crate::support::{Client, Gateway, Origin, check, config, eventually, get};

fn with_filters(origin: &Origin, filters: &str) -> String {
    config(&format!(
        "upstreams:\n  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}\n\
         virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    filters: [{filters}]\n    routes:\n      \
         - {{ name: everything, forward: {{ upstream: up }} }}\n",
        origin.address
    ))
}

/// An origin that begins a page of 256 KiB, and never ends it.
fn endless() -> Origin {
    Origin::start(|_, stream| {
        let page: String = (0..20_000_u32).map(|n| format!("<p>{}</p>", n * 7919)).collect();
        let page = &page[..256 << 10];
        let head =
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = format!("{head}{:x}\r\n{page}\r\n", page.len());
        drop(stream.write_all(chunk.as_bytes()));
        // Until the gateway gives it up.
        drop(stream.read(&mut [0; 1]));
        false
    })
}

fn compressed(gateway: &Gateway, coding: &str) -> (Client, String) {
    let mut client = Client::connect(gateway.web());
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {coding}\r\n\r\n"));
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.extend(client.read_exact(1));
    }
    // Something of the body, so that the encoder has begun.
    client.read_exact(1_000);
    (client, String::from_utf8(head).unwrap().to_ascii_lowercase())
}

#[test]
fn a_response_being_compressed_holds_some_megabytes_at_every_level() {
    const CLIENTS: u64 = 16;
    let origin = endless();
    for (coding, level, mib_each) in [("zstd", 12, 3), ("br", 6, 5)] {
        let filter = format!("{{ compression: {{ levels: {{ {coding}: {level} }} }} }}");
        let gateway = Gateway::start(&with_filters(&origin, &filter));
        let first = compressed(&gateway, coding);
        let before = gateway.resident_kib();
        let clients: Vec<_> = (0..CLIENTS).map(|_| compressed(&gateway, coding)).collect();
        for (_, head) in clients.iter().chain([&first]) {
            assert!(head.contains(&format!("content-encoding: {coding}")), "{head}");
        }
        let each = gateway.resident_kib().saturating_sub(before) / CLIENTS;
        assert!(each < mib_each << 10, "{coding} {level}: {each} KiB each");
    }
}

#[test]
fn beyond_the_memory_of_a_compression_filter_responses_are_sent_as_they_are() {
    let origin = endless();
    let filter = "{ compression: { memory: 4MiB, levels: { zstd: 12 } } }";
    let gateway = Gateway::start(&with_filters(&origin, filter));
    let is_coded = |head: &str| head.contains("content-encoding: zstd");
    // Three of 1.1 MiB fit into four.
    let held: Vec<_> = (0..3).map(|_| compressed(&gateway, "zstd")).collect();
    assert!(held.iter().all(|(_, head)| is_coded(head)));
    let (_, plain) = compressed(&gateway, "zstd");
    assert!(!is_coded(&plain) && plain.contains("vary: accept-encoding"), "{plain}");
    gateway.counts("sallyport_compression_skipped_total{filter=\"compression\"}", 1.0);
    drop(held);
    eventually("memory that was given back", || {
        is_coded(&compressed(&gateway, "zstd").1).then_some(())
    });
}

#[test]
fn no_filter_writes_a_field_that_means_something_else() {
    let origin = Origin::named("a");
    let identity = |field: &str| {
        [
            format!("{{ request_id: {{ header: {field} }} }}"),
            format!("{{ api_key: {{ file: keys, consumer_header: {field} }} }}"),
            format!("{{ basic_auth: {{ file: users, realm: r, user_header: {field} }} }}"),
            format!(
                "{{ jwt: {{ jwks: {{ file: keys }}, claims_to_headers: {{ {field}: sub }} }} }}"
            ),
        ]
    };
    for field in ["content-length", "Host", "authorization", "Cookie", "x-forwarded-for", "te"] {
        for filter in identity(field) {
            let output = check(&with_filters(&origin, &filter));
            let text = String::from_utf8_lossy(&output.stderr).into_owned()
                + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(78), "{filter}: {text}");
            let told = text.contains("may not be changed") || text.contains("means something else");
            assert!(told, "{filter}: {text}");
        }
    }
}

#[test]
fn filters_of_hosts_and_routes_whose_names_run_together_are_kept_apart() {
    let origin = Origin::named("a");
    let folder = tempfile::tempdir().unwrap();
    let log = |name: &str| folder.path().join(name);
    let route = |host: &str, domain: &str, route: &str, log: &std::path::Path| {
        format!(
            "  - name: {host}\n    domains: [{domain}]\n    routes:\n      - name: {route}\n        \
             filters: [{{ access_log: {{ to: {{ file: \"{}\" }}, format: {{ template: \"${{path}}\" }} }} }}]\n        \
             forward: {{ upstream: up }}\n",
            log.display()
        )
    };
    let gateway = Gateway::start(&config(&format!(
        "upstreams:\n  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}\nvirtual_hosts:\n{}{}",
        origin.address,
        route("a", "one.example", "b/c", &log("one")),
        route("a/b", "two.example", "c", &log("two")),
    )));
    get(gateway.web(), "one.example", "/first");
    get(gateway.web(), "two.example", "/second");
    for (name, line) in [("one", "/first"), ("two", "/second")] {
        eventually(&format!("the line of {name}"), || {
            let text = std::fs::read_to_string(log(name)).ok()?;
            (text.lines().collect::<Vec<_>>() == [line]).then_some(())
        });
    }
}
