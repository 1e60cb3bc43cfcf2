//! What is declared, in parts: the main file, the files that it includes, and what other sources
//! declare.
//!
//! A part is plain data with a number, by which problems name it. What it means is decided by
//! [`resolve`](super::resolve), for parts from anywhere alike.

use std::fmt;

use sallyport_config::decode::{self, Replaced};
use sallyport_config::spec::{Included, Spec};
use sallyport_config::{File, Found, Place, Severity, Sink, Value};

/// One part of what is declared.
#[derive(Debug)]
pub(super) struct Part {
    /// Its number, which is its index among the origins.
    pub(super) file: usize,
    /// What it declares.
    pub(super) spec: Spec,
    /// What of it is not what was written.
    pub(super) replaced: Replaced,
}

/// All that is declared.
#[derive(Debug)]
pub(super) struct Declared<'o> {
    /// The parts in the order of their numbers: first the main file's, which declares nothing if nothing
    /// of the file could be read.
    pub(super) parts: Vec<Part>,
    /// Where parts come from, by their numbers.
    pub(super) origins: &'o [File],
    /// Whether anything asks for the JA4 fingerprint of clients.
    pub(super) asks_ja4: bool,
}

impl<'o> Declared<'o> {
    /// Decodes the files, the main one first. What is wrong is noted, and stands in the parts as an
    /// example, so that the rest can be judged further.
    pub(super) fn of_files(files: &'o [File], sink: &mut Sink) -> Self {
        let mut parts = Vec::with_capacity(files.len());
        for (file, read) in files.iter().enumerate() {
            let part = match file {
                0 => Some(main(&read.text, sink)),
                _ => included(file, &read.text, sink),
            };
            parts.extend(part);
        }
        // In a name it does no harm, and every key and variable that asks has it.
        let asks_ja4 = files.iter().any(|file| file.text.contains("ja4"));
        Self { parts, origins: files, asks_ja4 }
    }

    /// What the main file says: what there is one of stands there alone.
    pub(super) fn main(&self) -> &Spec {
        &self.parts[0].spec
    }

    /// The entries of a section in all parts, each with its spot.
    pub(super) fn entries<'s, S>(
        &'s self,
        section: &'static str,
        of: impl Fn(&'s Spec) -> &'s [S],
    ) -> Vec<(Spot, &'s S)> {
        let entries = self.parts.iter().flat_map(|part| {
            let entries = of(&part.spec).iter().enumerate();
            entries.map(|(index, spec)| (Spot { file: part.file, section, index }, spec))
        });
        entries.collect()
    }

    /// Whether anything is not what was written.
    pub(super) fn has_replaced(&self) -> bool {
        self.parts.iter().any(|part| !part.replaced.is_empty())
    }

    /// Whether a problem is with an example, which stands in for what was told already.
    pub(super) fn is_of_replaced(&self, found: &Found) -> bool {
        let part = self.parts.iter().find(|part| part.file == found.file);
        part.is_some_and(|part| part.replaced.holds(&found.place))
    }
}

fn main(text: &str, sink: &mut Sink) -> Part {
    let decoded = decode::text::<Spec>(0, text, sink);
    let (spec, replaced) =
        decoded.map_or_else(Default::default, |decoded| (decoded.value, decoded.replaced));
    Part { file: 0, spec, replaced }
}

fn included(file: usize, text: &str, sink: &mut Sink) -> Option<Part> {
    if holds_nothing(text) {
        // A file that is being written, or that was emptied to take what is in it away.
        let (severity, fix) = (Severity::Note, "remove it if it stays so".to_owned());
        let (place, what) = (String::new(), "is empty: nothing is taken from it".to_owned());
        sink.push(Found { severity, file, place, line: None, what, fix });
        return None;
    }
    let decoded = decode::text::<Included>(file, text, sink)?;
    Some(Part { file, spec: decoded.value.into(), replaced: decoded.replaced })
}

/// Whether `text` is a file of no value. One that is long and all comments is none.
fn holds_nothing(text: &str) -> bool {
    const LONG: usize = 16 << 10;
    text.len() < LONG && sallyport_config::parse(0, text, &mut Vec::new()) == Some(Value::Null)
}

/// Where one of the entries of a section was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) file: usize,
    pub(super) section: &'static str,
    pub(super) index: usize,
}

impl Spot {
    /// Calls `then` with the place of the entry.
    pub(super) fn at<T>(self, then: impl FnOnce(&Place<'_>) -> T) -> T {
        let file = Place::File(self.file);
        let section = Place::Key(&file, self.section);
        then(&Place::Item(&section, self.index))
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}[{}]", self.section, self.index)
    }
}
