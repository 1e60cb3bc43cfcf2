use proptest::prelude::*;

use super::*;
use crate::cycle::tests::Only;
use crate::endpoint::tests::{equal, weighted};
use crate::hash::hash_key;

fn keys() -> impl Iterator<Item = u64> {
    (0_u32..20_000).map(|number| hash_key(&number.to_be_bytes()))
}

fn shares(endpoints: &[Endpoint]) -> Vec<f64> {
    let ring = RingHash::new(endpoints).unwrap();
    let mut counts = vec![0_u32; endpoints.len()];
    keys().for_each(|key| counts[ring.select(key, &()).unwrap()] += 1);
    counts.into_iter().map(|count| f64::from(count) / 20_000.0).collect()
}

/// Four standard deviations of what 160 points of mean weight give.
#[test]
fn shares_follow_the_weights() {
    for (share, ideal) in shares(&weighted(&[5, 3, 1, 1])).iter().zip([0.5, 0.3, 0.1, 0.1]) {
        assert!((share / ideal - 1.0).abs() < 0.32, "{share} is not about {ideal}");
    }
}

#[test]
fn only_the_keys_of_the_one_that_leaves_move() {
    let before = RingHash::new(&equal(20)).unwrap();
    let after = RingHash::new(&equal(19)).unwrap();
    for key in keys() {
        let owner = before.select(key, &()).unwrap();
        assert!(owner == 19 || after.select(key, &()) == Some(owner));
    }
}

/// What a retry finds is what the ring would say without the endpoints that were tried.
#[test]
fn retries_go_clockwise_through_distinct_endpoints() {
    let ring = RingHash::new(&equal(5)).unwrap();
    for key in keys().take(200) {
        let mut left = vec![0, 1, 2, 3, 4];
        while let Some(chosen) = ring.select(key, &Only(&left)) {
            left.retain(|&endpoint| endpoint != chosen);
        }
        assert!(left.is_empty());
    }
}

#[test]
fn rings_are_bounded_and_everyone_is_on_them() {
    let mut weights = vec![1; 60_000];
    weights[0] = u16::MAX;
    let ring = RingHash::new(&weighted(&weights)).unwrap();
    assert!(ring.points.len() as u64 <= POINTS_MAX + 60_000);
    assert_eq!(ring.owners.iter().collect::<std::collections::HashSet<_>>().len(), 60_000);
}

/// These exact values are promised: see the module's note on agreement between gateways.
#[test]
fn the_ring_is_the_same_in_every_version() {
    let ring = RingHash::new(&weighted(&[1, 2, 3])).unwrap();
    let bytes: Vec<u8> = ring.points.iter().flat_map(|point| point.to_le_bytes()).collect();
    assert_eq!((ring.points.len(), hash_key(&bytes)), (480, 0x132f_ef0b_ce3e_a5cb));
    let owners: Vec<u8> = ring.owners.iter().flat_map(|owner| owner.to_le_bytes()).collect();
    assert_eq!(hash_key(&owners), 0xc5a3_fdbe_44bd_fdf6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_order_of_the_list_leaves_no_trace(
        shuffled in prop::collection::vec(1_u16..9, 1..20)
            .prop_map(|weights| weighted(&weights))
            .prop_shuffle(),
        key in any::<u64>(),
    ) {
        let mut sorted = shuffled.clone();
        sorted.sort_by_key(|endpoint| endpoint.address.clone());
        let address = |endpoints: &[Endpoint]| {
            let ring = RingHash::new(endpoints).unwrap();
            endpoints[ring.select(key, &()).unwrap()].address.clone()
        };
        prop_assert_eq!(address(&shuffled), address(&sorted));
    }
}
