use super::*;
use crate::verdict::Verdict;
use std::sync::OnceLock;

/// As the default plan in its proportions, and a hundredth of its work.
pub(super) fn small() -> Plan {
    Plan {
        gateways: 10,
        endpoints: 60,
        users: 3000,
        batch: 12,
        out_ticks: 4,
        delay_ticks: 2,
        maglev_table: 6007,
        seed: 7,
    }
}

/// Its outcome, which takes a second or two unoptimised and is the same for all tests.
pub(super) fn outcome() -> Outcome {
    static OUTCOME: OnceLock<Outcome> = OnceLock::new();
    OUTCOME.get_or_init(|| run(&small()).unwrap()).clone()
}

fn json(plan: &Plan) -> String {
    serde_json::to_string(&run(plan).unwrap()).unwrap()
}

#[test]
fn everything_that_must_hold_holds_in_a_small_fleet() {
    let outcome = outcome();
    assert!(outcome.checks.len() > 40);
    assert_eq!(verdict(&outcome), Verdict::Pass, "{}", tables(&outcome));
}

#[test]
fn the_seed_decides_everything() {
    assert_eq!(json(&small()), serde_json::to_string(&outcome()).unwrap());
    assert_ne!(json(&small()), json(&Plan { seed: 8, ..small() }));
}

#[test]
fn every_policy_is_simulated_both_ways() {
    let outcome = outcome();
    assert_eq!(outcome.restarts.len(), 10);
    assert_eq!(outcome.weights.len(), 5);
    let hashing = outcome.restarts.iter().filter(|restart| restart.moved_most.is_some());
    assert_eq!(hashing.count(), 4);
}

#[test]
fn pictures_and_tables_come_of_it() {
    let outcome = outcome();
    let dir = tempfile::tempdir().unwrap();
    draw(&outcome, dir.path()).unwrap();
    for file in ["keys-moved.svg", "agreement.svg", "overload.svg"] {
        assert!(dir.path().join(file).is_file(), "{file}");
    }
    assert!(tables(&outcome).contains("ring_hash, by health"));
}

#[test]
fn impossible_plans_are_refused() {
    let plans = [
        Plan { gateways: 0, ..small() },
        Plan { batch: 60, ..small() },
        Plan { users: USERS_MAX + 1, ..small() },
        Plan { endpoints: 2, batch: 1, ..small() },
    ];
    for plan in plans {
        assert!(run(&plan).is_err(), "{plan:?}");
    }
}
