use proptest::prelude::*;

use super::*;
use crate::cycle::tests::Only;
use crate::endpoint::tests::{equal, weighted};

fn letters(balancer: &RoundRobin, view: &impl View, count: usize) -> String {
    let letter = |endpoint| char::from(b'a' + u8::try_from(endpoint).unwrap());
    (0..count).map(|_| letter(balancer.select(view).unwrap())).collect()
}

fn balancer(weights: &[u16]) -> RoundRobin {
    RoundRobin { cursor: Cursor::default(), ..RoundRobin::new(&weighted(weights)).unwrap() }
}

#[test]
fn turns_are_spread_over_the_round() {
    assert_eq!(letters(&balancer(&[5, 1, 1]), &(), 14), "abaaacaabaaaca");
    assert_eq!(letters(&balancer(&[3, 3, 3]), &(), 6), "abcabc");
    assert_eq!(letters(&balancer(&[2, 1]), &(), 6), "abaaba");
}

#[test]
fn weights_count_only_in_relation_to_each_other() {
    assert_eq!(balancer(&[600, 400]).schedule, balancer(&[3, 2]).schedule);
    assert_eq!(balancer(&[u16::MAX; 9]).schedule.len(), 9);
}

#[test]
fn an_unusable_endpoint_leaves_its_turns_to_all_others() {
    assert_eq!(letters(&balancer(&[1; 4]), &Only(&[0, 2, 3]), 6), "acdacd");
}

#[test]
fn the_one_usable_among_many_is_found_and_the_round_goes_on_after_it() {
    let balancer = RoundRobin::new(&equal(1_000)).unwrap();
    assert_eq!(balancer.select(&Only(&[500])), Some(500));
    assert_eq!(balancer.select(&()), Some(501));
    assert_eq!(balancer.select(&Only(&[])), None);
}

#[test]
fn workers_share_one_round() {
    let balancer = balancer(&[5, 3, 2]);
    let counts = [const { AtomicUsize::new(0) }; 3];
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..10_000 {
                    counts[balancer.select(&()).unwrap()].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(counts.map(AtomicUsize::into_inner), [20_000, 12_000, 8_000]);
}

/// Whether one factor makes `factor x weight`, rounded down but to no less than 1, out of every weight.
fn one_factor_scales(weights: &[u16], turns: &[u32]) -> bool {
    let pairs =
        || turns.iter().map(|&turns| f64::from(turns)).zip(weights.iter().copied().map(f64::from));
    let rounded = pairs().filter(|&(turns, _)| turns > 1.0);
    let least = rounded.map(|(turns, weight)| turns / weight).fold(0.0, f64::max);
    let most = pairs().map(|(turns, weight)| (turns + 1.0) / weight).fold(f64::MAX, f64::min);
    least < most
}

#[test]
fn weights_that_do_not_fit_are_scaled_by_less_than_a_turn() {
    for weights in [&[65_535, 65_534, 1][..], &[u16::MAX, 40_000, 30_000, 20_011, 9, 1]] {
        let turns = turns(&weighted(weights));
        assert!(sum(&turns) <= 65_536 && sum(&turns) > 65_530, "{turns:?}");
        assert!(one_factor_scales(weights, &turns), "{turns:?}");
    }
}

#[test]
fn sixty_thousand_uneven_endpoints_keep_a_turn_each() {
    let weights: Vec<u16> = (0..60_000).map(|index| 1 + index % 7).collect();
    let turns = turns(&weighted(&weights));
    assert!(sum(&turns) <= u64::from(TURNS_MAX));
    assert!(turns.iter().all(|turns| *turns >= 1));
}

fn largest_deviation(schedule: &[u16], turns: &[u32], window: usize) -> f64 {
    let groups = turns.iter().collect::<std::collections::HashSet<_>>().len() as f64;
    let mut worst = f64::MIN;
    for (endpoint, &turns) in turns.iter().enumerate() {
        let share = f64::from(turns) / schedule.len() as f64;
        for start in 0..schedule.len() {
            let round = schedule.iter().cycle().skip(start).take(window);
            let count = round.filter(|&&other| usize::from(other) == endpoint).count();
            let deviation = (count as f64 - share * window as f64).abs();
            worst = worst.max(deviation - share * groups);
        }
    }
    worst
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// One turn and the endpoint's share of the number of groups: the bound that `lay_out` states.
    #[test]
    fn every_window_gives_each_endpoint_its_share(
        weights in prop::collection::vec(1_u16..12, 1..7),
        window in 1_usize..40,
    ) {
        let turns = turns(&weighted(&weights));
        let schedule = lay_out(&turns);
        let window = window.min(schedule.len());
        let deviation = largest_deviation(&schedule, &turns, window);
        prop_assert!(deviation <= 1.0 + 1e-6, "{deviation} more than promised in {schedule:?}");
    }
}

proptest! {
    // Most of these rounds have all the turns there can be, so few of them do.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn a_round_holds_every_endpoint_as_often_as_its_weight_says(
        weights in prop::collection::vec(any::<u16>().prop_map(|weight| weight.max(1)), 1..50),
    ) {
        let turns = turns(&weighted(&weights));
        let mut counts = vec![0; weights.len()];
        lay_out(&turns).iter().for_each(|&endpoint| counts[usize::from(endpoint)] += 1);
        prop_assert_eq!(counts, turns);
    }
}
