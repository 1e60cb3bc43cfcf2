use proptest::prelude::*;

use super::*;

fn sketch(values: &[f64]) -> Sketch {
    let mut sketch = Sketch::default();
    values.iter().for_each(|value| sketch.record(*value));
    sketch
}

#[test]
fn count_sum_least_and_greatest_are_exact() {
    let sketch = sketch(&[3.0, 0.0, 1.5, 1_000.0]);
    assert_eq!((sketch.count(), sketch.zero_count(), sketch.sum()), (4, 1, 1_004.5));
    assert_eq!((sketch.min(), sketch.max()), (Some(0.0), Some(1_000.0)));
    let empty = Sketch::default();
    assert_eq!((empty.min(), empty.max(), empty.quantile(0.5)), (None, None, None));
}

#[test]
fn a_bucket_holds_its_upper_edge() {
    for scale in SCALE_END..=SCALE_START {
        let parts = 1 << scale;
        assert_eq!(index(1.0, scale), Some(-1));
        assert_eq!(index(1.0 + f64::EPSILON, scale), Some(0));
        assert_eq!(index(2.0, scale), Some(parts - 1));
        assert_eq!(index(2.0 + 1e-12, scale), Some(parts));
        assert_eq!(index(0.5, scale), Some(-parts - 1));
    }
    let sketch = sketch(&[1.0, 2.0, 2.1]);
    assert_eq!((sketch.at_most(0), sketch.at_most(1), sketch.at_most(2)), (1, 2, 3));
}

#[test]
fn no_value_is_out_of_range() {
    // 2^64, spelled out: `powi` need not be exact, and Miri sees to it that it is not.
    const TOP: f64 = 18_446_744_073_709_551_616.0;
    let mut sketch = Sketch::default();
    let odd = [f64::MIN_POSITIVE, f64::MAX, 0.0, 1.0 / TOP, TOP];
    odd.iter().for_each(|value| sketch.record(*value));
    assert_eq!((sketch.count(), sketch.zero_count()), (5, 3));
    assert_eq!(sketch.values().map(|(_, count)| count).sum::<u64>(), 5);
    sketch.record(-0.0);
    assert_eq!((sketch.count(), sketch.zero_count()), (6, 4));
    for ignored in [-1.0, f64::NAN, f64::INFINITY] {
        sketch.record(ignored);
    }
    assert_eq!(sketch.count(), 6);
    assert!(sketch.bytes() < 2_000);
}

#[test]
fn weights_are_kept_to_within_one() {
    let mut sketch = Sketch::default();
    for _ in 0..1_000 {
        sketch.record_weighted(1.0, 1.0 / f64::from(0.3_f32));
    }
    assert!((3_332..=3_333).contains(&sketch.count()), "{}", sketch.count());
    let mut tenth = Sketch::default();
    tenth.record_weighted(1.0, 1.0 / f64::from(0.1_f32));
    assert_eq!(tenth.count(), 10, "a tenth as a single is a little more than a tenth");
}

#[test]
fn growth_is_foreseen() {
    let mut sketch = sketch(&[1.0, 4.0]);
    assert!(!sketch.grows(2.0) && !sketch.grows(0.0) && sketch.grows(1_000.0));
    let before = sketch.bytes();
    sketch.record(2.0);
    assert_eq!(sketch.bytes(), before);
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec((-64.0..64.0_f64).prop_map(f64::exp2), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 4 } else { 256 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn edges_at_powers_of_two_are_exact(values in values(), exponent in -63..64_i32) {
        let below = values.iter().filter(|value| **value <= f64::from(exponent).exp2()).count();
        prop_assert_eq!(sketch(&values).at_most(exponent), below as u64);
    }

    #[test]
    fn merging_is_recording_both(one in values(), other in values()) {
        let mut merged = sketch(&one);
        merged.merge(&sketch(&other));
        let both = sketch(&[&one[..], &other[..]].concat());
        let buckets = |sketch: &Sketch| -> Vec<u64> {
            (-64..=64).map(|exponent| sketch.at_most(exponent)).collect()
        };
        prop_assert_eq!(buckets(&merged), buckets(&both));
        prop_assert_eq!((merged.count(), merged.min(), merged.max()),
            (both.count(), both.min(), both.max()));
        prop_assert_eq!(merged.scale(), both.scale());
    }

    #[test]
    fn quantiles_err_by_the_scale_at_most(mut values in values(), q in 0.0..=1.0_f64) {
        prop_assume!(!values.is_empty());
        let sketch = sketch(&values);
        values.sort_unstable_by(f64::total_cmp);
        let rank = ((q * values.len() as f64).ceil() as usize).max(1);
        let exact = values[rank - 1];
        let told = sketch.quantile(q).unwrap();
        let error = 0.5_f64 / f64::from(1_u32 << sketch.scale());
        prop_assert!((told / exact).log2().abs() <= error + 1e-9, "{} for {}", told, exact);
        prop_assert!(sketch.counts().len() <= BUCKETS_MAX);
    }
}
