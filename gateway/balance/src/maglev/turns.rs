//! In which order endpoints of different weights take their turns at the table.
//!
//! In rounds: the heaviest endpoint has a turn in every one, an endpoint of half its weight in every second.
//! Going through all endpoints in each round to see whose turn it is would take time in proportion to how
//! uneven the weights are, up to billions of steps; each turn's round is a division away instead, and a
//! counting sort brings the turns in order.

/// Whose turn it is, by rank, for as many turns as there are slots.
///
/// The `k`-th turn of an endpoint, counted from 0, is in round `k x heaviest / weight`, rounded up; within a
/// round, lower ranks come first. Everyone has a turn in round 0 and so, with as many slots as endpoints, at
/// least one slot.
pub(super) fn turns(weights: &[u16], slots: u32) -> Vec<u16> {
    let heaviest = weights.iter().copied().max().unwrap_or(1);
    let mut turns = if weights.iter().all(|&weight| weight == heaviest) {
        (0..weights.len() as u16).cycle().take(slots as usize).collect()
    } else {
        weighted_turns(weights, heaviest, rounds_needed(weights, heaviest, slots))
    };
    turns.truncate(slots as usize);
    turns
}

/// The fewest rounds with at least `slots` turns in them. The heaviest alone has a turn a round, so no more
/// than `slots` rounds are needed.
fn rounds_needed(weights: &[u16], heaviest: u16, slots: u32) -> u32 {
    let enough = |rounds| {
        let turns = weights.iter().map(|&weight| u64::from(turns_within(weight, heaviest, rounds)));
        turns.sum::<u64>() >= u64::from(slots)
    };
    let (mut too_few, mut rounds) = (0, slots);
    while too_few + 1 < rounds {
        let middle = u32::midpoint(too_few, rounds);
        if enough(middle) {
            rounds = middle;
        } else {
            too_few = middle;
        }
    }
    rounds
}

/// Turns in the first `rounds` rounds, of which there is at least one.
fn turns_within(weight: u16, heaviest: u16, rounds: u32) -> u32 {
    let before_last = u64::from(rounds - 1) * u64::from(weight) / u64::from(heaviest);
    // At most one a round, so it fits.
    before_last as u32 + 1
}

/// A counting sort of all turns in these rounds by round; ranks are entered in order and stay in order.
fn weighted_turns(weights: &[u16], heaviest: u16, rounds: u32) -> Vec<u16> {
    let of = |weight| {
        (0..turns_within(weight, heaviest, rounds))
            .map(move |turn| round_of(turn, weight, heaviest))
    };
    let mut ends = vec![0_u32; rounds as usize + 1];
    weights.iter().flat_map(|&weight| of(weight)).for_each(|round| ends[round + 1] += 1);
    for round in 1..ends.len() {
        ends[round] += ends[round - 1];
    }
    let mut turns = vec![0; ends[rounds as usize] as usize];
    for (rank, &weight) in (0..=u16::MAX).zip(weights) {
        for round in of(weight) {
            turns[ends[round] as usize] = rank;
            ends[round] += 1;
        }
    }
    turns
}

fn round_of(turn: u32, weight: u16, heaviest: u16) -> usize {
    (u64::from(turn) * u64::from(heaviest)).div_ceil(u64::from(weight)) as usize
}

#[cfg(test)]
mod tests;
