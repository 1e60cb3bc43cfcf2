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

/// What was seen of it: ranges of bytes, the start in the high half of a word, the end in the low.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::FromBytes, zerocopy::IntoBytes))]
#[repr(C)]
pub struct Fragments {
    ranges: [Shared; 4],
}

impl Fragments {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: [Shared::new(0), Shared::new(0), Shared::new(0), Shared::new(0)] }
    }

    /// Notes a fragment; returns whether it overlaps one that was seen. One that begins with a range
    /// and ends within it is taken for a retransmission.
    #[inline(always)]
    pub(crate) fn overlaps(&self, fragment: &Fragment) -> bool {
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

const _: () = assert!(size_of::<Datagram>() == 40 && size_of::<Fragments>() == 32);
