//! PASS, FAIL or INVALID, with every reason.

use super::arithmetic::{STEADY_MIN, TOLERANCE, starved, structural, variation};
use super::{Flow, Run};
use crate::verdict::Verdict;

/// The load's CPU has run out when this share of it was taken.
const LOAD_BUSY_MAX: f64 = 0.85;
/// Below this the gateway was not what the downloads waited for, and their shares are not its doing.
const GATEWAY_BUSY_MIN: f64 = 0.80;
/// What others may take of the gateway's CPU.
const DISTURBANCE_MAX: f64 = 0.05;

/// Judges a run: validity first, then starvation and variation.
pub fn judge(run: &Run) -> Verdict {
    let faults = faults(run);
    if !faults.is_empty() {
        return Verdict::Invalid(faults);
    }
    let reasons = shortcomings(run);
    if reasons.is_empty() { Verdict::Pass } else { Verdict::Fail(reasons.join("; ")) }
}

fn faults(run: &Run) -> Vec<String> {
    let Run { gateway_busy, disturbance, load_busy, .. } = run;
    let steady_s = run.flows.iter().map(|flow| flow.steady().len()).min().unwrap_or(0);
    let percent = |share: &f64| format!("{:.0} %", share * 100.0);
    let mut faults = Vec::new();
    let mut fault = |is: bool, what: String| faults.extend(is.then_some(what));
    fault(run.flows.len() < 2, "fewer than two downloads have no shares to compare".to_owned());
    fault(steady_s < STEADY_MIN, format!("steady for {steady_s} s of the {STEADY_MIN} s it takes"));
    fault(
        run.per_worker().is_none(),
        "placement unknown: the gateway's figures do not tell".into(),
    );
    fault(run.stayed == Some(false), "downloads did not stay on their workers".to_owned());
    let busy = percent(load_busy);
    fault(*load_busy >= LOAD_BUSY_MAX, format!("the load ran out of CPU: {busy} of it was taken"));
    let idle =
        format!("the gateway was no bottleneck: it ran {} of the time", percent(gateway_busy));
    fault(*gateway_busy + disturbance < GATEWAY_BUSY_MIN, idle);
    let taken = format!("others took {} of the gateway's CPU", percent(disturbance));
    fault(*disturbance > DISTURBANCE_MAX, taken);
    faults
}

fn shortcomings(run: &Run) -> Vec<String> {
    let steady: Vec<&[u64]> = run.flows.iter().map(Flow::steady).collect();
    let mut reasons: Vec<String> =
        starved(&steady).into_iter().map(|flow| format!("download {} starved", flow + 1)).collect();
    let rates: Vec<f64> = run.flows.iter().map(Flow::rate).collect();
    let structural = run.per_worker().and_then(|per_worker| structural(&per_worker));
    if let (Some(observed), Some(structural)) = (variation(&rates), structural)
        && observed > structural + TOLERANCE
    {
        reasons.push(format!(
            "shares vary by {observed:.3}, which is above {structural:.3} + {TOLERANCE}"
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Six downloads, four of them on one worker.
    fn run(rates: [u64; 6]) -> Run {
        let flow = |(index, rate): (usize, u64)| Flow {
            client: index % 2,
            worker: Some(usize::from(index < 4)),
            bytes_per_s: vec![rate; 70],
        };
        let flows = rates.into_iter().enumerate().map(flow).collect();
        let (gateway_busy, load_own, load_busy) = (0.97, 0.5, 0.6);
        Run {
            flows,
            threads: 2,
            stayed: Some(true),
            gateway_busy,
            disturbance: 0.01,
            load_own,
            load_busy,
        }
    }

    #[test]
    fn shares_that_the_workers_explain_pass() {
        let explained = run([100, 100, 100, 100, 200, 200]);
        assert_eq!(explained.per_worker(), Some(vec![2, 4]));
        assert_eq!(judge(&explained), Verdict::Pass);
        assert_eq!(judge(&run([150; 6])), Verdict::Pass);
    }

    #[test]
    fn shares_that_nothing_explains_fail() {
        let verdict = judge(&run([10, 100, 100, 190, 200, 200]));
        assert!(verdict.to_string().starts_with("FAIL: shares vary by"), "{verdict}");
    }

    #[test]
    fn the_starved_are_named() {
        let verdict = judge(&run([0, 100, 100, 100, 200, 200])).to_string();
        assert!(verdict.starts_with("FAIL: download 1 starved; shares vary"), "{verdict}");
    }

    #[test]
    fn whatever_spoils_a_run_makes_it_invalid_even_if_it_would_fail() {
        type Spoil = fn(&mut Run);
        let spoilt: [(Spoil, &str); 7] = [
            (|run| run.flows.iter_mut().for_each(|flow| flow.bytes_per_s.truncate(65)), "59 s"),
            (|run| run.flows[0].worker = None, "placement unknown"),
            (|run| run.stayed = Some(false), "did not stay"),
            (|run| run.load_busy = 0.85, "ran out of CPU"),
            (|run| run.gateway_busy = 0.7, "no bottleneck"),
            (|run| run.disturbance = 0.06, "others took"),
            (|run| run.flows.truncate(1), "fewer than two"),
        ];
        for (spoil, reason) in spoilt {
            let mut run = run([0, 100, 100, 100, 200, 200]);
            spoil(&mut run);
            let verdict = judge(&run).to_string();
            assert!(verdict.starts_with("INVALID") && verdict.contains(reason), "{verdict}");
        }
    }
}
