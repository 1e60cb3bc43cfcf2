//! SYN floods, bounded in count and time, and a client that goes on. A target of its own, so that no
//! other test runs beside what is measured.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "namespaces/edge.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod edge;
#[path = "support/net.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod net;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the packet table uses the rest")]
mod program;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::edge::Edge;
use crate::net::{CLIENTS, GATEWAY, INTERFACE, get, must};
use crate::program::can_load;

const ROUTES: &str = "      - { name: rest, respond: { status: 200, body: rest } }";
/// The flood.
const PACKETS_PER_S: u32 = 10_000;
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

/// As [`measure`], while `sources` forged addresses send SYNs.
fn under_flood(edge: &Edge, address: SocketAddr, sources: u32) -> (Figures, u64) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/flood.py");
    let link = must(&format!("ip -n {} -br link show {INTERFACE}", edge.net.gateway));
    let mac = link.split_whitespace().nth(2).unwrap().to_owned();
    let arguments = [
        "sp1".to_owned(),
        GATEWAY.to_owned(),
        "8080".to_owned(),
        sources.to_string(),
        PACKETS_PER_S.to_string(),
        (SPAN.as_secs_f64() + 0.5).to_string(),
        mac,
    ];
    let mut flood = Command::new("ip")
        .args(["netns", "exec", &edge.net.client, "python3", script])
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(flood.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    let figures = measure(edge, address);
    let sent = said.next().unwrap().unwrap();
    assert!(flood.wait().unwrap().success());
    (figures, sent.trim().parse().unwrap())
}

#[test]
fn a_known_client_goes_on_under_syn_floods() {
    if !can_load() {
        return;
    }
    // Beside it, the same without a classifier.
    let mut bare = Edge::new();
    bare.write_classifier("[]", SCREEN);
    let address = bare.start_gateway(ROUTES, "");
    for sources in [1, 10_000] {
        in_turns("no classifier", &bare, address, sources);
    }
    drop(bare);

    let mut edge = Edge::new();
    edge.write_classifier("[]", SCREEN);
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, "");
    for (sources, reason) in [(1, "syn_flood_source"), (10_000, "syn_flood_zone")] {
        let before = edge.counted(reason).1;
        let turns = in_turns("classifier", &edge, address, sources);
        let dropped = edge.counted(reason).1 - before;
        println!("    {dropped} of {} dropped as {reason}", turns.sent);
        assert!(dropped > turns.sent / 10, "{dropped} of {} counted as {reason}", turns.sent);
        assert!(turns.kept >= KEPT, "{sources} sources: kept {:.2}", turns.kept);
        assert!(turns.cpu <= 1.5, "the gateway's CPU is its own: {:.2}", turns.cpu);
    }
}

/// What a flood changes, as ratios to the calm before it.
struct Turns {
    kept: f64,
    cpu: f64,
    sent: u64,
}

fn in_turns(name: &str, edge: &Edge, address: SocketAddr, sources: u32) -> Turns {
    let (mut kept, mut cpu, mut sent) = (Vec::new(), Vec::new(), 0);
    let mut rates = Vec::new();
    while kept.len() < *ROUNDS.start() || kept.len() < *ROUNDS.end() && median(&kept) < KEPT {
        let ((flooded, packets), calm) = if kept.len() % 2 == 0 {
            let calm = measure(edge, address);
            (under_flood(edge, address, sources), calm)
        } else {
            (under_flood(edge, address, sources), measure(edge, address))
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
