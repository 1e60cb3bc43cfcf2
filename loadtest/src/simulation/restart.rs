//! A rolling restart: batch after batch is out for some ticks, and every gateway notices in its own time.
//!
//! Each tick every user's request goes through a random gateway. Gateways that know different versions
//! send the same user to different endpoints, which is what agreement counts.

use super::fleet::{Gateway, Out, Version, endpoints, keys, rounded};
use super::{Case, Plan, seeded};
use anyhow::{Context, Result};
use fastrand::Rng;
use sallyport_balance::Endpoint;
use serde::{Serialize, Serializer};
use std::rc::Rc;

/// Ticks before the first batch leaves, and after the last gateway knows that all are back.
const CALM_TICKS: usize = 5;

/// A whole restart under one policy.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Restart {
    /// The policy and how changes were noticed.
    pub case: Case,
    /// The largest share of keys that a change moved, as a version sees it; only where keys have homes.
    pub moved_most: Option<f64>,
    /// What was seen in each tick; in a file, one list for each figure.
    #[serde(serialize_with = "columns")]
    pub ticks: Vec<Tick>,
}

/// One tick of a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Versions in force, of all gateways.
    pub versions: usize,
    /// Whether every gateway knew which endpoints were out.
    pub settled: bool,
    /// Requests of the busiest endpoint, by the mean of all that are not out.
    pub overload: f64,
    /// Share of requests sent to an endpoint that was out, by gateways that had not noticed.
    pub astray: f64,
    /// Share of users whose request went elsewhere than the one before; none in the first tick.
    pub moved: Option<f64>,
    /// Share of keys that two random gateways send to the same endpoint; only where keys have homes.
    pub agreement: Option<f64>,
}

/// The states of the fleet and when they come into force.
struct Schedule {
    out: Vec<Out>,
    /// For each gateway and state, the tick at which it is noticed.
    noticed: Vec<Vec<usize>>,
    ticks: usize,
}

impl Schedule {
    fn of(plan: &Plan, rng: &mut Rng) -> Self {
        let mut numbers: Vec<usize> = (0..plan.endpoints).collect();
        rng.shuffle(&mut numbers);
        let all_in = vec![false; plan.endpoints];
        let without = |batch: &[usize]| {
            let mut out = all_in.clone();
            batch.iter().for_each(|&number| out[number] = true);
            out
        };
        let mut out = vec![all_in.clone()];
        out.extend(numbers.chunks(plan.batch).map(without));
        out.push(all_in);
        let mut noticed =
            || (0..out.len()).map(|state| begins(plan, state) + delay(plan, state, rng)).collect();
        let noticed = (0..plan.gateways).map(|_| noticed()).collect();
        let ticks = begins(plan, out.len() - 1) + plan.delay_ticks + CALM_TICKS;
        Self { out, noticed, ticks }
    }

    /// The state that the endpoints are in at `tick`.
    fn state(&self, plan: &Plan, tick: usize) -> usize {
        (0..self.out.len()).rev().find(|&state| begins(plan, state) <= tick).unwrap_or(0)
    }

    /// The latest state that `gateway` has noticed by `tick`.
    fn known(&self, gateway: usize, tick: usize) -> usize {
        self.noticed[gateway].iter().rposition(|&noticed| noticed <= tick).unwrap_or(0)
    }
}

fn begins(plan: &Plan, state: usize) -> usize {
    if state == 0 { 0 } else { CALM_TICKS + (state - 1) * plan.out_ticks }
}

/// The first state is known from the start.
fn delay(plan: &Plan, state: usize, rng: &mut Rng) -> usize {
    if state == 0 { 0 } else { rng.usize(..=plan.delay_ticks) }
}

/// Restarts all endpoints under `case`.
pub(super) fn observe(plan: &Plan, case: Case) -> Result<Restart> {
    let mut rng = seeded(plan);
    let schedule = Schedule::of(plan, &mut rng);
    let fleet = endpoints(plan.endpoints, |_| 1);
    let mut run = Run::new(plan, case, &schedule, &fleet)?;
    let mut ticks = Vec::new();
    for tick in 0..schedule.ticks {
        let known: Vec<usize> =
            (0..plan.gateways).map(|gateway| schedule.known(gateway, tick)).collect();
        let state = schedule.state(plan, tick);
        let settled = known.iter().all(|known| *known == state);
        let seen = run.tick(&known, &schedule.out[state], &mut rng)?;
        ticks.push(Tick { settled, ..seen });
    }
    Ok(Restart { case, moved_most: run.moved_most(), ticks })
}

struct Run {
    versions: Vec<Rc<Version>>,
    /// For each version the home of every key; empty where keys have none.
    homes: Vec<Vec<u16>>,
    gateways: Vec<Gateway>,
    keys: Vec<u64>,
    last: Vec<u16>,
}

impl Run {
    fn new(plan: &Plan, case: Case, schedule: &Schedule, fleet: &[Endpoint]) -> Result<Self> {
        let version = |out| Version::new(plan, case, fleet, out).map(Rc::new);
        let versions: Vec<Rc<Version>> = schedule.out.iter().map(version).collect::<Result<_>>()?;
        let keys = keys(plan.users);
        let hashing = versions.iter().filter(|_| case.hashes());
        let homes = hashing.map(|version| version.homes(&keys)).collect::<Result<_>>()?;
        let gateway = |_| Gateway::on(versions[0].clone());
        let gateways = (0..plan.gateways).map(gateway).collect::<Result<_>>()?;
        Ok(Self { versions, homes, gateways, keys, last: Vec::new() })
    }

    /// Every user makes a request; `known` is the version of each gateway, `out` what is out in truth.
    fn tick(&mut self, known: &[usize], out: &Out, rng: &mut Rng) -> Result<Tick> {
        for (gateway, &version) in self.gateways.iter_mut().zip(known) {
            gateway.notice(&self.versions[version])?;
            gateway.finish_all();
        }
        let mut went = Vec::with_capacity(self.keys.len());
        for &key in &self.keys {
            let gateway = rng.usize(..self.gateways.len());
            went.push(self.gateways[gateway].send(key).context("no endpoint is left")?);
        }
        let mut versions = known.to_vec();
        versions.sort_unstable();
        versions.dedup();
        let (overload, astray) = load(&went, out);
        let moved = (!self.last.is_empty()).then(|| rounded(differing(&self.last, &went)));
        let agreement = (!self.homes.is_empty()).then(|| rounded(self.agreement(known)));
        self.last = went;
        Ok(Tick { versions: versions.len(), settled: false, overload, astray, moved, agreement })
    }

    /// The mean over all pairs of gateways of the share of keys on which they agree.
    fn agreement(&self, known: &[usize]) -> f64 {
        let on = |version: usize| known.iter().filter(|&&known| known == version).count() as f64;
        let in_force = || (0..self.homes.len()).filter(|&version| on(version) > 0.0);
        let pairs = (known.len() * known.len().saturating_sub(1)) as f64;
        if pairs == 0.0 {
            return 1.0;
        }
        let of_pair = |one: usize, other: usize| match one == other {
            true => on(one) * (on(one) - 1.0),
            false => on(one) * on(other) * (1.0 - differing(&self.homes[one], &self.homes[other])),
        };
        let all = in_force().flat_map(|one| in_force().map(move |other| (one, other)));
        all.map(|(one, other)| of_pair(one, other)).sum::<f64>() / pairs
    }

    fn moved_most(&self) -> Option<f64> {
        let steps = self.homes.windows(2).map(|pair| differing(&pair[0], &pair[1]));
        steps.reduce(f64::max).map(rounded)
    }
}

/// A hundred ticks are a tenth as long this way.
fn columns<Out: Serializer>(ticks: &[Tick], out: Out) -> Result<Out::Ok, Out::Error> {
    #[derive(Serialize)]
    struct Columns {
        versions: Vec<usize>,
        overload: Vec<f64>,
        astray: Vec<f64>,
        moved: Vec<Option<f64>>,
        agreement: Vec<Option<f64>>,
    }
    let columns = Columns {
        versions: ticks.iter().map(|tick| tick.versions).collect(),
        overload: ticks.iter().map(|tick| tick.overload).collect(),
        astray: ticks.iter().map(|tick| tick.astray).collect(),
        moved: ticks.iter().map(|tick| tick.moved).collect(),
        agreement: ticks.iter().map(|tick| tick.agreement).collect(),
    };
    columns.serialize(out)
}

fn differing(one: &[u16], other: &[u16]) -> f64 {
    let differing = one.iter().zip(other).filter(|(one, other)| one != other).count();
    differing as f64 / one.len() as f64
}

/// Of the requests that went to these endpoints: the busiest against the mean of those not out, and
/// the share that went to some that are.
fn load(went: &[u16], out: &Out) -> (f64, f64) {
    let mut requests = vec![0_u64; out.len()];
    went.iter().for_each(|&number| requests[usize::from(number)] += 1);
    let serving =
        || requests.iter().zip(out).filter(|(_, out)| !**out).map(|(requests, _)| *requests);
    let served: u64 = serving().sum();
    let mean = served as f64 / serving().count() as f64;
    let busiest = serving().max().unwrap_or(0) as f64;
    (rounded(busiest / mean), rounded(1.0 - served as f64 / went.len() as f64))
}

#[cfg(test)]
mod tests;
