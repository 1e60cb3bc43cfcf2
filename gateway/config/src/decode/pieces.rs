//! Decoding a large file piece by piece: what an edit left as it was is not parsed again.
//!
//! Nearly all of a large file is in two lists, `upstreams` and `virtual_hosts`, and in the `routes` of
//! virtual hosts, and an edit changes few of their items. Items are cut out of the text by their
//! indentation and decoded each for itself; one whose text is known is taken from memory. What is left
//! of the file, with a mark in the place of each list, is decoded as a file is.
//!
//! Indentation alone does not tell where an item ends: quotes and brackets may go on over lines that
//! look like the next one. But then the piece has no end by itself and cannot be decoded, and neither
//! can an alias whose anchor is elsewhere. So whenever anything is not as it should be the file is
//! decoded as a whole, which also tells what is wrong with it. Of what is decoded here the meaning is
//! the same; that is what the tests of this module are about.

use foldhash::{HashMap, HashMapExt as _};
use memchr::{memchr, memchr_iter, memmem};
use serde::de::DeserializeOwned;

use crate::spec::{Included, Route, Spec, Upstream, VirtualHost};
use crate::strict::Strict;

/// Files of less text in all are decoded as they are: that takes a millisecond or two.
const TEXT_BYTES_MIN: usize = 64 << 10;

/// Virtual hosts of less text are one piece, with their routes.
const HOST_BYTES_MIN: usize = 4 << 10;

/// The name of the one item that stands in a list's place.
const MARK: &str = "sallyport-list-in-pieces";

/// What was decoded before, by its text.
#[derive(Debug)]
pub struct Pieces {
    /// Whether the files are so large that they are divided.
    is_in_use: bool,
    /// The bytes that a virtual host has at least where it is divided.
    host_bytes_min: usize,
    upstreams: Known<Upstream>,
    hosts: Known<VirtualHost>,
    routes: Known<Route>,
}

#[derive(Debug)]
struct Known<T> {
    pieces: HashMap<Box<str>, Piece<T>>,
    /// Whether the files that are being decoded had any of them.
    is_used: bool,
    /// How many were decoded, and not taken from memory.
    decoded: usize,
}

#[derive(Debug)]
struct Piece<T> {
    value: T,
    /// Whether the files that are being decoded have it.
    is_used: bool,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { pieces: HashMap::new(), is_used: false, decoded: 0 }
    }
}

/// A list that is cut out of a text.
struct Cut<'t> {
    /// The text up to the end of the list's key.
    head: &'t str,
    items: Vec<&'t str>,
    /// The text behind the list.
    tail: &'t str,
}

impl Default for Pieces {
    fn default() -> Self {
        let (upstreams, hosts, routes) = Default::default();
        Self { is_in_use: false, host_bytes_min: HOST_BYTES_MIN, upstreams, hosts, routes }
    }
}

impl Pieces {
    /// Begins to decode files that have so many bytes together.
    pub fn begin(&mut self, text_bytes: usize) {
        self.is_in_use = text_bytes >= TEXT_BYTES_MIN;
        // After files that were not good: one bad edit after the other must not pile up.
        if self.upstreams.is_used || self.hosts.is_used {
            self.end();
        }
    }

    /// Ends to decode files that are good: pieces that none of them has are forgotten.
    pub fn end(&mut self) {
        self.upstreams.forget_unused();
        self.hosts.forget_unused();
        self.routes.forget_unused();
    }

    /// How many pieces were decoded since this was asked last.
    pub fn take_decoded(&mut self) -> usize {
        let counts =
            [&mut self.upstreams.decoded, &mut self.hosts.decoded, &mut self.routes.decoded];
        counts.into_iter().map(std::mem::take).sum()
    }

    /// Decodes a main file; `None` where it is to be decoded as a whole.
    pub fn main(&mut self, text: &str) -> Option<Spec> {
        self.file(text, |spec: &mut Spec| (&mut spec.upstreams, &mut spec.virtual_hosts))
    }

    /// Decodes an included file; `None` where it is to be decoded as a whole.
    pub fn included(&mut self, text: &str) -> Option<Included> {
        self.file(text, |spec: &mut Included| (&mut spec.upstreams, &mut spec.virtual_hosts))
    }

    fn file<S: DeserializeOwned>(
        &mut self,
        text: &str,
        lists: fn(&mut S) -> (&mut Vec<Upstream>, &mut Vec<VirtualHost>),
    ) -> Option<S> {
        if !self.is_in_use || !is_plain(text) {
            return None;
        }
        let upstreams = cut(text, 0, "upstreams");
        let marked = upstreams.as_ref().map(|list| list.marked(""));
        let rest = marked.as_deref().unwrap_or(text);
        let hosts = cut(rest, 0, "virtual_hosts");
        let marked = hosts.as_ref().map(|list| list.marked(", domains: [], routes: []"));
        let mut spec: S = decoded(marked.as_deref().unwrap_or(rest))?;
        let (of_upstreams, of_hosts) = lists(&mut spec);
        if let Some(list) = upstreams {
            is_mark(of_upstreams.iter().map(|it| &*it.name))?;
            let items = list.items.iter().map(|item| self.upstreams.piece(item));
            *of_upstreams = items.collect::<Option<_>>()?;
        }
        if let Some(list) = hosts {
            is_mark(of_hosts.iter().map(|it| &*it.name))?;
            *of_hosts = list.items.iter().map(|item| self.host(item)).collect::<Option<_>>()?;
        }
        Some(spec)
    }

    fn host(&mut self, text: &str) -> Option<VirtualHost> {
        let keys = text.find("- ")? + 2;
        let routes =
            (text.len() >= self.host_bytes_min).then(|| cut(text, keys, "routes")).flatten();
        let Some(routes) = routes else { return self.hosts.piece(text) };
        let mut host = self.hosts.piece(&routes.marked(""))?;
        is_mark(host.routes.iter().map(|it| &*it.name))?;
        let items = routes.items.iter().map(|item| self.routes.piece(item));
        host.routes = items.collect::<Option<_>>()?;
        Some(host)
    }
}

impl<T: Clone + DeserializeOwned> Known<T> {
    /// The one item of the list in `text`.
    fn piece(&mut self, text: &str) -> Option<T> {
        if let Some(piece) = self.pieces.get_mut(text) {
            (self.is_used, piece.is_used) = (true, true);
            return Some(piece.value.clone());
        }
        let mut items: Vec<T> = decoded(text)?;
        self.decoded += 1;
        let value = items.pop().filter(|_| items.is_empty())?;
        self.is_used = true;
        self.pieces.insert(text.into(), Piece { value: value.clone(), is_used: true });
        Some(value)
    }

    fn forget_unused(&mut self) {
        self.pieces.retain(|_, piece| std::mem::take(&mut piece.is_used));
        self.is_used = false;
    }
}

impl Cut<'_> {
    /// The text with a mark as the list's one item, which also has these keys.
    fn marked(&self, keys: &str) -> String {
        let Self { head, tail, .. } = self;
        format!("{head} [{{ name: {MARK}{keys} }}]\n{tail}")
    }
}

fn decoded<T: DeserializeOwned>(text: &str) -> Option<T> {
    T::deserialize(Strict(serde_yaml::Deserializer::from_str(text))).ok()
}

/// Whether the one name is the mark's, so that it stands where the list is.
fn is_mark<'n>(mut names: impl Iterator<Item = &'n str>) -> Option<()> {
    (names.next() == Some(MARK) && names.next().is_none()).then_some(())
}

/// Whether lines end as they seem to, and all is one document without anchors: one that is made again
/// further down means something else there.
fn is_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    let is_odd = |character| matches!(character, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}');
    let begins = |line: &[u8]| [&b"---"[..], b"...", b"%"].iter().any(|it| line.starts_with(it));
    memchr(b'\r', bytes).is_none()
        && (text.is_ascii() || !text.contains(is_odd))
        && memmem::find(bytes, MARK.as_bytes()).is_none()
        && !begins(bytes)
        && !memchr_iter(b'\n', bytes).any(|end| begins(&bytes[end + 1..]))
        && !has_anchors(text)
}

/// Whether there may be anchors in `text`; a text in quotes may look like one.
fn has_anchors(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr_iter(b'&', bytes).any(|at| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let begins = before.is_none_or(|byte| b" \t\n[{,:".contains(&byte));
        begins && bytes.get(at + 1).is_some_and(|byte| !byte.is_ascii_whitespace())
    })
}

/// Cuts the list out of `text` that is the value of `key`, which is indented by `by`; `None` where there
/// is none that is written item by item.
fn cut<'t>(text: &'t str, by: usize, key: &str) -> Option<Cut<'t>> {
    let mut lines = Lines { text, at: 0 };
    let is_key = |line: &str| {
        let written = line.strip_prefix(&*" ".repeat(by)).and_then(|line| line.strip_prefix(key));
        written.is_some_and(|rest| rest.trim_end_matches(' ') == ":")
    };
    let (start, line) = lines.find(|(_, line)| is_key(line))?;
    let head = &text[..start + line.trim_end_matches(' ').len()];
    let mut starts = Vec::new();
    let mut indent = None;
    let mut end = text.len();
    for (start, line) in lines {
        let inner = line.trim_start_matches(' ');
        if inner.is_empty() || inner.starts_with('#') {
            continue;
        }
        let depth = line.len() - inner.len();
        let of_list = *indent.get_or_insert(depth);
        let is_item = inner.starts_with("- ") || inner == "-";
        match depth {
            _ if inner.starts_with('\t') => return None,
            depth if depth == of_list && is_item && depth >= by => starts.push(start),
            depth if depth > of_list => {}
            _ => {
                end = start;
                break;
            }
        }
    }
    let ends = starts.iter().skip(1).copied().chain([end]);
    let items: Vec<&str> = starts.iter().zip(ends).map(|(start, end)| &text[*start..end]).collect();
    (!items.is_empty()).then(|| Cut { head, items, tail: &text[end..] })
}

/// The lines of a text, each with where it starts.
struct Lines<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Iterator for Lines<'t> {
    type Item = (usize, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
        let length = memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        self.at = start + length + 1;
        Some((start, &rest[..length]))
    }
}

#[cfg(test)]
mod tests;
