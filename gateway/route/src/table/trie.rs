//! Prefixes by whole segments.
//!
//! Owns a trie over path segments. Its edges live in one flat hash map, so that a node with ten
//! thousand children costs the same probe as one with two, and a step down is one probe whatever
//! the tree looks like.

use std::hash::Hash;

use hashbrown::Equivalent;

use super::NONE;
use super::positions::Positions;
use crate::hash::Map;

const ROOT: u32 = 0;

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    edges: Map<Edge, u32>,
}

/// A run of whole segments from the root.
#[derive(Debug)]
struct Node {
    parent: u32,
    /// Prefixes that end with this segment: `/api` at the node of `api`.
    here: Positions,
    /// Prefixes that end with the slash after it: `/api/` at the same node.
    below: Positions,
    /// The smallest position held by any node under this one.
    least_under: u32,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Edge {
    parent: u32,
    segment: Box<str>,
}

/// An [`Edge`] to look up; field by field it hashes as one.
#[derive(Hash)]
struct Step<'a> {
    parent: u32,
    segment: &'a str,
}

impl Trie {
    pub(super) fn new() -> Trie {
        Trie { nodes: vec![Node::under(ROOT)], edges: Map::default() }
    }

    /// Adds a prefix; positions must ascend. One that does not begin with `/` begins no path, and
    /// is left out.
    pub(super) fn insert(&mut self, prefix: &str, position: u32, path_only: &[bool]) {
        let (segments, slash) = match prefix.strip_suffix('/') {
            Some(segments) => (segments, true),
            None => (prefix, false),
        };
        let mut node = ROOT;
        if !segments.is_empty() {
            let Some(segments) = segments.strip_prefix('/') else { return };
            for segment in segments.split('/') {
                node = self.child(node, segment);
            }
        }
        let Node { here, below, .. } = &mut self.nodes[node as usize];
        let place = if slash { below } else { here };
        place.push(position, path_only);
    }

    /// To be called after the last insertion.
    pub(super) fn finish(&mut self) {
        // Children come after their parents, so one pass from the end sees every subtree whole.
        for node in (1..self.nodes.len()).rev() {
            let Node { parent, least_under, .. } = self.nodes[node];
            let least = self.nodes[node].least().min(least_under);
            let parent = &mut self.nodes[parent as usize];
            parent.least_under = parent.least_under.min(least);
        }
        self.nodes.shrink_to_fit();
        self.edges.shrink_to_fit();
    }

    /// Offers the positions of every prefix of `path` that might hold one smaller than `best`, the
    /// shortest prefix first. `offer` returns the best position so far; the descent ends where
    /// nothing further down can beat it.
    pub(super) fn descend(
        &self,
        path: &str,
        mut best: u32,
        mut offer: impl FnMut(&Positions) -> u32,
    ) {
        let mut number = ROOT;
        let mut rest = path;
        loop {
            let node = &self.nodes[number as usize];
            if node.here.least() < best {
                best = offer(&node.here);
            }
            let Some(after) = rest.strip_prefix('/') else { return };
            if node.below.least() < best {
                best = offer(&node.below);
            }
            if best <= node.least_under {
                return;
            }
            let end = memchr::memchr(b'/', after.as_bytes()).unwrap_or(after.len());
            let (segment, remainder) = after.split_at(end);
            let Some(&child) = self.edges.get(&Step { parent: number, segment }) else { return };
            number = child;
            rest = remainder;
        }
    }

    fn child(&mut self, parent: u32, segment: &str) -> u32 {
        if let Some(&child) = self.edges.get(&Step { parent, segment }) {
            return child;
        }
        let child = self.nodes.len() as u32;
        self.nodes.push(Node::under(parent));
        self.edges.insert(Edge { parent, segment: segment.into() }, child);
        child
    }
}

impl Node {
    fn under(parent: u32) -> Node {
        Node { parent, here: Positions::None, below: Positions::None, least_under: NONE }
    }

    fn least(&self) -> u32 {
        self.here.least().min(self.below.least())
    }
}

impl Equivalent<Edge> for Step<'_> {
    fn equivalent(&self, edge: &Edge) -> bool {
        self.parent == edge.parent && *self.segment == *edge.segment
    }
}
