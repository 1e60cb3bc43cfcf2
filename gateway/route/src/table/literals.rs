//! Which of many literals a text begins with.
//!
//! Owns a sorted list of literals and, for each, the longest other one that it begins with. Apart
//! because heads and tails of regexes are looked up the same way, tails back to front. A hash map
//! would have to be probed for every length there is.

/// Values by literal.
#[derive(Debug)]
pub(super) struct Literals<T> {
    /// Sorted by literal, each literal once.
    entries: Box<[Entry<T>]>,
}

#[derive(Debug)]
struct Entry<T> {
    literal: Box<[u8]>,
    /// The entry with the longest literal that this one's literal begins with.
    parent: Option<usize>,
    value: T,
}

impl<T> Literals<T> {
    /// Takes literals sorted and each of them once, as a `BTreeMap` gives them.
    pub(super) fn new(sorted: impl IntoIterator<Item = (Box<[u8]>, T)>) -> Literals<T> {
        let mut entries: Vec<Entry<T>> = Vec::new();
        for (literal, value) in sorted {
            let parent = parent_of(&literal, &entries);
            entries.push(Entry { literal, parent, value });
        }
        Literals { entries: entries.into() }
    }

    /// The values of all literals that `text` begins with, the longest literal first.
    ///
    /// A literal that begins the text sorts before it, and whatever sorts between the two begins
    /// with the literal too. So the last entry that sorts before the text leads, from parent to
    /// parent, through all of them.
    pub(super) fn beginning(&self, text: &[u8]) -> impl Iterator<Item = &T> {
        let after = self.entries.partition_point(|entry| *entry.literal <= *text);
        let last = after.checked_sub(1).map(|last| &self.entries[last]);
        std::iter::successors(last, |entry| entry.parent.map(|parent| &self.entries[parent]))
            .filter(|entry| text.starts_with(&entry.literal))
            .map(|entry| &entry.value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|entry| &entry.value)
    }
}

/// The nearest of the sorted entries before a literal that it begins with.
fn parent_of<T>(literal: &[u8], entries: &[Entry<T>]) -> Option<usize> {
    let mut candidate = entries.len().checked_sub(1);
    while let Some(number) = candidate {
        if literal.starts_with(&entries[number].literal) {
            break;
        }
        candidate = entries[number].parent;
    }
    candidate
}
