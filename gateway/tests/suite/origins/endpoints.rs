//! Endpoints as they are written: Unix sockets, weights and priorities.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::thread;

use super::{ask, shown, upstream};
use crate::support::{Gateway, Origin, check, eventually};

/// Answers every request at `path` with 200 and `name`.
fn listen_at(path: &Path, name: &'static str) {
    let listener = UnixListener::bind(path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut head = Vec::new();
                let mut part = [0; 4096];
                while let Ok(read @ 1..) = stream.read(&mut part) {
                    head.extend_from_slice(&part[..read]);
                    if head.ends_with(b"\r\n\r\n") {
                        head.clear();
                        let answer = format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{name}",
                            name.len()
                        );
                        if stream.write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
}

#[test]
fn unix_sockets_are_endpoints_and_their_connections_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    listen_at(&path, "app");
    let keys = format!(
        "endpoints: [ {{ address: \"unix:{}\" }} ]\nhealth_check: {{ path: /, interval: 100ms }}",
        path.display()
    );
    let gateway = Gateway::start_single(&upstream(&keys));
    let mut client = crate::support::Client::connect(gateway.web());
    for _ in 0..3 {
        let response = client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n").receive();
        assert_eq!((response.status, &*response.body), (200, "app"));
    }
    assert_eq!(shown(&gateway), [format!("unix:{}", path.display())].into());
    gateway.counts("sallyport_connection_reuse_total{upstream=\"up\",reused=\"true\"}", 2.0);
    gateway.counts(
        &format!(
            "sallyport_upstream_requests_total{{upstream=\"up\",endpoint=\"unix:{}\"}}",
            path.display()
        ),
        3.0,
    );
}

#[test]
fn a_unix_socket_that_is_not_there_is_502() {
    let keys = "endpoints: [ { address: \"unix:/nonexistent/app.sock\" } ]";
    let gateway = Gateway::start(&upstream(keys));
    let response = ask(&gateway);
    assert_eq!((response.status, response.error().as_deref()), (502, Some("connect")));
}

#[test]
fn a_priority_takes_over_as_the_one_before_it_fails() {
    let origins = ["a", "b"].map(Origin::named);
    let [a, b] = origins.each_ref().map(|origin| origin.address);
    let keys = format!(
        "endpoints:\n  - {{ address: \"{b}\", priority: 1 }}\n  - {{ address: \"{a}\" }}\n\
         health_check: {{ tcp: {{}}, interval: 50ms, healthy: 1, unhealthy: 1 }}"
    );
    let gateway = Gateway::start(&upstream(&keys));
    assert!((0..10).all(|_| ask(&gateway).body == "a"));
    let [first, second] = origins;
    drop(first);
    eventually("the second to take over", || (ask(&gateway).body == "b").then_some(()));
    assert!((0..10).all(|_| ask(&gateway).body == "b"));
    drop(second);
}

#[test]
fn bad_endpoints_are_told_with_what_to_write() {
    for (keys, told) in [
        ("endpoints: [ { address: \"10.0.0.1\" } ]", "has no port"),
        ("endpoints: [ { address: \"10.0.0.300:80\" } ]", "is no IP address"),
        ("endpoints: [ { address: \"unix:app.sock\" } ]", "does not begin with /"),
        ("endpoints: [ { address: \"a:80\", priority: 128 } ]", "priority"),
        ("discovery: { srv: a, file: b }", "exactly one"),
        ("discovery: {}", "discovery"),
        (
            "health_check: { grpc: {} }\nendpoints: [ { address: \"a:80\" } ]",
            "add `protocol: http2`",
        ),
        ("protocol: http3\nendpoints: [ { address: \"a:80\" } ]", "write http1, http2 or auto"),
        ("http2: { max_streams: 5 }\nendpoints: [ { address: \"a:80\" } ]", "has no effect"),
        ("endpoints: [ { address: \"a:80\" }, { address: \"A:80\" } ]", "duplicate address a:80"),
        (
            "tls: {}\nendpoints: [ { address: \"unix:/a\" } ]",
            "add `server_name: app.internal` to `tls`",
        ),
    ] {
        let output = check(&upstream(keys));
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{keys}: {text}");
        assert!(text.contains(told), "{keys}: {text}");
    }
    let output = check(&upstream("discovery: { file: /nonexistent.yaml }"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "a file may be written later: {text}");
    assert!(text.contains("/nonexistent.yaml"), "{text}");
}
