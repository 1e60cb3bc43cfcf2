//! A hash of words that senders choose, begun with a seed that they do not know.
//!
//! Multiplications and shifts alone: it decides which slot of a fixed number is used, so who could
//! foresee it would gain collisions, not entries.

/// Two odd constants from the golden ratio and the square root of 3.
const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xbb67_ae85_84ca_a73b;

/// Mixes `words` to one.
#[inline(always)]
pub(crate) fn hash<const N: usize>(words: &[u64; N]) -> u64 {
    let mut mixed = 0_u64;
    for word in words {
        mixed = (mixed ^ word).wrapping_mul(FIRST);
        mixed ^= mixed >> 29;
    }
    mixed = mixed.wrapping_mul(SECOND);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::hash;

    #[test]
    fn neighbours_fall_to_different_slots() {
        let slots = |seed: u64| -> std::collections::BTreeSet<u64> {
            (0..4_096_u64).map(|word| hash(&[seed, word << 32]) & 0xffff).collect()
        };
        // Of 4,096 in 65,536 slots, some 3,970 have one of their own.
        for seed in [0, 1, u64::MAX] {
            assert!(slots(seed).len() > 3_900, "{}", slots(seed).len());
        }
    }
}
