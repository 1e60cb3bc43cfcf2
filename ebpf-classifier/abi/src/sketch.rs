//! How many different things, in a bit map of fixed size: linear counting (Whang, Vander-Zanden and
//! Taylor, 1990).

use crate::shared::Shared;

/// The most different things that a limit can be set to: above it, the bits no longer tell.
pub const DISTINCT_MAX: u32 = 500;

const WORDS: usize = 4;
const BITS: f64 = (WORDS * 64) as f64;

/// A span of things seen: 2^33 ns, 8.6 s.
const SPAN_SHIFT: u32 = 33;

/// The bits of the number of bits that are set; the hash of the first thing stands behind them.
const COUNT: u32 = (1 << FIRST_SHIFT) - 1;
const FIRST_SHIFT: u32 = 16;

/// A set of which only the size is asked, over a span of 8.6 s.
///
/// While there is one thing in it, as with most sources there ever are, that stands beside the number of
/// the span, and nothing else is touched.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::FromBytes, zerocopy::IntoBytes))]
#[repr(C)]
pub struct Sketch {
    /// The number of the span in the high half; the hash of its first thing, and the number of bits
    /// that are set.
    span: Shared,
    /// Not in use before there are two.
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

    /// Adds a thing by its hash of 8 bits; returns how many bits are set now.
    #[inline(always)]
    pub fn add(&self, hash: u32, now_ns: u64) -> u32 {
        let (word, hash) = (self.span.load(), hash & 0xff);
        match count(word, now_ns) {
            0 => {
                let begun = now_ns >> SPAN_SHIFT << 32 | (hash as u64) << FIRST_SHIFT | 1;
                // Where another CPU was first, this thing is noted by its next packet.
                self.span.replace(word, begun);
                1
            }
            1 if first(word) == hash => 1,
            1 if self.span.replace(word, word + 1) == word => {
                for (index, bits) in (0_u32..).zip(&self.bits) {
                    bits.store(bit(first(word), index) | bit(hash, index));
                }
                2
            }
            _ => self.set(hash),
        }
    }

    /// How many bits are set in the span that `now_ns` is in.
    #[inline(always)]
    pub fn bits(&self, now_ns: u64) -> u32 {
        count(self.span.load(), now_ns)
    }

    /// Whether the bit of `hash` is set in the span that `now_ns` is in.
    #[inline(always)]
    pub(crate) fn has(&self, hash: u32, now_ns: u64) -> bool {
        let word = self.span.load();
        match count(word, now_ns) {
            0 => false,
            1 => first(word) == hash,
            _ => self.word(hash).load() & 1 << (hash & 63) != 0,
        }
    }

    /// Makes it an empty one.
    #[inline(always)]
    pub(crate) fn clear(&self) {
        self.span.store(0);
    }

    /// Sets one more bit; returns how many are set now.
    #[inline(always)]
    fn set(&self, hash: u32) -> u32 {
        let (word, bit) = (self.word(hash), 1 << (hash & 63));
        if word.load() & bit == 0 && word.set_bits(bit) & bit == 0 {
            self.span.add(1);
        }
        self.span.load() as u32 & COUNT
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

/// How many bits are set, if that is of the span that `now_ns` is in.
#[inline(always)]
fn count(word: u64, now_ns: u64) -> u32 {
    let fresh = word >> 32 == now_ns >> SPAN_SHIFT & 0xffff_ffff;
    if fresh { word as u32 & COUNT } else { 0 }
}

/// The hash of the first thing of a span.
#[inline(always)]
fn first(word: u64) -> u32 {
    word as u32 >> FIRST_SHIFT
}

/// The bit of `hash` in the word `index`.
#[inline(always)]
fn bit(hash: u32, index: u32) -> u64 {
    if hash >> 6 == index { 1 << (hash & 63) } else { 0 }
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
