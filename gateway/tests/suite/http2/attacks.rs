//! Attacks by frames, each with an honest client beside it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::client::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, PING, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, section, with_h2c,
};
use super::unread::endless;
use crate::support::{Gateway, Origin, config};

/// How long each lasts.
const LASTS: Duration = Duration::from_secs(1);

/// One turn of an attack on a connection, of which `stream` is the next one; whether it is still there.
type Attack = fn(&mut Frames, u32) -> bool;

const ATTACKS: [(&str, Attack); 9] = [
    ("rapid reset", |client, stream| {
        client.request(stream, "GET", END_STREAM, &[]);
        client.send(RST_STREAM, 0, stream, &[0, 0, 0, 8])
    }),
    ("resets that the gateway makes", |client, stream| {
        client.request(stream, "POST", 0, &[]);
        client.send(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff])
    }),
    ("PING", |client, _| client.send(PING, 0, 0, &[0; 8])),
    ("SETTINGS", |client, _| client.send(SETTINGS, 0, 0, &[])),
    ("empty DATA", |client, stream| {
        client.request(stream, "POST", 0, &[]);
        (0..20).all(|_| client.send(DATA, 0, stream, b""))
    }),
    ("CONTINUATION without end", |client, stream| {
        client.send(HEADERS, END_STREAM, stream, &[0x82]);
        (0..200).all(|_| client.send(CONTINUATION, 0, stream, &section(&[("x", "y")])))
    }),
    ("fields that are large once decoded", |client, stream| {
        let kept = [&b"\x40\x01x\x7f\x81\x1e"[..], &[b'y'; 4_000]].concat();
        let section = [&b"\x82\x86\x84\x41\x01a"[..], &kept, &[0xbe; 8_000]].concat();
        client.send(HEADERS, END_STREAM | END_HEADERS, stream, &section)
    }),
    ("malformed trailers", |client, stream| {
        client.request(stream, "POST", 0, &[]);
        client.send(HEADERS, END_STREAM | END_HEADERS, stream, &[0x82])
    }),
    ("windows that stay shut", |client, stream| {
        client.request(stream, "PUT", END_STREAM, &[]);
        thread::sleep(Duration::from_millis(20));
        stream < 400
    }),
];

/// Attacks again and again, on a new connection whenever one was closed.
fn attack(address: SocketAddr, turn: Attack, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let mut client = Frames::connect(address);
        let mut streams = (1..100_000).step_by(2);
        while !over.load(Ordering::Relaxed) && streams.next().is_some_and(|s| turn(&mut client, s))
        {
        }
    }
}

#[test]
fn an_honest_client_is_served_beside_each_attack() {
    let (slow, _) = endless();
    let origin = Origin::named("a");
    let yaml = config(&format!(
        "upstreams:
  - {{ name: slow, endpoints: [{{ address: \"{slow}\" }}] }}
  - {{ name: fast, endpoints: [{{ address: \"{}\" }}] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - {{ name: slow, match: {{ methods: [PUT] }}, forward: {{ upstream: slow }} }}
      - {{ name: honest, match: {{ methods: [DELETE] }}, respond: {{ status: 200, body: ok }} }}
      - {{ name: fast, forward: {{ upstream: fast }} }}
limits: {{ client_unread_bytes: 256KiB }}
",
        origin.address
    ));
    let gateway = Gateway::start(&with_h2c(&yaml, ""));
    let before = gateway.resident_kib();
    for (name, turn) in ATTACKS {
        let mut durations = beside(gateway.web(), turn);
        durations.sort();
        let late = durations[durations.len() * 99 / 100];
        assert!(late < Duration::from_secs(2), "{name}: {late:?} of {}", durations.len());
    }
    let grown = gateway.resident_kib().saturating_sub(before);
    assert!(grown < 256 << 10, "{grown} KiB");
    let log = gateway.log();
    assert!(log.len() < 50, "{} lines such as {:?}", log.len(), log.last());
}

/// How long the requests of an honest client took beside two attackers.
fn beside(address: SocketAddr, turn: Attack) -> Vec<Duration> {
    let over = &AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || attack(address, turn, over));
        }
        let mut client = Frames::connect(address);
        let (started, mut durations) = (Instant::now(), Vec::new());
        for stream in (1..).step_by(2).take_while(|_| started.elapsed() < LASTS) {
            let began = Instant::now();
            client.request(stream, "DELETE", END_STREAM, &[]);
            assert_eq!(client.receive_kind(HEADERS).expect("an answer").stream, stream);
            while client.receive_kind(DATA).expect("all of it").flags & END_STREAM == 0 {}
            durations.push(began.elapsed());
            thread::sleep(Duration::from_millis(5));
        }
        over.store(true, Ordering::Relaxed);
        durations
    })
}
