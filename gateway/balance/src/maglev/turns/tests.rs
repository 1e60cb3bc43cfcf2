use proptest::prelude::*;

use super::*;

/// The same order the plain way: in each round, everyone whose credit has reached the heaviest weight.
fn turns_by_credit(weights: &[u16], slots: usize) -> Vec<u16> {
    let heaviest = u32::from(*weights.iter().max().unwrap());
    let mut credit: Vec<u32> = weights.iter().map(|&weight| heaviest - u32::from(weight)).collect();
    let mut turns = Vec::new();
    while turns.len() < slots {
        for (rank, &weight) in (0..=u16::MAX).zip(weights) {
            let credit = &mut credit[usize::from(rank)];
            *credit += u32::from(weight);
            if *credit >= heaviest {
                *credit -= heaviest;
                turns.push(rank);
            }
        }
    }
    turns.truncate(slots);
    turns
}

#[test]
fn half_the_weight_has_half_the_turns() {
    assert_eq!(turns(&[2, 1], 7), [0, 1, 0, 0, 1, 0, 0]);
    assert_eq!(turns(&[7, 7, 7], 5), [0, 1, 2, 0, 1]);
    assert_eq!(turns(&[1, u16::MAX], 5), [0, 1, 1, 1, 1]);
}

#[test]
fn the_most_uneven_weights_there_can_be_take_no_longer_than_others() {
    let mut weights = vec![1; 65_535];
    weights[65_534] = u16::MAX;
    assert_eq!(turns(&weights, 655_351).len(), 655_351);
}

proptest! {
    #[test]
    fn turns_are_those_of_the_plain_way(
        weights in prop::collection::vec(1_u16..40, 1..12),
        more in 0_usize..300,
    ) {
        let slots = weights.len() + more;
        prop_assert_eq!(turns(&weights, slots as u32), turns_by_credit(&weights, slots));
    }
}
