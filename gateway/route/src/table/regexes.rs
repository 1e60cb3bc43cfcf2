//! Regexes by what they begin and end with.
//!
//! Owns the choice of which regexes are tried for a path. Nearly every pattern that operators write
//! begins or ends with a literal, `/users/` and `/orders` in `/users/[0-9]+/orders`, and a path
//! without them need not meet the pattern. Patterns alike in both form a group; within a group they
//! are compiled into sets, each of which decides many patterns in one pass over the path.
//!
//! It deliberately looks at nothing in between. Patterns that differ only there are told apart by
//! their sets, at a cost that grows with their number.

use std::collections::BTreeMap;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::NONE;
use super::literals::Literals;
use crate::matcher::{PathRegex, REGEX_BYTES_MAX};

/// How many patterns make one set.
///
/// Measured with 10,000 patterns alike at both ends and paths drawn at random, per decision: one by
/// one 8.6 ms, in sets of 64 31 us, of 1,024 12 us, in one set longer than anyone would wait. But
/// where the patterns are open at both ends (`/.*service-1/.*`) sets of 64 take 0.1 ms and sets of
/// 1,024 0.9 ms, as the automaton, which is built while it is used, outgrows its cache.
const BATCH_MAX: usize = 64;

/// All regexes of a table.
#[derive(Debug)]
pub(super) struct Regexes {
    heads: Literals<Head>,
    least: u32,
}

/// The patterns that begin with the same literal, by the literal they end with, back to front.
#[derive(Debug)]
struct Head {
    tails: Literals<Group>,
    least: u32,
}

/// The patterns that begin and end alike.
#[derive(Debug)]
struct Group {
    batches: Box<[Batch]>,
}

/// Some patterns of a group, ascending.
#[derive(Debug)]
pub(super) struct Batch {
    positions: Box<[u32]>,
    set: Option<RegexSet>,
}

/// Collects the regexes of a table, whose positions ascend.
#[derive(Debug, Default)]
pub(super) struct Builder<'a> {
    heads: BTreeMap<&'a [u8], Tails<'a>>,
}

type Tails<'a> = BTreeMap<Box<[u8]>, Vec<(u32, &'a PathRegex)>>;

impl<'a> Builder<'a> {
    pub(super) fn insert(&mut self, regex: &'a PathRegex, position: u32) {
        let tails = self.heads.entry(regex.head()).or_default();
        tails.entry(reversed(regex.tail())).or_default().push((position, regex));
    }

    pub(super) fn finish(self) -> Regexes {
        let heads = self.heads.into_iter().map(|(head, tails)| (head.into(), Head::new(tails)));
        let heads = Literals::new(heads);
        let least = heads.values().map(|head| head.least).min().unwrap_or(NONE);
        Regexes { heads, least }
    }
}

impl Regexes {
    /// The smallest position of any regex.
    pub(super) fn least(&self) -> u32 {
        self.least
    }

    /// Offers every batch that might decide for `path` on a position smaller than `best`. `offer`
    /// returns the best position so far.
    pub(super) fn visit(&self, path: &[u8], mut best: u32, mut offer: impl FnMut(&Batch) -> u32) {
        let backwards = reversed(path);
        for head in self.heads.beginning(path) {
            if head.least >= best {
                continue;
            }
            for group in head.tails.beginning(&backwards) {
                for batch in &group.batches {
                    if batch.positions[0] >= best {
                        break;
                    }
                    best = offer(batch);
                }
            }
        }
    }
}

impl Head {
    fn new(tails: Tails<'_>) -> Head {
        let tails = tails.into_iter().map(|(tail, patterns)| (tail, Group::new(&patterns)));
        let tails = Literals::new(tails);
        let least = tails.values().map(Group::least).min().unwrap_or(NONE);
        Head { tails, least }
    }
}

impl Group {
    fn new(patterns: &[(u32, &PathRegex)]) -> Group {
        Group { batches: patterns.chunks(BATCH_MAX).map(Batch::new).collect() }
    }

    fn least(&self) -> u32 {
        self.batches[0].positions[0]
    }
}

impl Batch {
    fn new(patterns: &[(u32, &PathRegex)]) -> Batch {
        let positions = patterns.iter().map(|(position, _)| *position).collect();
        Batch { positions, set: compile(patterns) }
    }

    pub(super) fn positions(&self) -> &[u32] {
        &self.positions
    }

    /// The positions of the patterns that match, ascending, or `None` when each has to be tried.
    pub(super) fn matching(&self, path: &[u8]) -> Option<impl Iterator<Item = u32>> {
        let matches = self.set.as_ref()?.matches(path);
        Some(matches.into_iter().map(|pattern| self.positions[pattern]))
    }
}

/// One pattern needs no set. A set that cannot be compiled is done without: its patterns are
/// compiled one by one already.
fn compile(patterns: &[(u32, &PathRegex)]) -> Option<RegexSet> {
    if patterns.len() < 2 {
        return None;
    }
    RegexSetBuilder::new(patterns.iter().map(|(_, regex)| regex.anchored()))
        .size_limit(REGEX_BYTES_MAX * BATCH_MAX)
        .build()
        .ok()
}

fn reversed(text: &[u8]) -> Box<[u8]> {
    text.iter().rev().copied().collect()
}
