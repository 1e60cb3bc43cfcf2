//! SYN floods, bounded in count and time, and a client that goes on. A target of its own, so that no
//! other test runs beside what is measured.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "namespaces/edge.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod edge;
#[path = "support/flood.rs"]
mod flood;
#[path = "support/net.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod net;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the packet table uses the rest")]
mod program;

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::edge::Edge;
use crate::flood::Flood;
use crate::net::{CLIENTS, INTERFACE, get, must};
use crate::program::can_load;

const ROUTES: &str = "      - { name: rest, respond: { status: 200, body: rest } }";
/// The flood.
const PACKETS_PER_S: u32 = 10_000;
/// The large one, as far as the sender manages.
const LARGE_PER_S: u32 = 100_000;
/// How long each figure is measured.
const SPAN: Duration = Duration::from_secs(1);
/// Calm and flood in turns, because the machine's pace changes; the median of the turns counts. Where
/// it falls short after the least number there are more turns, up to the most, all of which count: a
/// machine that was disturbed for some seconds comes out in the middle again, a flood that takes its
/// share every time does not.
const ROUNDS: RangeInclusive<usize> = 5..=25;
/// What a client keeps of its requests a second.
const KEPT: f64 = 0.9;
/// A client that opens connections one after the other stays below both, with what one source may add.
const SCREEN: &str = "syn_flood: { per_source_per_s: 4000, per_zone_per_s: 7000, action: drop }";

/// One measurement at a time.
static MEASURING: Mutex<()> = Mutex::new(());

struct Figures {
    requests_per_s: f64,
    cpu_us: f64,
}

/// Requests a second, each on a connection of its own, and what each costs the gateway.
fn measure(edge: &Edge, address: SocketAddr) -> Figures {
    let before = edge.gateway().cpu_ticks();
    let served = edge
        .net
        .at_client(move || {
            let begun = Instant::now();
            let mut served = 0_u32;
            while begun.elapsed() < SPAN {
                served += u32::from(get(CLIENTS[0], address, "/").is_some());
            }
            f64::from(served) / begun.elapsed().as_secs_f64()
        })
        .join()
        .unwrap();
    // A clock tick is 10 ms.
    let cpu_us = (edge.gateway().cpu_ticks() - before) as f64 * 10_000.0;
    Figures { requests_per_s: served, cpu_us: cpu_us / (served * SPAN.as_secs_f64()).max(1.0) }
}

/// As [`measure`], while `flood` is sent.
fn under_flood(edge: &Edge, address: SocketAddr, flood: Flood) -> (Figures, u64) {
    let flooding = flood.start(&edge.net);
    let figures = measure(edge, address);
    (figures, flooding.sent())
}

#[test]
fn a_known_client_goes_on_under_syn_floods() {
    if !can_load() {
        return;
    }
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    // Beside it, the same without a classifier.
    let mut bare = Edge::new();
    bare.write_classifier("[]", SCREEN);
    let address = bare.start_gateway(ROUTES, "");
    for sources in [1, 10_000] {
        in_turns("no classifier", &bare, address, small(sources));
    }
    drop(bare);

    let mut edge = Edge::new();
    edge.write_classifier("[]", SCREEN);
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, "");
    for (sources, reason) in [(1, "syn_flood_source"), (10_000, "syn_flood_zone")] {
        let before = edge.counted(reason).1;
        let turns = in_turns("classifier", &edge, address, small(sources));
        let dropped = edge.counted(reason).1 - before;
        println!("    {dropped} of {} dropped as {reason}", turns.sent);
        assert!(dropped > turns.sent / 10, "{dropped} of {} counted as {reason}", turns.sent);
        assert!(turns.kept >= KEPT, "{sources} sources: kept {:.2}", turns.kept);
        assert!(turns.cpu <= 1.5, "the gateway's CPU is its own: {:.2}", turns.cpu);
    }
}

/// RFC 4987, 3.6. On a veth pair what is sent is answered by the CPU that sends it. Here that is another
/// one than serves: so it is not the share of a CPU that is measured.
#[test]
fn a_client_goes_on_under_a_flood_that_is_answered_with_cookies() {
    if !can_load() {
        return;
    }
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut edge = Edge::new();
    let gateway = edge.net.gateway.clone();
    must(&format!("nsenter --net=/run/netns/{gateway} sysctl -q net/ipv4/tcp_syncookies=2"));
    edge.write_classifier("[]", "syn_flood: { per_zone_per_s: 7000, action: drop }");
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, "");
    let cpus = std::thread::available_parallelism().unwrap().get();
    let cpu = (cpus > 1).then_some(cpus - 1);
    if cpu.is_some() {
        must(&format!("taskset -a -p -c 0 {}", edge.gateway().child.id()));
    }
    let span = SPAN + Duration::from_millis(500);
    let flood = Flood { sources: 65_536, packets_per_s: LARGE_PER_S, span, cpu };
    let _stats = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
    let (ns, runs) = ran();
    let before = edge.counted("syn_cookie").1;
    let turns = in_turns("cookies", &edge, address, flood);
    let answered = edge.counted("syn_cookie").1 - before;
    let (ns, runs) = (ran().0 - ns, ran().1 - runs);
    println!(
        "    {answered} of {} answered with cookies on {INTERFACE}; {} ns of the program a packet",
        turns.sent,
        ns / runs.max(1)
    );
    assert!(answered > turns.sent / 2, "{answered} of {}", turns.sent);
    assert!(turns.kept >= KEPT, "kept {:.2}", turns.kept);
}

/// Nanoseconds and runs of the program, while the kernel counts them.
fn ran() -> (u64, u64) {
    let programs = aya::programs::loaded_programs().filter_map(Result::ok);
    let ours = programs.filter(|program| program.name_as_str() == Some("classify"));
    ours.fold((0, 0), |(ns, runs), one| {
        (ns + one.run_time().as_nanos() as u64, runs + one.run_count())
    })
}

/// What a flood changes, as ratios to the calm before it.
struct Turns {
    kept: f64,
    cpu: f64,
    sent: u64,
}

fn small(sources: u32) -> Flood {
    let span = SPAN + Duration::from_millis(500);
    Flood { sources, packets_per_s: PACKETS_PER_S, span, cpu: None }
}

fn in_turns(name: &str, edge: &Edge, address: SocketAddr, flood: Flood) -> Turns {
    let sources = flood.sources;
    let (mut kept, mut cpu, mut sent) = (Vec::new(), Vec::new(), 0);
    let mut rates = Vec::new();
    while kept.len() < *ROUNDS.start() || kept.len() < *ROUNDS.end() && median(&kept) < KEPT {
        let ((flooded, packets), calm) = if kept.len() % 2 == 0 {
            let calm = measure(edge, address);
            (under_flood(edge, address, flood), calm)
        } else {
            (under_flood(edge, address, flood), measure(edge, address))
        };
        kept.push(flooded.requests_per_s / calm.requests_per_s);
        cpu.push(flooded.cpu_us / calm.cpu_us);
        rates.push(calm.requests_per_s);
        sent += packets;
    }
    let turns = Turns { kept: median(&kept), cpu: median(&cpu), sent };
    println!(
        "{name}, {sources} forged sources: kept {:.2} of {:.0} requests/s, CPU a request x {:.2}, {sent} SYNs, {} turns",
        turns.kept,
        median(&rates),
        turns.cpu,
        kept.len()
    );
    turns
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
