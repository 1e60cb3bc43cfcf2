//! Decoding declared types: the short way for a good file, every problem at once for a bad one.
//!
//! A good file goes from its text straight into the types. Only where that fails the tree is built, and
//! the schema of the types is walked over it: what is wrong is noted, and what cannot be read is replaced
//! by an example, so that the rest can be judged further. A problem that only the example has is none.

mod pieces;
mod repair;
mod value;

use serde::de::DeserializeOwned;

pub use self::pieces::Pieces;
use self::repair::Repair;
use crate::problem::Found;
use crate::references::{self, Reference};
use crate::schema::{self, JsonSchema};
use crate::strict::Strict;
use crate::tree::{Node, Place, Sink};

/// What was read, and what of it is not what was written.
#[derive(Clone, Debug)]
pub struct Decoded<T> {
    /// The value.
    pub value: T,
    /// The places that hold an example in place of what could not be read.
    pub replaced: Replaced,
    /// The values with references in them.
    pub references: Vec<Reference>,
}

/// Places of one file that hold an example in place of what could not be read.
#[derive(Clone, Debug, Default)]
pub struct Replaced(Vec<String>);

impl Replaced {
    /// Whether all is what was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether what stands at `place` is not what was written: it was replaced, or is part of what was.
    #[must_use]
    pub fn holds(&self, place: &str) -> bool {
        self.0.iter().any(|replaced| is_within(place, replaced))
    }

    /// Whether something within `place`, or all of it, is not what was written.
    #[must_use]
    pub fn within(&self, place: &Place<'_>) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let place = place.to_string();
        self.0.iter().any(|replaced| is_within(replaced, &place)) || self.holds(&place)
    }
}

fn is_within(place: &str, around: &str) -> bool {
    let rest = place.strip_prefix(around);
    around.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// Decodes the text of the file with index `file`.
///
/// What is wrong is noted, and then what could be read is returned: it may be looked at further, and not
/// be used. `None` if that is nothing.
pub fn text<T: DeserializeOwned + JsonSchema>(
    file: usize,
    text: &str,
    sink: &mut Sink,
) -> Option<Decoded<T>> {
    if let Ok(value) = T::deserialize(Strict(serde_yaml::Deserializer::from_str(text))) {
        return Some(Decoded { value, replaced: Replaced::default(), references: Vec::new() });
    }
    let before = sink.len();
    let tree = crate::parse(file, text, sink)?;
    told(Node { value: &tree, place: Place::File(file) }, sink, before)
}

/// As [`text`], with references filled in with what `read` says of them.
pub fn filled<T: DeserializeOwned + JsonSchema>(
    file: usize,
    text: &str,
    read: &mut references::Read<'_>,
    sink: &mut Sink,
) -> Option<Decoded<T>> {
    if !references::may_be_in(text) {
        return self::text(file, text, sink);
    }
    let mut tree = crate::parse(file, text, sink)?;
    let place = Place::File(file);
    let references = references::fill(&mut tree, &place, read, sink);
    let told = sink.len();
    let mut decoded = node::<T>(Node { value: &tree, place }, sink);
    // A number is text in the environment. What wants a number has refused the text.
    let is_wrong =
        |reference: &Reference| sink[told..].iter().any(|found| found.place == reference.place);
    if references::make_plain(&mut tree, &references, is_wrong) {
        sink.truncate(told);
        decoded = node::<T>(Node { value: &tree, place }, sink);
    }
    let mut decoded = decoded?;
    let missing = references.iter().filter(|reference| reference.value.is_none());
    let missing = Replaced(missing.map(|reference| reference.place.clone()).collect());
    let found = sink.split_off(told);
    sink.extend(found.into_iter().filter(|found| !missing.holds(&found.place)));
    decoded.replaced.0.extend(missing.0);
    decoded.references = references;
    Some(decoded)
}

/// Decodes a value of a tree, as [`text`] does.
pub fn node<T: DeserializeOwned + JsonSchema>(
    node: Node<'_>,
    sink: &mut Sink,
) -> Option<Decoded<T>> {
    let before = sink.len();
    told(node, sink, before)
}

/// Decodes a value of a tree and builds something from it with `build`, which also tells what is wrong
/// with what could be read. `None` if anything is.
pub fn build<S: DeserializeOwned + JsonSchema, T>(
    node: Node<'_>,
    sink: &mut Sink,
    build: impl FnOnce(&S, &Place<'_>, &mut Sink) -> Option<T>,
) -> Option<T> {
    let errors = |sink: &Sink| sink.iter().filter(|found| found.is_error()).count();
    let before = errors(sink);
    let Decoded { value, replaced, .. } = self::node::<S>(node, sink)?;
    let told = sink.len();
    let built = build(&value, &node.place, sink);
    // What stands in for something that could not be read was told as that.
    let found = sink.split_off(told);
    sink.extend(found.into_iter().filter(|found| !replaced.holds(&found.place)));
    built.filter(|_| errors(sink) == before)
}

/// As [`node`]; at least one problem is added to the `before` ones if the value is not good.
fn told<T: DeserializeOwned + JsonSchema>(
    node: Node<'_>,
    sink: &mut Sink,
    before: usize,
) -> Option<Decoded<T>> {
    let error = match T::deserialize(node.value) {
        Ok(value) => {
            return Some(Decoded { value, replaced: Replaced::default(), references: Vec::new() });
        }
        Err(error) => error,
    };
    let schema = schema::of::<T>();
    let mut repair = Repair::new(schema.as_value(), sink);
    let repaired = repair.value(node);
    let replaced = repair.end();
    if sink.len() == before {
        // The schema takes what the type does not: told less well, and told all the same.
        let (file, place) = (node.place.file(), node.place.to_string());
        sink.push(Found::error(file, place, error.to_string(), "see `sallyport schema`"));
    }
    let value = T::deserialize(&repaired).ok()?;
    Some(Decoded { value, replaced: Replaced(replaced), references: Vec::new() })
}

#[cfg(test)]
mod tests;
