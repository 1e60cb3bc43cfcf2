use super::*;
use crate::endpoint::{ENDPOINTS_MAX, tests::weighted};

fn shares(weights: &[u16], accept: impl Fn(usize) -> bool) -> Vec<f64> {
    fastrand::seed(7);
    let drawn = Weighted::new(&weighted(weights));
    let mut counts = vec![0_u32; weights.len()];
    (0..40_000).for_each(|_| counts[drawn.draw(&accept).unwrap()] += 1);
    counts.into_iter().map(|count| f64::from(count) / 40_000.0).collect()
}

fn assert_close(got: &[f64], ideal: &[f64]) {
    for (got, ideal) in got.iter().zip(ideal) {
        assert!((got - ideal).abs() < 0.01, "{got} is not about {ideal}");
    }
}

#[test]
fn draws_follow_the_weights() {
    assert_close(&shares(&[5, 3, 2], |_| true), &[0.5, 0.3, 0.2]);
    assert_close(&shares(&[4; 4], |_| true), &[0.25; 4]);
}

#[test]
fn what_is_turned_down_leaves_its_share_to_the_others_by_weight() {
    assert_close(&shares(&[5, 3, 2], |endpoint| endpoint != 0), &[0.0, 0.6, 0.4]);
}

/// Nearly every draw of these is turned down, so the search answers, and by weight too.
#[test]
fn the_search_follows_the_weights() {
    let weights = [60_000, 3, 1, 60_000];
    assert_close(&shares(&weights, |endpoint| [1, 2].contains(&endpoint)), &[0.0, 0.75, 0.25, 0.0]);
}

#[test]
fn the_heaviest_list_there_can_be_does_not_overflow() {
    let mut weights = vec![u16::MAX; ENDPOINTS_MAX];
    weights[0] = u16::MAX - 1;
    let drawn = Weighted::new(&weighted(&weights));
    assert_eq!(drawn.draw(|endpoint| endpoint == ENDPOINTS_MAX - 1), Some(ENDPOINTS_MAX - 1));
    assert_eq!(drawn.draw(|_| false), None);
}
