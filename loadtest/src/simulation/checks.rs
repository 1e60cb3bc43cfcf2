//! What must hold of an outcome, each with the figure and the bound it is held to.

use super::{Notice, Outcome, Restart};
use crate::figures::Spread;
use crate::verdict::Verdict;
use serde::Serialize;

/// Share of all keys that Maglev may move needlessly: it evens its table out anew, and with the usual table
/// and a thousand endpoints that takes up to one slot in 25.
const MAGLEV_NEEDLESS_MAX: f64 = 0.05;
/// How much busier than by drawing at random the busiest endpoint may be under another policy. The ring's
/// shares differ by 8 % on top of what so many keys differ by anyway.
const BUSIER_THAN_RANDOM_MAX: f64 = 1.3;
/// How far a weight's share may be from its due, beyond what drawing so many users leaves to chance.
const SHARE_OFF_MAX: f64 = 0.02;
/// Standard deviations of a count that are left to chance.
const CHANCE: f64 = 3.0;

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What it is about.
    pub what: String,
    /// What was found.
    pub found: f64,
    /// What it may be at most.
    pub at_most: f64,
    /// Whether it is.
    pub holds: bool,
}

impl Check {
    fn new(what: String, found: f64, at_most: f64) -> Self {
        Self { what, found, at_most, holds: found <= at_most }
    }
}

/// PASS, or FAIL with the checks that do not hold.
pub fn verdict(outcome: &Outcome) -> Verdict {
    let broken = outcome.checks.iter().filter(|check| !check.holds);
    let reasons: Vec<String> = broken
        .map(|Check { what, found, at_most, .. }| {
            format!("{what}: {found:.4} is above {at_most:.4}")
        })
        .collect();
    if reasons.is_empty() { Verdict::Pass } else { Verdict::Fail(reasons.join("; ")) }
}

pub(super) fn all(outcome: &Outcome) -> Vec<Check> {
    let mut checks = keys(outcome);
    checks.extend(outcome.restarts.iter().flat_map(agreement));
    checks.extend(outcome.restarts.iter().map(astray));
    checks.extend(overload(outcome));
    checks.extend(weights(outcome));
    checks
}

fn keys(outcome: &Outcome) -> Vec<Check> {
    let check = |departure: &super::Departure| {
        let (case, leaving) = (departure.case, departure.leaving);
        let rebuilt_maglev = case.policy == "maglev" && case.notice == Notice::Configuration;
        let allowed = if rebuilt_maglev { MAGLEV_NEEDLESS_MAX } else { 0.0 };
        let needless = format!("{case}: keys moved needlessly as {leaving} endpoints leave");
        let strayed = format!("{case}: keys not back home after {leaving} endpoints returned");
        [
            Check::new(needless, departure.needless, allowed),
            Check::new(strayed, departure.strayed, 0.0),
        ]
    };
    outcome.departures.iter().flat_map(check).collect()
}

/// Two gateways can differ on no more keys than the changes between their versions moved.
fn agreement(restart: &Restart) -> Vec<Check> {
    let Some(moved_most) = restart.moved_most else { return Vec::new() };
    let at_most = |most: usize| {
        let ticks = restart.ticks.iter().filter(move |tick| tick.versions <= most);
        ticks
            .filter_map(|tick| tick.agreement)
            .fold(0.0, |worst: f64, agreed| worst.max(1.0 - agreed))
    };
    let case = restart.case;
    vec![
        Check::new(format!("{case}: disagreement of gateways on one version"), at_most(1), 0.0),
        Check::new(
            format!("{case}: disagreement of gateways on two versions"),
            at_most(2),
            moved_most,
        ),
    ]
}

/// Once every gateway has noticed, nothing is sent to what is out.
fn astray(restart: &Restart) -> Check {
    let settled = restart.ticks.iter().filter(|tick| tick.settled);
    let astray = settled.map(|tick| tick.astray).fold(0.0, f64::max);
    Check::new(format!("{}: requests to endpoints all know to be out", restart.case), astray, 0.0)
}

/// Drawing at random is what the others must be worth choosing over: see [`BUSIER_THAN_RANDOM_MAX`].
fn overload(outcome: &Outcome) -> Vec<Check> {
    let rebuilt = outcome.restarts.iter().filter(|it| it.case.notice == Notice::Configuration);
    let restarts: Vec<_> = rebuilt.map(|it| (it.case.policy, it.overload())).collect();
    let weighted: Vec<_> = outcome.weights.iter().map(|it| (it.policy, it.overload)).collect();
    let mut checks = against_random(&restarts, "in a restart");
    checks.extend(against_random(&weighted, "of uneven weights"));
    checks
}

fn against_random(overloads: &[(&str, f64)], when: &str) -> Vec<Check> {
    let random = overloads.iter().find(|(policy, _)| *policy == "random");
    let at_most = random.map_or(0.0, |(_, overload)| overload * BUSIER_THAN_RANDOM_MAX);
    let check = |(policy, overload): &(&str, f64)| {
        Check::new(format!("{policy}: the busiest endpoint {when}, by its due"), *overload, at_most)
    };
    overloads.iter().filter(|(policy, _)| *policy != "random").map(check).collect()
}

/// Not of least request, which goes by what is in flight and draws by weight only whom to compare.
fn weights(outcome: &Outcome) -> Vec<Check> {
    let check = |shares: &super::Shares| {
        let off = shares.got_to_due.iter().map(|share| (share - 1.0).abs()).fold(0.0, f64::max);
        let at_most = SHARE_OFF_MAX + CHANCE / shares.least_due.sqrt();
        Check::new(format!("{}: a weight's share, off its due", shares.policy), off, at_most)
    };
    outcome.weights.iter().filter(|it| it.policy != "least_request").map(check).collect()
}

impl Restart {
    /// Requests of the busiest endpoint by the mean, in the worst tick.
    pub(super) fn overload(&self) -> f64 {
        self.ticks.iter().map(|tick| tick.overload).fold(0.0, f64::max)
    }

    /// The same in the middle one.
    pub(super) fn overload_median(&self) -> Option<f64> {
        Some(Spread::of(self.ticks.iter().map(|tick| tick.overload))?.median)
    }
}

#[cfg(test)]
mod tests;
