//! What a filter adds to a request, in the gateway and in Envoy.
//!
//! Six proxies take turns under the same load as in [`mod@crate::requests`]: the gateway without
//! filters, with one and with five native ones and with a WebAssembly guest, and Envoy without and with
//! the same guest. A cost is the difference between two of them in one round. A native filter's is
//! judged by five, because one is smaller than what a round can tell.

use crate::contestant::{Contestant, Kind, NATIVE_MAX};
use crate::figures::Spread;
use crate::requests::Series;
use crate::site::Feature;
use crate::verdict::{self, Verdict};
use anyhow::Result;
use serde::Serialize;
use std::path::PathBuf;

/// What a native filter may add.
pub const NATIVE_US_MAX: f64 = 0.2;
/// What a WebAssembly guest may add; and no more than in Envoy.
pub const WASM_US_MAX: f64 = 4.0;

/// The gateway without filters, and what ratios are taken to.
pub const PLAIN: &str = "sallyport";
const ONE: &str = "sallyport, 1 native";
const FIVE: &str = "sallyport, 5 native";
const WASM: &str = "sallyport, wasm";
const ENVOY: &str = "envoy";
const ENVOY_WASM: &str = "envoy, wasm";

/// The programs of a run.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The gateway.
    pub sallyport: PathBuf,
    /// Envoy.
    pub envoy: PathBuf,
    /// The example guest `header`.
    pub module: PathBuf,
}

impl Programs {
    /// The six proxies, all of them present.
    pub fn contestants(&self) -> Result<Vec<Contestant>> {
        let sallyport = || Kind::Sallyport(self.sallyport.clone());
        let envoy = || Kind::Envoy(self.envoy.clone());
        let guest = || Feature::Wasm(self.module.clone());
        let all = [
            (PLAIN, sallyport(), Feature::None),
            (ONE, sallyport(), Feature::Native(1)),
            (FIVE, sallyport(), Feature::Native(NATIVE_MAX)),
            (WASM, sallyport(), guest()),
            (ENVOY, envoy(), Feature::None),
            (ENVOY_WASM, envoy(), guest()),
        ];
        let named = |(name, kind, feature): (&str, Kind, Feature)| Contestant {
            name: name.to_owned(),
            kind,
            feature,
        };
        let contestants: Vec<Contestant> = all.into_iter().map(named).collect();
        contestants.iter().try_for_each(Contestant::check)?;
        Ok(contestants)
    }
}

/// What a filter added to a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// The filter and its host.
    pub of: &'static str,
    /// CPU time added, round by round; none where a proxy is missing.
    pub added_us: Option<Spread>,
    /// The most that the median may be.
    pub gate_us: Option<f64>,
}

/// The costs that can be told from a run of [`Programs::contestants`].
pub fn costs(series: &[Series]) -> [Cost; 4] {
    let cost = |of, with, without, gate_us| {
        let added_us = added_us(series, with, without);
        Cost { of, added_us, gate_us }
    };
    let mut five = cost("native, each of five", FIVE, PLAIN, Some(NATIVE_US_MAX));
    five.added_us = five.added_us.map(|all| all.divided(NATIVE_MAX as f64));
    [
        cost("native, one alone", ONE, PLAIN, None),
        five,
        cost("wasm in sallyport", WASM, PLAIN, Some(WASM_US_MAX)),
        cost("wasm in envoy", ENVOY_WASM, ENVOY, None),
    ]
}

fn added_us(series: &[Series], with: &str, without: &str) -> Option<Spread> {
    let cpu_us = |name| {
        let found = series.iter().find(|series| series.name == name)?;
        Some(found.each(|sample| sample.cpu_us_per_request))
    };
    Spread::of_differences(&cpu_us(with)?, &cpu_us(without)?)
}

/// Judges a run by the gates of its costs, and by Envoy's.
pub fn judge(series: &[Series], costs: &[Cost; 4]) -> Verdict {
    if let Some(invalid) = verdict::invalid(series) {
        return invalid;
    }
    let median = |cost: &Cost| cost.added_us.map(|added| added.median);
    let Some(medians) = costs.iter().map(median).collect::<Option<Vec<f64>>>() else {
        return Verdict::Invalid(vec!["a figure is missing".to_owned()]);
    };
    let mut reasons = Vec::new();
    for (cost, median) in costs.iter().zip(&medians) {
        if let Some(gate) = cost.gate_us.filter(|gate| median > gate) {
            reasons.push(format!("{}: {median:.2} us is above {gate}", cost.of));
        }
    }
    let [_, _, wasm, envoy] = medians[..] else {
        unreachable!("one median for each of four costs")
    };
    if wasm >= envoy {
        reasons.push(format!("wasm: {wasm:.2} us is not below Envoy's {envoy:.2}"));
    }
    if reasons.is_empty() { Verdict::Pass } else { Verdict::Fail(reasons.join("; ")) }
}

#[cfg(test)]
mod tests;
