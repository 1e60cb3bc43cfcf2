//! What an upgrade exempts a request from, and when: nothing before it has happened.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use crate::conformance::echo_after_upgrade;
use crate::support::{Client, Gateway, Origin, forward_all, request};

#[test]
fn rfc9113_3_2_h2c_upgrades_do_not_reach_the_origin() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let response = request(
        gateway.web(),
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    let seen = origin.last();
    assert!(
        seen.fields("upgrade").is_empty() && seen.fields("http2-settings").is_empty(),
        "{}",
        seen.head
    );
}

#[test]
fn rfc9110_7_8_http_is_no_protocol_to_upgrade_to_in_any_line_or_member() {
    let origin = Origin::start(echo_after_upgrade);
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for upgrade in [
        "Upgrade: h2c\r\n",
        "Upgrade: h2\r\n",
        "Upgrade: HTTP/2.0\r\n",
        "Upgrade: h3, H2C-14\r\n",
        "Upgrade: h2c\r\nUpgrade: HTTP/2\r\n",
    ] {
        let text =
            format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\n{upgrade}\r\n");
        let response = request(gateway.web(), &text);
        assert_eq!(response.status, 200, "{upgrade}: {}", response.head);
        assert!(origin.last().fields("upgrade").is_empty(), "{upgrade}: {}", origin.last().head);
    }
    for upgrade in ["Upgrade: foo\r\nUpgrade: h2c\r\n", "Upgrade: h2c, foo\r\n"] {
        let mut client = Client::connect(gateway.web());
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n{upgrade}\r\n"));
        assert_eq!(client.receive().status, 101, "{upgrade}");
        assert_eq!(origin.last().fields("upgrade"), ["foo"], "{upgrade}");
    }
}

#[test]
fn rfc9110_7_8_upgrade_counts_only_with_its_connection_option() {
    let origin = Origin::start(echo_after_upgrade);
    let yaml = forward_all(&[origin.address]) + "limits: { request_body_bytes: 10B }\n";
    let gateway = Gateway::start(&yaml);
    let post = "POST / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nTransfer-Encoding: chunked\r\n";
    let body = "b\r\nhello world\r\n0\r\n\r\n";
    for connection in ["", "Connection: x\r\n", "Connection: upgrade\r\n"] {
        let response = request(gateway.web(), &format!("{post}{connection}\r\n{body}"));
        // With its option it is an upgrade that may happen, and has not: the limit holds all the same.
        assert_eq!(response.status, 413, "{connection}: {}", response.head);
    }
    let response = request(
        gateway.web(),
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: foo\r\nConnection: close\r\n\r\n",
    );
    assert_eq!(response.status, 200);
    assert!(origin.last().fields("upgrade").is_empty(), "{}", origin.last().head);
}

#[test]
fn timeouts_hold_until_the_protocol_has_changed() {
    let origin = Origin::start(|request, stream| {
        if request.request_line().contains("/switch") {
            return echo_after_upgrade(request, stream);
        }
        if request.request_line().contains("/part") {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"));
        }
        thread::sleep(Duration::from_secs(30));
        false
    });
    let yaml = forward_all(&[origin.address])
        .replace("  - name: up\n", "  - name: up\n    timeouts: { read: 300ms }\n");
    let gateway = Gateway::start(&yaml);
    let upgrade = |path: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n");
        let mut client = Client::connect(gateway.web());
        client.send(format!("{head}Upgrade: websocket\r\n\r\n"));
        client
    };
    let started = Instant::now();
    let silent = upgrade("/silent").receive();
    assert_eq!((silent.status, silent.error().as_deref()), (504, Some("timeout")));
    let mut part = upgrade("/part");
    assert!(part.try_receive(true).is_some_and(|response| response.status == 200));
    assert!(part.read_to_end().len() < 5);
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    let mut tunnel = upgrade("/switch");
    assert_eq!(tunnel.receive().status, 101);
    // Longer than anything but a tunnel may be silent.
    thread::sleep(Duration::from_millis(900));
    tunnel.send("ping");
    assert_eq!(tunnel.read_exact(4), b"ping");
}
