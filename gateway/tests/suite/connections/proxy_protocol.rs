//! The PROXY protocol towards clients: who sends a header, who must, and what it is believed for.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use super::with_keys;
use crate::support::{Client, Gateway, Origin, check, eventually, forward_all};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The tests' proxy is 127.0.0.1; another peer is not.
const FROM: &str = "proxy_protocol: { from: [127.0.0.1] }";
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

const REFUSED: &str =
    "sallyport_connections_refused_total{listener=\"web\",reason=\"proxy_protocol\"}";

/// A gateway in front of `origin` whose listener has `keys` too.
fn in_front_of(origin: &Origin, keys: &str, rest: &str) -> Gateway {
    let yaml = forward_all(&[origin.address]);
    let listener = "web, address: 127.0.0.1:0";
    Gateway::start(&(yaml.replacen(listener, &format!("{listener}, {keys}"), 1) + rest))
}

fn version1(client: &str) -> Vec<u8> {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let local = if client.contains(':') { "::1" } else { "192.0.2.1" };
    format!("PROXY {family} {client} {local} 49152 80\r\n").into_bytes()
}

fn version2(command: u8, client: Ipv4Addr, extensions: &[u8]) -> Vec<u8> {
    let length = (12 + extensions.len() as u16).to_be_bytes();
    let ports = [0xc0, 0, 0, 80];
    [SIGNATURE, &[command, 0x11], &length, &client.octets(), &[192, 0, 2, 1], &ports, extensions]
        .concat()
}

/// A connection that begins with `header` and a request, and the status that comes back.
fn ask(gateway: &Gateway, header: &[u8]) -> (Client, Option<u16>) {
    let mut client = Client::connect(gateway.web());
    client.send([header, GET.as_bytes()].concat());
    let status = client.try_receive(false).map(|response| response.status);
    (client, status)
}

#[test]
fn the_client_is_who_the_header_names() {
    let origin = Origin::named("a");
    let gateway = in_front_of(&origin, FROM, "");
    let named = Ipv4Addr::new(203, 0, 113, 7);
    for (header, client) in [
        (version1("203.0.113.7"), "203.0.113.7"),
        (version1("2001:db8::7"), "2001:db8::7"),
        (version2(0x21, named, &[]), "203.0.113.7"),
        (version2(0x21, named, &[0xe0, 0, 2, 1, 2]), "203.0.113.7"),
        // The proxy's own.
        (version2(0x20, named, &[]), "127.0.0.1"),
        (b"PROXY UNKNOWN ffff::1 whatever\r\n".to_vec(), "127.0.0.1"),
    ] {
        let (mut connection, status) = ask(&gateway, &header);
        assert_eq!(status, Some(200), "{}", header.escape_ascii());
        assert_eq!(origin.last().fields("x-forwarded-for"), [client]);
        // It holds for the connection.
        connection.send(GET);
        assert_eq!(connection.receive().status, 200);
        assert_eq!(origin.last().fields("x-forwarded-for"), [client]);
    }
    gateway.counts(REFUSED, 0.0);
}

#[test]
fn the_header_comes_before_tls() {
    let origin = Origin::named("a");
    let tls = "tls: { certificates: [ { self_signed: true, domains: [localhost] } ] }";
    let gateway = in_front_of(&origin, &format!("{FROM}, {tls}"), "");
    // What is no TLS behind it is answered as on any such port.
    assert_eq!(ask(&gateway, &version1("203.0.113.7")).1, Some(400));
    gateway.counts(REFUSED, 0.0);
    assert_eq!(ask(&gateway, b"").1, None);
    gateway.counts(REFUSED, 1.0);
}

#[test]
fn a_header_may_come_in_pieces_and_a_request_with_it() {
    let origin = Origin::named("a");
    let gateway = in_front_of(&origin, &format!("{FROM}, h2c: true"), "");
    let mut client = Client::connect(gateway.web());
    let header = version2(0x21, Ipv4Addr::new(203, 0, 113, 7), &[]);
    for byte in [&header[..], GET.as_bytes()].concat() {
        client.send([byte]);
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(client.receive().status, 200);
    assert_eq!(origin.last().fields("x-forwarded-for"), ["203.0.113.7"]);
    // HTTP/2 begins behind it as well.
    let mut client = Client::connect(gateway.web());
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    client.send([&header[..], preface].concat());
    assert_eq!(client.read_exact(4)[3], 4, "the frame of its settings");
}

#[test]
fn peers_that_must_send_a_header_are_closed_without_one_and_with_a_bad_one() {
    let origin = Origin::named("a");
    let gateway = in_front_of(&origin, FROM, "");
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 94]].concat();
    let cases = [
        GET.as_bytes().to_vec(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 ::1 1 2\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n".to_vec(),
        long,
        version2(0x31, Ipv4Addr::LOCALHOST, &[]),
        version2(0x21, Ipv4Addr::LOCALHOST, &[5, 0, 9, 1]),
        [SIGNATURE, &[0x21, 0x21, 0, 12], &[0; 12]].concat(),
        [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
    ];
    for case in &cases {
        let (_, status) = ask(&gateway, case);
        assert_eq!(status, None, "{}", case.escape_ascii());
    }
    gateway.counts(REFUSED, cases.len() as f64);
    // One that never comes, and one that is cut off.
    for begin in ["", "PROXY TCP4 203.0"] {
        assert!(Client::connect(gateway.web()).send(begin).is_closed(), "{begin}");
    }
    gateway.counts(REFUSED, (cases.len() + 2) as f64);
    assert!(origin.requests().is_empty());
    // Whoever only looks whether the port is open is not counted.
    drop(Client::connect(gateway.web()));
    gateway.counts("sallyport_connections_active{listener=\"web\"}", 0.0);
    gateway.counts(REFUSED, (cases.len() + 2) as f64);
}

#[test]
fn all_others_are_served_without_a_header_and_refused_with_one() {
    let origin = Origin::named("a");
    let gateway = in_front_of(&origin, FROM, "");
    let ask = |header: &[u8]| {
        let mut client = Client::connect_from(STRANGER, gateway.web());
        client.send([header, GET.as_bytes()].concat());
        client.try_receive(false).map(|response| response.status)
    };
    assert_eq!(ask(b""), Some(200));
    assert_eq!(origin.last().fields("x-forwarded-for"), ["127.0.0.9"]);
    assert_eq!(ask(&version1("203.0.113.7")), None);
    assert_eq!(ask(&version2(0x21, Ipv4Addr::new(203, 0, 113, 7), &[])), None);
    gateway.counts(REFUSED, 2.0);
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn bounds_and_verdicts_are_on_the_client_that_is_named() {
    let origin = Origin::start(|_, stream| {
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
        std::io::Write::write_all(stream, answer).is_ok()
    });
    let rules = "verdicts: { rules: [ { on: 4xx, more_than: 3, within: 10s, for: 1h } ] }\n";
    let keys = format!("{FROM}, max_connections_per_source: 2");
    let gateway = in_front_of(&origin, &keys, rules);
    let (one, other) = (version1("203.0.113.7"), version1("203.0.113.8"));
    let held = [ask(&gateway, &one), ask(&gateway, &one)];
    assert!(held.iter().all(|(_, status)| *status == Some(404)));
    assert_eq!(ask(&gateway, &one).1, None, "as many as one client may have");
    assert_eq!(ask(&gateway, &other).1, Some(404));
    gateway.counts("sallyport_connections_refused_total{listener=\"web\",reason=\"source\"}", 1.0);
    drop(held);
    let third = version1("203.0.113.9");
    for _ in 0..4 {
        assert_eq!(ask(&gateway, &third).1, Some(404));
    }
    eventually("a verdict", || ask(&gateway, &third).1.is_none().then_some(()));
    assert_eq!(ask(&gateway, &other).1, Some(404), "another client of the same proxy");
    let listed = crate::support::get(gateway.admin(), "localhost", "/verdicts").body;
    assert!(listed.contains("203.0.113.9") && !listed.contains("127.0.0.1"), "{listed}");
}

#[test]
fn a_client_that_came_to_the_proxy_by_tls_has_the_scheme_https() {
    let origin = Origin::named("a");
    let gateway = in_front_of(&origin, FROM, "");
    let client = Ipv4Addr::new(203, 0, 113, 7);
    for (tls, scheme) in [(1, "https"), (0, "http")] {
        let extension = [0x20, 0, 5, tls, 0, 0, 0, 0];
        assert_eq!(ask(&gateway, &version2(0x21, client, &extension)).1, Some(200));
        assert_eq!(origin.last().fields("x-forwarded-proto"), [scheme]);
    }
}

#[test]
fn extensions_are_logged_and_nothing_a_client_says_breaks_a_line() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]);
    let yaml = yaml.replacen("127.0.0.1:0", &format!("127.0.0.1:0, {FROM}"), 1);
    let gateway = Gateway::start_logging(&yaml, "info,access=debug");
    let extensions = [&[1, 0, 2][..], b"h2", &[2, 0, 4], b"shop", &[5, 0, 3], b"a\nb"].concat();
    ask(&gateway, &version2(0x21, Ipv4Addr::new(203, 0, 113, 7), &extensions));
    let line = gateway.logged("proxy_unique_id");
    for part in ["203.0.113.7", "h2", "shop", r"a\\nb"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn an_edit_holds_for_the_next_connection() {
    let origin = Origin::named("a");
    let gateway = in_front_of(&origin, FROM, "");
    let without = forward_all(&[origin.address]);
    let (mut kept, status) = ask(&gateway, &version1("203.0.113.7"));
    assert_eq!(status, Some(200));
    gateway.replace(&without);
    assert_eq!(ask(&gateway, b"").1, Some(200));
    kept.send(GET);
    assert_eq!(kept.receive().status, 200);
    assert_eq!(origin.last().fields("x-forwarded-for"), ["203.0.113.7"]);
}

#[test]
fn a_list_of_nobody_is_refused() {
    let routes = "virtual_hosts: []\n";
    for (keys, says) in [
        ("proxy_protocol: { from: [] }", "listeners[0].proxy_protocol.from: names nobody"),
        ("proxy_protocol: {}", "from"),
        ("proxy_protocol: { from: [somewhere] }", "listeners[0].proxy_protocol.from[0]"),
        ("proxy_protocol: { from: [10.0.0.0/8], version: 2 }", "version"),
    ] {
        let output = check(&with_keys(keys, routes));
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success() && said.contains(says), "{keys}: {said}");
    }
}
