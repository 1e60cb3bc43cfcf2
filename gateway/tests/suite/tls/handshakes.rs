//! Handshakes that are none, never end, or are too many.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::pki::{Pki, ask};
use super::{answering, with_tls};
use crate::support::{Client, Gateway, PATIENCE, eventually, get, request};

fn started(more: &str) -> (Pki, Gateway) {
    let pki = Pki::new("test");
    pki.issue("site", &["a.example"]);
    let tls = format!("{{ certificates: [{}]{more} }}", pki.entry("site"));
    let gateway = Gateway::start(&with_tls(&tls, &answering("hello")));
    (pki, gateway)
}

/// Handshakes that failed in this way, whatever version the client offered.
fn failed(gateway: &Gateway, result: &str) -> f64 {
    let count = |version: &str| {
        let labels = format!(r#"listener="web",version="{version}",result="{result}""#);
        gateway.metric(&format!("sallyport_tls_handshakes_total{{{labels}}}")).unwrap_or(0.0)
    };
    ["", "1.2", "1.3"].map(count).iter().sum()
}

fn fails(gateway: &Gateway, result: &str, times: f64) {
    eventually(&format!("{times} failures of {result}"), || {
        (failed(gateway, result) >= times).then_some(())
    });
}

#[test]
fn http_in_clear_text_is_told_so() {
    let (_pki, gateway) = started("");
    let response = get(gateway.web(), "a.example", "/");
    assert_eq!((response.status, response.error().as_deref()), (400, Some("tls_required")));
    assert!(response.body.contains("use https"), "{}", response.body);
    let upload = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n{}",
        "x".repeat(100_000)
    );
    assert_eq!(request(gateway.web(), &upload).status, 400);
    fails(&gateway, "http", 2.0);
}

#[test]
fn garbage_ends_at_once_and_is_counted() {
    let (pki, gateway) = started("");
    for (bytes, result) in [
        (&b"\0\x01\x02\x03"[..], "not_tls"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not_tls"),
        (b"\x16\x03\x01\xff\xff", "malformed"),
        (b"\x16\x03\x01\0\x05\x01\xff\xff\xff\0", "malformed"),
    ] {
        let before = failed(&gateway, result);
        let mut client = Client::connect(gateway.web());
        client.send(bytes);
        client.read_to_end();
        fails(&gateway, result, before + 1.0);
    }
    let config = pki.client(None);
    assert!(
        ask(&config, gateway.web(), "a.example", "a.example").unwrap().answer.contains("hello")
    );
}

/// A hello of 64 KiB whose records have one byte each.
#[test]
fn a_hello_in_a_record_for_each_byte_is_bounded() {
    let (_pki, gateway) = started("");
    let mut hello = vec![1, 0, 0xff, 0xf0, 3, 3];
    hello.resize(0xffff, 7);
    let records: Vec<u8> = hello.iter().flat_map(|byte| [22, 3, 1, 0, 1, *byte]).collect();
    let used = gateway.cpu_time();
    for _ in 0..20 {
        let mut stream = TcpStream::connect(gateway.web()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It is refused before it is whole.
        stream.write_all(&records).ok();
        stream.read_to_end(&mut Vec::new()).ok();
    }
    fails(&gateway, "malformed", 20.0);
    let used = gateway.cpu_time() - used;
    assert!(used.as_millis() < 1000, "{used:?} for 20 hellos");
}

#[test]
fn handshakes_that_never_end_are_ended_and_keep_nobody_else() {
    let (pki, gateway) = started(", handshake_timeout: 2s");
    let config = pki.client(None);
    let address = gateway.web();
    let memory = gateway.resident_kib();
    let stalled: Vec<_> = (0..1000)
        .map(|index| {
            let mut stream = TcpStream::connect(address).unwrap();
            // Half of them begin a hello.
            if index % 2 == 0 {
                stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
            }
            stream
        })
        .collect();
    for _ in 0..20 {
        let began = Instant::now();
        let seen = ask(&config, address, "a.example", "a.example").unwrap();
        assert!(seen.answer.contains("hello"));
        assert!(began.elapsed().as_millis() < 2000, "{:?}", began.elapsed());
    }
    let held = gateway.resident_kib().saturating_sub(memory);
    assert!(held < 1000 * 24, "{held} KiB for 1,000 handshakes that do not end");
    fails(&gateway, "timeout", 1000.0);
    gateway.counts(r#"sallyport_tls_handshakes_active{listener="web"}"#, 0.0);
    drop(stalled);
}

#[test]
fn handshakes_under_way_are_bounded() {
    let (pki, gateway) = started(", handshake_timeout: 20s, max_handshakes: 2");
    let config = pki.client(None);
    let stalled: Vec<_> = (0..2).map(|_| TcpStream::connect(gateway.web()).unwrap()).collect();
    gateway.counts(r#"sallyport_tls_handshakes_active{listener="web"}"#, 2.0);
    assert!(ask(&config, gateway.web(), "a.example", "a.example").is_err());
    fails(&gateway, "busy", 1.0);
    drop(stalled);
    eventually("a handshake among fewer", || {
        ask(&config, gateway.web(), "a.example", "a.example").ok()
    });
}
