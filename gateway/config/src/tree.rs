//! Reading a parsed YAML tree without stopping at the first problem.
//!
//! A derived `Deserialize` ends at the first mistake; here every reader notes what is wrong and goes
//! on, so that one run of `sallyport check` shows everything there is to mend. A key counts as known
//! because it was read, so none can be accepted and then forgotten.

use std::fmt;

use crate::problem::{Found, Severity};
use crate::value::{Mapping, Value};

/// Where a value stands: a path back to the root of its file.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// The whole file with this index.
    File(usize),
    /// The value under a key of a mapping.
    Key(&'a Place<'a>, &'a str),
    /// An item of a sequence.
    Item(&'a Place<'a>, usize),
}

impl Place<'_> {
    /// The index of the file.
    #[must_use]
    pub fn file(&self) -> usize {
        match self {
            Self::File(index) => *index,
            Self::Key(parent, _) | Self::Item(parent, _) => parent.file(),
        }
    }

    /// Notes a problem with what stands here; returns `None` so that readers can end with it.
    pub fn refuse<T>(
        &self,
        sink: &mut Sink,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Option<T> {
        self.note(sink, Severity::Error, what, fix);
        None
    }

    /// Notes what is worth knowing about what stands here, which can be used all the same.
    pub fn warn(&self, sink: &mut Sink, what: impl Into<String>, fix: impl Into<String>) {
        self.note(sink, Severity::Warning, what, fix);
    }

    fn note(
        &self,
        sink: &mut Sink,
        severity: Severity,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (file, place) = (self.file(), self.to_string());
        sink.push(Found { severity, file, place, line: None, what: what.into(), fix: fix.into() });
    }

    /// Turns `text`, which stands here, into something with `parse`, whose error says what is wrong.
    pub fn parsed<T, E: fmt::Display>(
        &self,
        sink: &mut Sink,
        text: &str,
        fix: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(text).map_or_else(|error| self.refuse(sink, format!("{text:?}: {error}"), fix), Some)
    }

    /// Demands that exactly one of these keys is written.
    pub fn exactly_one(&self, sink: &mut Sink, keys: &[(&str, bool)]) -> Option<()> {
        let written = keys.iter().filter(|(_, is_written)| *is_written);
        let written: Vec<_> = written.map(|(key, _)| *key).collect();
        let what = match written.len() {
            1 => return Some(()),
            0 => {
                let keys: Vec<_> = keys.iter().map(|(key, _)| *key).collect();
                format!("has none of {}", quoted(&keys))
            }
            _ => format!("has {} together", quoted(&written)),
        };
        self.refuse(sink, what, "write exactly one of them")
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(_) => Ok(()),
            Self::Key(Self::File(_), key) => out.write_str(key),
            Self::Key(parent, key) => write!(out, "{parent}.{key}"),
            Self::Item(parent, index) => write!(out, "{parent}[{index}]"),
        }
    }
}

/// Where problems are collected.
pub type Sink = Vec<Found>;

/// A value and its place.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// The value.
    pub value: &'a Value,
    /// Where it stands.
    pub place: Place<'a>,
}

impl<'a> Node<'a> {
    /// Notes a problem with this value; returns `None` so that readers can end with it.
    pub fn refuse<T>(
        &self,
        sink: &mut Sink,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) -> Option<T> {
        self.place.refuse(sink, what, fix)
    }

    /// Notes what is worth knowing about this value, which can be used all the same.
    pub fn warn(&self, sink: &mut Sink, what: impl Into<String>, fix: impl Into<String>) {
        self.place.warn(sink, what, fix);
    }

    /// Reads a mapping with `read`; keys that it did not ask for are problems.
    pub fn mapping<T>(
        self,
        sink: &mut Sink,
        read: impl FnOnce(&mut Fields<'_>, &mut Sink) -> Option<T>,
    ) -> Option<T> {
        let Value::Mapping(mapping) = self.value else {
            return self.refuse(
                sink,
                format!("is {}", self.value.shown()),
                "write a mapping of keys and values",
            );
        };
        let mut fields = Fields { mapping, node: self, known: Vec::new() };
        let result = read(&mut fields, sink);
        fields.refuse_unknown(sink);
        result
    }

    /// Reads a mapping whose keys are the user's own, each entry with `read`.
    pub fn entries<T>(
        self,
        sink: &mut Sink,
        mut read: impl FnMut(&str, Node<'_>, &mut Sink) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Mapping(mapping) = self.value else {
            return self.refuse(
                sink,
                format!("is {}", self.value.shown()),
                "write a mapping of keys and values",
            );
        };
        let mut entries = Vec::new();
        for (key, value) in mapping.iter() {
            let Value::String(key) = key else {
                self.refuse::<()>(sink, format!("has the key {}", key.shown()), "put it in quotes");
                continue;
            };
            entries.extend(read(key, Node { value, place: Place::Key(&self.place, key) }, sink));
        }
        Some(entries)
    }

    /// Reads a sequence, each item with `read`; items that failed are left out.
    pub fn list<T>(
        self,
        sink: &mut Sink,
        mut read: impl FnMut(Node<'_>, &mut Sink) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Value::Sequence(items) = self.value else {
            return self.refuse(sink, format!("is {}", self.value.shown()), "write a list");
        };
        let items = items.iter().enumerate();
        Some(
            items
                .filter_map(|(index, value)| {
                    read(Node { value, place: Place::Item(&self.place, index) }, sink)
                })
                .collect(),
        )
    }

    /// As [`Node::list`], and `None` unless every item could be read: for lists that are judged as a
    /// whole, or whose indices are reported later.
    pub fn whole_list<T>(
        self,
        sink: &mut Sink,
        read: impl FnMut(Node<'_>, &mut Sink) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.list(sink, read)?;
        (items.len() == self.value.as_sequence().map_or(0, Vec::len)).then_some(items)
    }

    /// Reads a string. Other scalars are refused: YAML turns an unquoted `1` or `no` into one.
    pub fn text(self, sink: &mut Sink) -> Option<&'a str> {
        match self.value {
            Value::String(text) => Some(text),
            Value::Number(_) | Value::Bool(_) => self.refuse(
                sink,
                format!("is {}, not a string", self.value.shown()),
                format!("put it in quotes: \"{}\"", self.value.shown()),
            ),
            _ => self.refuse(sink, format!("is {}", self.value.shown()), "write a string"),
        }
    }

    /// Reads a non-empty string.
    pub fn name(self, sink: &mut Sink) -> Option<Box<str>> {
        let text = self.text(sink)?;
        if text.is_empty() {
            return self.refuse(sink, "is empty", "give it a name");
        }
        Some(text.into())
    }

    /// Reads a whole number from `least` to `most`.
    pub fn number(self, sink: &mut Sink, least: u64, most: u64) -> Option<u64> {
        match self.value.as_u64() {
            Some(number) if (least..=most).contains(&number) => Some(number),
            _ => {
                let fix = match self.value.as_str().map(str::parse::<u64>) {
                    Some(Ok(number)) if (least..=most).contains(&number) => {
                        format!("write {number} without quotes")
                    }
                    _ => format!("write a whole number from {least} to {most}"),
                };
                self.refuse(sink, format!("is {}", self.value.shown()), fix)
            }
        }
    }

    /// Reads `true` or `false`.
    pub fn flag(self, sink: &mut Sink) -> Option<bool> {
        match self.value {
            Value::Bool(flag) => Some(*flag),
            _ => {
                let fix = match self.value.as_str() {
                    Some(text @ ("true" | "false")) => format!("write {text} without quotes"),
                    _ => "write true or false".to_owned(),
                };
                self.refuse(sink, format!("is {}", self.value.shown()), fix)
            }
        }
    }

    /// Reads a string and turns it into something with `parse`, whose error says what is wrong.
    pub fn parsed<T, E: fmt::Display>(
        self,
        sink: &mut Sink,
        fix: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(sink)?;
        self.place.parsed(sink, text, fix, parse)
    }
}

/// The keys of one mapping, each looked up by the reader that knows its meaning.
#[derive(Debug)]
pub struct Fields<'a> {
    mapping: &'a Mapping,
    node: Node<'a>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The value under `key`, read by `read`, where there is one.
    pub fn optional<T>(
        &mut self,
        sink: &mut Sink,
        key: &'static str,
        read: impl FnOnce(Node<'_>, &mut Sink) -> Option<T>,
    ) -> Option<T> {
        self.known.push(key);
        let value = self.mapping.get(key)?;
        read(Node { value, place: Place::Key(&self.node.place, key) }, sink)
    }

    /// As [`Fields::optional`], and a problem where the key is missing.
    pub fn required<T>(
        &mut self,
        sink: &mut Sink,
        key: &'static str,
        read: impl FnOnce(Node<'_>, &mut Sink) -> Option<T>,
    ) -> Option<T> {
        if !self.mapping.contains_key(key) {
            self.known.push(key);
            return self.node.refuse(sink, format!("has no `{key}`"), format!("add `{key}:`"));
        }
        self.optional(sink, key, read)
    }

    /// The value under `key` as written, where there is one; the key counts as known.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.mapping.get(key)
    }

    /// Whether a key is written that nobody has asked for so far.
    pub fn unknown(&self) -> bool {
        let known = |key: &Value| key.as_str().is_some_and(|key| self.known.contains(&key));
        !self.mapping.keys().all(known)
    }

    /// Whether `key` is written at all.
    pub fn has(&self, key: &str) -> bool {
        self.mapping.contains_key(key)
    }

    /// The mapping itself, to refuse a combination of keys.
    pub fn node(&self) -> Node<'a> {
        self.node
    }

    /// Demands exactly one of `keys`.
    pub fn exactly_one(&self, sink: &mut Sink, keys: &[&str]) -> Option<()> {
        let keys: Vec<_> = keys.iter().map(|key| (*key, self.has(key))).collect();
        self.node.place.exactly_one(sink, &keys)
    }

    fn refuse_unknown(&self, sink: &mut Sink) {
        for (key, value) in self.mapping.iter() {
            let Value::String(key) = key else {
                let what = format!("has the key {}", key.shown());
                self.node.refuse::<()>(sink, what, "keys are strings: put it in quotes");
                continue;
            };
            if !self.known.contains(&&**key) {
                let node = Node { value, place: Place::Key(&self.node.place, key) };
                let known = match nearest(key, &self.known) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known keys here: {}", quoted(&self.known)),
                };
                node.refuse::<()>(sink, format!("unknown key `{key}`"), known);
            }
        }
    }
}

pub(crate) fn quoted(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}

/// The known key that `key` is most likely a slip of, if one is near.
pub(crate) fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let (distance, near) = known.iter().map(|known| (distance(key, known), *known)).min()?;
    (distance <= 2 && distance < key.len()).then_some(near)
}

/// Levenshtein's edit distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substitute = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn suggests_the_nearest_key() {
        assert_eq!(distance("adress", "address"), 1);
        assert_eq!(nearest("adress", &["name", "address"]), Some("address"));
        assert_eq!(nearest("tls", &["name", "address"]), None);
    }
}
