//! Marks that are made and, without a trace of who made them, forgotten again.
//!
//! A mark says that a lookup may find something, at a tenth of a lookup's cost. Two dozen stand in one
//! word, so that there are many for each entry that they stand for, and most of a flood's sources have
//! one that is not set.

use crate::shared::Shared;

/// The marks of a word.
pub const MARKS: u32 = 24;

const SET: u64 = (1 << MARKS) - 1;
const SPAN_BITS: u64 = 0xffff;

/// How long a span is: 2^42 ns, 73 minutes.
const SPAN_SHIFT: u32 = 42;

/// A word of marks: the number of a span, the marks of the span before, its own marks. One that is made
/// holds until the end of the next span.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::FromBytes, zerocopy::IntoBytes))]
#[repr(transparent)]
pub struct Marks(Shared);

impl Marks {
    /// Makes the mark `number`.
    #[inline(always)]
    pub fn set(&self, number: u32, now_ns: u64) {
        let (word, mark) = (self.0.load(), 1 << number);
        let current = at(word, now_ns);
        if current != word && self.0.replace(word, current | mark) == word {
            return;
        }
        // Also where another CPU has just begun the span.
        self.0.set_bits(mark);
    }

    /// Whether the mark `number` holds.
    #[inline(always)]
    pub fn has(&self, number: u32, now_ns: u64) -> bool {
        self.all(now_ns) >> number & 1 != 0
    }

    /// How many marks hold.
    #[must_use]
    pub fn count(&self, now_ns: u64) -> u32 {
        self.all(now_ns).count_ones()
    }

    #[inline(always)]
    fn all(&self, now_ns: u64) -> u64 {
        let word = at(self.0.load(), now_ns);
        (word | word >> MARKS) & SET
    }
}

/// `word` as it is in the span of `now_ns`.
#[inline(always)]
fn at(word: u64, now_ns: u64) -> u64 {
    let span = now_ns >> SPAN_SHIFT & SPAN_BITS;
    match span.wrapping_sub(word >> (2 * MARKS)) & SPAN_BITS {
        // The last is of another CPU whose clock is ahead.
        0 | SPAN_BITS => word,
        1 => span << (2 * MARKS) | (word & SET) << MARKS,
        _ => span << (2 * MARKS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: u64 = 1 << SPAN_SHIFT;

    #[test]
    fn a_mark_holds_for_an_hour_and_not_for_three() {
        for begun in [0, 7, SPAN - 1, 9 * SPAN, (SPAN_BITS + 1) * SPAN - 1] {
            let marks = Marks::default();
            assert!(!marks.has(5, begun));
            marks.set(5, begun);
            assert!(marks.has(5, begun) && marks.has(5, begun + 3_600_000_000_000), "{begun}");
            assert!(!marks.has(4, begun) && !marks.has(6, begun));
            assert!(!marks.has(5, begun + 3 * 3_600_000_000_000), "{begun}");
            assert_eq!((marks.count(begun), marks.count(begun + 3 * SPAN)), (1, 0));
        }
    }

    #[test]
    fn marks_of_the_span_before_are_kept_and_older_ones_are_not() {
        let marks = Marks::default();
        marks.set(0, SPAN);
        marks.set(23, 2 * SPAN);
        assert!(marks.has(0, 2 * SPAN) && marks.has(23, 2 * SPAN));
        marks.set(11, 3 * SPAN);
        assert!(!marks.has(0, 3 * SPAN) && marks.has(23, 3 * SPAN) && marks.has(11, 3 * SPAN));
        // Another CPU's clock may be behind.
        marks.set(1, 3 * SPAN - 1);
        assert!(marks.has(1, 3 * SPAN) && marks.has(11, 3 * SPAN - 1));
    }
}
