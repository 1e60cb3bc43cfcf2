//! The packet table on the host, and bytes that nobody chose.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "packets/frame.rs"]
mod frame;
#[path = "packets/table.rs"]
mod table;
#[path = "packets/world.rs"]
mod world;

use std::collections::BTreeMap;

use classifier_abi::{
    Action, Address, Packet, Protocol, Rate, Reason, Scratch, Slots, Zone, classify,
};
use table::{IFINDEX, PORT, Row, Setup, rows};
use world::Host;

/// `BPF_TCP_ESTABLISHED` and `BPF_TCP_SYN_SENT`.
const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;

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
        let key = host.meta.source(*source);
        host.verdicts.borrow_mut().insert(key, expires);
    }
    for (prefix, seconds) in &setup.verdict_prefixes {
        let expires = NOW.saturating_add_signed(seconds * 1_000_000_000);
        host.verdict_prefixes.borrow_mut().push((*prefix, expires));
    }
    for (source, ago) in &setup.handshakes {
        host.complete_handshake(&host.meta.source(*source), NOW - ago * 1_000_000_000);
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

/// A frame of which only the first bytes are lent, as one in several buffers.
struct Split<'f> {
    frame: &'f [u8],
    lent: usize,
}

impl Packet for Split<'_> {
    fn read<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.frame[..self.lent].read(at)
    }

    fn bytes(&self) -> usize {
        self.frame.len()
    }
}

/// Whatever of a packet is not lent, a source that is shut out stays out, and a port with flow entries
/// is reached by nothing that was not read.
#[test]
fn what_is_not_lent_hides_nothing() {
    let syn = frame::tcp(40_000, PORT, frame::SYN, b"");
    for packet in [frame::frame4(6, &syn), frame::frame6(6, &syn)] {
        let source = if packet[14] >> 4 == 4 {
            Address::v4(frame::CLIENT)
        } else {
            std::net::IpAddr::from(frame::CLIENT6).into()
        };
        for lent in 0..packet.len() {
            let split = Split { frame: &packet, lent };
            let host = host(&table::setup(table::strict()));
            let action = classify(&host, &split, IFINDEX, &mut Scratch::default());
            // Everything but the options behind TCP's fixed header was read.
            let is_read = lent >= packet.len() - 20 + 16;
            assert_eq!(action == Action::Pass, is_read, "{lent} of {}", packet.len());
            let mut setup = table::setup(table::strict());
            setup.verdicts.push((source, 60));
            let host = self::host(&setup);
            let action = classify(&host, &split, IFINDEX, &mut Scratch::default());
            assert_eq!(action, Action::Drop, "under a verdict, {lent} lent");
        }
    }
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
    send(&host, &frame::frame4(6, &frame::tcp(50_000, PORT, frame::SYN, b"")));
    // Nobody who forges a SYN has an entry for it.
    assert!(host.flows.entries().is_empty() && host.sources.entries().is_empty());
    host.connection.set(ESTABLISHED);
    let data = frame::tcp(50_000, PORT, frame::ACK, b"POST / HTTP/1.1\r\n");
    send(&host, &frame::frame4(6, &data));
    let (key, flow) = host.flows.entries().pop().unwrap();
    assert_eq!((key.source, key.source_port()), (Address::v4(frame::CLIENT), 50_000));
    assert_eq!((flow.zone(), flow.ttl()), (1, 64));
    assert_eq!((flow.syn_ns.load(), flow.protocol()), (NOW, Some(Protocol::Http1)));
    assert_eq!(host.handshakes.entries()[0].0, Address::v4(frame::CLIENT));
    let (_, source) = host.sources.entries().pop().unwrap();
    assert_eq!((source.zone.load(), source.syn_level(NOW), source.first_ns.load()), (1, 1, NOW));
}

/// The kernel has the connection only once the segment that ends the handshake is through, and the
/// first data may be in one batch with it; or that segment was lost.
#[test]
fn a_handshake_is_learnt_from_a_later_segment() {
    let host = host(&table::setup(table::strict()));
    let send = |flags, payload: &[u8]| {
        send(&host, &frame::frame4(6, &frame::tcp(50_000, PORT, flags, payload)));
    };
    send(frame::SYN, b"");
    send(frame::ACK, b"");
    send(frame::ACK, b"GET / HTTP/1.1\r\n");
    assert!(host.flows.entries().is_empty() && host.handshakes.entries().is_empty());
    host.connection.set(ESTABLISHED);
    send(frame::ACK, b"");
    let (_, flow) = host.flows.entries().pop().unwrap();
    assert_eq!(flow.protocol(), Some(Protocol::Http1), "of the segment before");
    assert_eq!(host.handshakes.entries().len(), 1);
    let looks = host.looks.get();
    (0..100).for_each(|_| send(frame::ACK, b"x"));
    assert_eq!(host.looks.get(), looks, "nobody asks again");
}

#[test]
fn looks_for_a_handshake_that_never_ends_are_bounded() {
    let host = host(&table::setup(table::strict()));
    send(&host, &frame::frame4(6, &frame::tcp(50_000, PORT, frame::SYN, b"")));
    for _ in 0..1_000 {
        send(&host, &frame::frame4(6, &frame::tcp(50_000, PORT, frame::ACK, b"x")));
    }
    assert!(host.looks.get() <= 16, "{}", host.looks.get());
    assert!(host.flows.entries().is_empty());
}

/// RFC 791, 3.2: an identification is unique for as long as its datagram may be about, not for ever.
#[test]
fn an_identification_may_come_again_when_its_datagram_is_complete_or_given_up() {
    let host = host(&table::setup(table::strict()));
    let part = |id, offset, more, bytes| {
        let v4 = frame::V4 { id, offset, more, options: &[] };
        let payload = vec![0; bytes];
        let packet = frame::ipv4_with(v4, frame::CLIENT, frame::SERVER, 17, &payload);
        send(&host, &frame::ethernet(&[], 0x0800, &packet))
    };
    // Complete, in either order and with a part sent twice: the next one begins anew.
    for round in 0..4 {
        let parts = [(0, true, 800), (800, false, 400)];
        let order: &[usize] = if round % 2 == 0 { &[0, 0, 1] } else { &[1, 0] };
        for index in order {
            let (offset, more, bytes) = parts[*index];
            assert!(part(7, offset, more, bytes), "round {round}");
        }
    }
    // Given up: 40 s later nobody waits for its rest.
    assert!(part(8, 0, true, 800));
    host.now_ns.set(NOW + 40_000_000_000);
    assert!(part(8, 400, true, 1_200), "another datagram");
}

/// Forged sources have slots, of which there is a fixed number, and no entries.
#[test]
fn a_flood_of_forged_sources_makes_no_entry() {
    let host = host(&table::setup(table::strict()));
    for i in 0..20_000_u32 {
        let [a, b, c, _] = (i << 8).to_be_bytes();
        let syn = frame::tcp(1_000, PORT, frame::SYN, b"");
        send(&host, &frame::between([10, a ^ b, b, c], frame::SERVER, 6, &syn));
    }
    assert!(host.flows.entries().is_empty() && host.sources.entries().is_empty());
    assert!(host.handshakes.entries().is_empty());
}

/// RFC 4987, 3.6: over the limit a stranger is answered with a cookie, and what returns it proves its
/// source.
#[test]
fn a_returned_cookie_proves_its_source() {
    let mut zone = table::strict();
    zone.limits[Rate::Syn as usize].zone = 3;
    zone.flags = Zone::COOKIES;
    let host = host(&table::setup(zone));
    host.cookies.set(true);
    let segment =
        |flags, payload: &[u8]| frame::frame4(6, &frame::tcp(50_000, PORT, flags, payload));
    for i in 0..3 {
        let syn = frame::tcp(1, PORT, frame::SYN, b"");
        assert!(send(&host, &frame::between([10, 0, 0, i], frame::SERVER, 6, &syn)));
    }
    let syn = segment(frame::SYN, b"");
    let answer = classify(&host, &syn[..], IFINDEX, &mut Scratch::default());
    assert_eq!(answer, Action::Cookie);
    send(&host, &segment(frame::ACK, b""));
    assert!(host.handshakes.entries().is_empty(), "no cookie");
    host.cookie.set(true);
    assert!(send(&host, &segment(frame::ACK, b"")));
    assert_eq!(host.handshakes.entries()[0].0, Address::v4(frame::CLIENT));
    assert_eq!(host.flows.entries().len(), 1);
    let syn = frame::frame4(6, &frame::tcp(50_001, PORT, frame::SYN, b""));
    assert!(send(&host, &syn), "no stranger any more");
}

/// RFC 5358 and RFC 5452: answers to our own questions come from one address to many ports.
#[test]
fn answers_to_our_own_sockets_are_no_port_scan() {
    let zone = Zone { port_bits: 10, ..table::strict() };
    let host = host(&table::setup(zone));
    host.udp_socket.set(true);
    let answer = |port| frame::frame4(17, &frame::udp(53, port, b"answer"));
    assert!((0..120).all(|port| send(&host, &answer(40_000 + port))));
    host.udp_socket.set(false);
    assert!(!(0..120).all(|port| send(&host, &answer(40_000 + port))), "to closed ports they are");
}

/// What belongs to a connection that this host has is no flood, whoever opened it.
#[test]
fn segments_of_a_connection_without_an_entry_are_in_no_flood() {
    let mut zone = table::strict();
    for rate in [Rate::Ack, Rate::Rst, Rate::SynAck] {
        zone.limits[rate as usize].source = 5;
    }
    let host = host(&table::setup(zone));
    let all = |flags| {
        let frame = frame::frame4(6, &frame::tcp(443, 40_000, flags, b""));
        (0..20).filter(|_| send(&host, &frame)).count()
    };
    for flags in [frame::ACK, frame::RST, frame::SYN | frame::ACK] {
        assert_eq!(all(flags), 5);
        host.connection.set(if flags == frame::ACK { ESTABLISHED } else { SYN_SENT });
        assert_eq!(all(flags), 20);
        host.connection.set(0);
    }
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
    // Of a stranger, and kept when it is none any more.
    send(&host, &frame::frame4(6, &frame::tcp(1, PORT, 0, b"")));
    send(&host, &frame::frame4(6, &frame::tcp(1, PORT, frame::SYN, b"")));
    host.connection.set(ESTABLISHED);
    send(&host, &frame::frame4(6, &frame::tcp(1, PORT, frame::ACK, b"")));
    let (_, flow) = host.flows.entries().pop().unwrap();
    assert_eq!(flow.screens().iter().collect::<Vec<_>>(), [Reason::NoFlags]);
    let (_, source) = host.sources.entries().pop().unwrap();
    let at =
        |seconds: u64| source.screens(NOW + seconds * 1_000_000_000).iter().collect::<Vec<_>>();
    assert_eq!(at(50), [Reason::NoFlags]);
    assert_eq!(at(70), []);
}

#[test]
fn maps_of_another_version_are_left_alone() {
    let mut host = host(&table::setup(table::strict()));
    host.meta.magic = 0;
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
