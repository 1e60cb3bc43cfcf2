//! What recording costs and what is lost, with several threads at once, against what is promised.
//!
//! `cargo run --release -p sallyport-stats --features statsd --example bench_push [-- SECONDS]`
//! prints a table and exits with 1 where a figure misses its reach. Everything else that runs on
//! the machine is in the figures: the load average is printed beside them.

mod latency;
mod load;
mod sinks;

use std::{fs, process::ExitCode, time::Duration};

use sallyport_stats::push::PipelineConfig;

use self::sinks::Kind;

/// One figure, and what it is to reach.
struct Row {
    what: String,
    figure: String,
    reach: Option<(bool, &'static str)>,
}

impl Row {
    fn new(what: impl Into<String>, figure: impl Into<String>) -> Self {
        Self { what: what.into(), figure: figure.into(), reach: None }
    }

    fn reach(mut self, reached: bool, promise: &'static str) -> Self {
        self.reach = Some((reached, promise));
        self
    }

    fn print(&self) -> bool {
        let Self { what, figure, reach } = self;
        match reach {
            None => println!("{what:<44} {figure:>24}"),
            Some((reached, promise)) => {
                let verdict = if *reached { "reached" } else { "MISSED" };
                println!("{what:<44} {figure:>24}   {promise:<12} {verdict}");
            }
        }
        reach.as_ref().is_none_or(|(reached, _)| *reached)
    }
}

fn main() -> ExitCode {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2);
    let time = Duration::from_secs(seconds);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cpus} processors, load average before: {}", load.trim());
    let mut reached = true;
    let mut print = |row: Row| reached &= row.print();
    // First, while the process is small.
    print(memory(time));
    latencies(time, &mut print);
    throughput(time, &mut print);
    drops(time, &mut print);
    let p99 = load::end_to_end_p99(time);
    let row = Row::new("end to end, flushing every 20 ms, p99", format!("{p99:.1?}"));
    print(row.reach(p99 < Duration::from_millis(50), "< 50 ms"));
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn memory(time: Duration) -> Row {
    let (grown, told) = load::memory(time);
    let mega = |bytes: usize| bytes as f64 / 1e6;
    let what = "memory, 1,000 series, 3 sinks (resident, told)";
    let row = Row::new(what, format!("{:.2} MB, {:.2} MB", mega(grown), mega(told)));
    row.reach(grown < 5_000_000, "< 5 MB")
}

fn latencies(time: Duration, print: &mut impl FnMut(Row)) {
    let clock = latency::clock();
    let what = "two readings of the clock, p50 and p99";
    print(Row::new(what, format!("{} ns, {} ns", clock.at(0.5), clock.at(0.99))));
    let overhead = clock.at(0.5);
    let default = PipelineConfig::default().shards;
    for (producers, most, promise) in
        [(1, Some(50), "<= 50 ns"), (2, None, ""), (8, Some(150), "<= 150 ns")]
    {
        for (how, pause) in [("without pause", None), ("paced", Some(Duration::from_millis(1)))] {
            let times = latency::push(producers, default, pause, time);
            let what = format!("push, {producers} producers {how}, p50 and p99");
            let row = Row::new(what, net(&times, overhead));
            // A thread that slept comes back to cold caches: told, and not what is promised.
            print(match most.filter(|_| pause.is_none()) {
                Some(most) => row.reach(times.at(0.99) <= most + overhead, promise),
                None => row,
            });
        }
    }
    for shards in [1, 2, 4, 8] {
        let times = latency::push(8, shards, None, time);
        let what = format!("the same with {shards} shards, 8 producers");
        print(Row::new(what, net(&times, overhead)));
    }
}

fn net(times: &latency::Times, overhead: u64) -> String {
    let [p50, p99] = [0.5, 0.99].map(|q| times.at(q).saturating_sub(overhead));
    format!("{p50} ns, {p99} ns")
}

fn throughput(time: Duration, print: &mut impl FnMut(Row)) {
    let mut best: f64 = 0.0;
    for producers in [1, 2, 8] {
        let rate = load::accepted(producers, time) / 1e6;
        best = best.max(rate);
        print(Row::new(format!("accepted, {producers} producers"), format!("{rate:.2} M/s")));
    }
    let row = Row::new("accepted, the best of these", format!("{best:.2} M/s"));
    print(row.reach(best >= 5.0, ">= 5 M/s"));
}

fn drops(time: Duration, print: &mut impl FnMut(Row)) {
    for kind in [Kind::Alive, Kind::Dead, Kind::Slow] {
        for rate in [100_000, 500_000, 1_000_000] {
            let share = load::dropped(kind, rate, time);
            let what = format!("dropped at {rate} a second, sinks {kind:?}");
            let row = Row::new(what, format!("{:.4} %", share * 100.0));
            let promised = matches!((kind, rate), (Kind::Alive, 500_000));
            print(if promised { row.reach(share < 0.001, "< 0.1 %") } else { row });
        }
    }
}
