//! `${env:NAME}` and `${file:PATH}` in values: what a configuration takes from its surroundings.
//!
//! References are filled in between the text and the declared types, so that they may stand in any
//! value and every check sees what they stand for. A text that has none, which is most, never comes
//! here. Where a reference stands is remembered: what it stands for is shown to nobody.
//!
//! Other `${…}` are templates and groups of regexes, and mean something to whoever reads the value.
//! So does `$$`: in a template `$${env:NAME}` is the text itself.

use crate::problem::Found;
use crate::tree::{Place, Sink};
use crate::value::Value;

/// What a reference names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named<'n> {
    /// A variable of the environment.
    Env(&'n str),
    /// A file.
    File(&'n str),
}

const ENV: &str = "${env:";
const FILE: &str = "${file:";

/// What is behind the beginning of a reference at the start of `text`, and whether it names a
/// variable.
fn begun(text: &str) -> Option<(&str, bool)> {
    let variable = text.strip_prefix(ENV).map(|rest| (rest, true));
    variable.or_else(|| text.strip_prefix(FILE).map(|rest| (rest, false)))
}

/// A step from a value into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(Box<str>),
    Item(usize),
}

/// A value with references in it.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Where it stands.
    pub place: String,
    path: Vec<Step>,
    /// As it is written.
    pub written: Box<str>,
    /// What stands in its place; `None` if that could not be had, which was told.
    pub value: Option<Box<str>>,
}

impl Reference {
    /// Puts the reference as it is written into `whole`, in the place of what it stands for.
    pub fn restore(&self, whole: &mut serde_json::Value) {
        let mut value = Some(whole);
        for step in &self.path {
            value = match step {
                Step::Key(key) => value.and_then(|value| value.get_mut(&**key)),
                Step::Item(index) => value.and_then(|value| value.get_mut(*index)),
            };
        }
        if let Some(value) = value {
            *value = String::from(self.written.clone()).into();
        }
    }

    /// Takes what the reference stands for out of a problem. A short text is looked for in what is
    /// wrong where the reference stands, and nowhere else: it may be part of other words.
    pub fn hide_in(&self, found: &mut Found) {
        const SHORT: usize = 6;
        let Some(value) = self.value.as_deref().filter(|value| !value.is_empty()) else { return };
        let is_short = value.len() < SHORT;
        if is_short && found.place != self.place {
            return;
        }
        for shown in [value.to_owned(), value.escape_debug().to_string()] {
            found.what = found.what.replace(&shown, &self.written);
            if !is_short {
                found.fix = found.fix.replace(&shown, &self.written);
            }
        }
    }

    /// The value, where nothing is written but one reference, and it is a number or a flag.
    fn plain(&self) -> Option<Value> {
        let is_one = is_whole(&self.written);
        match self.value.as_deref().filter(|_| is_one)? {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            text if text.parse::<u64>().is_ok() => Some(Value::Number(text.into())),
            _ => None,
        }
    }
}

/// Whether `text` is nothing but one reference.
fn is_whole(text: &str) -> bool {
    begun(text).is_some() && text.find('}') == Some(text.len() - 1)
}

/// Whether there may be references in `text`.
#[must_use]
pub fn may_be_in(text: &str) -> bool {
    text.contains(ENV) || text.contains(FILE)
}

/// Fills the references within `value` in with what `read` says of them, and returns where they
/// are. `read` notes why it has nothing to say.
pub(crate) fn fill(
    value: &mut Value,
    place: &Place<'_>,
    read: &mut Read<'_>,
    sink: &mut Sink,
) -> Vec<Reference> {
    let mut filling = Filling { read, sink, path: Vec::new(), found: Vec::new() };
    filling.walk(value, place);
    filling.found
}

/// Says what a reference at a place stands for; notes why not, where it does not.
pub type Read<'r> = dyn FnMut(Named<'_>, &Place<'_>, &mut Sink) -> Option<String> + 'r;

/// Puts numbers and flags in the place of the texts at `references` that `is_wrong` holds for.
/// Returns whether there were any.
pub(crate) fn make_plain(
    whole: &mut Value,
    references: &[Reference],
    is_wrong: impl Fn(&Reference) -> bool,
) -> bool {
    let mut has_changed = false;
    for reference in references.iter().filter(|reference| is_wrong(reference)) {
        let mut value = Some(&mut *whole);
        for step in &reference.path {
            value = value.and_then(|value| value.step_mut(step));
        }
        if let (Some(value), Some(plain)) = (value, reference.plain()) {
            *value = plain;
            has_changed = true;
        }
    }
    has_changed
}

struct Filling<'r, 'p> {
    read: &'r mut Read<'p>,
    sink: &'r mut Sink,
    path: Vec<Step>,
    found: Vec<Reference>,
}

impl Filling<'_, '_> {
    fn walk(&mut self, value: &mut Value, place: &Place<'_>) {
        match value {
            Value::String(text) if may_be_in(text) => {
                let filled = self.filled(text, place);
                let written = match &filled {
                    Some(filled) => std::mem::replace(text, filled.clone()),
                    None => text.clone(),
                };
                let (path, place) = (self.path.clone(), place.to_string());
                self.found.push(Reference { place, path, written, value: filled });
            }
            Value::Sequence(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.path.push(Step::Item(index));
                    self.walk(item, &Place::Item(place, index));
                    self.path.pop();
                }
            }
            Value::Mapping(mapping) => {
                for (key, value) in mapping.iter_mut() {
                    let Value::String(key) = key else { continue };
                    self.path.push(Step::Key(key.clone()));
                    self.walk(value, &Place::Key(place, key));
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    /// `text` with its references filled in; every one that cannot be is told.
    fn filled(&mut self, text: &str, place: &Place<'_>) -> Option<Box<str>> {
        let (mut filled, mut rest) = (String::with_capacity(text.len()), text);
        let mut is_whole = true;
        while let Some(at) = rest.find('$') {
            filled.push_str(&rest[..at]);
            rest = &rest[at..];
            let Some((named, is_variable)) = begun(rest) else {
                // A dollar behind a dollar begins nothing.
                let end = if rest.starts_with("$$") { 2 } else { 1 };
                filled.push_str(&rest[..end]);
                rest = &rest[end..];
                continue;
            };
            let Some((name, behind)) = named.split_once('}') else {
                let what = format!("{rest:?} has no end");
                return place.refuse(self.sink, what, "close it, as in ${env:NAME}");
            };
            let named = if is_variable { Named::Env(name) } else { Named::File(name) };
            match (self.read)(named, place, self.sink) {
                Some(value) => filled.push_str(&value),
                None => is_whole = false,
            }
            rest = behind;
        }
        filled.push_str(rest);
        is_whole.then(|| filled.into())
    }
}

#[cfg(test)]
mod tests;
