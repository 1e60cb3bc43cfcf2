//! Which turns count, and whether small requests fare well beside downloads.

use super::{DISTURBANCE_MAX, Turn};
use crate::figures::Spread;
use crate::verdict::Verdict;

/// Downloads and small clients of the cell that is judged.
const JUDGED: (usize, usize) = (128, 10);
/// The cell it is held against.
const YARDSTICK: (usize, usize) = (0, 10);
/// The load's CPU has run out when this share of it was taken.
const LOAD_BUSY_MAX: f64 = 0.85;
/// How much what is read of the downloads may vary during a turn.
const VARIATION_MAX: f64 = 0.15;
/// How long a download may stand still.
const STILL_MS_MAX: f64 = 1000.0;
/// Requests that a quantile of one in a hundred takes.
const REQUESTS_MIN: u64 = 1000;

/// Judges the turns: validity first, then the gate on the median ratio.
pub fn judge(turns: &[Turn], gate: f64) -> Verdict {
    let mut faults: Vec<String> = turns.iter().flat_map(faults).collect();
    faults.extend(late_load(turns));
    let Some(ratio) = ratio(turns) else {
        faults.push("no figure for the gate".to_owned());
        return Verdict::Invalid(faults);
    };
    if !faults.is_empty() {
        return Verdict::Invalid(faults);
    }
    if ratio.median <= gate {
        return Verdict::Pass;
    }
    let median = ratio.median;
    Verdict::Fail(format!(
        "p99 beside 128 downloads is {median:.2} times that beside none, not {gate}"
    ))
}

/// p99 of 10 small clients beside 128 downloads by that beside none, round by round.
pub fn ratio(turns: &[Turn]) -> Option<Spread> {
    let of = |cell| each(turns, cell, |turn| turn.p99_us);
    Spread::of_ratios(&of(JUDGED), &of(YARDSTICK))
}

/// One figure of every turn of a cell, in the order of the rounds.
pub(super) fn each(turns: &[Turn], cell: (usize, usize), figure: fn(&Turn) -> f64) -> Vec<f64> {
    let of_cell = turns.iter().filter(|turn| (turn.bulk, turn.small) == cell);
    of_cell.map(figure).collect()
}

fn faults(turn: &Turn) -> Vec<String> {
    let Turn { round, bulk, small, .. } = turn;
    let mut faults = Vec::new();
    let mut fault = |is: bool, what: String| {
        let whole = format!("{bulk} downloads, {small} small, round {}: {what}", round + 1);
        faults.extend(is.then_some(whole));
    };
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    fault(!turn.settled, "the downloads never settled".to_owned());
    let variation = turn.bulk_variation.unwrap_or(0.0);
    fault(variation > VARIATION_MAX, format!("what was read varied by {}", percent(variation)));
    let still = format!("a download stood still for {:.0} ms", turn.bulk_still_ms);
    fault(*bulk > 0 && turn.bulk_still_ms > STILL_MS_MAX, still);
    let busy = format!("the load ran out of CPU: {} of it was taken", percent(turn.load_busy));
    fault(turn.load_busy >= LOAD_BUSY_MAX, busy);
    let taken = format!("others took {} of the gateway's CPU", percent(turn.disturbance));
    fault(turn.disturbance > DISTURBANCE_MAX, taken);
    let few = format!("{} requests are too few for a p99", turn.requests);
    fault(turn.requests < REQUESTS_MIN, few);
    faults
}

/// If the load itself answers later by as much as the gateway may, nothing can be said of the gateway.
fn late_load(turns: &[Turn]) -> Option<String> {
    let median = |cell, figure| Spread::of(each(turns, cell, figure)).map(|spread| spread.median);
    let direct = |cell| median(cell, |turn| turn.direct_p99_us);
    let late_us = direct(JUDGED)? - direct(YARDSTICK)?;
    let alone_us = median(YARDSTICK, |turn| turn.p99_us)?;
    let what = format!("without the gateway p99 is {late_us:.0} us later beside downloads");
    (late_us >= alone_us).then_some(what)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn turn(bulk: usize, small: usize, p99_us: f64) -> Turn {
        Turn {
            round: 0,
            takes: 1,
            bulk,
            small,
            requests: 5000,
            p50_us: 100.0,
            p99_us,
            p999_us: 900.0,
            direct_p99_us: 60.0,
            settled: true,
            bulk_mb_per_s: bulk as f64,
            bulk_variation: (bulk > 0).then_some(0.02),
            bulk_still_ms: 40.0,
            gateway_busy: 0.9,
            disturbance: 0.01,
            load_own: 0.5,
            load_busy: 0.5,
        }
    }

    fn turns(beside: f64) -> [Turn; 4] {
        [turn(0, 10, 200.0), turn(128, 10, beside), turn(0, 10, 300.0), turn(128, 10, beside)]
    }

    #[test]
    fn the_gate_is_on_the_median_of_the_ratios() {
        // 380 / 200 and 380 / 300.
        assert!((ratio(&turns(380.0)).unwrap().median - 1.583).abs() < 0.001);
        assert_eq!(judge(&turns(380.0), 2.0), Verdict::Pass);
        assert!(matches!(judge(&turns(520.0), 2.0), Verdict::Fail(_)));
    }

    #[test]
    fn whatever_spoils_a_turn_makes_the_run_invalid() {
        type Spoil = fn(&mut Turn);
        let spoilt: [(Spoil, &str); 6] = [
            (|turn| turn.settled = false, "never settled"),
            (|turn| turn.bulk_variation = Some(0.2), "varied by 20 %"),
            (|turn| turn.bulk_still_ms = 1500.0, "stood still"),
            (|turn| turn.load_busy = 0.9, "ran out of CPU"),
            (|turn| turn.disturbance = 0.2, "others took 20 %"),
            (|turn| turn.requests = 999, "too few"),
        ];
        for (spoil, reason) in spoilt {
            let mut turns = turns(9000.0);
            spoil(&mut turns[1]);
            let verdict = judge(&turns, 2.0).to_string();
            assert!(verdict.starts_with("INVALID: 128 downloads, 10 small, round 1"), "{verdict}");
            assert!(verdict.contains(reason), "{verdict}");
        }
    }

    #[test]
    fn a_load_that_is_late_itself_makes_the_run_invalid() {
        let mut turns = turns(900.0);
        turns.iter_mut().filter(|turn| turn.bulk > 0).for_each(|turn| turn.direct_p99_us = 400.0);
        assert!(judge(&turns, 2.0).to_string().contains("without the gateway"));
    }

    #[test]
    fn without_the_judged_cell_there_is_no_verdict() {
        let turns = [turn(0, 10, 200.0), turn(8, 10, 200.0)];
        assert!(judge(&turns, 2.0).to_string().contains("no figure for the gate"));
    }
}
