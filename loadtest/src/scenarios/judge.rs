//! What a scenario showed, as a list of checks.
//!
//! k6's thresholds are checks already; added here is what k6 cannot see: the gateway's process, the
//! file's versions, and comparisons of one figure of a run with another. Pure functions of what was
//! collected.

use super::acts::Acts;
use super::file::SPLITS;
use super::k6;
use super::watch::{Drift, Sample, drift};
use super::{Kind, ORIGINS_LOST};
use crate::verdict::Verdict;
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

/// Standard deviations that an observed share may lie from the configured one: a right split is
/// outside once in 16,000 runs.
const DEVIATIONS: f64 = 4.0;
/// Memory may grow by a tenth and by what allocators keep.
const MEMORY_FACTOR: f64 = 1.1;
const MEMORY_SLACK_BYTES: f64 = 4.0 * 1024.0 * 1024.0;
/// Descriptors come and go with connections.
const DESCRIPTORS_FACTOR: f64 = 1.1;
const DESCRIPTORS_SLACK: f64 = 16.0;
/// Late latencies against early ones, with slack for a machine that does other things too.
const MEDIAN_FACTOR: f64 = 1.5;
const MEDIAN_SLACK_MS: f64 = 0.5;
const P99_FACTOR: f64 = 2.0;
const P99_SLACK_MS: f64 = 10.0;

/// One thing that must hold, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold.
    pub name: String,
    /// Whether it did.
    pub passed: bool,
    /// What was found.
    pub found: String,
}

/// What our side of a scenario collected; there is none of it for somebody else's gateway.
#[derive(Clone, Debug, Serialize)]
pub struct Seen {
    /// The gateway's process.
    pub samples: Vec<Sample>,
    /// What was done to the scene.
    pub acts: Acts,
}

impl Seen {
    /// The largest share of its CPU that the gateway used between two samples: where it is far below
    /// one, something else was what limited the load.
    pub fn cpu_peak(&self) -> Option<f64> {
        self.samples.iter().map(|sample| sample.cpu_share).max_by(f64::total_cmp)
    }
}

impl Check {
    fn new(name: impl Into<String>, passed: bool, found: impl Into<String>) -> Self {
        Self { name: name.into(), passed, found: found.into() }
    }
}

/// All checks of a run.
///
/// # Errors
/// k6's summary is not in its form.
pub fn checks(kind: Kind, summary: &Value, seen: Option<&Seen>) -> Result<Vec<Check>> {
    let mut checks = k6::thresholds(summary)?;
    let empty = k6::empty_rates(summary).into_iter();
    checks.extend(empty.map(|name| Check::new(format!("{name} counted something"), false, "none")));
    checks.extend(seen.map_or(Vec::new(), |seen| ours(kind, summary, seen)));
    if kind == Kind::Soak {
        checks.extend(latency_drift(summary));
    }
    Ok(checks)
}

/// The verdict on a run with these checks.
pub fn verdict(checks: &[Check]) -> Verdict {
    let failed: Vec<String> = checks
        .iter()
        .filter(|check| !check.passed)
        .map(|check| format!("{} ({})", check.name, check.found))
        .collect();
    if failed.is_empty() { Verdict::Pass } else { Verdict::Fail(failed.join("; ")) }
}

fn ours(kind: Kind, summary: &Value, seen: &Seen) -> Vec<Check> {
    match kind {
        Kind::Steady | Kind::Ramp | Kind::Spike => Vec::new(),
        Kind::Soak => creep(&seen.samples),
        Kind::Reload | Kind::Websocket => vec![versions(&seen.acts)],
        Kind::Canary => SPLITS.iter().map(|&percent| split(summary, percent)).collect(),
        Kind::Consistent => {
            let ended = seen.acts.origins_ended;
            vec![Check::new("an endpoint was ended", ended == ORIGINS_LOST, ended.to_string())]
        }
    }
}

/// Several rewrites may become one version if they come faster than files are looked at; but half of
/// them should show, and the last one must be in force.
fn versions(acts: &Acts) -> Check {
    let Acts { rewrites, versions, last_in_force, refused, .. } = *acts;
    let passed = rewrites > 0 && versions * 2 >= rewrites && last_in_force && !refused;
    let last = if last_in_force { "the last in force" } else { "the last NOT in force" };
    let refused = if refused { ", one refused" } else { "" };
    let found = format!("{rewrites} rewrites, {versions} versions, {last}{refused}");
    Check::new("rewritten files came in force", passed, found)
}

fn split(summary: &Value, percent: u32) -> Check {
    let metric = format!("canary_share{{split:{percent}}}");
    let count = |name| k6::value(summary, &metric, name).unwrap_or(0.0);
    let (hits, draws) = (count("passes"), count("passes") + count("fails"));
    let share = f64::from(percent) / 100.0;
    let found = format!(
        "{:.2} % of {draws}, bound {:.2}",
        hits / draws * 100.0,
        slack(draws, share) * 100.0
    );
    Check::new(format!("{percent} % to the canary"), within(hits, draws, share), found)
}

/// Whether `hits` of `draws` fit a binomial of this share; nothing fits no draws.
pub fn within(hits: f64, draws: f64, share: f64) -> bool {
    draws > 0.0 && (hits / draws - share).abs() <= slack(draws, share)
}

/// How far an observed share may lie from `share` after so many draws.
fn slack(draws: f64, share: f64) -> f64 {
    DEVIATIONS * (share * (1.0 - share) / draws).sqrt()
}

fn creep(samples: &[Sample]) -> Vec<Check> {
    let memory = drift(samples, |sample| sample.memory_bytes as f64);
    let descriptors = drift(samples, |sample| sample.descriptors as f64);
    vec![
        grown("memory, MiB", memory, MEMORY_FACTOR, MEMORY_SLACK_BYTES, 1024.0 * 1024.0),
        grown("descriptors", descriptors, DESCRIPTORS_FACTOR, DESCRIPTORS_SLACK, 1.0),
    ]
}

fn latency_drift(summary: &Value) -> Vec<Check> {
    let part =
        |part: &str, name| k6::value(summary, &format!("http_req_duration{{part:{part}}}"), name);
    let drift = |name| Some(Drift { early: part("early", name)?, late: part("late", name)? });
    vec![
        grown("median latency, ms", drift("med"), MEDIAN_FACTOR, MEDIAN_SLACK_MS, 1.0),
        grown("p99 latency, ms", drift("p(99)"), P99_FACTOR, P99_SLACK_MS, 1.0),
    ]
}

/// `unit` is what one of the unit in the name is.
fn grown(what: &str, drift: Option<Drift>, factor: f64, slack: f64, unit: f64) -> Check {
    let name = format!("{what}: late at most {factor} x early + {}", slack / unit);
    match drift {
        None => Check::new(name, false, "too few samples"),
        Some(drift) => {
            let found = format!("early {:.2}, late {:.2}", drift.early / unit, drift.late / unit);
            Check::new(name, drift.within(factor, slack), found)
        }
    }
}

#[cfg(test)]
mod tests;
