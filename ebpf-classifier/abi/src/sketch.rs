//! How many different things, in a bit map of fixed size: linear counting (Whang, Vander-Zanden and
//! Taylor, 1990).

use crate::shared::Shared;

/// The most different things that a limit can be set to: above it, the bits no longer tell.
pub const DISTINCT_MAX: u32 = 500;

const WORDS: usize = 4;
const BITS: f64 = (WORDS * 64) as f64;

/// A span of things seen: 2^33 ns, 8.6 s.
const SPAN_SHIFT: u32 = 33;

/// A set of which only the size is asked, over a span of 8.6 s.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::FromBytes, zerocopy::IntoBytes))]
#[repr(C)]
pub struct Sketch {
    /// The number of the span, and the number of bits that are set.
    span: Shared,
    bits: [Shared; WORDS],
}

impl Sketch {
    /// An empty one.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self {
            span: Shared::new(0),
            bits: [Shared::new(0), Shared::new(0), Shared::new(0), Shared::new(0)],
        }
    }

    /// Adds a thing by its hash; returns how many bits are set now.
    #[inline(always)]
    pub fn add(&self, hash: u32, now_ns: u64) -> u32 {
        let span = now_ns >> SPAN_SHIFT;
        let current = self.span.load();
        if current >> 32 != span & 0xffff_ffff && self.span.replace(current, span << 32) == current
        {
            self.bits.iter().for_each(|word| word.store(0));
        }
        let word = self.word(hash);
        let bit = 1 << (hash & 63);
        if word.load() & bit == 0 && word.set_bits(bit) & bit == 0 {
            self.span.add(1);
        }
        self.span.load() as u32
    }
}

impl Sketch {
    /// How many bits are set in the span that `now_ns` is in.
    #[inline(always)]
    pub fn bits(&self, now_ns: u64) -> u32 {
        let current = self.span.load();
        let fresh = current >> 32 == now_ns >> SPAN_SHIFT & 0xffff_ffff;
        if fresh { current as u32 } else { 0 }
    }

    /// Whether the bit of `hash` is set in the span that `now_ns` is in.
    #[inline(always)]
    pub(crate) fn has(&self, hash: u32, now_ns: u64) -> bool {
        self.bits(now_ns) != 0 && self.word(hash).load() & 1 << (hash & 63) != 0
    }

    /// Makes it an empty one.
    #[inline(always)]
    pub(crate) fn clear(&self) {
        self.span.store(0);
        self.bits.iter().for_each(|word| word.store(0));
    }

    #[inline(always)]
    fn word(&self, hash: u32) -> &Shared {
        let [a, b, c, d] = &self.bits;
        match hash >> 6 & 3 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        }
    }
}

/// The bits that `distinct` different things are expected to set: 256 (1 - (1 - 1/256)^n).
///
/// Within 1 up to 20 things, within 5 % up to [`DISTINCT_MAX`], in the mean; a limit of fewer than 10
/// is exact for all but one in a few hundred sets.
#[must_use]
pub fn bits_for(distinct: u32) -> u32 {
    let mut clear = BITS;
    for _ in 0..distinct.min(DISTINCT_MAX) {
        clear *= 1.0 - 1.0 / BITS;
    }
    // Rounded to the nearest: `no_std` has no `round`.
    (BITS - clear + 0.5) as u32
}

/// Spreads a word over the bits of a sketch (the multiplier of Knuth's 6.4).
#[inline(always)]
pub(crate) fn spread(word: u32) -> u32 {
    let mixed = word ^ word >> 16;
    mixed.wrapping_mul(0x9e37_79b1) >> 24
}

#[cfg(test)]
mod tests;
