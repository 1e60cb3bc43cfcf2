//! The packet table on the host, and bytes that nobody chose.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "packets/frame.rs"]
mod frame;
#[path = "packets/table.rs"]
mod table;
#[path = "packets/world.rs"]
mod world;

use std::collections::BTreeMap;

use classifier_abi::{Action, Address, Protocol, Reason, Scratch, Shared, Slots, classify};
use table::{IFINDEX, PORT, Row, Setup, rows};
use world::Host;

const NOW: u64 = 1_000_000_000_000_000;

fn host(setup: &Setup) -> Host {
    let host = Host::new(NOW);
    for (key, zone) in &setup.zones {
        host.zones.put(*key, Slots { even: *zone, odd: Default::default() });
    }
    for (prefix, network) in &setup.networks {
        let slots = Slots { even: *network, odd: Default::default() };
        host.networks.push(Box::new((*prefix, slots)));
    }
    for (source, seconds) in &setup.verdicts {
        let expires = NOW.saturating_add_signed(seconds * 1_000_000_000);
        host.verdicts.borrow_mut().insert(*source, expires);
    }
    for (source, ago) in &setup.handshakes {
        host.handshakes.put(*source, Shared::new(NOW - ago * 1_000_000_000));
    }
    host.ports.borrow_mut().push(PORT);
    host
}

fn send(host: &Host, packet: &[u8]) -> bool {
    classify(host, packet, IFINDEX, &mut Scratch::default()) == Action::Pass
}

fn check(row: &Row) {
    let host = host(&row.setup);
    let passes: Vec<_> = row.packets.iter().map(|packet| send(&host, packet)).collect();
    assert_eq!(passes, row.passes, "{}", row.description);
    let mut expected = BTreeMap::new();
    for (reason, dropped, packets) in &row.counters {
        *expected.entry((*reason, *dropped)).or_default() += packets;
    }
    let counted: BTreeMap<_, u64> = Reason::ALL
        .iter()
        .flat_map(|reason| [(*reason, false), (*reason, true)])
        .map(|(reason, dropped)| {
            ((reason, dropped), host.counters.borrow()[reason.counter(dropped) as usize].0)
        })
        .filter(|(_, packets)| *packets > 0)
        .collect();
    assert_eq!(counted, expected, "{}", row.description);
}

#[test]
fn every_row_of_the_packet_table() {
    let rows = rows();
    assert!(rows.len() >= 150, "{} rows", rows.len());
    rows.iter().for_each(check);
}

#[test]
fn a_connection_leaves_its_flow_and_its_source() {
    let setup = table::setup(table::strict());
    let host = host(&setup);
    host.established.set(true);
    send(&host, &frame::frame4(6, &frame::tcp(50_000, PORT, frame::SYN, b"")));
    let (key, flow) = host.flows.entries().pop().unwrap();
    assert_eq!((key.source, key.source_port()), (Address::v4(frame::CLIENT), 50_000));
    assert_eq!((flow.zone(), flow.ttl(), flow.protocol()), (1, 64, None));
    assert_eq!(flow.syn_ns.load(), NOW);
    assert!(host.handshakes.entries().is_empty());
    let data = frame::tcp(50_000, PORT, frame::ACK, b"POST / HTTP/1.1\r\n");
    send(&host, &frame::frame4(6, &data));
    assert_eq!(flow.protocol(), Some(Protocol::Http1));
    assert_eq!(host.handshakes.entries()[0].0, Address::v4(frame::CLIENT));
    let (_, source) = host.sources.entries().pop().unwrap();
    assert_eq!((source.zone.load(), source.syn.level(NOW), source.first_ns.load()), (1, 1, NOW));
}

#[test]
fn what_is_dropped_makes_no_entry() {
    let mut setup = table::setup(table::strict());
    setup.verdicts.push((Address::v4(frame::CLIENT), 60));
    let host = host(&setup);
    assert!(!send(&host, &frame::frame4(6, &frame::tcp(50_000, PORT, frame::SYN, b""))));
    assert!(host.flows.entries().is_empty() && host.sources.entries().is_empty());
}

#[test]
fn screens_are_remembered_for_a_minute() {
    let host = host(&table::setup(table::strict()));
    send(&host, &frame::frame4(6, &frame::tcp(1, PORT, frame::SYN, b"")));
    send(&host, &frame::frame4(6, &frame::tcp(1, PORT, 0, b"")));
    let (_, source) = host.sources.entries().pop().unwrap();
    let at =
        |seconds: u64| source.screens(NOW + seconds * 1_000_000_000).iter().collect::<Vec<_>>();
    assert_eq!(at(50), [Reason::NoFlags]);
    assert_eq!(at(70), []);
}

#[test]
fn maps_of_another_version_are_left_alone() {
    let host = host(&table::setup(table::strict()));
    host.magic.set(0);
    assert!(send(&host, &frame::frame4(6, &frame::tcp(1, PORT, 0, b""))));
    assert!(host.counters.borrow().iter().all(|counter| counter.0 == 0));
}

/// Bytes at random, and sound frames with bytes changed at random: no panic, and every packet has
/// exactly one outcome.
#[test]
fn any_bytes_have_one_outcome() {
    let host = host(&table::setup(table::strict()));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let sound: Vec<_> = rows().into_iter().flat_map(|row| row.packets).collect();
    let mut sent = 0;
    for round in 0..60_000_u64 {
        let mut packet = sound[next() as usize % sound.len()].clone();
        if round % 4 == 0 {
            packet = (0..next() % 120).map(|_| next() as u8).collect();
        }
        for _ in 0..next() % 4 {
            if !packet.is_empty() {
                let at = next() as usize % packet.len();
                packet[at] = next() as u8;
            }
        }
        send(&host, &packet);
        sent += 1;
    }
    let counters = host.counters.borrow();
    let dropped: u64 =
        Reason::ALL.iter().map(|reason| counters[reason.counter(true) as usize].0).sum();
    assert_eq!(dropped + counters[Reason::Passed.counter(false) as usize].0, sent);
}
