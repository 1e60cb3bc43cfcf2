//! Routes that no request reaches, because one before them takes all that they would.
//!
//! Looked for is what can be told in one pass: a route that asks for nothing but its path, and one that
//! asks for the same as another. That two regexes or two sets of header fields overlap is not told.

use std::collections::hash_map::Entry;

use foldhash::HashMap;
use sallyport_route::{Match, PathMatch};

/// The routes of one virtual host so far.
#[derive(Default)]
pub(super) struct Reached {
    /// Routes that ask for nothing but their path, by that path.
    prefixes: HashMap<Box<str>, usize>,
    exact: HashMap<Box<str>, usize>,
    /// The others, by all that they ask for.
    same: HashMap<String, usize>,
}

impl Reached {
    /// The route before the one with this index that takes all that it would, if there is one. Takes the
    /// routes in their order.
    pub(super) fn by(&mut self, index: usize, matches: &Match) -> Option<usize> {
        if let Some(by) = self.covers(matches) {
            return Some(by);
        }
        match &matches.path {
            PathMatch::Prefix(path) if is_path_only(matches) => {
                self.prefixes.insert(path.clone(), index);
            }
            PathMatch::Exact(path) if is_path_only(matches) => {
                self.exact.insert(path.clone(), index);
            }
            _ => match self.same.entry(format!("{matches:?}")) {
                Entry::Occupied(first) => return Some(*first.get()),
                Entry::Vacant(entry) => drop(entry.insert(index)),
            },
        }
        None
    }

    fn covers(&self, matches: &Match) -> Option<usize> {
        let under = |path: &str| {
            let ends = path.match_indices('/').flat_map(|(at, _)| [at, at + 1]);
            ends.chain([path.len()])
                .filter_map(|end| self.prefixes.get(&path[..end]).copied())
                .min()
        };
        match &matches.path {
            PathMatch::Exact(path) => self.exact.get(path).copied().or_else(|| under(path)),
            PathMatch::Prefix(path) => under(path),
            PathMatch::Regex(_) => self.prefixes.get("/").copied(),
        }
    }
}

fn is_path_only(matches: &Match) -> bool {
    matches.methods.is_empty()
        && matches.headers.is_empty()
        && matches.query.is_empty()
        && matches.cookies.is_empty()
        && matches.scheme.is_none()
        && matches.hint.is_none()
        && matches.client.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_reached_unless_one_before_takes_all_that_it_would() {
        let exact =
            |path: &str| Match { path: PathMatch::exact(path).unwrap(), ..Match::default() };
        let prefix =
            |path: &str| Match { path: PathMatch::prefix(path).unwrap(), ..Match::default() };
        let regex =
            |text: &str| Match { path: PathMatch::regex(text).unwrap(), ..Match::default() };
        let posted = |matches: Match| Match { methods: vec![http::Method::POST], ..matches };
        for (routes, expected) in [
            (
                vec![prefix("/a"), exact("/a"), prefix("/a/b"), prefix("/ab")],
                [None, Some(0), Some(0), None],
            ),
            (
                vec![prefix("/a/"), exact("/a"), prefix("/a"), exact("/a/b")],
                [None, None, None, Some(0)],
            ),
            (
                vec![exact("/a"), exact("/a"), prefix("/a"), regex("/a")],
                [None, Some(0), None, None],
            ),
            (
                vec![prefix("/"), regex(".*"), posted(prefix("/")), exact("/x")],
                [None, Some(0), Some(0), Some(0)],
            ),
            (
                vec![posted(prefix("/")), prefix("/"), posted(exact("/")), exact("/")],
                [None, None, Some(1), Some(1)],
            ),
            (
                vec![posted(exact("/")), posted(exact("/")), regex("/x"), regex("/x")],
                [None, Some(0), None, Some(2)],
            ),
        ] {
            let mut reached = Reached::default();
            let found: Vec<_> = routes
                .iter()
                .enumerate()
                .map(|(index, matches)| reached.by(index, matches))
                .collect();
            assert_eq!(found, expected, "{routes:?}");
        }
    }
}
