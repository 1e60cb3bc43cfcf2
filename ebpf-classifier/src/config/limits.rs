//! How much the maps may hold.
//!
//! Whoever sends packets chooses the keys of most maps, so each has a size that is reserved once and
//! an order in which the oldest goes. `docs/classifier.md` gives the reason of each default, and a
//! test compares the two.

use classifier_abi::map;

/// The most entries that any map can be given.
pub(super) const ENTRIES_MAX: u32 = 16_777_216;

/// The sizes of the maps that a configuration sets. They are fixed when the maps are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sources that are known at once.
    pub sources: u32,
    /// TCP connections that are known at once.
    pub flows: u32,
    /// Sources under a verdict at once.
    pub verdicts: u32,
    /// Prefixes of one configuration.
    pub networks: u32,
    /// Sources whose last completed handshake is known.
    pub handshakes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sources: 65_536,
            flows: 262_144,
            verdicts: 65_536,
            networks: 1_048_576,
            handshakes: 65_536,
        }
    }
}

impl Limits {
    /// Each limit's key in the file and its value, in the order of the table in the documentation.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, u32); 5] {
        [
            ("sources", self.sources),
            ("flows", self.flows),
            ("verdicts", self.verdicts),
            ("networks", self.networks),
            ("handshakes", self.handshakes),
        ]
    }

    /// The maps whose sizes follow from this, with their sizes.
    ///
    /// The trie of networks has room for two configurations, since an edit has both in it for a moment;
    /// entries that are not in use take no memory there.
    #[must_use]
    pub fn maps(&self) -> [(&'static str, u32); 6] {
        [
            (map::SOURCES, self.sources),
            (map::FLOWS, self.flows),
            (map::VERDICTS, self.verdicts),
            (map::VERDICT_PREFIXES, self.verdicts),
            (map::NETWORKS, self.networks * 2),
            (map::HANDSHAKES, self.handshakes),
        ]
    }
}
