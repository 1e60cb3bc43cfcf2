//! Endpoints of different weights: whether each weight gets its share.

use super::fleet::{Gateway, Version, endpoints, keys, rounded};
use super::{Case, Notice, Plan, seeded};
use anyhow::{Context, Result};
use serde::Serialize;
use std::rc::Rc;

/// Every third endpoint has each of these.
pub(super) const WEIGHTS: [u16; 3] = [1, 2, 4];

/// What a policy made of weights.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shares {
    /// The policy by its name in the gateway's file.
    pub policy: &'static str,
    /// The weights.
    pub weights: [u16; 3],
    /// Requests that endpoints of each weight got, by what was due to them.
    pub got_to_due: [f64; 3],
    /// Requests due to the endpoints of the weight that has the least.
    pub least_due: f64,
    /// Requests of the busiest endpoint by what was due to it.
    pub overload: f64,
}

/// Sends every user's request through a random gateway to a fleet of all weights.
pub(super) fn observe(plan: &Plan, policy: &'static str) -> Result<Shares> {
    let mut rng = seeded(plan);
    let fleet = endpoints(plan.endpoints, |number| WEIGHTS[number % WEIGHTS.len()]);
    let case = Case { policy, notice: Notice::Configuration };
    let version = Rc::new(Version::new(plan, case, &fleet, &vec![false; fleet.len()])?);
    let gateway = |_| Gateway::on(version.clone());
    let mut gateways = (0..plan.gateways).map(gateway).collect::<Result<Vec<_>>>()?;
    let mut requests = vec![0.0; fleet.len()];
    for key in keys(plan.users) {
        let number = gateways[rng.usize(..plan.gateways)].send(key).context("no endpoint")?;
        requests[usize::from(number)] += 1.0;
    }
    let weight_sum: f64 = fleet.iter().map(|endpoint| f64::from(endpoint.weight)).sum();
    let due = |weight: u16| plan.users as f64 * f64::from(weight) / weight_sum;
    let of_class = |class: usize| (class..fleet.len()).step_by(WEIGHTS.len());
    let dues = [0, 1, 2].map(|class| due(WEIGHTS[class]) * of_class(class).count() as f64);
    let got_to_due = [0, 1, 2].map(|class| {
        let got: f64 = of_class(class).map(|number| requests[number]).sum();
        rounded(got / dues[class])
    });
    let least_due = rounded(dues.into_iter().fold(f64::INFINITY, f64::min));
    let each = requests.iter().zip(&fleet).map(|(got, endpoint)| got / due(endpoint.weight));
    let overload = rounded(each.fold(0.0, f64::max));
    Ok(Shares { policy, weights: WEIGHTS, got_to_due, least_due, overload })
}
