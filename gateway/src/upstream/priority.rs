//! How requests are divided among levels of priority.
//!
//! The rule is Envoy's: a level is taken to be able to serve 1.4 times the share of it that is healthy,
//! and what exceeds that goes to the next level. With five of seven endpoints healthy a level still
//! serves everything; with half of them, 70 %. Where all levels together cannot serve everything, what
//! there is of each is scaled up.

/// What a level serves of its healthy share, in percent: seven endpoints may lose two.
const OVERPROVISION_PERCENT: usize = 140;

/// What a level can serve, in percent of all requests.
fn capacity((healthy, all): (usize, usize)) -> usize {
    (OVERPROVISION_PERCENT * healthy).checked_div(all).map_or(0, |share| share.min(100))
}

/// Whether the levels, each as its healthy and all of its endpoints, can serve everything.
pub(super) fn suffice(levels: impl Iterator<Item = (usize, usize)>) -> bool {
    levels.map(capacity).sum::<usize>() >= 100
}

/// The level that a request with this key goes to: equal keys to equal levels, as long as nothing
/// changes. Without a healthy endpoint anywhere it is the first.
pub(super) fn choose(key: u64, levels: impl Iterator<Item = (usize, usize)> + Clone) -> usize {
    let total = levels.clone().map(capacity).sum::<usize>().min(100);
    if total == 0 {
        return 0;
    }
    // The low bits of a key choose within the level.
    let draw = (key.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % total;
    let mut passed = 0;
    let found = levels.map(capacity).position(|capacity| {
        passed += capacity;
        draw < passed
    });
    found.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Percent of many keys that each of the levels gets.
    fn shares<const N: usize>(levels: [(usize, usize); N]) -> [usize; N] {
        let mut counts = [0; N];
        for key in 0..100_000_u64 {
            counts[choose(sallyport_balance::hash_key(&key.to_le_bytes()), levels.into_iter())] +=
                1;
        }
        counts.map(|count| (count + 500) / 1_000)
    }

    #[test]
    fn the_next_level_takes_what_a_level_is_not_healthy_enough_for() {
        for (levels, expected) in [
            ([(10, 10), (10, 10)], [100, 0]),
            ([(5, 7), (1, 1)], [100, 0]),
            ([(5, 10), (10, 10)], [70, 30]),
            ([(1, 10), (10, 10)], [14, 86]),
            ([(0, 10), (10, 10)], [0, 100]),
            // Together 56 %: scaled up to all of it.
            ([(2, 10), (2, 10)], [50, 50]),
            ([(0, 10), (0, 10)], [100, 0]),
        ] {
            let found = shares(levels);
            let near =
                found.iter().zip(expected).all(|(found, wanted)| found.abs_diff(wanted) <= 1);
            assert!(near, "{levels:?}: {found:?}, not {expected:?}");
        }
    }

    #[test]
    fn levels_suffice_if_they_can_serve_everything_together() {
        assert!(suffice([(5, 7)].into_iter()) && !suffice([(2, 3)].into_iter()));
        assert!(suffice([(1, 2), (3, 10)].into_iter()));
        assert!(!suffice([].into_iter()));
    }
}
