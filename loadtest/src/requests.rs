//! CPU per request, and per new connection.
//!
//! All proxies run from the start and take turns under load, in an order that rotates by one each
//! round, so that neither drift of the machine nor a neighbour's effect on caches favours one of
//! them. One turn is one sample. Judging the samples is [`crate::report`]'s part.

use crate::bench::{PATH, Proxy, Scene};
use crate::contestant::Contestant;
use crate::cpu::Account;
use crate::load::{Errors, Load};
use anyhow::{Result, ensure};
use serde::Serialize;

/// A turn counts as disturbed when others took more than this share of the proxy's CPU.
pub const DISTURBED: f64 = 0.05;
const WARM_UP_S: u64 = 1;

/// How much load, and how often.
#[derive(Clone, Copy, Debug, Serialize, clap::Args)]
pub struct Plan {
    /// Turns of every proxy.
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// Length of a turn.
    #[arg(long, default_value_t = 4)]
    pub seconds: u64,
    /// Connections open at a time.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
}

/// One turn of one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// Counted from 0.
    pub round: usize,
    /// Requests answered.
    pub requests: u64,
    /// CPU time of the proxy over requests answered.
    pub cpu_us_per_request: f64,
    /// Requests answered over time.
    pub requests_per_s: f64,
    /// Median latency.
    pub p50_us: f64,
    /// Latency that one request in a hundred exceeded.
    pub p99_us: f64,
    /// Share of the turn that the proxy ran.
    pub utilisation: f64,
    /// Share of the turn that others ran on the proxy's CPU.
    pub disturbance: f64,
    /// Whether a thread ended and its time is missing from the account.
    pub account_incomplete: bool,
    /// What went wrong.
    pub errors: Errors,
}

/// All turns of one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// The proxy.
    pub name: String,
    /// Its turns, one a round.
    pub samples: Vec<Sample>,
}

impl Series {
    /// One figure of every turn.
    pub fn each(&self, figure: fn(&Sample) -> f64) -> Vec<f64> {
        self.samples.iter().map(figure).collect()
    }
}

/// Runs the plan; `close` makes every request open a connection of its own.
pub fn run(
    scene: &mut Scene,
    contestants: &[Contestant],
    plan: &Plan,
    close: bool,
) -> Result<Vec<Series>> {
    Ok(run_and_keep(scene, contestants, plan, close)?.0)
}

/// As [`run`]; the proxies are still there afterwards, to be asked.
pub fn run_and_keep(
    scene: &mut Scene,
    contestants: &[Contestant],
    plan: &Plan,
    close: bool,
) -> Result<(Vec<Series>, Vec<Proxy>)> {
    ensure!(plan.rounds > 0 && plan.seconds > 0 && plan.connections > 0, "nothing to do");
    let load = Load {
        cpu: scene.cpus.load,
        connections: plan.connections,
        path: PATH.to_owned(),
        script: None,
        close,
        tls: false,
    };
    let mut proxies = warmed(scene, contestants, &load)?;
    let mut series: Vec<Series> = contestants.iter().map(Series::empty).collect();
    for round in 0..plan.rounds {
        for turn in 0..proxies.len() {
            let next = (round + turn) % proxies.len();
            let sample = sample(scene, &mut proxies[next], &load, plan.seconds, round)?;
            let figure = sample.cpu_us_per_request;
            eprintln!("round {}/{}: {}: {figure:.2} us", round + 1, plan.rounds, series[next].name);
            series[next].samples.push(sample);
        }
        scene.check_origin()?;
    }
    Ok((series, proxies))
}

impl Series {
    fn empty(contestant: &Contestant) -> Self {
        Self { name: contestant.name.clone(), samples: Vec::new() }
    }
}

fn warmed(scene: &Scene, contestants: &[Contestant], load: &Load) -> Result<Vec<Proxy>> {
    let mut proxies = Vec::new();
    for contestant in contestants {
        let proxy = scene.start(contestant)?;
        load.run(proxy.address, WARM_UP_S, scene.dir(), &scene.interrupt)?;
        proxies.push(proxy);
    }
    Ok(proxies)
}

/// One turn of one proxy: its load, and what it spent meanwhile.
///
/// # Errors
/// `wrk` failed, the proxy ended, or the run was interrupted.
pub fn sample(
    scene: &Scene,
    proxy: &mut Proxy,
    load: &Load,
    seconds: u64,
    round: usize,
) -> Result<Sample> {
    let id = proxy.process.id();
    let before = Account::read(id, scene.cpus.proxy)?;
    let outcome = load.run(proxy.address, seconds, scene.dir(), &scene.interrupt)?;
    proxy.process.check_alive()?;
    let spent = Account::read(id, scene.cpus.proxy)?.since(&before);
    Ok(Sample {
        round,
        requests: outcome.requests,
        cpu_us_per_request: spent.process_ns as f64 / 1e3 / outcome.requests as f64,
        requests_per_s: outcome.requests as f64 / outcome.duration_s,
        p50_us: outcome.p50_us,
        p99_us: outcome.p99_us,
        utilisation: spent.utilisation(),
        disturbance: spent.disturbance(),
        account_incomplete: spent.misses_time(),
        errors: outcome.errors,
    })
}
