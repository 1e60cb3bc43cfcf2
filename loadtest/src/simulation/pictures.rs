//! The outcome as pictures.

use super::{Case, Notice, Outcome, Restart, Tick};
use crate::plot::Lines;
use anyhow::Result;
use std::path::Path;

/// Draws `keys-moved.svg`, `agreement.svg` and `overload.svg` into `dir`.
///
/// # Errors
/// A file cannot be written.
pub fn draw(outcome: &Outcome, dir: &Path) -> Result<()> {
    keys_moved(outcome).write(&dir.join("keys-moved.svg"))?;
    agreement(outcome).write(&dir.join("agreement.svg"))?;
    overload(outcome).write(&dir.join("overload.svg"))
}

fn keys_moved(outcome: &Outcome) -> Lines {
    let cases = Case::all().filter(|case| case.hashes());
    let of = |case: Case| {
        let departures = outcome.departures.iter().filter(move |departure| departure.case == case);
        departures.map(|departure| (departure.leaving as f64, departure.needless * 100.0))
    };
    Lines {
        title: format!(
            "Keys moved needlessly, {} endpoints, {} keys",
            outcome.plan.endpoints, outcome.plan.users
        ),
        x: "endpoints that leave at once".to_owned(),
        y: "% of all keys".to_owned(),
        log_x: true,
        log_y: false,
        series: cases.map(|case| (case.to_string(), of(case).collect())).collect(),
        rules: Vec::new(),
    }
}

fn agreement(outcome: &Outcome) -> Lines {
    let percent = |tick: &Tick| tick.agreement.map(|agreed| (1.0 - agreed) * 100.0);
    Lines {
        title: "Rolling restart: keys on which two random gateways disagree".to_owned(),
        y: "% of all keys".to_owned(),
        ..over_time(outcome, percent, |case| case.hashes())
    }
}

fn overload(outcome: &Outcome) -> Lines {
    Lines {
        title: "Rolling restart: requests of the busiest endpoint by the mean".to_owned(),
        y: "busiest / mean".to_owned(),
        ..over_time(
            outcome,
            |tick| Some(tick.overload),
            |case| case.notice == Notice::Configuration,
        )
    }
}

fn over_time(
    outcome: &Outcome,
    figure: impl Fn(&Tick) -> Option<f64>,
    shown: impl Fn(Case) -> bool,
) -> Lines {
    let points = |restart: &Restart| {
        let ticks = restart.ticks.iter().enumerate();
        ticks.filter_map(|(tick, seen)| Some((tick as f64, figure(seen)?))).collect()
    };
    let restarts = outcome.restarts.iter().filter(|restart| shown(restart.case));
    Lines {
        title: String::new(),
        x: "tick".to_owned(),
        y: String::new(),
        log_x: false,
        log_y: false,
        series: restarts.map(|restart| (restart.case.to_string(), points(restart))).collect(),
        rules: Vec::new(),
    }
}
