//! What is known of a source.

#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, IntoBytes};

use super::config::Standing;
use crate::rate::{Meter, Rate};
use crate::reason::Screens;
use crate::shared::Shared;
use crate::sketch::Sketch;

/// What is known of a source: one that has completed a handshake with this host.
#[derive(Debug, Default)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
#[repr(C)]
pub struct Source {
    /// Its network: a [`Standing`].
    pub standing: Shared,
    /// The id of the zone it was last seen in.
    pub zone: Shared,
    /// When its entry was made (ktime, ns).
    pub first_ns: Shared,
    /// When it last sent what makes an entry (ktime, ns).
    pub last_ns: Shared,
    /// The screens it tripped, in the low half, and the second (ktime) of the last time, in the high
    /// half. See [`Source::screens`].
    pub tripped: Shared,
    /// SYNs, UDP and ICMP that were let through, as [`Rate`] has them in this order.
    pub meters: [Meter; Rate::OF_SOURCES],
    /// TCP and UDP ports it went to.
    pub ports: Sketch,
    /// Addresses it went to.
    pub addresses: Sketch,
}

/// How long a source is known for a screen that it tripped.
const SCREENS_KEPT_S: u64 = 60;

impl Source {
    /// One of which nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            standing: Shared::new(0),
            zone: Shared::new(0),
            first_ns: Shared::new(0),
            last_ns: Shared::new(0),
            tripped: Shared::new(0),
            meters: [Meter::new(), Meter::new(), Meter::new()],
            ports: Sketch::new(),
            addresses: Sketch::new(),
        }
    }

    /// Notes screens that it tripped; those of over a minute ago are forgotten.
    #[inline(always)]
    pub fn trip(&self, screens: Screens, now_ns: u64) {
        trip(&self.tripped, screens, now_ns);
    }

    /// The screens that it tripped within the last minute.
    #[inline(always)]
    pub fn screens(&self, now_ns: u64) -> Screens {
        tripped(&self.tripped, now_ns)
    }

    /// Its screens, in the high half, and its SYN level, in the low half.
    #[inline(always)]
    pub fn summary(&self, now_ns: u64) -> u64 {
        (self.screens(now_ns).0 as u64) << 32 | self.syn_level(now_ns) as u64
    }

    /// Its SYNs in the [window](crate::WINDOW_NS) that ends now.
    #[inline(always)]
    pub fn syn_level(&self, now_ns: u64) -> u32 {
        let [syn, ..] = &self.meters;
        syn.level(now_ns)
    }

    /// Its network.
    #[inline(always)]
    pub fn standing(&self) -> Standing {
        Standing::from_word(self.standing.load())
    }
}

/// Notes screens that were tripped in their word.
#[inline(always)]
pub(super) fn trip(word: &Shared, screens: Screens, now_ns: u64) {
    let known = tripped(word, now_ns);
    // Two CPUs may forget each other's screen for the moment: the next packet notes it again.
    word.store(seconds(now_ns) << 32 | known.with(screens).0 as u64);
}

/// The screens that were tripped within the last minute, from their word.
#[inline(always)]
pub(super) fn tripped(word: &Shared, now_ns: u64) -> Screens {
    let word = word.load();
    let fresh = seconds(now_ns).wrapping_sub(word >> 32) <= SCREENS_KEPT_S;
    Screens(word as u32).when(fresh)
}

/// Seconds to the power of two that costs a shift: 2^30 ns.
#[inline(always)]
fn seconds(now_ns: u64) -> u64 {
    now_ns >> 30
}
