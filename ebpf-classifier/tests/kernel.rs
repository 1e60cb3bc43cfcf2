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
use std::net::{TcpListener, TcpStream};

use classifier_abi::{
    Address, FlowKey, Marks, Meta, Prefix, Protocol, Rate, Reason, Screens, SenderHash, Shared,
    Slots, Verdict, Zone, ZoneKey, map,
};
use program::{DROP, PASS, Program, TX, Variant, can_load};
use sallyport_classifier::pinned::{Access, Map, ktime_ns};
use table::{PORT, Row, Setup, rows};

fn set_up(program: &Program, setup: &Setup) {
    program.clear();
    // A new generation with every change, as the loader has it; an even one, whose slot is the first.
    let meta = program.meta.lookup(&0).unwrap().unwrap();
    // And a new seed: what the rows before left in the sketch is nobody's then.
    let seed = meta.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5a17;
    program.meta.insert(&0, Meta { generation: meta.generation + 2, seed, ..meta }).unwrap();
    for (key, zone) in &setup.zones {
        program.zones.insert(key, Slots { even: *zone, odd: Default::default() }).unwrap();
    }
    for (prefix, network) in &setup.networks {
        program.networks.insert(prefix, Slots { even: *network, odd: Default::default() }).unwrap();
    }
    let now = ktime_ns();
    for (source, seconds) in &setup.verdicts {
        let expires_ns = now.saturating_add_signed(seconds * 1_000_000_000);
        let source = program.verdicts.source((*source).into()).unwrap();
        program.verdicts.insert(&source, Verdict { expires_ns, ..Verdict::default() }).unwrap();
    }
    for (prefix, seconds) in &setup.verdict_prefixes {
        let expires_ns = now.saturating_add_signed(seconds * 1_000_000_000);
        program.verdicts.insert(prefix, Verdict { expires_ns, ..Verdict::default() }).unwrap();
    }
    for (source, ago) in &setup.handshakes {
        // A machine that runs for less than this never saw that handshake: it is not of its time.
        let at = now.saturating_sub(ago * 1_000_000_000);
        let source = meta.source(*source);
        let (word, mark) = SenderHash::of(&source, seed).learnt_mark();
        let marks = Marks::default();
        marks.set(mark, at);
        program.learnt.insert(&word, marks).unwrap();
        program.handshakes.insert(&source, Shared::new(at)).unwrap();
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
    let rows = rows();
    for frags in [true, false] {
        let program = Program::load_as(&Variant { frags, ..Variant::default() });
        program.track(PORT);
        rows.iter().for_each(|row| check(&program, row));
    }
    println!("{} rows", rows.len());
}

/// With an MTU of 9,000 a frame is in several buffers, of which the program reads the first.
#[test]
fn frames_in_several_buffers_have_their_whole_length_and_hide_nothing() {
    if !can_load() {
        return;
    }
    let program = Program::load();
    program.track(PORT);
    let counted = |packet: &[u8], reason: Reason, dropped: bool| {
        let before = program.counts();
        let expected = if dropped { DROP } else { PASS };
        assert_eq!(program.run("classify", packet, 1).0, expected, "{reason:?}");
        let index = reason.counter(dropped) as usize;
        assert_eq!(program.counts()[index], before[index] + 1, "{reason:?}");
    };
    set_up(&program, &table::setup(table::strict()));
    let syn = frame::tcp(50_000, PORT, frame::SYN, b"");
    let data = frame::tcp(50_000, PORT, frame::ACK, &[0; 8_900]);
    counted(&frame::frame4(6, &data), Reason::Passed, false);
    counted(&frame::frame6(6, &data), Reason::Passed, false);
    // A TCP header behind the first buffer: two options headers of 2,048 bytes.
    let options = |next: u8| [&[next, 255][..], &[1, 4, 0, 0, 0, 0], &[0; 2_040]].concat();
    let hidden = frame::frame6(60, &[options(60), options(6), syn.clone()].concat());
    counted(&hidden, Reason::Unparsable, true);
    // What ends before it says that it does is still that.
    let mut cut = frame::frame4(6, &data);
    cut.truncate(cut.len() - 1);
    counted(&cut, Reason::Malformed, false);
    // The source is known all the same.
    let meta = program.meta.lookup(&0).unwrap().unwrap();
    let client = meta.source(std::net::IpAddr::from(frame::CLIENT6).into());
    let mut shut_out = table::setup(table::strict());
    shut_out.verdicts.push((client, 60));
    set_up(&program, &shut_out);
    counted(&hidden, Reason::Verdict, true);
}

#[test]
fn a_connection_leaves_the_same_flow_as_on_the_host() {
    if !can_load() {
        return;
    }
    let program = Program::load();
    // The kernel looks for connections in the namespace of the test, so this is one.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let client = TcpStream::connect(server).unwrap();
    let from = client.local_addr().unwrap().port();
    program.track(server.port());
    set_up(&program, &table::setup(table::strict()));
    let meta = program.meta.lookup(&0).unwrap().unwrap();
    let localhost = [127, 0, 0, 1];
    // Not from its own address, which a screen drops: the client's is another of the same interface.
    let segment = |flags, payload: &[u8]| {
        let segment = frame::tcp(from, server.port(), flags, payload);
        program.run("classify", &frame::between(localhost, localhost, 6, &segment), 1).0
    };
    let land = Screens::of(Reason::Land);
    let zone = table::strict();
    let zone = Zone { watched: zone.watched.without(land), ..zone };
    let key = ZoneKey { ifindex: table::IFINDEX, vlan: 0 };
    program.zones.insert(&key, Slots { even: zone, odd: zone }).unwrap();
    program.meta.insert(&0, Meta { generation: meta.generation + 2, ..meta }).unwrap();
    let before = ktime_ns();
    assert_eq!(segment(frame::SYN, b""), PASS);
    let after = ktime_ns();
    let source = Address::v4(localhost);
    let key = FlowKey::tcp(source, from, source, server.port());
    assert!(program.flows.lookup(&key).unwrap().is_none(), "a SYN alone makes no entry");
    let meta = program.meta.lookup(&0).unwrap().unwrap();
    let flow = program.maps.connection(&key, &meta).unwrap().expect("it is in its slot");
    assert!((before..=after).contains(&flow.syn_ns.load()));
    assert_eq!((flow.zone(), flow.ttl(), flow.protocol()), (1, 64, None));
    assert_eq!(segment(frame::ACK, b"PRI * HTTP/2.0\r\n\r\n"), PASS);
    let flow = program.flows.lookup(&key).unwrap().unwrap();
    assert_eq!(flow.protocol(), Some(Protocol::Http2));
    assert!((before..=after).contains(&flow.syn_ns.load()));
    let known = program.sources.lookup(&source).unwrap().unwrap();
    assert_eq!((known.zone.load(), known.syn_level(known.last_ns.load())), (1, 1));
    assert!(program.handshakes.lookup(&source).unwrap().is_some());
    drop(client);
}

#[test]
fn a_connection_that_the_kernel_does_not_have_is_nobodys_handshake() {
    if !can_load() {
        return;
    }
    let program = Program::load();
    program.track(PORT);
    set_up(&program, &table::setup(table::strict()));
    program.run("classify", &frame::frame6(6, &frame::tcp(50_000, PORT, frame::SYN, b"")), 1);
    let data = frame::tcp(50_000, PORT, frame::ACK, b"PRI * HTTP/2.0\r\n\r\n");
    program.run("classify", &frame::frame6(6, &data), 1);
    let source = std::net::IpAddr::from(frame::CLIENT6).into();
    let destination = std::net::IpAddr::from(frame::SERVER6).into();
    let key = FlowKey::tcp(source, 50_000, destination, PORT);
    assert!(program.flows.lookup(&key).unwrap().is_none());
    let meta = program.meta.lookup(&0).unwrap().unwrap();
    let flow = program.maps.connection(&key, &meta).unwrap().unwrap();
    assert_eq!(flow.protocol(), Some(Protocol::Http2), "the gateway is told all the same");
    assert!(program.handshakes.lookup(&meta.source(source)).unwrap().is_none());
    assert!(program.sources.lookup(&meta.source(source)).unwrap().is_none());
}

/// RFC 4987, 3.6: what is sent is what the kernel's own check takes.
#[test]
fn a_syn_over_the_limit_is_answered_with_a_cookie_that_the_kernel_takes() {
    if !can_load() {
        return;
    }
    let program = Program::load_as(&Variant { cookies: true, ..Variant::default() });
    program.track(PORT);
    let mut zone = table::strict();
    zone.limits[Rate::Syn as usize].zone = 1;
    zone.flags = Zone::COOKIES;
    for (build, ip_bytes) in [(frame::frame4 as fn(u8, &[u8]) -> Vec<u8>, 20), (frame::frame6, 40)]
    {
        set_up(&program, &table::setup(zone));
        let syn = |port| build(6, &frame::tcp(port, PORT, frame::SYN, b""));
        assert_eq!(program.run("classify", &syn(1), 1).0, PASS);
        let (verdict, answer) = program.answer(&syn(50_000));
        assert_eq!(verdict, TX);
        let tcp = &answer[14 + ip_bytes..];
        assert_eq!(tcp.len(), 24, "a header and the maximum segment size");
        assert_eq!(
            (&tcp[..2], &tcp[2..4]),
            (&PORT.to_be_bytes()[..], &50_000_u16.to_be_bytes()[..])
        );
        assert_eq!((&tcp[8..12], tcp[13]), (&[0, 0, 0, 2][..], frame::SYN | frame::ACK));
        let cookie = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
        let mut ack = frame::tcp(50_000, PORT, frame::ACK, b"");
        ack[4..8].copy_from_slice(&2_u32.to_be_bytes());
        ack[8..12].copy_from_slice(&cookie.wrapping_add(0x1234).to_be_bytes());
        let before = program.counts();
        assert_eq!(program.run("classify", &build(6, &ack), 1).0, PASS);
        let proven = Reason::CookieProven.counter(false) as usize;
        assert_eq!(program.counts()[proven], before[proven], "not this one");
        ack[8..12].copy_from_slice(&cookie.wrapping_add(1).to_be_bytes());
        assert_eq!(program.run("classify", &build(6, &ack), 1).0, PASS);
        assert_eq!(program.counts()[proven], before[proven] + 1);
        assert_eq!(program.run("classify", &syn(50_001), 1).0, PASS, "no stranger any more");
    }
}

/// Every map that can be full says how full it is.
#[test]
fn every_map_tells_how_full_it_is() {
    if !can_load() {
        return;
    }
    let program = Program::load();
    program.track(PORT);
    set_up(&program, &table::setup(Zone { port_bits: 40, ..table::strict() }));
    let fill = |map: &str| {
        let all = program.maps.fill(ktime_ns());
        let found = all.into_iter().find(|fill| fill.map == map);
        let found = found.unwrap_or_else(|| panic!("{map} is not told"));
        (found.entries.unwrap(), found.entries_max)
    };
    assert_eq!(fill("pending"), (0, 65_536));
    assert_eq!(fill("cells"), (0, 2 * 65_536));
    let send = || {
        for i in 0..200 {
            let syn = frame::tcp(50_000, PORT, frame::SYN, b"");
            program.run("classify", &frame::between([203, 0, 113, i], frame::SERVER, 6, &syn), 1);
        }
    };
    // Few of two hundred fall to the same slot. Meters forget within two seconds and scans within
    // nine: a busy machine gets several tries.
    let expected = [("cells", 360..=400), ("strangers", 180..=200), ("pending", 180..=200)];
    let is_full = (0..20).any(|_| {
        send();
        expected.iter().all(|(map, entries)| entries.contains(&fill(map).0))
    });
    assert!(is_full, "{:?}", expected.map(|(map, _)| (map, fill(map))));
    for i in 0..5_000_u32 {
        let address = Address::v4(i.to_be_bytes());
        program.handshakes.insert(&address, Shared::new(1)).unwrap();
    }
    assert_eq!(fill("handshakes"), (5_000, 65_536));
    for (word, marks) in [(3, 0..24), (7, 5..6)] {
        let made = Marks::default();
        marks.for_each(|mark| made.set(mark, ktime_ns()));
        program.learnt.insert(&word, made).unwrap();
    }
    assert_eq!(fill("learnt"), (25, 32_768 * 24));
    let later = frame::V4 { id: 9, offset: 800, more: true, options: &[] };
    let later = frame::ipv4_with(later, frame::CLIENT, frame::SERVER, 17, &[0; 64]);
    program.run("classify", &frame::ethernet(&[], 0x0800, &later), 1);
    assert_eq!(fill("fragments").0, 1);
    assert_eq!(fill("zones").0, 1);
    for map in ["networks", "names", "sources", "flows", "verdicts", "verdict_prefixes"] {
        assert_eq!(fill(map).0, 0, "{map}");
    }
    assert_eq!(fill("network_counters").0, 0);
}

/// Marks tell where a lookup can find a verdict: sources share them, and one that is cleared must not
/// let another's source in.
#[test]
fn marks_of_verdicts_are_cleared_with_the_last_of_them() {
    if !can_load() {
        return;
    }
    let program = Program::load();
    set_up(&program, &table::setup(table::strict()));
    let now = ktime_ns();
    // As many as there are marks: most of these have several.
    let sources = || (0..4_096_u32).map(|i| Address::v4((0xcb00_0000 + i).to_be_bytes()));
    for (i, source) in sources().enumerate() {
        let expires_ns = if i % 16 == 0 { now + 3_600_000_000_000 } else { now };
        let verdict = Verdict { expires_ns, ..Verdict::default() };
        program.verdicts.insert(&Prefix::new(source, 128), verdict).unwrap();
    }
    let marks: Map<u32, u64> =
        Map::open(&program.pin_path().join(map::VERDICT_MARKS), Access::Read).unwrap();
    let marked = || marks.count_where(|mark| *mark != 0).unwrap();
    let before = marked();
    program.verdicts.sweep(ktime_ns()).unwrap();
    let after = marked();
    assert!(before > 2_000 && (200..=257).contains(&after), "{before}, then {after}");
    for (i, source) in sources().enumerate() {
        let [a, b, c, d] = source.octets()[12..].try_into().unwrap();
        let syn = frame::tcp(1, PORT, frame::SYN, b"");
        let syn = frame::between([a, b, c, d], frame::SERVER, 6, &syn);
        let expected = if i % 16 == 0 { DROP } else { PASS };
        assert_eq!(program.run("classify", &syn, 1).0, expected, "{i}");
    }
    program.verdicts.sweep(u64::MAX).unwrap();
    assert_eq!(marked(), 0);
}

/// A verdict that was given holds until it expires: one too many is refused, and none goes for it.
#[test]
fn a_full_map_of_verdicts_refuses() {
    if !can_load() {
        return;
    }
    let program = Program::load_as(&Variant { verdicts: 64, ..Variant::default() });
    let verdict = || Verdict { expires_ns: ktime_ns() + 3_600_000_000_000, ..Verdict::default() };
    let source = |i: u8, bits| Prefix::new(Address::v4([203, 0, i, 0]), bits);
    for bits in [128, 120] {
        let given =
            (0..128).filter(|i| program.verdicts.insert(&source(*i, bits), verdict()).is_ok());
        let given: Vec<u8> = given.collect();
        assert_eq!(given, (0..64).collect::<Vec<_>>(), "the first are in, the others refused");
    }
    assert_eq!(program.verdicts.fill().map(|(count, max)| (count.unwrap(), max)), [(64, 64); 2]);
    // What has expired makes room.
    program.verdicts.sweep(u64::MAX).unwrap();
    assert_eq!(program.verdicts.fill().map(|(count, max)| (count.unwrap(), max)), [(0, 64); 2]);
}
