//! The rows that measure requests: each proxy in turn at saturation and at the row's rate.

use super::entry::Entry;
use super::field::Entrant;
use super::rounds;
use super::rows::Traffic;
use crate::bench::{Proxy, Scene};
use crate::contestant::{Contestant, Kind};
use crate::cpu::Account;
use crate::load::Load;
use crate::memory::held_bytes;
use crate::open::{Figures, Offer};
use crate::proxies::Unsupported;
use crate::requests;
use crate::site::{Feature, Site};
use anyhow::{Result, bail};
use serde::Serialize;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const WARM_UP_S: u64 = 1;
/// Connections of the offered rate: enough that none is waited for, few enough that all are warm.
const OFFER_CONNECTIONS: usize = 64;
/// At most so many new connections at a time.
const OFFER_NEW_CONNECTIONS: usize = 512;
/// Part of the time at the row's rate whose latencies do not count.
const OFFER_WARM_UP: f64 = 0.25;

/// How much of it.
#[derive(Clone, Copy, Debug, Serialize, clap::Args)]
pub struct Plan {
    /// Turns of every proxy in every row.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Length of a turn at saturation, and again at the row's rate.
    #[arg(long, default_value_t = 2)]
    pub seconds: u64,
    /// Connections at saturation.
    #[arg(long, default_value_t = 64)]
    pub connections: usize,
}

/// One turn of one proxy.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    /// At saturation.
    pub saturated: requests::Sample,
    /// At the row's rate.
    pub offered: Offered,
    /// Memory after it.
    pub held_bytes: u64,
}

impl Sample {
    /// Requests that failed, at saturation and at the row's rate.
    pub fn failed(&self) -> u64 {
        self.saturated.errors.total() + self.offered.figures.failures.total()
    }
}

/// What came of the row's rate.
#[derive(Clone, Debug, Serialize)]
pub struct Offered {
    /// Latencies and failures.
    #[serde(flatten)]
    pub figures: Figures,
    /// CPU time of the proxy over requests answered; none if none was.
    pub cpu_us_per_request: Option<f64>,
    /// Every latency, for the percentiles of all rounds together.
    #[serde(skip)]
    pub latencies_us: Vec<f64>,
}

/// Runs one row. A proxy that cannot take part or fails has its reason in its entry.
///
/// # Errors
/// The origin failed, or the run was interrupted.
pub fn run(
    scene: &mut Scene,
    traffic: &Traffic,
    entrants: &[Entrant],
    plan: &Plan,
) -> Result<Vec<Entry<Sample>>> {
    scene.restage(&traffic.stage)?;
    let row =
        RowRun { site: traffic.site(&scene.origin), load: load(scene, traffic, plan)?, traffic };
    let warm = |scene: &Scene, contestant: &Contestant| row.warm(scene, contestant);
    rounds::run(scene, entrants, plan.rounds, warm, |scene, proxy, round| {
        row.sample(scene, proxy, plan, round)
    })
}

fn load(scene: &Scene, traffic: &Traffic, plan: &Plan) -> Result<Load> {
    let script = traffic.script().map(|text| {
        let file = scene.dir().join("paths.lua");
        fs::write(&file, text).map(|()| file)
    });
    let script: Option<PathBuf> = script.transpose()?;
    let path = traffic.paths[0].clone();
    let (cpu, connections, close) = (scene.cpus.load, plan.connections, traffic.close);
    Ok(Load { cpu, connections, path, script, close, tls: false })
}

struct RowRun<'row> {
    traffic: &'row Traffic,
    site: Site,
    load: Load,
}

impl RowRun<'_> {
    fn warm(&self, scene: &Scene, contestant: &Contestant) -> Result<Proxy> {
        if self.traffic.needs_routes && matches!(contestant.kind, Kind::Bare(..)) {
            bail!(Unsupported("bare Pingora has no routes".to_owned()));
        }
        let proxy = scene.serve(contestant, &self.site)?;
        if matches!(self.site.feature, Feature::RateLimit { .. }) {
            scene.check_limit(contestant, &self.site)?;
        }
        self.load.run(proxy.address, WARM_UP_S, scene.dir(), &scene.interrupt)?;
        Ok(proxy)
    }

    fn sample(
        &self,
        scene: &Scene,
        proxy: &mut Proxy,
        plan: &Plan,
        round: usize,
    ) -> Result<Sample> {
        let saturated = requests::sample(scene, proxy, &self.load, plan.seconds, round)?;
        let offered = self.offer(scene, proxy, plan.seconds)?;
        proxy.process.check_alive()?;
        let held_bytes = held_bytes(proxy.process.id())?;
        let (cpu_us, p99_us) = (saturated.cpu_us_per_request, offered.figures.p99_us);
        let p99_us = p99_us.unwrap_or(f64::NAN);
        eprintln!("round {}: {}: {cpu_us:.1} us, p99 {p99_us:.0} us", round + 1, proxy.name);
        Ok(Sample { saturated, offered, held_bytes })
    }

    fn offer(&self, scene: &Scene, proxy: &Proxy, seconds: u64) -> Result<Offered> {
        let close = self.traffic.close;
        let length = Duration::from_secs(seconds);
        let warm_up = length.mul_f64(OFFER_WARM_UP);
        let offer = Offer {
            target: proxy.address,
            source: None,
            rate_per_s: self.traffic.rate_per_s,
            warm_up,
            duration: length - warm_up,
            connections: if close { OFFER_NEW_CONNECTIONS } else { OFFER_CONNECTIONS },
            close,
            paths: self.traffic.paths.clone(),
        };
        let before = Account::read(proxy.process.id(), scene.cpus.proxy)?;
        let outcome = offer.make(&scene.interrupt)?;
        let spent = Account::read(proxy.process.id(), scene.cpus.proxy)?.since(&before);
        let answered = outcome.answers.len() as f64;
        let cpu_us = spent.process_ns as f64 / 1e3 / answered;
        Ok(Offered {
            figures: outcome.figures(),
            cpu_us_per_request: cpu_us.is_finite().then_some(cpu_us),
            latencies_us: outcome.latencies_us(),
        })
    }
}
