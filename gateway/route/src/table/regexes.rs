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
use std::sync::Arc;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::NONE;
use super::literals::Literals;
use crate::hash::Map;
use crate::matcher::{PathRegex, REGEX_BYTES_MAX};

/// How many patterns make one set.
///
/// Measured with 10,000 patterns alike at both ends and paths drawn at random, per decision: one by
/// one 8.6 ms, in sets of 64 31 us, of 1,024 12 us, in one set longer than anyone would wait. But
/// where the patterns are open at both ends (`/.*service-1/.*`) sets of 64 take 0.1 ms and sets of
/// 1,024 0.9 ms, as the automaton, which is built while it is used, outgrows its cache. Sets have up to
/// twice as many, so that one that gets another pattern need not be divided.
const BATCH: usize = 64;

/// With fewer patterns a set is compiled anew, together with what is new beside it: sets that edits
/// have left small would be many.
const BATCH_KEPT_MIN: usize = BATCH / 4;

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
    /// The patterns in the order of their positions; empty where there is no set.
    patterns: Box<[PathRegex]>,
    /// Shared with the table before, where the same patterns are a set there.
    set: Option<Arc<RegexSet>>,
}

/// The sets of the table before, by their first pattern.
type Known<'t> = Map<&'t str, &'t Batch>;

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

    /// Compiles sets, but for those that `before` has already.
    pub(super) fn finish(self, before: Option<&Regexes>) -> Regexes {
        let batches = before.into_iter().flat_map(Regexes::batches);
        let kept = batches.filter(|batch| batch.patterns.len() >= BATCH_KEPT_MIN);
        let known: Known<'_> = kept.map(|batch| (batch.patterns[0].as_str(), batch)).collect();
        let head = |(head, tails): (&[u8], _)| (head.into(), Head::new(tails, &known));
        let heads = self.heads.into_iter().map(head);
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

    fn batches(&self) -> impl Iterator<Item = &Batch> {
        let groups = self.heads.values().flat_map(|head| head.tails.values());
        groups.flat_map(|group| &group.batches)
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
    fn new(tails: Tails<'_>, known: &Known<'_>) -> Head {
        let tails = tails.into_iter().map(|(tail, patterns)| (tail, Group::new(&patterns, known)));
        let tails = Literals::new(tails);
        let least = tails.values().map(Group::least).min().unwrap_or(NONE);
        Head { tails, least }
    }
}

impl Group {
    /// Divides `patterns` into batches: first those whose set is known, then what is between them.
    fn new(patterns: &[(u32, &PathRegex)], known: &Known<'_>) -> Group {
        let mut batches = Vec::new();
        let (mut fresh, mut at) = (0, 0);
        while at < patterns.len() {
            match kept(&patterns[at..], known) {
                Some((length, set)) => {
                    batches.extend(divided(&patterns[fresh..at]).map(Batch::new));
                    batches.push(Batch::with(&patterns[at..at + length], Some(set)));
                    at += length;
                    fresh = at;
                }
                None => at += 1,
            }
        }
        batches.extend(divided(&patterns[fresh..]).map(Batch::new));
        Group { batches: batches.into() }
    }

    fn least(&self) -> u32 {
        self.batches[0].positions[0]
    }
}

/// The set of the table before that the first of `patterns` make up, and how many they are.
fn kept(patterns: &[(u32, &PathRegex)], known: &Known<'_>) -> Option<(usize, Arc<RegexSet>)> {
    let batch = known.get(patterns.first()?.1.as_str())?;
    let first = patterns.get(..batch.patterns.len())?;
    let is_same =
        |(now, before): (&(u32, &PathRegex), &PathRegex)| now.1.as_str() == before.as_str();
    let are_same = first.iter().zip(&batch.patterns).all(is_same);
    Some((first.len(), batch.set.clone()?)).filter(|_| are_same)
}

/// `patterns` in parts of [`BATCH`] or somewhat more; in one where there are fewer.
fn divided<T>(patterns: &[T]) -> impl Iterator<Item = &[T]> {
    let parts = (patterns.len() / BATCH).max(1);
    patterns.chunks(patterns.len().div_ceil(parts).max(1))
}

impl Batch {
    fn new(patterns: &[(u32, &PathRegex)]) -> Batch {
        Batch::with(patterns, compile(patterns).map(Arc::new))
    }

    fn with(patterns: &[(u32, &PathRegex)], set: Option<Arc<RegexSet>>) -> Batch {
        let positions = patterns.iter().map(|(position, _)| *position).collect();
        let of_set = patterns.iter().filter(|_| set.is_some());
        let patterns = of_set.map(|(_, regex)| (*regex).clone()).collect();
        Batch { positions, patterns, set }
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
        .size_limit(REGEX_BYTES_MAX * BATCH * 2)
        .build()
        .ok()
}

fn reversed(text: &[u8]) -> Box<[u8]> {
    text.iter().rev().copied().collect()
}

#[cfg(test)]
mod tests;
