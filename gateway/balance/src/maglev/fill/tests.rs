use proptest::prelude::*;

use super::*;
use crate::endpoint::{rank, tests::weighted};

/// The paper's pseudocode, with this crate's turns: every slot by stepping.
fn filled_by_stepping(ranked: &[Ranked], table_size: u32) -> Vec<u16> {
    let weights: Vec<u16> = ranked.iter().map(|endpoint| endpoint.weight).collect();
    let mut walks: Vec<Walk> =
        ranked.iter().map(|endpoint| Walk::of(endpoint, table_size)).collect();
    let mut table = vec![None; table_size as usize];
    for rank in turns(&weights, table_size) {
        let walk = &mut walks[usize::from(rank)];
        let mut slot = walk.step(table_size);
        while table[slot].is_some() {
            slot = walk.step(table_size);
        }
        table[slot] = Some(walk.index);
    }
    table.into_iter().map(Option::unwrap).collect()
}

#[test]
fn inverses_are_inverse() {
    for prime in [2, 3, 65_537, u64::from(crate::MAGLEV_TABLE_SIZE_MAX)] {
        for number in [1, prime / 2, prime - 1].into_iter().filter(|&number| number > 0) {
            assert_eq!(number * inverse(number, prime) % prime, 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn computed_slots_are_those_that_stepping_finds(
        weights in prop::collection::vec(1_u16..50, 2..60),
        table_size in prop::sample::select(vec![61_u32, 127, 131, 1_009, 4_099]),
    ) {
        let ranked = rank(&weighted(&weights)).unwrap();
        prop_assert_eq!(fill(&ranked, table_size).into_vec(), filled_by_stepping(&ranked, table_size));
    }
}
