//! The packet table through the kernel: the same rows, the same answers, the same counters.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "../abi/tests/packets/frame.rs"]
mod frame;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the benchmark uses the rest")]
mod program;
#[path = "../abi/tests/packets/table.rs"]
mod table;

use std::collections::BTreeMap;

use classifier_abi::{FlowKey, Meta, Protocol, Reason, Shared, Slots, Verdict};
use program::{DROP, PASS, Program, can_load};
use sallyport_classifier::pinned::ktime_ns;
use table::{PORT, Row, Setup, rows};

fn set_up(program: &Program, setup: &Setup) {
    program.clear();
    // A new generation with every change, as the loader has it; an even one, whose slot is the first.
    let meta = program.meta.lookup(&0).unwrap().unwrap();
    program.meta.insert(&0, Meta { generation: meta.generation + 2, ..meta }).unwrap();
    for (key, zone) in &setup.zones {
        program.zones.insert(key, Slots { even: *zone, odd: Default::default() }).unwrap();
    }
    for (prefix, network) in &setup.networks {
        program.networks.insert(prefix, Slots { even: *network, odd: Default::default() }).unwrap();
    }
    let now = ktime_ns();
    for (source, seconds) in &setup.verdicts {
        let expires_ns = now.saturating_add_signed(seconds * 1_000_000_000);
        program.verdicts.insert(source, Verdict { expires_ns, ..Verdict::default() }).unwrap();
    }
    for (source, ago) in &setup.handshakes {
        // A machine that runs for less than this never saw that handshake: it is not of its time.
        let at = now.saturating_sub(ago * 1_000_000_000);
        program.handshakes.insert(source, Shared::new(at)).unwrap();
    }
}

fn check(program: &Program, row: &Row) {
    set_up(program, &row.setup);
    let before = program.counts();
    let run = |packet: &Vec<u8>| match program.run("classify", packet, 1).0 {
        PASS => true,
        DROP => false,
        other => panic!("{}: returned {other}", row.description),
    };
    let passes: Vec<bool> = row.packets.iter().map(run).collect();
    assert_eq!(passes, row.passes, "{}", row.description);
    let after = program.counts();
    let mut expected = BTreeMap::new();
    for (reason, dropped, packets) in &row.counters {
        *expected.entry((*reason, *dropped)).or_default() += packets;
    }
    let mut counted = BTreeMap::new();
    for reason in Reason::ALL {
        for dropped in [false, true] {
            let index = reason.counter(dropped) as usize;
            counted.insert((*reason, dropped), after[index] - before[index]);
        }
    }
    counted.retain(|_, packets| *packets > 0);
    assert_eq!(counted, expected, "{}", row.description);
}

#[test]
fn every_row_of_the_packet_table() {
    if !can_load() {
        return;
    }
    let program = Program::load();
    program.track(PORT);
    let rows = rows();
    rows.iter().for_each(|row| check(&program, row));
    println!("{} rows", rows.len());
}

#[test]
fn a_connection_leaves_the_same_flow_as_on_the_host() {
    if !can_load() {
        return;
    }
    let program = Program::load();
    program.track(PORT);
    set_up(&program, &table::setup(table::strict()));
    let before = ktime_ns();
    program.run("classify", &frame::frame6(6, &frame::tcp(50_000, PORT, frame::SYN, b"")), 1);
    let after = ktime_ns();
    let source = std::net::IpAddr::from(frame::CLIENT6).into();
    let destination = std::net::IpAddr::from(frame::SERVER6).into();
    let key = FlowKey::tcp(source, 50_000, destination, PORT);
    let flow = program.flows.lookup(&key).unwrap().unwrap();
    assert!((before..=after).contains(&flow.syn_ns.load()));
    assert_eq!((flow.zone(), flow.ttl(), flow.protocol()), (1, 64, None));
    let data = frame::tcp(50_000, PORT, frame::ACK, b"PRI * HTTP/2.0\r\n\r\n");
    program.run("classify", &frame::frame6(6, &data), 1);
    let flow = program.flows.lookup(&key).unwrap().unwrap();
    assert_eq!(flow.protocol(), Some(Protocol::Http2));
    let known = program.sources.lookup(&source).unwrap().unwrap();
    assert_eq!((known.zone.load(), known.syn.level(known.last_ns.load())), (1, 1));
    // The kernel has no such connection, so this is nobody's handshake.
    assert!(program.handshakes.lookup(&source).unwrap().is_none());
}
