use proptest::prelude::*;

use super::*;

fn rated(successes: u64, errors: u64, now_ms: u64) -> Results {
    let results = Results::default();
    (0..successes).for_each(|_| results.rate(now_ms, true));
    (0..errors).for_each(|_| results.rate(now_ms, false));
    results
}

#[test]
fn errors_are_in_a_row_until_a_success() {
    let results = Results::default();
    assert_eq!([(); 3].map(|()| results.failed()), [1, 2, 3]);
    results.succeeded();
    assert_eq!(results.failed(), 1);
}

#[test]
fn a_rate_is_over_the_window_and_needs_enough_results() {
    let results = rated(15, 5, 500);
    assert_eq!(results.success_rate(500), Some(0.75));
    assert_eq!(results.success_rate(9_999), Some(0.75));
    assert_eq!(results.success_rate(10_000), None, "the window has passed");
    assert_eq!(rated(19, 0, 0).success_rate(0), None);
    results.reset();
    assert_eq!(results.success_rate(500), None);
}

#[test]
fn an_endpoint_is_compared_with_the_mean_of_all() {
    assert!(is_below_mean(0.5, &[1.0, 1.0, 0.5], 85));
    assert!(!is_below_mean(0.9, &[1.0, 1.0, 0.9], 85));
    assert!(!is_below_mean(0.5, &[0.5, 0.5, 0.5], 85), "they fail alike");
    assert!(!is_below_mean(0.0, &[0.0], 85), "there is nobody to compare it with");
}

#[test]
fn the_share_is_rounded_down_and_at_least_one_may_go() {
    let cases =
        [(1, 50, 1), (2, 50, 1), (3, 50, 1), (4, 50, 2), (5, 10, 1), (3, 100, 3), (10, 0, 1)];
    for (endpoints, percent, most) in cases {
        assert_eq!(ejectable(endpoints, percent), most, "{percent} % of {endpoints}");
    }
}

#[test]
fn the_time_out_grows_and_is_bounded() {
    assert_eq!(
        [0, 1, 2, 9, 10, u32::MAX].map(|before| ejection_ms(30, before)),
        [30, 60, 90, 300, 300, 300]
    );
}

proptest! {
    /// Whatever the order and the times, a rate counts the results of the window and no others.
    #[test]
    fn a_rate_counts_its_window(results in prop::collection::vec((0_u64..900, any::<bool>()), 0..400)) {
        let kept = Results::default();
        let mut now_ms = 0;
        let mut all = Vec::new();
        for (gap_ms, success) in results {
            now_ms += gap_ms;
            kept.rate(now_ms, success);
            all.push((now_ms / 1_000, success));
        }
        let second = now_ms / 1_000;
        let recent: Vec<_> = all.iter().filter(|(at, _)| second - at < RATE_WINDOW_S).collect();
        let successes = recent.iter().filter(|(_, success)| *success).count();
        let expected = (recent.len() as u64 >= RATE_RESULTS_MIN)
            .then(|| successes as f64 / recent.len() as f64);
        prop_assert_eq!(kept.success_rate(now_ms), expected);
    }
}
