use super::super::tests::outcome;
use super::super::{Case, Tick};
use super::*;

fn broken(spoil: impl FnOnce(&mut Outcome)) -> Vec<String> {
    let mut outcome = outcome();
    spoil(&mut outcome);
    outcome.checks = all(&outcome);
    let broken = outcome.checks.into_iter().filter(|check| !check.holds);
    broken.map(|check| check.what).collect()
}

fn tick<'run>(outcome: &'run mut Outcome, policy: &'static str, tick: usize) -> &'run mut Tick {
    let case = Case { policy, notice: Notice::Configuration };
    let mut restarts = outcome.restarts.iter_mut();
    &mut restarts.find(|restart| restart.case == case).unwrap().ticks[tick]
}

#[test]
fn a_key_that_moves_needlessly_breaks_a_check() {
    let broken = broken(|outcome| outcome.departures.last_mut().unwrap().needless = 0.001);
    assert_eq!(broken.len(), 1);
    assert!(broken[0].starts_with("ring_hash, by health: keys moved needlessly"), "{broken:?}");
}

#[test]
fn a_key_that_does_not_return_breaks_a_check() {
    let broken = broken(|outcome| outcome.departures[0].strayed = 0.001);
    assert!(broken[0].contains("not back home"), "{broken:?}");
}

#[test]
fn gateways_that_disagree_on_one_version_break_a_check() {
    let broken = broken(|outcome| tick(outcome, "maglev", 0).agreement = Some(0.99));
    assert!(broken[0].contains("gateways on one version"), "{broken:?}");
}

#[test]
fn a_request_to_what_all_know_to_be_out_breaks_a_check() {
    let broken = broken(|outcome| tick(outcome, "random", 4).astray = 0.01);
    assert!(broken[0].contains("all know to be out"), "{broken:?}");
}

#[test]
fn a_busy_endpoint_and_an_uneven_share_break_checks() {
    let busy = broken(|outcome| tick(outcome, "least_request", 9).overload = 9.0);
    assert!(busy[0].contains("busiest endpoint in a restart"), "{busy:?}");
    let uneven = broken(|outcome| outcome.weights[0].got_to_due[1] = 0.5);
    assert!(uneven[0].contains("weight's share"), "{uneven:?}");
}
