//! What small requests notice of long downloads through the same worker.
//!
//! Small clients ask one thing after another on connections of their own, beside so many downloads. Every
//! download is read at the same fixed rate, as by a client on a link of that speed: more downloads are then
//! more traffic, and the load's CPU does not decide how much. Owns the cells of the experiment and the order
//! in which they are measured; the verdict says which count and whether small requests fared well.

mod engine;
mod mice;
mod pace;
mod report;
mod verdict;

pub use report::{Summary, draw, tables};
pub use verdict::{judge, ratio};

use crate::bench::Cpus;
use crate::bulk::{Gateway, Origins};
use crate::cpu::Account;
use crate::interrupt::Interrupt;
use anyhow::{Result, ensure};
use engine::Engine;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::net::SocketAddr;
use std::time::Duration;

/// More of either would measure the load.
const BULK_MAX: usize = 1024;
const SMALL_MAX: usize = 1000;
/// What others may take of the gateway's CPU.
const DISTURBANCE_MAX: f64 = 0.05;
/// How often a turn that others disturbed is taken. What they do is chance and not the gateway's doing.
const TAKES_MAX: usize = 3;
/// How long downloads may take to settle.
const SETTLE: Duration = Duration::from_secs(15);

/// How many of what, how fast, and how often.
#[derive(Clone, Debug, Serialize, clap::Args)]
pub struct Plan {
    /// Rounds over all cells.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Length of a cell's turn.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Numbers of downloads.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 8, 32, 128])]
    pub bulk: Vec<usize>,
    /// Numbers of small clients.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 50])]
    pub small: Vec<usize>,
    /// Rate at which each download is read.
    #[arg(long, default_value_t = 2000)]
    pub bulk_kb_per_s: u64,
}

/// Where the small requests and the downloads go.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// The gateway.
    pub gateway: SocketAddr,
    /// The origin of the small answers, which a probe asks directly.
    pub direct: SocketAddr,
    /// Who runs where: the gateway, and clients with origins.
    pub cpus: Cpus,
}

/// One turn of one cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// Counted from 0.
    pub round: usize,
    /// How often it was taken until others let it be; the last one is what follows.
    pub takes: usize,
    /// Downloads.
    pub bulk: usize,
    /// Small clients.
    pub small: usize,
    /// Small requests answered.
    pub requests: u64,
    /// Median latency of a small request.
    pub p50_us: f64,
    /// Latency that one in a hundred exceeded.
    pub p99_us: f64,
    /// Latency that one in a thousand exceeded.
    pub p999_us: f64,
    /// The same as `p99_us` of requests that went to the origin without the gateway: the load's own delay.
    pub direct_p99_us: f64,
    /// Whether the downloads ran evenly before the turn began.
    pub settled: bool,
    /// What was read of all downloads.
    pub bulk_mb_per_s: f64,
    /// Coefficient of variation of that over windows of a quarter of a second; none without downloads.
    pub bulk_variation: Option<f64>,
    /// The longest that any download stood still.
    pub bulk_still_ms: f64,
    /// Share of the turn that the gateway ran.
    pub gateway_busy: f64,
    /// Share of the turn that others ran on the gateway's CPU.
    pub disturbance: f64,
    /// Share of the turn that clients and origins ran.
    pub load_own: f64,
    /// Share of the turn that the load's CPU ran anything.
    pub load_busy: f64,
}

/// Runs the plan: in each round every cell once, in an order that rotates.
///
/// # Errors
/// A request or a download failed, the run was interrupted, or the plan has nothing in it.
pub fn run(
    plan: &Plan,
    targets: &Targets,
    gateway: &mut Gateway,
    origins: &mut Origins,
    interrupt: &Interrupt,
) -> Result<Vec<Turn>> {
    plan.check()?;
    let mut turns = Vec::new();
    for round in 0..plan.rounds {
        for &bulk in &rotated(&plan.bulk, round) {
            let mut engine = Engine::new(targets, bulk, plan.bulk_kb_per_s * 1000)?;
            let settled = engine.settle(SETTLE, interrupt)?;
            for &small in &rotated(&plan.small, round) {
                let cell = (bulk, small);
                let turn =
                    undisturbed(|| turn(&mut engine, plan, targets, gateway, cell, interrupt))?;
                let turn = Turn { round, settled, ..turn };
                eprintln!(
                    "round {}/{}: {bulk} downloads, {small} small: p99 {:.0} us",
                    round + 1,
                    plan.rounds,
                    turn.p99_us
                );
                turns.push(turn);
            }
            origins.check_alive()?;
        }
    }
    Ok(turns)
}

impl Plan {
    fn check(&self) -> Result<()> {
        let empty = self.bulk.is_empty() || self.small.is_empty();
        ensure!(!empty && self.rounds > 0 && self.seconds > 0, "nothing to do");
        ensure!(self.bulk_kb_per_s > 0, "--bulk-kb-per-s: a download has to move");
        ensure!(self.bulk.iter().all(|&bulk| bulk <= BULK_MAX), "--bulk: at most {BULK_MAX}");
        let within = |&small: &usize| (1..=SMALL_MAX).contains(&small);
        ensure!(self.small.iter().all(within), "--small: 1 to {SMALL_MAX}");
        Ok(())
    }
}

fn rotated(counts: &[usize], by: usize) -> Vec<usize> {
    let mut counts = counts.to_vec();
    let len = counts.len();
    counts.rotate_left(by % len);
    counts
}

/// Takes a turn again while others take too much of the gateway's CPU. Nothing else is a reason to.
fn undisturbed(mut take: impl FnMut() -> Result<Turn>) -> Result<Turn> {
    let mut turn = take()?;
    while turn.disturbance > DISTURBANCE_MAX && turn.takes < TAKES_MAX {
        eprintln!("others took {:.0} % of the gateway's CPU: once more", turn.disturbance * 100.0);
        turn = Turn { takes: turn.takes + 1, ..take()? };
    }
    Ok(turn)
}

fn turn(
    engine: &mut Engine,
    plan: &Plan,
    targets: &Targets,
    gateway: &mut Gateway,
    (bulk, small): (usize, usize),
    interrupt: &Interrupt,
) -> Result<Turn> {
    let id = gateway.process.id();
    let read = || -> Result<_> {
        let gateway = Account::read(id, targets.cpus.proxy)?;
        Ok((gateway, Account::read(std::process::id(), targets.cpus.load)?))
    };
    let before = read()?;
    let seen = engine.turn(small, Duration::from_secs(plan.seconds), interrupt)?;
    gateway.process.check_alive()?;
    let after = read()?;
    let (spent, load) = (after.0.since(&before.0), after.1.since(&before.1));
    let wall_s = load.wall.as_secs_f64();
    Ok(Turn {
        round: 0,
        takes: 1,
        bulk,
        small,
        requests: seen.latencies.len(),
        p50_us: quantile_us(&seen.latencies, 0.5),
        p99_us: quantile_us(&seen.latencies, 0.99),
        p999_us: quantile_us(&seen.latencies, 0.999),
        direct_p99_us: quantile_us(&seen.direct, 0.99),
        settled: false,
        bulk_mb_per_s: seen.bulk.bytes() as f64 / wall_s / 1e6,
        bulk_variation: (bulk > 0).then(|| seen.bulk.variation()),
        bulk_still_ms: seen.bulk.longest_still().as_secs_f64() * 1e3,
        gateway_busy: spent.utilisation(),
        disturbance: spent.disturbance(),
        // Everything that was started is this process's family, the gateway too.
        load_own: load.utilisation() - spent.utilisation(),
        load_busy: load.cpu_busy_ns as f64 / load.wall.as_nanos() as f64,
    })
}

fn quantile_us(latencies: &Histogram<u64>, share: f64) -> f64 {
    latencies.value_at_quantile(share) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan { rounds: 1, seconds: 1, bulk: vec![0, 8], small: vec![1], bulk_kb_per_s: 1000 }
    }

    #[test]
    fn every_round_begins_elsewhere() {
        assert_eq!(rotated(&[0, 8, 32], 0), [0, 8, 32]);
        assert_eq!(rotated(&[0, 8, 32], 1), [8, 32, 0]);
        assert_eq!(rotated(&[0, 8, 32], 5), [32, 0, 8]);
    }

    #[test]
    fn only_what_others_do_is_a_reason_to_take_a_turn_again() {
        let taken = |disturbances: &[f64]| {
            let mut left = disturbances.iter();
            let turn = verdict::tests::turn(8, 1, 9000.0);
            let turn = undisturbed(|| {
                Ok(Turn { disturbance: *left.next().unwrap(), settled: false, ..turn.clone() })
            });
            let Turn { takes, disturbance, .. } = turn.unwrap();
            (takes, disturbance)
        };
        assert_eq!(taken(&[0.05, 0.0]), (1, 0.05));
        assert_eq!(taken(&[0.2, 0.01, 0.0]), (2, 0.01));
        assert_eq!(taken(&[0.2, 0.3, 0.06, 0.0]), (3, 0.06));
    }

    #[test]
    fn plans_without_sense_are_refused() {
        assert!(plan().check().is_ok());
        let senseless = [
            Plan { rounds: 0, ..plan() },
            Plan { bulk: Vec::new(), ..plan() },
            Plan { bulk: vec![BULK_MAX + 1], ..plan() },
            Plan { small: vec![0], ..plan() },
            Plan { bulk_kb_per_s: 0, ..plan() },
        ];
        for plan in senseless {
            assert!(plan.check().is_err(), "{plan:?}");
        }
    }
}
