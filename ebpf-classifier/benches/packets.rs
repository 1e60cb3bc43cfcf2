//! Nanoseconds a packet, by `BPF_PROG_TEST_RUN`: the program that does nothing, and ours.
//!
//! Every figure is the least of many short interleaved rounds of one run: other work on the machine can
//! only add to a round. The median stands beside it. The gate is on what the least adds to the empty
//! program's. Arguments: `--repeat N`, `--rounds N`, `--gate NS`, `--only PACKET`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a measurement fails by panicking")]

#[path = "../abi/tests/packets/frame.rs"]
#[allow(dead_code, reason = "the table uses the rest")]
mod frame;
#[path = "../tests/support/program.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod program;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use classifier_abi::{
    Address, Flow, FlowKey, Limits, Marks, Network, Prefix, Rate, Reason, Screens, SenderHash,
    Shared, Slots, Source, Standing, Verdict, Zone, ZoneKey, bits_for, per_window,
};
use program::{Program, can_load};
use sallyport_classifier::pinned::{Access, Maps, ktime_ns};

const PORT: u16 = 443;

/// What the rows of floods begin with, and what each of their packets may add to the empty program, in
/// nanoseconds.
const FLOOD: &str = "SYN dropped";
const FLOOD_NS_MAX: u32 = 90;

/// What a SYN of a source that was never seen may add to the empty program, in nanoseconds.
const FORGED_NS_MAX: u32 = 400;

/// VLANs, and zones, over the limit of a source and of a zone.
const FLOODED_SOURCE: u16 = 2;
const FLOODED_ZONE: u16 = 3;

fn argument(name: &str, default: u32) -> u32 {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |text| text.parse().unwrap())
}

/// Everything on: every screen dropping, all rates limited (high), a thousand networks.
fn set_up(program: &Program) {
    let all =
        Reason::SCREENS.into_iter().fold(Screens::NONE, |all, one| all.with(Screens::of(one)));
    let limits = Limits { source: per_window(3_900_000), zone: per_window(3_900_000) };
    let zone = Zone {
        id: 1,
        watched: all,
        dropping: all,
        limits: [limits; Rate::COUNT],
        port_bits: bits_for(50),
        address_bits: bits_for(50),
        ..Zone::default()
    };
    let slots = Slots { even: zone, odd: zone };
    program.zones.insert(&ZoneKey { ifindex: 1, vlan: 0 }, slots).unwrap();
    // The same in floods: of one source, of a zone.
    for (vlan, limits) in [
        (FLOODED_SOURCE, Limits { source: 1, zone: limits.zone }),
        (FLOODED_ZONE, Limits { source: limits.source, zone: 1 }),
    ] {
        let zone = Zone { id: vlan, limits: [limits; Rate::COUNT], ..zone };
        let key = ZoneKey { ifindex: 1, vlan: vlan.into() };
        program.zones.insert(&key, Slots { even: zone, odd: zone }).unwrap();
    }
    for i in 0..1000_u16 {
        let [high, low] = i.to_be_bytes();
        let network = Network { id: i + 1, action: 0 };
        let prefix = Prefix::new(Address::v4([10, high, low, 0]), 96 + 24);
        program.networks.insert(&prefix, Slots { even: network, odd: network }).unwrap();
    }
    let ours = Network { id: 1001, action: 0 };
    let prefix = Prefix::new(Address::v4([192, 0, 2, 0]), 96 + 24);
    program.networks.insert(&prefix, Slots { even: ours, odd: ours }).unwrap();
    program.track(PORT);
    let verdict = Verdict { expires_ns: ktime_ns() + 3_600_000_000_000, ..Verdict::default() };
    let source = Prefix::new(Address::v4([192, 0, 2, 66]), 128);
    program.verdicts.insert(&source, verdict).unwrap();
    let standing = Standing { generation: 0, network: ours };
    let flow = Flow::new(ktime_ns(), standing, 1, 64, 0);
    let (client, server) = (Address::v4(frame::CLIENT), Address::v4(frame::SERVER));
    program.flows.insert(&FlowKey::tcp(client, 40_000, server, PORT), flow).unwrap();
}

fn main() {
    // `cargo test` and `cargo bench -- --test` only ask whether this builds.
    if std::env::args().any(|argument| argument == "--test") || !can_load() {
        return;
    }
    let (repeat, rounds) = (argument("--repeat", 50_000), argument("--rounds", 100));
    let gate = argument("--gate", 150);
    let only = std::env::args().skip_while(|argument| argument != "--only").nth(1);
    let program = Program::load();
    set_up(&program);
    let packets: Vec<_> = packets()
        .into_iter()
        .filter(|(name, _)| only.as_ref().is_none_or(|only| name == only))
        .collect();
    for (_, packet) in &packets {
        program.run("classify", packet, 1000);
    }
    let mut floor = Vec::new();
    let mut ours = vec![Vec::new(); packets.len()];
    for _ in 0..rounds {
        for ((_, packet), times) in packets.iter().zip(&mut ours) {
            floor.push(program.run("pass", packet, repeat).1);
            times.push(program.run("classify", packet, repeat).1);
        }
    }
    let (middle, floor) = (median(&mut floor), least(&floor));
    println!("{:<28} {:>6} {:>7} {:>6} {:>7}", "packet", "ns", "added", "ratio", "median");
    println!("{:<28} {floor:>6} {:>7} {:>6} {middle:>7}", "empty program", "", "");
    let mut over = 0;
    for ((name, _), times) in packets.iter().zip(&mut ours) {
        let (middle, time) = (median(times), least(times));
        let added = time.saturating_sub(floor);
        let ratio = f64::from(time) / f64::from(floor.max(1));
        println!("{name:<28} {time:>6} {added:>7} {ratio:>6.2} {middle:>7}");
        let most = if name.starts_with(FLOOD) { gate.min(FLOOD_NS_MAX) } else { gate };
        over += u32::from(added > most);
    }
    let (plain, first) = first_time(&program);
    println!("one run each, entries made: SYN of a new source {first}, the empty program {plain}");
    fill(&program);
    let (time, middle) = forged(&program, repeat, rounds);
    let added = time.saturating_sub(floor);
    println!("{:<28} {time:>6} {added:>7} {:>6} {middle:>7}", "SYN, each of a new source", "");
    println!("    sources, handshakes and flows are full, and every SYN is let in");
    over += u32::from(added > FORGED_NS_MAX);
    let hints = hints(&program);
    println!("user space, the hints of one connection (its flow): {hints} ns");
    // Before the exit below, which would leave its file system mounted.
    drop(program);
    if over > 0 {
        eprintln!(
            "{over} over their gates: {gate} ns, {FLOOD_NS_MAX} in a flood, {FORGED_NS_MAX} of a new source"
        );
        std::process::exit(1);
    }
}

fn packets() -> Vec<(&'static str, Vec<u8>)> {
    use frame::*;
    let syn = frame4(6, &tcp(40_000, PORT, SYN, b""));
    let flood = |vlan| ethernet(&[vlan], 0x0800, &ipv4(6, &tcp(40_000, PORT, SYN, b"")));
    let data = frame4(6, &tcp(40_000, PORT, PSH | ACK, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    vec![
        ("TCP SYN", syn),
        ("TCP data, known flow", data),
        ("UDP", frame4(17, &udp(5353, 53, b"query"))),
        ("IPv6 TCP", frame6(6, &tcp(40_000, 80, ACK, b"data"))),
        ("IPv6 TCP SYN", frame6(6, &tcp(40_000, PORT, SYN, b""))),
        ("ACK, no flow", frame4(6, &tcp(40_001, PORT, ACK, b""))),
        (
            "fragment",
            ethernet(&[], 0x0800, &{
                let v4 = V4 { id: 7, offset: 800, more: true, options: &[] };
                ipv4_with(v4, CLIENT, SERVER, 17, &[0; 64])
            }),
        ),
        ("SYN dropped, source's flood", flood(FLOODED_SOURCE)),
        ("SYN dropped, zone's flood", flood(FLOODED_ZONE)),
        ("dropped by verdict", between([192, 0, 2, 66], SERVER, 6, &tcp(1, PORT, SYN, b""))),
    ]
}

/// Fills the maps that have entries of who completed a handshake.
fn fill(program: &Program) {
    let meta = program.maps.meta().unwrap();
    let now_ns = ktime_ns();
    let number = |i: u32| Address::v4((0x0b00_0000 + i).to_be_bytes());
    let mut words: BTreeMap<u32, Marks> = BTreeMap::new();
    for i in 0..program.maps.sources.entries_max() {
        let (word, mark) = SenderHash::of(&number(i), meta.seed).learnt_mark();
        words.entry(word).or_default().set(mark, now_ns);
        program.sources.insert(&number(i), Source::new()).unwrap();
        program.handshakes.insert(&number(i), Shared::new(now_ns)).unwrap();
    }
    for (word, marks) in words {
        program.learnt.insert(&word, marks).unwrap();
    }
    for i in 0..program.maps.flows.entries_max() {
        let key = FlowKey::tcp(number(i), 40_000, Address::v4(frame::SERVER), PORT);
        let standing = Standing { generation: 0, network: Network::default() };
        let flow = Flow::new(now_ns, standing, 1, 64, 0);
        program.flows.insert(&key, flow).unwrap();
    }
}

/// SYNs of which none is from the source of another: the least and the median, in nanoseconds.
fn forged(program: &Program, repeat: u32, rounds: u32) -> (u32, u32) {
    let packet = frame::frame4(6, &frame::tcp(40_000, PORT, frame::SYN, b""));
    let run = |_| program.run("forged", &packet, repeat).1;
    let mut times: Vec<u32> = (0..rounds).map(run).collect();
    (least(&times), median(&mut times))
}

/// What the gateway looks up once a connection: the median of a hundred means of a thousand, in
/// nanoseconds.
fn hints(program: &Program) -> u32 {
    let maps = Maps::open(program.pin_path(), Access::Read).unwrap();
    let (client, server) = (Address::v4(frame::CLIENT), Address::v4(frame::SERVER));
    let key = FlowKey::tcp(client, 40_000, server, PORT);
    let mut means: Vec<u32> = (0..100)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..1000 {
                black_box(maps.flows.lookup(&key).unwrap());
            }
            (begun.elapsed().as_nanos() / 1000) as u32
        })
        .collect();
    median(&mut means)
}

/// Runs of a single packet, each from a source that was never seen: medians of the empty program and
/// ours. Not comparable with the others: caches are cold and a run's own cost is not spread.
fn first_time(program: &Program) -> (u32, u32) {
    let (mut plain, mut first) = (Vec::new(), Vec::new());
    for i in 0..20_000_u16 {
        let [high, low] = i.to_be_bytes();
        let syn = frame::tcp(40_000, PORT, frame::SYN, b"");
        let packet = frame::between([203, 0, high, low], frame::SERVER, 6, &syn);
        plain.push(program.run("pass", &packet, 1).1);
        first.push(program.run("classify", &packet, 1).1);
    }
    (median(&mut plain), median(&mut first))
}

fn least(values: &[u32]) -> u32 {
    values.iter().copied().min().unwrap_or_default()
}

fn median(values: &mut [u32]) -> u32 {
    values.sort_unstable();
    values[values.len() / 2]
}
