//! One recorded figure in sixteen bytes, and the rate at which some are recorded only.

use std::cell::Cell;

use super::series::SeriesId;

/// What the ring holds: a series, a value, and the share of its like that was recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    pub(super) id: SeriesId,
    pub(super) rate: Rate,
    pub(super) value: f64,
}

const _: () = assert!(size_of::<Sample>() == 16);

/// Which share of the samples is recorded; each stands for as many as it takes to make them all.
///
/// Sampling saves little where samples are summed before they are sent. It is for what is recorded
/// so often that recording itself is felt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// How many one stands for: a whole number up to 2^24 is exact here, its inverse is not.
    weight: f32,
}

impl Rate {
    /// Every one.
    pub const ALL: Rate = Rate { weight: 1.0 };

    /// A share above 0 and up to 1; what is none of that, a NaN among it, is taken as 1.
    pub fn new(share: f32) -> Self {
        if share > 0.0 && share <= 1.0 { Self { weight: 1.0 / share } } else { Self::ALL }
    }

    /// One that stands for `n`, of which none is left to chance.
    pub(super) fn standing_for(n: u32) -> Self {
        Self { weight: n as f32 }
    }

    /// The share, above 0 and up to 1.
    pub fn share(self) -> f32 {
        1.0 / self.weight
    }

    /// How many samples one recorded stands for.
    pub fn weight(self) -> f64 {
        f64::from(self.weight)
    }

    /// Whether the next one is to be recorded: a few instructions and a thread-local word.
    #[inline]
    pub(super) fn picks(self) -> bool {
        self.weight <= 1.0 || random() < self.share()
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self::ALL
    }
}

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// Uniform over 0..1 in 24 bits: Marsaglia's xorshift64*, which is plenty for picking samples.
fn random() -> f32 {
    let mut x = STATE.get();
    if x == 0 {
        // The address differs from thread to thread, and nothing here has to be secret.
        x = (STATE.with(|state| std::ptr::from_ref(state).addr()) as u64) | 1;
    }
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    STATE.set(x);
    (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_share_is_everything() {
        for odd in [0.0, -1.0, 1.5, f32::NAN, f32::INFINITY] {
            assert_eq!(Rate::new(odd), Rate::ALL);
        }
        assert!(Rate::ALL.picks());
    }

    #[test]
    #[cfg_attr(miri, ignore = "a hundred thousand draws take Miri minutes")]
    fn a_share_is_picked() {
        let rate = Rate::new(0.25);
        let picked = (0..100_000).filter(|_| rate.picks()).count();
        assert!((24_000..26_000).contains(&picked), "{picked}");
        assert_eq!(rate.weight(), 4.0);
    }
}
