//! Fragments that overlap: what tear-drop sends, and what RFC 5722 forbids.
//!
//! The parts of a datagram that were seen are kept as up to four ranges; a part that continues a
//! range extends it, so that a datagram that arrives in order needs one.

use crate::layout::Address;
use crate::parse::{Fragment, Headers};
use crate::shared::Shared;

/// A datagram that arrives in parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    not(target_arch = "bpf"),
    derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)
)]
#[repr(C)]
pub struct Datagram {
    /// Its source.
    pub source: Address,
    /// Its destination.
    pub destination: Address,
    /// Its identification.
    pub id: u32,
    /// Its protocol.
    pub protocol: u32,
}

impl Datagram {
    #[inline(always)]
    pub(crate) fn of(headers: &Headers, fragment: &Fragment) -> Self {
        Self {
            source: headers.key.source,
            destination: headers.key.destination,
            id: fragment.id,
            protocol: fragment.protocol as u32,
        }
    }
}

/// How long the parts of a datagram are kept: as long as Linux waits for the rest, and within the 60 to
/// 120 seconds of RFC 1122, 3.3.2, after which an identification may come again.
const KEPT_NS: u64 = 30_000_000_000;

/// What was seen of it: ranges of bytes, the start in the high half of a word, the end in the low.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::FromBytes, zerocopy::IntoBytes))]
#[repr(C)]
pub struct Fragments {
    ranges: [Shared; 4],
    /// When the first part was seen (ktime, ns); 0 while none was.
    begun_ns: Shared,
    /// The bytes that were seen, in the low half, and in the high half those that there are in all, once
    /// the last part was seen.
    progress: Shared,
}

impl Fragments {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            ranges: [Shared::new(0), Shared::new(0), Shared::new(0), Shared::new(0)],
            begun_ns: Shared::new(0),
            progress: Shared::new(0),
        }
    }

    /// As [`Fragments::overlaps`], for what still belongs together: a datagram of which all parts were
    /// seen, or the first so long ago that nobody waits for the rest, is forgotten.
    #[inline(always)]
    pub(crate) fn add(&self, fragment: &Fragment, now_ns: u64) -> bool {
        let begun = self.begun_ns.load();
        if begun == 0 || now_ns.saturating_sub(begun) > KEPT_NS {
            self.forget();
            self.begun_ns.store(now_ns | 1);
        }
        if self.overlaps(fragment) {
            return true;
        }
        let progress = self.progress.load();
        if progress >> 32 != 0 && progress >> 32 == progress & 0xffff_ffff {
            self.forget();
        }
        false
    }

    #[inline(always)]
    fn forget(&self) {
        self.begun_ns.store(0);
        self.progress.store(0);
        self.ranges.iter().for_each(|range| range.store(0));
    }

    /// Notes a fragment; returns whether it overlaps one that was seen. One that begins with a range
    /// and ends within it is taken for a retransmission.
    #[inline(always)]
    fn overlaps(&self, fragment: &Fragment) -> bool {
        let (start, end) = (fragment.offset as u64, (fragment.offset + fragment.bytes) as u64);
        for range in &self.ranges {
            let (from, to) = bounds(range);
            if start == from && end <= to {
                return false;
            }
            if start < to && from < end {
                return true;
            }
        }
        self.progress.add(fragment.bytes as u64);
        if !fragment.more {
            self.progress.add(end << 32);
        }
        // Ranges in use come first. With four holes at once nothing is noted, and nothing is held
        // against the source.
        for range in &self.ranges {
            let (from, to) = bounds(range);
            if to == 0 {
                range.store(start << 32 | end);
                return false;
            }
            if to == start {
                range.store(from << 32 | end);
                return false;
            }
            if from == end {
                range.store(start << 32 | to);
                return false;
            }
        }
        false
    }
}

#[inline(always)]
fn bounds(range: &Shared) -> (u64, u64) {
    let word = range.load();
    (word >> 32, word & 0xffff_ffff)
}

const _: () = assert!(size_of::<Datagram>() == 40 && size_of::<Fragments>() == 48);
