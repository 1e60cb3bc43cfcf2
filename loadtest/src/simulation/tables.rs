//! The outcome as tables for people.

use super::{Departure, Outcome, Restart, Shares};
use crate::report::table;

/// What moved, how a restart went, what weights got, and what was checked.
pub fn tables(outcome: &Outcome) -> String {
    let checked = outcome.checks.len();
    let held = outcome.checks.iter().filter(|check| check.holds).count();
    format!(
        "endpoints leave at once (shares of all keys)\n{}\nrolling restart\n{}\nweights\n{}\n\
         {held} of {checked} checks hold\n",
        departures(&outcome.departures),
        restarts(&outcome.restarts),
        weights(&outcome.weights),
    )
}

fn departures(all: &[Departure]) -> String {
    let percent = |share: f64| format!("{:.2} %", share * 100.0);
    let row = |one: &Departure| {
        let shares = [one.bereft, one.moved, one.needless, one.strayed].map(percent);
        [vec![one.case.to_string(), one.leaving.to_string()], shares.to_vec()].concat()
    };
    let heads = ["policy", "leaving", "must move", "moved", "needlessly", "not back"];
    table(&heads, all.iter().map(row).collect())
}

fn restarts(all: &[Restart]) -> String {
    let row = |one: &Restart| {
        let ticks = || one.ticks.iter();
        let worst = ticks().filter_map(|tick| tick.agreement).reduce(f64::min);
        let astray = ticks().map(|tick| tick.astray).fold(0.0, f64::max);
        let percent = |share: f64| format!("{:.2} %", share * 100.0);
        let or_dash = |share: Option<f64>| share.map_or("-".to_owned(), percent);
        let overload = [one.overload_median().unwrap_or(f64::NAN), one.overload()];
        let overload = overload.map(|overload| format!("{overload:.2}"));
        let start = vec![one.case.to_string(), or_dash(one.moved_most), or_dash(worst)];
        [start, overload.to_vec(), vec![percent(astray)]].concat()
    };
    let heads =
        ["policy", "moved a step", "least agreement", "busiest/mean", "worst", "astray at most"];
    table(&heads, all.iter().map(row).collect())
}

fn weights(all: &[Shares]) -> String {
    let row = |one: &Shares| {
        let got = one.got_to_due.iter().map(|share| format!("{share:.3}"));
        let name = [one.policy.to_owned()].into_iter();
        name.chain(got).chain([format!("{:.2}", one.overload)]).collect()
    };
    let heads = ["policy", "weight 1 got/due", "weight 2", "weight 4", "busiest/due"];
    table(&heads, all.iter().map(row).collect())
}
