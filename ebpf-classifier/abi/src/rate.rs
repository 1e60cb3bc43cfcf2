//! Packets in a sliding second, in one word that all CPUs share.
//!
//! A word for each CPU would make a threshold as many times larger as there are CPUs, or wrong as
//! soon as one CPU gets most of the packets. The count is exact: it is added to atomically, and a new
//! window is begun by exactly one CPU.

use crate::shared::Shared;

/// The window: 2^30 ns, a little over a second, so that time is divided by shifting.
pub const WINDOW_NS: u64 = 1 << 30;

/// The most that one window counts; more is not told apart.
pub const PER_WINDOW_MAX: u32 = (1 << COUNT_BITS) - 1;

const COUNT_BITS: u32 = 22;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// Windows pass through these bits in 13 days; a source that is silent for exactly so long is taken
/// for one that just spoke.
const WINDOW_BITS: u64 = (1 << 20) - 1;

/// What rates are measured of, each by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Rate {
    /// TCP segments that ask for a connection: SYN without ACK.
    Syn,
    /// UDP.
    Udp,
    /// ICMP that is neither an error nor neighbour discovery.
    Icmp,
    /// ICMP errors, path MTU among them, IPv6 neighbour discovery and multicast listener reports.
    IcmpError,
    /// TCP segments of no known connection that are none of the other kinds.
    Ack,
    /// RSTs of no known connection.
    Rst,
    /// SYN-ACKs that nobody here asked for.
    SynAck,
    /// Fragments after the first.
    Fragment,
    /// Everything else.
    #[default]
    Other,
}

impl Rate {
    /// How many there are.
    pub const COUNT: usize = 9;

    /// Every one, in the order of a zone's limits.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Syn,
        Self::Udp,
        Self::Icmp,
        Self::IcmpError,
        Self::Ack,
        Self::Rst,
        Self::SynAck,
        Self::Fragment,
        Self::Other,
    ];

    /// How many of the first are metered in a [`Source`](crate::Source): what a sender opens.
    pub const OF_SOURCES: usize = 3;

    /// Its place in a zone's limits, as a number that the compiler knows nothing of: it would leave a
    /// comparison out that the verifier asks for.
    #[inline(always)]
    pub(crate) fn index(self) -> usize {
        core::hint::black_box(self as u32) as usize
    }

    /// Whether it is metered in a source's entry.
    #[inline(always)]
    pub(crate) fn is_of_sources(self) -> bool {
        (self as usize) < Self::OF_SOURCES
    }
}

/// A meter: the number of a window, the count of the one before, its own count.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(zerocopy::FromBytes, zerocopy::IntoBytes))]
#[repr(transparent)]
pub struct Meter(Shared);

impl Meter {
    /// A meter that has counted nothing.
    #[inline(always)]
    #[must_use]
    pub const fn new() -> Self {
        Self(Shared::new(0))
    }

    /// Takes over what another one has counted.
    #[inline(always)]
    pub(crate) fn copy_from(&self, other: &Self) {
        self.0.store(other.0.load());
    }

    /// How many were counted in the window that ends now: the current one, and of the one before the
    /// share that the current one has not yet replaced.
    #[inline(always)]
    pub fn level(&self, now_ns: u64) -> u32 {
        let word = at(self.0.load(), now_ns);
        let left = 1024 - ((now_ns >> 20) & 1023);
        let before = (word >> COUNT_BITS) & COUNT;
        ((word & COUNT) + ((before * left) >> 10)) as u32
    }

    /// Begins to read it.
    #[inline(always)]
    pub(crate) fn fetch(&self) {
        self.0.load();
    }

    /// Counts one.
    #[inline(always)]
    pub fn add(&self, now_ns: u64) {
        let word = self.0.load();
        let current = at(word, now_ns);
        if current != word && self.0.replace(word, current + 1) == word {
            return;
        }
        // Also where another CPU has just begun the window. Far from the neighbouring bits even if
        // every CPU passes this at once.
        if current & COUNT < COUNT - 4096 {
            self.0.add(1);
        }
    }

    /// Counts one unless `limit` is reached; 0 is no limit. Returns whether it was counted.
    #[inline(always)]
    pub fn admit(&self, limit: u32, now_ns: u64) -> bool {
        let within = limit == 0 || self.level(now_ns) < limit;
        if within {
            self.add(now_ns);
        }
        within
    }
}

/// `word` as it is in the window of `now_ns`.
#[inline(always)]
fn at(word: u64, now_ns: u64) -> u64 {
    let window = (now_ns >> 30) & WINDOW_BITS;
    match window.wrapping_sub(word >> (2 * COUNT_BITS)) & WINDOW_BITS {
        0 => word,
        1 => (window << (2 * COUNT_BITS)) | ((word & COUNT) << COUNT_BITS),
        _ => window << (2 * COUNT_BITS),
    }
}

/// A rate in a second as a count in a window, rounded up.
#[must_use]
pub fn per_window(per_second: u32) -> u32 {
    ((per_second as u64 * WINDOW_NS).div_ceil(1_000_000_000)).min(PER_WINDOW_MAX as u64) as u32
}

/// A count in a window as a rate in a second, rounded down.
#[must_use]
pub fn per_second(per_window: u32) -> u32 {
    (per_window as u64 * 1_000_000_000 / WINDOW_NS) as u32
}

#[cfg(test)]
mod tests;
