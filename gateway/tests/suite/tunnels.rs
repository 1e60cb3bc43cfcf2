//! Tunnels: what passes after `101 Switching Protocols`, and how it ends.

use crate::conformance::echo_after_upgrade;
use crate::support::{Client, Gateway, Origin, PATIENCE, Received, eventually, forward_all};
use rustix::net::sockopt::set_socket_linger;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const UPGRADE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A gateway with a tunnel through it: the client, and the origin's end as the origin got it.
fn tunnel(change: impl FnOnce(String) -> String) -> (Gateway, Client, TcpStream) {
    let (sender, ends) = mpsc::channel();
    let origin = Origin::start(move |_, stream| {
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        sender.send(stream.try_clone().unwrap()).unwrap();
        // The test has the connection now; the reader in `Origin` must not take from it.
        loop {
            std::thread::park();
        }
    });
    let gateway = Gateway::start(&change(forward_all(&[origin.address])));
    let mut client = Client::connect(gateway.web());
    client.send(UPGRADE);
    assert_eq!(client.receive().status, 101);
    let far = ends.recv_timeout(PATIENCE).unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    (gateway, client, far)
}

fn reset(stream: &TcpStream) {
    set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
    // The connection ends when its last descriptor is closed; `shutdown` would not reset it.
}

/// An origin that does `last` after its 101 and then closes by a reset.
fn resetting_origin(last: &'static [u8]) -> Origin {
    Origin::start(move |request, stream| {
        stream.write_all(SWITCHED.as_bytes()).unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(last).unwrap();
        assert_eq!(request.fields("upgrade"), ["websocket"]);
        reset(stream);
        false
    })
}

#[test]
fn rfc9110_15_2_2_nothing_but_the_close_follows_an_origins_reset() {
    let origin = resetting_origin(b"echo");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send(UPGRADE);
    assert_eq!(client.receive().status, 101);
    client.send("ping");
    assert_eq!(client.read_exact(4), b"echo", "what was in flight is delivered");
    let error = client.stream().read(&mut [0; 64]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "a reset is passed on as a reset");
}

#[test]
fn rfc9110_15_2_2_a_clients_reset_reaches_the_origin() {
    let (_gateway, mut client, mut far) = tunnel(|yaml| yaml);
    client.send("last");
    let mut word = [0; 4];
    far.read_exact(&mut word).unwrap();
    reset(client.stream());
    drop(client);
    let error = far.read(&mut [0; 64]).unwrap_err();
    assert_eq!((&word, error.kind()), (b"last", ErrorKind::ConnectionReset));
}

#[test]
fn a_half_close_is_passed_on_and_the_other_direction_goes_on() {
    let (_gateway, mut client, mut far) = tunnel(|yaml| yaml);
    client.send("all of it");
    client.stream().shutdown(Shutdown::Write).unwrap();
    let mut text = String::new();
    far.read_to_string(&mut text).unwrap();
    assert_eq!(text, "all of it");
    let much = vec![b'x'; 1 << 20];
    far.write_all(&much).unwrap();
    far.shutdown(Shutdown::Both).unwrap();
    assert_eq!(client.read_exact(1 << 20), much);
    assert!(client.is_closed());
}

#[test]
fn a_silent_tunnel_outlasts_the_read_timeouts_and_counts_as_no_refusal() {
    let (gateway, mut client, mut far) = tunnel(|yaml| {
        let timeouts = "{ read: 200ms, idle: 200ms }";
        yaml.replace(
            "127.0.0.1:0 }\nadmin",
            &format!("127.0.0.1:0, timeouts: {timeouts} }}\nadmin"),
        )
        .replace("- name: up\n", "- name: up\n    timeouts: { read: 200ms, upgraded: 2s }\n")
    });
    std::thread::sleep(Duration::from_millis(800));
    client.send("ping");
    let mut word = [0; 4];
    far.read_exact(&mut word).unwrap();
    far.write_all(b"pong").unwrap();
    assert_eq!((&word, &*client.read_exact(4)), (b"ping", &b"pong"[..]));
    let last = Instant::now();
    assert_eq!(client.stream().read(&mut [0; 64]).unwrap(), 0, "closed, with no other word");
    assert!(last.elapsed() > Duration::from_millis(1_500), "`upgraded` ends it");
    let ended = "sallyport_route_requests_total{code_class=\"1xx\",route=\"everything\",virtual_host=\"all\"}";
    gateway.counts(ended, 1.0);
    for kind in ["timeout", "reset"] {
        let failed = format!(
            "sallyport_upstream_errors_total{{endpoint=\"{}\",kind=\"{kind}\",upstream=\"up\"}}",
            far.local_addr().unwrap()
        );
        assert!(gateway.metric(&failed).is_none_or(|count| count == 0.0), "{kind}");
    }
}

#[test]
fn what_a_client_sends_before_the_101_is_not_lost() {
    let origin = Origin::start(echo_after_upgrade);
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for early in [&b"e"[..], b"early words"] {
        let mut client = Client::connect(gateway.web());
        client.send([UPGRADE.as_bytes(), early].concat());
        client.send("more");
        assert_eq!(client.receive().status, 101);
        client.send("last");
        let all = [early, b"morelast"].concat();
        assert_eq!(client.read_exact(all.len()), all);
    }
}

#[test]
fn what_an_origin_sends_with_its_101_comes_after_it() {
    let origin = Origin::start(|_, stream| {
        let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
        stream.write_all([interim, SWITCHED, "hello"].concat().as_bytes()).unwrap();
        let mut reader = stream.try_clone().unwrap();
        drop(std::io::copy(&mut reader, stream));
        false
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send(UPGRADE);
    assert_eq!(client.try_receive(true).unwrap().status, 103);
    assert_eq!(client.try_receive(true).unwrap().status, 101);
    client.send("!");
    assert_eq!(client.read_exact(6), b"hello!");
}

#[test]
fn rfc9110_7_8_an_upgrade_that_is_not_taken_up_is_a_request() {
    let origin = Origin::start(|_, stream| {
        let blank = "a\r\n\r\nb";
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", blank.len());
        stream.write_all([&head, blank].concat().as_bytes()).is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    for _ in 0..3 {
        client.send(UPGRADE);
        let response = client.receive();
        assert_eq!((response.status, &*response.body), (200, "a\r\n\r\nb"));
    }
}

#[test]
fn an_origin_that_never_answers_an_upgrade_times_out_like_any() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let yaml = forward_all(&[listener.local_addr().unwrap()])
        .replace("- name: up\n", "- name: up\n    timeouts: { read: 300ms }\n");
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    let response = client.send(UPGRADE).receive();
    assert_eq!((response.status, response.error().as_deref()), (504, Some("timeout")));
}

#[test]
fn rfc9110_15_2_2_a_101_that_nobody_asked_for_is_a_bad_response() {
    let plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let with_body = UPGRADE.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\nab");
    let foo = UPGRADE.replace("websocket", "foo");
    let length = SWITCHED.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\n");
    let chunked = SWITCHED.replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
    let none = SWITCHED.replace("Upgrade: websocket\r\n", "");
    for (request, answer) in [
        (plain, SWITCHED),
        (&with_body, SWITCHED),
        (&foo, SWITCHED),
        (UPGRADE, &length),
        (UPGRADE, &chunked),
        (UPGRADE, &none),
    ] {
        let answer = answer.to_owned();
        let origin = Origin::start(move |_: &Received, stream| {
            stream.write_all([&*answer, "smuggled"].concat().as_bytes()).is_ok()
        });
        let gateway = Gateway::start(&forward_all(&[origin.address]));
        let mut client = Client::connect(gateway.web());
        let response = client.send(request).receive();
        assert_eq!(response.error().as_deref(), Some("bad_response"), "{request} {response:?}");
        assert_eq!(response.status, 502);
    }
}

#[test]
fn filters_of_response_heads_see_a_101() {
    let origin = Origin::start(echo_after_upgrade);
    let yaml = forward_all(&[origin.address]).replace(
        "forward: { upstream: up }",
        "forward: { upstream: up }, filters: [ { headers: { response: { set: { x-seen: yes-101 } } } } ]",
    );
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    let response = client.send(UPGRADE).receive();
    assert_eq!((response.status, response.field("x-seen").as_deref()), (101, Some("yes-101")));
    client.send("ping");
    assert_eq!(client.read_exact(4), b"ping");
}

#[test]
fn a_tunnel_passes_as_much_as_comes_both_ways_at_once() {
    const BYTES: usize = 8 << 20;
    let origin = Origin::start(echo_after_upgrade);
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send(UPGRADE);
    assert_eq!(client.receive().status, 101);
    let mut writer = client.stream().try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..BYTES).map(|index| (index % 251) as u8).collect();
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let received = client.read_exact(BYTES);
    sending.join().unwrap();
    assert!(received.iter().enumerate().all(|(index, byte)| *byte == (index % 251) as u8));
    assert!(client.is_closed());
    let active = "sallyport_route_requests_active{route=\"everything\",virtual_host=\"all\"}";
    eventually("the tunnel's end", || (gateway.metric(active) == Some(0.0)).then_some(()));
}
