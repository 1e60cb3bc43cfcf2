//! Whether a run counts, and whether it passed.
//!
//! A run with an error in it measured something else than it claims, so validity is decided before
//! any figure is compared. The three outcomes are exit codes, for whoever calls from a script.

use crate::figures::Spread;
use crate::interrupt::Interrupted;
use crate::{idle, requests};
use anyhow::Result;
use serde::Serialize;
use std::process::ExitCode;

/// The proxy that ratios are taken to.
pub const BASELINE: &str = "bare";
/// The proxy that gates are for.
pub const JUDGED: &str = "sallyport";

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "reasons")]
pub enum Verdict {
    /// Valid, and within the gate if there was one.
    Pass,
    /// Valid, and beyond the gate.
    Fail(String),
    /// Not to be used, for these reasons.
    Invalid(Vec<String>),
}

impl Verdict {
    /// 0, 1 or 2.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Pass => ExitCode::SUCCESS,
            Self::Fail(_) => ExitCode::from(1),
            Self::Invalid(_) => ExitCode::from(2),
        }
    }

    /// Whether the median is within the gate, where there is one; invalid where it has no figure.
    pub fn gated(figure: Option<Spread>, gate: Option<f64>, what: &str) -> Self {
        match (figure, gate) {
            (_, None) => Self::Pass,
            (None, Some(_)) => Self::Invalid(vec![format!("no figure for the gate on {what}")]),
            (Some(figure), Some(gate)) if figure.median <= gate => Self::Pass,
            (Some(figure), Some(gate)) => {
                Self::Fail(format!("{what}: median {:.3} is above {gate}", figure.median))
            }
        }
    }
}

/// One verdict on several runs: invalid if one of them is, else failed if one is.
pub fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let (mut failed, mut invalid) = (Vec::new(), Vec::new());
    for verdict in verdicts {
        match verdict {
            Verdict::Pass => {}
            Verdict::Fail(reason) => failed.push(reason),
            Verdict::Invalid(reasons) => invalid.extend(reasons),
        }
    }
    match (invalid.is_empty(), failed.is_empty()) {
        (false, _) => Verdict::Invalid(invalid),
        (true, false) => Verdict::Fail(failed.join("; ")),
        (true, true) => Verdict::Pass,
    }
}

/// What a program ends with: the verdict's code, 2 if it could not be reached, and 130 if the run was
/// interrupted; those two are told on standard error.
pub fn exit_code(outcome: Result<Verdict>) -> ExitCode {
    match outcome {
        Ok(verdict) => verdict.exit_code(),
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("interrupted; everything that was started has been ended");
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("INVALID: {error:#}");
            ExitCode::from(2)
        }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pass => write!(out, "PASS"),
            Self::Fail(reason) => write!(out, "FAIL: {reason}"),
            Self::Invalid(reasons) => write!(out, "INVALID: {}", reasons.join("; ")),
        }
    }
}

/// Judges CPU per request; the gate is on the median ratio of the gateway to bare Pingora.
pub fn of_requests(series: &[requests::Series], gate: Option<f64>) -> Verdict {
    if let Some(invalid) = invalid(series) {
        return invalid;
    }
    let judged = series.iter().find(|series| series.name == JUDGED);
    let ratio = judged.and_then(|judged| ratio_to(BASELINE, judged, series));
    Verdict::gated(ratio, gate, "CPU per request, sallyport / bare")
}

/// Judges memory of an idle connection; the gate is in KiB.
pub fn of_idle(series: &[idle::Series], gate_kib: Option<f64>) -> Verdict {
    let judged = series.iter().find(|series| series.name == JUDGED);
    let figure = judged
        .and_then(|judged| Spread::of(judged.samples.iter().map(idle::Sample::kib_per_connection)));
    Verdict::gated(figure, gate_kib, "KiB per idle connection, sallyport")
}

/// The verdict on a run with anything wrong in it; none where nothing is.
pub fn invalid(series: &[requests::Series]) -> Option<Verdict> {
    let faults: Vec<String> = series.iter().flat_map(faults).collect();
    (!faults.is_empty()).then_some(Verdict::Invalid(faults))
}

/// CPU per request against that of the proxy called `baseline`, round by round; none without it.
pub fn ratio_to(
    baseline: &str,
    one: &requests::Series,
    all: &[requests::Series],
) -> Option<Spread> {
    let baseline = all.iter().find(|series| series.name == baseline)?;
    let cpu_us = |sample: &requests::Sample| sample.cpu_us_per_request;
    Spread::of_ratios(&one.each(cpu_us), &baseline.each(cpu_us))
}

fn faults(series: &requests::Series) -> Vec<String> {
    let name = &series.name;
    let mut faults = Vec::new();
    for sample in &series.samples {
        let round = sample.round + 1;
        if sample.errors.total() > 0 {
            faults.push(format!("{name}, round {round}: {:?}", sample.errors));
        }
        if sample.requests == 0 {
            faults.push(format!("{name}, round {round}: no request was answered"));
        }
        if sample.account_incomplete {
            faults.push(format!("{name}, round {round}: a thread ended with its CPU time"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Errors;
    use crate::requests::{Sample, Series};

    fn sample(round: usize, cpu_us_per_request: f64) -> Sample {
        Sample {
            round,
            requests: 1000,
            cpu_us_per_request,
            requests_per_s: 1000.0,
            p50_us: 1.0,
            p99_us: 2.0,
            utilisation: 1.0,
            disturbance: 0.0,
            account_incomplete: false,
            errors: Errors::default(),
        }
    }

    fn series(name: &str, cpu_us: &[f64]) -> Series {
        let samples = cpu_us.iter().enumerate().map(|(round, &us)| sample(round, us)).collect();
        Series { name: name.to_owned(), samples }
    }

    #[test]
    fn the_gate_is_on_the_median_of_the_ratios() {
        let run = [series("bare", &[10.0, 20.0, 10.0]), series("sallyport", &[11.0, 21.0, 30.0])];
        assert_eq!(of_requests(&run, Some(1.10)), Verdict::Pass);
        assert!(matches!(of_requests(&run, Some(1.05)), Verdict::Fail(_)));
        assert_eq!(of_requests(&run, None), Verdict::Pass);
    }

    #[test]
    fn one_error_makes_a_run_invalid_whatever_its_figures() {
        let mut run = [series("bare", &[10.0]), series("sallyport", &[10.0])];
        run[0].samples[0].errors.status = 1;
        let verdict = of_requests(&run, Some(1.10));
        assert!(verdict.to_string().starts_with("INVALID: bare, round 1"), "{verdict}");
    }

    #[test]
    fn missing_cpu_time_and_missing_answers_make_a_run_invalid() {
        let mut run = [series("bare", &[10.0]), series("sallyport", &[10.0])];
        run[0].samples[0].account_incomplete = true;
        run[1].samples[0].requests = 0;
        let Verdict::Invalid(reasons) = of_requests(&run, None) else { panic!("valid") };
        assert_eq!(reasons.len(), 2);
    }

    #[test]
    fn a_gate_without_a_gateway_is_invalid() {
        let run = [series("bare", &[10.0]), series("nginx", &[10.0])];
        assert!(matches!(of_requests(&run, Some(1.10)), Verdict::Invalid(_)));
    }

    #[test]
    fn the_worst_of_several_runs_counts() {
        let (fail, invalid) =
            (Verdict::Fail("slow".to_owned()), Verdict::Invalid(vec!["cut off".to_owned()]));
        assert_eq!(worst([Verdict::Pass, Verdict::Pass]), Verdict::Pass);
        assert_eq!(worst([Verdict::Pass, fail.clone()]), fail);
        assert_eq!(worst([invalid.clone(), fail]), invalid);
    }

    #[test]
    fn memory_is_gated_in_kib() {
        let sample =
            idle::Sample { before_bytes: 0, after_bytes: 34 * 1024 * 100, connections: 100 };
        let run = [idle::Series { name: "sallyport".to_owned(), samples: vec![sample] }];
        assert_eq!(of_idle(&run, Some(35.0)), Verdict::Pass);
        assert!(matches!(of_idle(&run, Some(33.0)), Verdict::Fail(_)));
    }
}
