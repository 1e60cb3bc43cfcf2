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
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::edge::Edge;
use crate::flood::Flood;
use crate::net::{CLIENTS, INTERFACE, PATIENCE, get_within, must};
use crate::program::can_load;

const ROUTES: &str = "      - { name: rest, respond: { status: 200, body: rest } }";
/// The flood.
const PACKETS_PER_S: u32 = 10_000;
/// The large one, as far as the sender manages.
const LARGE_PER_S: u32 = 100_000;
/// What a client asks in each turn, one after the other and each on a connection of its own. They are
/// counted and not timed: a busy machine serves them later, a flood that gets through loses them.
const REQUESTS: u32 = 200;
/// Calm and flood in turns, because the machine's pace changes.
const TURNS: usize = 3;
/// What a client keeps of its requests.
const KEPT: f64 = 0.95;
/// Between a client's requests: at most 250 a second, which no limit below is for.
const PAUSE: Duration = Duration::from_millis(4);
/// Below what a slow sender of a flood manages; one source and the client stay below the zone's.
const SCREEN: &str = "syn_flood: { per_source_per_s: 1000, per_zone_per_s: 2000, action: drop }";

/// One measurement at a time.
static MEASURING: Mutex<()> = Mutex::new(());

/// What became of a client's requests, and what they cost the gateway.
#[derive(Default)]
struct Figures {
    asked: u32,
    /// Those that were answered, but for as many as SYNs had to be sent again.
    kept: u32,
    /// How long it waited for all of them together.
    waited: Duration,
    cpu_ticks: u64,
}

impl Figures {
    fn add(&mut self, other: &Self) {
        self.asked += other.asked;
        self.kept += other.kept;
        self.waited += other.waited;
        self.cpu_ticks += other.cpu_ticks;
    }

    fn each_us(&self) -> f64 {
        self.waited.as_secs_f64() * 1e6 / f64::from(self.asked)
    }

    fn cpu_us(&self) -> f64 {
        // A clock tick is 10 ms.
        self.cpu_ticks as f64 * 10_000.0 / f64::from(self.asked)
    }
}

/// SYNs that were sent more than once in the calling thread's network namespace.
fn resent() -> u32 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split(' ').zip(values.split(' '));
    pairs.find(|(name, _)| *name == "TCPSynRetrans").unwrap().1.parse().unwrap()
}

/// A client's requests, a turn of them.
fn measure(edge: &Edge, address: SocketAddr) -> Figures {
    let before = edge.gateway().cpu_ticks();
    let ask = move || {
        let (begun, resent_before) = (Instant::now(), resent());
        let (mut asked, mut answered, mut waited) = (0, 0, Duration::ZERO);
        while asked < REQUESTS && begun.elapsed() < PATIENCE {
            asked += 1;
            let asked_at = Instant::now();
            answered += u32::from(get_within(CLIENTS[0], address, "/", PATIENCE).is_some());
            waited += asked_at.elapsed();
            std::thread::sleep(PAUSE);
        }
        let kept = answered.saturating_sub(resent() - resent_before);
        Figures { asked, kept, waited, cpu_ticks: 0 }
    };
    let figures = edge.net.at_client(ask).join().unwrap();
    Figures { cpu_ticks: edge.gateway().cpu_ticks() - before, ..figures }
}

/// As [`measure`], while `flood` is sent.
fn under_flood(edge: &Edge, address: SocketAddr, flood: Flood) -> (Figures, u64) {
    let flooding = flood.start(&edge.net);
    let figures = measure(edge, address);
    (figures, flooding.end())
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
        assert!(turns.kept >= KEPT, "{sources} sources: kept {:.3}", turns.kept);
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
    edge.write_classifier("[]", "syn_flood: { per_zone_per_s: 1000, action: drop }");
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, "");
    let cpus = std::thread::available_parallelism().unwrap().get();
    let cpu = (cpus > 1).then_some(cpus - 1);
    if cpu.is_some() {
        must(&format!("taskset -a -p -c 0 {}", edge.gateway().child.id()));
    }
    let flood = Flood { sources: 65_536, packets_per_s: LARGE_PER_S, span: 2 * PATIENCE, cpu };
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
    assert!(turns.kept >= KEPT, "kept {:.3}", turns.kept);
}

/// Nanoseconds and runs of the program, while the kernel counts them.
fn ran() -> (u64, u64) {
    let programs = aya::programs::loaded_programs().filter_map(Result::ok);
    let ours = programs.filter(|program| program.name_as_str() == Some("classify"));
    ours.fold((0, 0), |(ns, runs), one| {
        (ns + one.run_time().as_nanos() as u64, runs + one.run_count())
    })
}

/// What a flood changes: the share of requests that were kept, and CPU as a ratio to the calm.
struct Turns {
    kept: f64,
    cpu: f64,
    sent: u64,
}

fn small(sources: u32) -> Flood {
    Flood { sources, packets_per_s: PACKETS_PER_S, span: 2 * PATIENCE, cpu: None }
}

fn in_turns(name: &str, edge: &Edge, address: SocketAddr, flood: Flood) -> Turns {
    let (mut calm, mut flooded, mut sent) = (Figures::default(), Figures::default(), 0);
    for turn in 0..TURNS {
        if turn % 2 == 0 {
            calm.add(&measure(edge, address));
        }
        let (figures, packets) = under_flood(edge, address, flood);
        flooded.add(&figures);
        sent += packets;
        if turn % 2 == 1 {
            calm.add(&measure(edge, address));
        }
    }
    let turns = Turns {
        kept: f64::from(flooded.kept) / f64::from(flooded.asked),
        cpu: flooded.cpu_us() / calm.cpu_us(),
        sent,
    };
    println!(
        "{name}, {} forged sources: kept {:.3} of {} requests, {:.0} us each, {:.0} when calm, CPU a \
         request x {:.2}, {sent} SYNs",
        flood.sources,
        turns.kept,
        flooded.asked,
        flooded.each_us(),
        calm.each_us(),
        turns.cpu,
    );
    turns
}
