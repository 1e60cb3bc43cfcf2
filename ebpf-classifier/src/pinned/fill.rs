//! How full the maps are.
//!
//! Those that have entries are counted. Of those that have a fixed number of slots, a slot is in use
//! while what is in it still counts.

use std::io;

use classifier_abi::{MARKS, Marks, Meter, Pending, Stranger, map as name};

use super::Maps;

/// How long a connection may be without an entry: after that its slot is as good as free.
const PENDING_NS: u64 = 60_000_000_000;

/// How full one map is.
#[derive(Debug)]
pub struct Fill {
    /// Its name.
    pub map: &'static str,
    /// How many entries it can hold.
    pub entries_max: u32,
    /// How many it holds, or why that cannot be said.
    pub entries: io::Result<usize>,
}

impl Maps {
    /// How full each map is that can be full, at the time `now_ns` (ktime).
    #[must_use]
    pub fn fill(&self, now_ns: u64) -> Vec<Fill> {
        let of = |map, entries_max, entries| Fill { map, entries_max, entries };
        let [sources, prefixes] = self.verdicts.fill();
        let pending = self.pending.count_where(|slot: &Pending| {
            slot.state.load() != 0 && now_ns.saturating_sub(slot.syn_ns.load()) < PENDING_NS
        });
        let learnt = self.learnt.sum(|marks: &Marks| marks.count(now_ns) as usize);
        let strangers = self.strangers.count_where(|slot: &Stranger| slot.is_in_use(now_ns));
        let cells = self.cells.count_where(|meter: &Meter| meter.level(now_ns) > 0);
        vec![
            of(name::ZONES, self.zones.entries_max(), self.zones.count()),
            of(name::NETWORKS, self.networks.entries_max(), self.networks.count()),
            of(name::NAMES, self.names.entries_max(), self.names.count()),
            of(name::SOURCES, self.sources.entries_max(), self.sources.count()),
            of(name::FLOWS, self.flows.entries_max(), self.flows.count()),
            of(name::HANDSHAKES, self.handshakes.entries_max(), self.handshakes.count()),
            of(name::FRAGMENTS, self.fragments.entries_max(), self.fragments.count()),
            of(name::VERDICTS, sources.1, sources.0),
            of(name::VERDICT_PREFIXES, prefixes.1, prefixes.0),
            of(
                name::NETWORK_COUNTERS,
                self.network_counters.entries_max(),
                self.network_counters.keys().map(|keys| keys.len()),
            ),
            of(name::LEARNT, self.learnt.entries_max() * MARKS, learnt),
            of(name::PENDING, self.pending.entries_max(), pending),
            of(name::STRANGERS, self.strangers.entries_max(), strangers),
            of(name::CELLS, self.cells.entries_max(), cells),
        ]
    }
}
