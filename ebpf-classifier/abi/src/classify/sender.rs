//! What is decided on the source alone, and where it is kept.

use super::{Known, Visit, World};
use crate::layout::{Address, Flow, NetworkAction, Pending, Source, Standing, Stranger};
use crate::rate::{Meter, Rate};
use crate::reason::{Reason, Screens};
use crate::scratch::CachedNetwork;
use crate::slots::SenderHash;

/// Whether there is a verdict on `source`. Networks marked `allow` have none.
#[inline(always)]
pub(super) fn is_under_verdict<W: World>(
    world: &W,
    source: &Address,
    sender: &Address,
    hash: SenderHash,
    generation: u32,
) -> bool {
    /// The mark of verdicts on prefixes that are no sources.
    const ON_PREFIXES: u32 = 1;
    let on_source = world.has_verdicts(hash.verdict_mark())
        && world.verdict(sender).is_some_and(|until| until > world.now_ns());
    let held = on_source
        || world.has_verdicts(ON_PREFIXES)
            && world.verdict_on_prefix(source).is_some_and(|until| until > world.now_ns());
    held && look_up_network(world, source, generation).network.action() != NetworkAction::Allow
}

#[inline(always)]
fn look_up_network<W: World>(world: &W, source: &Address, generation: u32) -> Standing {
    let slots = world.network(source);
    let network = slots.map(|slots| *slots.of(generation)).unwrap_or_default();
    Standing { generation, network }
}

impl<W: World> Visit<'_, W> {
    #[inline(always)]
    pub(super) fn known(&self) -> Known<'_> {
        // A SYN's flow is looked up where the SYN is noted: one that is dropped does not pay for it.
        let flow = if self.tracked && self.rate != Rate::Syn {
            self.world.flow(&self.headers.key)
        } else {
            None
        };
        // What opens something is always metered, so that the time is asked for anyway.
        let (source, now_ns) = if self.rate.is_of_sources() {
            let now_ns = self.world.now_ns();
            (self.source(now_ns), now_ns)
        } else {
            (None, 0)
        };
        Known { source, flow, standing: self.standing(source, flow), now_ns }
    }

    /// Begins to read what a SYN will ask for. Of a source that was never seen nothing is in a cache, and
    /// these wait for the memory together instead of one after the other.
    #[inline(always)]
    pub(super) fn fetch(&self) {
        if self.rate != Rate::Syn {
            return;
        }
        for cell in self.hash.cells(self.rate) {
            if let Some(meter) = self.world.cell(cell) {
                meter.fetch();
            }
        }
        if let Some(slot) = self.slot() {
            slot.tag.load();
        }
        if self.tracked {
            let (slot, _) = Pending::slot(&self.headers.key, self.seed);
            if let Some(pending) = self.world.pending(slot) {
                pending.state.load();
            }
        }
    }

    /// The entry of the sender. Most of a flood's sources have none, which the mark tells.
    #[inline(always)]
    fn source(&self, now_ns: u64) -> Option<&Source> {
        if self.is_learnt(now_ns) { self.world.source(self.sender) } else { None }
    }

    /// Whether the sender may have completed a handshake lately.
    #[inline(always)]
    pub(super) fn is_learnt(&self, now_ns: u64) -> bool {
        let (word, mark) = self.hash.learnt_mark();
        self.world.learnt(word).is_some_and(|marks| marks.has(mark, now_ns))
    }

    /// The network of the source, by the nearest way: it is kept with flows, and for each CPU with the
    /// addresses seen last. Not with sources, which may be prefixes.
    #[inline(always)]
    fn standing(&self, source: Option<&Source>, flow: Option<&Flow>) -> Standing {
        let word = match (source, flow) {
            (_, Some(flow)) => flow.standing.load(),
            (Some(source), None) if !self.headers.v6 => source.standing.load(),
            _ => 0,
        };
        let known = Standing::from_word(word);
        if word != 0 && known.generation == self.generation { known } else { self.network() }
    }

    #[inline(always)]
    fn network(&self) -> Standing {
        let source = &self.headers.key.source;
        let mixed = source.high.wrapping_mul(31) ^ source.low;
        let mixed = (mixed ^ mixed >> 32) as u32;
        let index = (mixed ^ mixed >> 16 ^ mixed >> 24) & (CachedNetwork::SLOTS - 1);
        let cached = self.world.cached_network(index);
        if let Some(cached) = &cached
            && let Some(found) = cached.of(source, self.generation)
        {
            return found;
        }
        let found = look_up_network(self.world, source, self.generation);
        if let Some(cached) = cached {
            cached.keep(source, found);
        }
        found
    }

    /// The slot of the sender, if it has one.
    #[inline(always)]
    pub(super) fn stranger(&self) -> Option<&Stranger> {
        self.slot().filter(|slot| slot.is_of(self.hash))
    }

    /// The slot of the sender, taken if it can be.
    #[inline(always)]
    pub(super) fn stranger_or_new(&self, now_ns: u64) -> Option<&Stranger> {
        let slot = self.slot()?;
        (slot.is_of(self.hash) || slot.take(self.hash, now_ns)).then_some(slot)
    }

    #[inline(always)]
    fn slot(&self) -> Option<&Stranger> {
        self.world.stranger(self.hash.stranger_slot())
    }

    /// How many of this rate's packets the source sent in the window that ends now.
    #[inline(always)]
    pub(super) fn level(&self, source: Option<&Source>, now_ns: u64) -> u32 {
        if let Some(meter) = source.and_then(|source| source.meters.get(self.rate.index())) {
            return meter.level(now_ns);
        }
        let level = |meter: Option<&Meter>| meter.map_or(0, |meter| meter.level(now_ns));
        let [first, second] = self.hash.cells(self.rate);
        let (first, second) = (level(self.world.cell(first)), level(self.world.cell(second)));
        if first < second { first } else { second }
    }

    /// Counts the packet for its source.
    #[inline(always)]
    pub(super) fn meter(&self, source: Option<&Source>, now_ns: u64) {
        if let Some(meter) = source.and_then(|source| source.meters.get(self.rate.index())) {
            return meter.add(now_ns);
        }
        for cell in self.hash.cells(self.rate) {
            if let Some(meter) = self.world.cell(cell) {
                meter.add(now_ns);
            }
        }
    }

    /// Gives a new entry what was known of the stranger.
    #[inline(always)]
    pub(super) fn take_over(&self, source: &Source, now_ns: u64) {
        if let Some(slot) = self.stranger() {
            source.trip(slot.screens(now_ns), now_ns);
        }
        let [first, second] = self.hash.cells(Rate::Syn);
        let [syn, ..] = &source.meters;
        if let (Some(first), Some(second)) = (self.world.cell(first), self.world.cell(second)) {
            let lower = if first.level(now_ns) < second.level(now_ns) { first } else { second };
            syn.copy_from(lower);
        }
    }

    /// Notes screens with the source. A flood's are noted only with who is known already: slots are
    /// for what tells one source from another.
    #[inline(always)]
    pub(super) fn trip(&self, source: Option<&Source>, tripped: Screens, now_ns: u64) {
        let source = match source {
            // Sources of packets that are not metered with them are looked up only here.
            None if !self.rate.is_of_sources() => self.source(now_ns),
            known => known,
        };
        if let Some(source) = source {
            return source.trip(tripped, now_ns);
        }
        let floods = Screens::of(Reason::PortScan).0 - Screens::of(Reason::SynFloodSource).0;
        let slot = if tripped.without(Screens(floods)).is_empty() {
            self.stranger()
        } else {
            self.stranger_or_new(now_ns)
        };
        if let Some(slot) = slot {
            slot.trip(tripped, now_ns);
        }
    }
}
