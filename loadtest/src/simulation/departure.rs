//! Endpoints that leave at once, and return: whose keys move.
//!
//! Only keys of those that left must move, and on their return only those must move back. What moves
//! beyond that is needless: a user lost a session, or a cache its content, for nothing.

use super::fleet::{Version, endpoints, keys, rounded};
use super::{Case, Plan, seeded};
use anyhow::Result;
use serde::Serialize;
use std::rc::Rc;

/// So many per mille of the endpoints leave.
const LEAVING_PERMILLE: [usize; 6] = [1, 10, 50, 100, 200, 500];

/// Some endpoints left and returned; all shares are of all keys.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Departure {
    /// The policy and how it was noticed.
    pub case: Case,
    /// Endpoints that left together.
    pub leaving: usize,
    /// Keys whose endpoint left: the least that can move.
    pub bereft: f64,
    /// Keys that moved.
    pub moved: f64,
    /// Keys that moved though their endpoint stayed.
    pub needless: f64,
    /// Keys that were elsewhere than before once all had returned.
    pub strayed: f64,
}

/// Lets endpoints leave in growing numbers, each time from the full fleet.
pub(super) fn observe(plan: &Plan) -> Result<Vec<Departure>> {
    let mut departures = Vec::new();
    for case in Case::all().filter(|case| case.hashes()) {
        let mut numbers: Vec<usize> = (0..plan.endpoints).collect();
        seeded(plan).shuffle(&mut numbers);
        let mut counts =
            LEAVING_PERMILLE.map(|permille| (plan.endpoints * permille / 1000).max(1)).to_vec();
        counts.dedup();
        for count in counts {
            departures.push(one(plan, case, &numbers[..count])?);
        }
    }
    Ok(departures)
}

fn one(plan: &Plan, case: Case, leaving: &[usize]) -> Result<Departure> {
    let fleet = endpoints(plan.endpoints, |_| 1);
    let keys = keys(plan.users);
    let mut out = vec![false; fleet.len()];
    let homes = |out: &Vec<bool>| Rc::new(Version::new(plan, case, &fleet, out)?).homes(&keys);
    let before = homes(&out)?;
    leaving.iter().for_each(|&number| out[number] = true);
    let during = homes(&out)?;
    let after = homes(&vec![false; fleet.len()])?;
    let share = |count: usize| rounded(count as f64 / keys.len() as f64);
    let left = |home: &u16| out[usize::from(*home)];
    let moves = || before.iter().zip(&during).filter(|(before, during)| before != during);
    Ok(Departure {
        case,
        leaving: leaving.len(),
        bereft: share(before.iter().filter(|home| left(home)).count()),
        moved: share(moves().count()),
        needless: share(moves().filter(|(before, _)| !left(before)).count()),
        strayed: share(before.iter().zip(&after).filter(|(before, after)| before != after).count()),
    })
}
