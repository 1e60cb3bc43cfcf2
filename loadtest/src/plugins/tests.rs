use super::*;
use crate::load::Errors;
use crate::requests::Sample;

fn series(name: &str, cpu_us: [f64; 3]) -> Series {
    let sample = |(round, cpu_us_per_request)| Sample {
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
    };
    let samples = cpu_us.into_iter().enumerate().map(sample).collect();
    Series { name: name.to_owned(), samples }
}

/// The machine slows down from round to round; what filters add does not.
fn run(native: f64, wasm: f64, envoy_wasm: f64) -> Vec<Series> {
    let plain = [30.0, 35.0, 40.0];
    vec![
        series(PLAIN, plain),
        series(ONE, plain.map(|us| us + native)),
        series(FIVE, plain.map(|us| us + 5.0 * native)),
        series(WASM, plain.map(|us| us + wasm)),
        series(ENVOY, plain.map(|us| us * 2.0)),
        series(ENVOY_WASM, plain.map(|us| us * 2.0 + envoy_wasm)),
    ]
}

fn judged(run: &[Series]) -> Verdict {
    judge(run, &costs(run))
}

#[test]
fn costs_are_differences_within_a_round() {
    let added = costs(&run(0.125, 2.5, 3.0)).map(|cost| cost.added_us.unwrap().median);
    for (added, expected) in added.into_iter().zip([0.125, 0.125, 2.5, 3.0]) {
        assert!((added - expected).abs() < 1e-9, "{added} is not {expected}");
    }
}

#[test]
fn gates_are_on_native_filters_on_wasm_and_on_envoy() {
    assert_eq!(judged(&run(0.125, 2.5, 3.0)), Verdict::Pass);
    for (run, reason) in [
        (run(0.25, 2.5, 3.0), "native, each of five: 0.25 us is above 0.2"),
        (run(0.125, 4.5, 5.0), "wasm in sallyport: 4.50 us is above 4"),
        (run(0.125, 2.5, 2.0), "wasm: 2.50 us is not below Envoy's 2.00"),
    ] {
        assert_eq!(judged(&run), Verdict::Fail(reason.to_owned()));
    }
}

#[test]
fn a_run_without_one_of_the_six_is_invalid() {
    let mut run = run(0.125, 2.5, 3.0);
    run.pop();
    assert!(matches!(judged(&run), Verdict::Invalid(_)));
}
