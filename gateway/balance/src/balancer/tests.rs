use proptest::prelude::*;

use super::*;
use crate::endpoint::tests::{equal, weighted};

const MAGLEV: Policy = Policy::Maglev { table_size: 251 };
const POLICIES: [Policy; 5] =
    [Policy::RoundRobin, Policy::LeastRequest, Policy::Random, Policy::RingHash, MAGLEV];

struct Up<'a>(&'a [bool]);

impl View for Up<'_> {
    fn usable(&self, endpoint: usize) -> bool {
        self.0[endpoint]
    }
}

/// Selects until nothing is left, taking away what was selected.
fn drain(balancer: &Balancer, key: u64, up: &mut [bool]) -> Vec<usize> {
    let mut order = Vec::new();
    while let Some(chosen) = balancer.select(key, &Up(up)) {
        up[chosen] = false;
        order.push(chosen);
    }
    order
}

#[test]
fn every_policy_refuses_the_same_lists() {
    let mut twice = equal(2);
    twice[1] = twice[0].clone();
    for policy in POLICIES {
        let refusal = |endpoints: &[Endpoint]| Balancer::new(policy, endpoints).err();
        assert_eq!(refusal(&[]), Some(BuildError::Empty));
        assert_eq!(refusal(&weighted(&[0])), Some(BuildError::ZeroWeight));
        assert_eq!(refusal(&twice), Some(BuildError::DuplicateAddress(twice[0].address.clone())));
    }
}

#[test]
fn only_the_hashing_policies_heed_the_key() {
    for policy in POLICIES {
        let balancer = Balancer::new(policy, &equal(8)).unwrap();
        let chosen: std::collections::HashSet<_> =
            (0..64).map(|_| balancer.select(0x5eed_5eed_5eed_5eed, &())).collect();
        let hashing = matches!(policy, Policy::RingHash | Policy::Maglev { .. });
        assert_eq!(chosen.len() == 1, hashing, "{policy:?} chose {chosen:?}");
    }
}

#[test]
fn memory_counts_the_tables() {
    let bytes = |policy| Balancer::new(policy, &equal(100)).unwrap().memory_bytes();
    let table = Policy::Maglev { table_size: crate::MAGLEV_TABLE_SIZE };
    assert!((131_074..132_000).contains(&bytes(table)));
    assert!((160_000..161_000).contains(&bytes(Policy::RingHash)));
    assert!((200..1_000).contains(&bytes(Policy::RoundRobin)));
    assert!((200..1_000).contains(&bytes(Policy::LeastRequest)));
    assert!((1..1_000).contains(&bytes(Policy::Random)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is up, every policy finds all of it, each endpoint once, and nothing else.
    #[test]
    fn retries_reach_every_usable_endpoint_once_and_no_other(
        weights in prop::collection::vec(1_u16..1_000, 1..40),
        down in any::<u64>(),
        key in any::<u64>(),
    ) {
        let up: Vec<bool> = (0..weights.len()).map(|index| down >> index & 1 == 0).collect();
        for policy in POLICIES {
            let balancer = Balancer::new(policy, &weighted(&weights)).unwrap();
            let mut found = drain(&balancer, key, &mut up.clone());
            found.sort_unstable();
            let expected: Vec<usize> = (0..up.len()).filter(|&index| up[index]).collect();
            prop_assert_eq!(found, expected, "{:?}", policy);
        }
    }
}

#[test]
fn peeking_tells_the_next_choice_and_takes_no_turn() {
    let endpoints: Vec<Endpoint> = (1..=3_u8)
        .map(|last| Endpoint { address: ([10, 0, 0, last], 80).into(), weight: last.into() })
        .collect();
    for policy in [Policy::RoundRobin, Policy::RingHash, Policy::Maglev { table_size: 101 }] {
        let balancer = Balancer::new(policy, &endpoints).unwrap();
        for key in 0..20 {
            let peeked = balancer.peek(key, &());
            assert_eq!(balancer.peek(key, &()), peeked);
            assert_eq!(balancer.select(key, &()), peeked, "{policy:?}");
        }
        assert_eq!(balancer.peek(0, &Nobody), None);
    }
}

/// No endpoint is usable.
struct Nobody;

impl View for Nobody {
    fn usable(&self, _endpoint: usize) -> bool {
        false
    }
}
