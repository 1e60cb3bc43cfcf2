//! From a request to the first route that matches, without walking the list.
//!
//! Owns the compiled form of an ordered list of [`Match`]es. Every place a path can lead to, an
//! exact path, a segment of a prefix, a group of regexes, holds the positions of the routes that
//! meet there, in order. A path leads to few places, and the answer is the smallest position among
//! them whose remaining predicates hold. It is apart from [`crate::matcher`], which says what
//! matching means; this only finds the same answer sooner.
//!
//! The places are visited one after another, and each list is left as soon as its next position
//! could no longer beat the best found. That needs no memory per request, where a true merge of
//! the lists would need a heap of them.
//!
//! It deliberately does not sort routes or rank them: first match wins, and an operator who reads
//! the file from the top gets the answer the table gives.

mod literals;
mod positions;
mod regexes;
mod trie;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::hash::Map;
use crate::matcher::{Match, PathMatch, Request};
use positions::Positions;
use regexes::{Batch, Regexes};
use trie::Trie;

/// Larger than the position of any route.
const NONE: u32 = u32::MAX;

/// An ordered list of routes, compiled.
///
/// Immutable; a new list is a new table. Shared between threads without a lock.
#[derive(Debug)]
pub struct RouteTable {
    matches: Vec<Match>,
    /// Whether a route asks nothing but its path: kept beside the matches because these flags of
    /// ten thousand routes fit a first-level cache and the matches do not.
    path_only: Box<[bool]>,
    exact: Map<Box<str>, Positions>,
    prefixes: Trie,
    regexes: Regexes,
}

impl RouteTable {
    /// Compiles a list of routes.
    ///
    /// Linear in their number, apart from the regexes, whose groups are sorted and compiled into
    /// sets. Positions beyond `u32::MAX` are out of reach and never match.
    pub fn new(matches: Vec<Match>) -> RouteTable {
        Self::compile(matches, None)
    }

    /// As [`RouteTable::new`], for a list that replaces the one of `before`. It is the same table where
    /// the lists are equal; else what was compiled of regexes that stay is taken over.
    pub fn following(matches: Vec<Match>, before: Option<&Arc<RouteTable>>) -> Arc<RouteTable> {
        match before.filter(|before| before.matches == matches) {
            Some(before) => before.clone(),
            None => Arc::new(Self::compile(matches, before.map(|before| &before.regexes))),
        }
    }

    fn compile(matches: Vec<Match>, before: Option<&Regexes>) -> RouteTable {
        let path_only: Box<[bool]> = matches.iter().map(Match::is_path_only).collect();
        let mut exact: Map<Box<str>, Positions> = Map::default();
        let mut prefixes = Trie::new();
        let mut regexes = regexes::Builder::default();
        for (position, route) in (0..NONE).zip(&matches) {
            match &route.path {
                PathMatch::Exact(path) => {
                    exact.entry_ref(path).or_default().push(position, &path_only);
                }
                PathMatch::Prefix(prefix) => prefixes.insert(prefix, position, &path_only),
                PathMatch::Regex(regex) => regexes.insert(regex, position),
            }
        }
        prefixes.finish();
        let regexes = regexes.finish(before);
        RouteTable { matches, path_only, exact, prefixes, regexes }
    }

    /// The position of the first route that matches, in the order given to [`RouteTable::new`].
    ///
    /// The same answer as trying [`Match::mismatch`] on each in turn. Costs what the path is long,
    /// plus one step for each route that shares the path's places and fails on its method, headers
    /// or query; the number of other routes does not enter. Allocates nothing for exact paths and
    /// prefixes. Regexes are tried only where they precede every match found without them.
    pub fn route(&self, request: &Request<'_>) -> Option<usize> {
        let mut search = Search { table: self, request, best: NONE };
        search.exact();
        search.prefixes();
        search.regexes();
        (search.best != NONE).then_some(search.best as usize)
    }

    /// The routes, in order.
    pub fn matches(&self) -> &[Match] {
        &self.matches
    }
}

/// One decision under way: the request and the best position so far.
struct Search<'a> {
    table: &'a RouteTable,
    request: &'a Request<'a>,
    best: u32,
}

impl Search<'_> {
    fn exact(&mut self) {
        if let Some(positions) = self.table.exact.get(self.request.path) {
            self.offer(positions.as_slice());
        }
    }

    fn prefixes(&mut self) {
        let table = self.table;
        table.prefixes.descend(self.request.path, self.best, |positions| {
            self.offer(positions.as_slice());
            self.best
        });
    }

    fn regexes(&mut self) {
        let table = self.table;
        if table.regexes.least() >= self.best {
            return;
        }
        table.regexes.visit(self.request.path.as_bytes(), self.best, |batch| {
            self.offer_batch(batch);
            self.best
        });
    }

    /// Takes the first position of a list whose predicates hold, unless it comes too late.
    fn offer(&mut self, positions: &[u32]) {
        for &position in positions {
            if position >= self.best {
                return;
            }
            if self.rest_holds(position) {
                self.best = position;
                return;
            }
        }
    }

    fn offer_batch(&mut self, batch: &Batch) {
        let path = self.request.path;
        match batch.matching(path.as_bytes()) {
            Some(matching) => {
                for position in matching {
                    if position >= self.best {
                        return;
                    }
                    if self.rest_holds(position) {
                        self.best = position;
                        return;
                    }
                }
            }
            None => self.offer_each(batch.positions()),
        }
    }

    /// Predicates first: they cost less than a regex.
    fn offer_each(&mut self, positions: &[u32]) {
        for &position in positions {
            if position >= self.best {
                return;
            }
            let route = &self.table.matches[position as usize];
            if self.rest_holds(position) && route.path.holds(self.request.path) {
                self.best = position;
                return;
            }
        }
    }

    fn rest_holds(&self, position: u32) -> bool {
        let position = position as usize;
        self.table.path_only[position] || self.table.matches[position].rest_holds(self.request)
    }
}
