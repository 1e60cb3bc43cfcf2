use proptest::prelude::*;

use super::*;

/// The largest duration, in whole nanoseconds, that belongs into a bucket.
fn upper_ns(bucket: usize) -> u64 {
    lower_units(bucket + 1) * 125 / 2
}

fn counts(durations_ns: &[u64]) -> Vec<u64> {
    let mut counts = vec![0; BUCKETS];
    for &duration_ns in durations_ns {
        counts[bucket(duration_ns)] += 1;
    }
    counts
}

#[test]
fn buckets_are_numbered_without_gaps() {
    assert_eq!(BUCKETS, 449);
    assert_eq!(bucket(0), 0);
    for expected in 0..BUCKETS - 1 {
        assert_eq!(bucket(upper_ns(expected)), expected, "upper edge of {expected}");
        assert_eq!(bucket(upper_ns(expected) + 1), expected + 1, "just above {expected}");
    }
}

#[test]
fn what_is_above_the_top_is_in_the_last_bucket() {
    assert_eq!(bucket(TOP_NS), BUCKETS - 2);
    for duration_ns in [TOP_NS + 1, 2 * TOP_NS, u64::MAX / 2 + 1, u64::MAX] {
        assert_eq!(bucket(duration_ns), BUCKETS - 1);
    }
    assert_eq!(quantile(&counts(&[u64::MAX]), 0.5), Some(Duration::from_nanos(TOP_NS)));
}

#[test]
fn an_octave_has_sixteen_buckets() {
    for octave in 0..OCTAVES {
        let (start_ns, end_ns) = (1_000_u64 << octave, 2_000_u64 << octave);
        assert_eq!(bucket(end_ns) - bucket(start_ns), PARTS);
    }
}

#[test]
fn exposed_edges_are_powers_of_two_of_microseconds() {
    let edges: Vec<f64> = cumulative(&[0; BUCKETS]).map(|(edge, _)| edge).collect();
    assert_eq!(edges.len(), 20);
    assert_eq!((edges[0], edges[1], edges[19]), (0.000128, 0.000256, 67.108864));
}

#[test]
fn an_edge_counts_what_is_equal_to_it() {
    for octave in EXPOSED_OCTAVES {
        let edge_ns = 1_000_u64 << octave;
        let counts = counts(&[edge_ns, edge_ns + 1]);
        let (_, at_or_below) = cumulative(&counts).nth(octave - 7).unwrap();
        assert_eq!(at_or_below, 1, "2^{octave} us");
    }
}

#[test]
fn nothing_counted_has_no_quantile() {
    assert_eq!(quantile(&[0; BUCKETS], 0.5), None);
    assert_eq!(quantile(&[], 0.5), None);
}

#[test]
fn a_share_outside_the_range_is_its_nearer_end() {
    let counts = counts(&[2_000, 4_000, 8_000]);
    assert_eq!(quantile(&counts, -1.0), quantile(&counts, 0.0));
    assert_eq!(quantile(&counts, 7.0), quantile(&counts, 1.0));
    assert!(quantile(&counts, f64::NAN).is_some());
}

fn durations_ns() -> impl Strategy<Value = u64> {
    // Uniform in the logarithm, or nearly all would be in the last octaves.
    (0_u32..37, any::<u64>()).prop_map(|(bits, value)| (value >> (63 - bits)).clamp(1_000, TOP_NS))
}

proptest! {
    #[test]
    fn the_middle_errs_by_a_thirty_second_at_most(duration_ns in durations_ns()) {
        let off = middle_ns(bucket(duration_ns)).abs_diff(duration_ns);
        prop_assert!(off * 32 <= duration_ns, "{duration_ns} ns is off by {off}");
    }

    #[test]
    fn below_a_microsecond_it_errs_by_nanoseconds(duration_ns in 0_u64..1_000) {
        prop_assert!(middle_ns(bucket(duration_ns)).abs_diff(duration_ns) <= 32);
    }

    #[test]
    fn longer_is_never_in_an_earlier_bucket(a in any::<u64>(), b in any::<u64>()) {
        prop_assert_eq!(a.min(b) == a, bucket(a.min(b)) == bucket(a) && a <= b);
        prop_assert!(bucket(a.min(b)) <= bucket(a.max(b)));
    }

    #[test]
    fn quantiles_agree_with_a_sorted_list(
        mut list in prop::collection::vec(durations_ns(), 1..500),
        q in 0.0_f64..=1.0,
    ) {
        let estimate = quantile(&counts(&list), q).unwrap().as_nanos() as u64;
        list.sort_unstable();
        let rank = (q * list.len() as f64).ceil().max(1.0) as usize;
        let exact = list[rank - 1];
        prop_assert!(estimate.abs_diff(exact) * 32 <= exact, "{estimate} for {exact}");
    }

    #[test]
    fn cumulative_counts_agree_with_a_walk(list in prop::collection::vec(durations_ns(), 0..200)) {
        for (edge_s, at_or_below) in cumulative(&counts(&list)) {
            let edge_ns = (edge_s * 1e9).round() as u64;
            prop_assert_eq!(at_or_below, list.iter().filter(|&&ns| ns <= edge_ns).count() as u64);
        }
    }
}
