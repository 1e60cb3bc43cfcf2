use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::cycle::tests::Only;
use crate::endpoint::{
    ENDPOINTS_MAX,
    tests::{equal, weighted},
};
use crate::hash::hash_key;

fn usual(endpoints: &[Endpoint]) -> Maglev {
    Maglev::new(endpoints, MAGLEV_TABLE_SIZE).unwrap()
}

fn slots(maglev: &Maglev) -> Vec<u32> {
    let mut slots = vec![0; maglev.endpoints];
    maglev.table().iter().for_each(|&endpoint| slots[usize::from(endpoint)] += 1);
    slots
}

/// The largest share over the mean one.
fn imbalance(maglev: &Maglev) -> f64 {
    let most = slots(maglev).into_iter().max().unwrap();
    f64::from(most) * maglev.endpoints as f64 / maglev.table().len() as f64
}

/// Slots whose owner changes when the endpoint at `leaving` does, over the slots it had.
fn disruption(endpoints: &[Endpoint], before: &Maglev, leaving: usize) -> f64 {
    let mut left = endpoints.to_vec();
    left.remove(leaving);
    let after = usual(&left);
    let owners = before.table().iter().zip(after.table());
    let moved = owners.filter(|&(&before, &after)| {
        endpoints[usize::from(before)].address != left[usize::from(after)].address
    });
    moved.count() as f64 / f64::from(slots(before)[leaving])
}

/// The figures that documents cite; `--nocapture` shows them.
#[test]
fn maglev_figures() {
    println!("Maglev, {MAGLEV_TABLE_SIZE} slots, equal weights");
    for count in [10, 100, 1_000, 10_000] {
        println!(
            "  {count:>6} endpoints: share of slots, max/mean {:.4}",
            imbalance(&usual(&equal(count)))
        );
    }
    let endpoints = equal(100);
    let before = usual(&endpoints);
    let each: Vec<f64> = (0..100).map(|leaving| disruption(&endpoints, &before, leaving)).collect();
    let (mean, worst) =
        (each.iter().sum::<f64>() / 100.0, each.iter().copied().fold(0.0, f64::max));
    println!(
        "  one of 100 leaves: {mean:.2} x its own slots move on average, {worst:.2} x at worst"
    );
    assert!(imbalance(&usual(&equal(1_000))) <= 1.02);
    assert!(worst <= 2.5, "{worst}");
}

/// The whole table of these three, as bytes: whoever changes it breaks every deployment that runs two
/// versions side by side.
#[test]
fn the_table_is_the_same_in_every_version() {
    let mut endpoints = weighted(&[1, 2, 3]);
    endpoints.push(Endpoint { address: "[2001:db8::1]:443".parse().unwrap(), weight: 4 });
    let maglev = usual(&endpoints);
    let bytes: Vec<u8> = maglev.table().iter().flat_map(|owner| owner.to_le_bytes()).collect();
    assert_eq!(maglev.table()[..16], [3, 1, 3, 2, 2, 3, 3, 1, 1, 3, 3, 2, 2, 0, 1, 3]);
    assert_eq!(hash_key(&bytes), 0x9283_66a7_da53_8e8a);
    assert_eq!(maglev.lookup(hash_key(b"user-17")), 3);
}

#[test]
fn slots_follow_the_weights() {
    let weights = [1, 10, 100, 1_000, 1_000];
    let got = slots(&usual(&weighted(&weights)));
    for (got, weight) in got.iter().zip(weights) {
        let ideal = f64::from(MAGLEV_TABLE_SIZE) * f64::from(weight) / 2_111.0;
        assert!((f64::from(*got) - ideal).abs() <= 2.0, "{got} slots are not about {ideal}");
    }
}

#[test]
fn as_many_endpoints_as_there_can_be_all_have_a_slot() {
    let endpoints = equal(ENDPOINTS_MAX);
    for table_size in [MAGLEV_TABLE_SIZE, 655_351] {
        let maglev = Maglev::new(&endpoints, table_size).unwrap();
        assert!(slots(&maglev).iter().all(|&slots| slots >= 1));
        assert!(slots(&maglev).iter().all(|&slots| slots <= table_size.div_ceil(65_535)));
    }
}

#[test]
fn the_lightest_endpoint_has_a_slot_beside_the_heaviest() {
    assert_eq!(slots(&usual(&weighted(&[1, u16::MAX, 1])))[0], 1);
    assert_eq!(slots(&usual(&weighted(&[1, u16::MAX, 1])))[2], 1);
}

#[test]
fn table_sizes_are_checked() {
    let build = |count, size| Maglev::new(&equal(count), size).map(drop);
    assert_eq!(build(2, 65_536), Err(BuildError::TableSizeNotPrime(65_536)));
    assert_eq!(build(2, 0), Err(BuildError::TableSizeNotPrime(0)));
    assert_eq!(build(1, 1), Err(BuildError::TableSizeNotPrime(1)));
    assert_eq!(build(3, 2), Err(BuildError::TableTooSmall));
    assert_eq!(build(2, 2), Ok(()));
    assert_eq!(build(2, 4_294_967_291), Err(BuildError::TableTooLarge(4_294_967_291)));
    assert!(is_prime(MAGLEV_TABLE_SIZE_MAX));
}

#[test]
fn a_lone_endpoint_takes_no_table() {
    let maglev = usual(&weighted(&[9]));
    assert_eq!((maglev.table(), maglev.lookup(u64::MAX)), (&[0_u16][..], 0));
    assert_eq!(maglev.select(7, &Only(&[])), None);
}

#[test]
fn retries_walk_the_table_through_distinct_endpoints() {
    let maglev = usual(&equal(7));
    for key in (0_u32..200).map(|number| hash_key(&number.to_be_bytes())) {
        let after_slot = maglev.table().iter().cycle().skip(maglev.slot(key));
        let (mut left, mut order) = ((0..7).collect::<Vec<usize>>(), Vec::new());
        while let Some(chosen) = maglev.select(key, &Only(&left)) {
            left.retain(|&endpoint| endpoint != chosen);
            order.push(chosen);
        }
        let mut seen = HashSet::new();
        let expected =
            after_slot.map(|&owner| usize::from(owner)).filter(|owner| seen.insert(*owner));
        assert_eq!(order, expected.take(7).collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_order_of_the_list_leaves_no_trace(
        shuffled in prop::collection::vec(1_u16..9, 2..30)
            .prop_map(|weights| weighted(&weights))
            .prop_shuffle(),
    ) {
        let mut sorted = shuffled.clone();
        sorted.sort_by_key(|endpoint| endpoint.address.clone());
        let owners = |endpoints: &[Endpoint]| -> Vec<_> {
            let maglev = Maglev::new(endpoints, 1_009).unwrap();
            maglev.table().iter().map(|&owner| endpoints[usize::from(owner)].address.clone()).collect()
        };
        prop_assert_eq!(owners(&shuffled), owners(&sorted));
    }

    /// The bound that the type states, for any weights.
    #[test]
    fn slots_are_within_one_of_a_common_factor(
        weights in prop::collection::vec(1_u16..2_000, 2..40),
    ) {
        let got = slots(&Maglev::new(&weighted(&weights), 4_099).unwrap());
        let per_weight = |error: f64| {
            move |(&slots, &weight): (&u32, &u16)| (f64::from(slots) + error) / f64::from(weight)
        };
        let least = got.iter().zip(&weights).map(per_weight(1.0)).fold(f64::MAX, f64::min);
        let most = got.iter().zip(&weights).map(per_weight(-1.0)).fold(0.0, f64::max);
        prop_assert!(most <= least, "no factor fits {got:?}");
    }
}
