//! Which idle connection is taken and which has to go: the youngest of its endpoint, and the oldest
//! of all.
//!
//! The youngest is the least likely to be closed by its origin just now; and where fewer are
//! needed, those that are not grow old and go.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

const NONE: u32 = u32::MAX;

/// Values that are idle under keys, which are hashes.
#[derive(Debug)]
pub(super) struct Idle<V> {
    entries: Vec<Entry<V>>,
    free: u32,
    /// The youngest of each key.
    youngest: HashMap<u64, u32, BuildHasherDefault<AsIs>>,
    /// Both ends of the list by age.
    oldest: u32,
    newest: u32,
    count: usize,
    max: usize,
}

#[derive(Debug)]
struct Entry<V> {
    value: Option<V>,
    key: u64,
    /// Neighbours in age, of all keys.
    older: u32,
    newer: u32,
    /// Neighbours in age, of its key.
    below: u32,
    above: u32,
}

impl<V> Idle<V> {
    /// Room for no more than `max` values.
    pub(super) fn new(max: usize) -> Self {
        Self {
            entries: Vec::new(),
            free: NONE,
            youngest: HashMap::default(),
            oldest: NONE,
            newest: NONE,
            count: 0,
            max: max.min(NONE as usize),
        }
    }

    /// Adds a value. Returns what has to go for it: the oldest, or the value itself where there is
    /// room for none.
    pub(super) fn put(&mut self, key: u64, value: V) -> Option<V> {
        if self.max == 0 {
            return Some(value);
        }
        let evicted = (self.count == self.max).then(|| self.remove(self.oldest));
        let (older, below) = (self.newest, self.youngest.get(&key).copied().unwrap_or(NONE));
        let entry = Entry { value: Some(value), key, older, newer: NONE, below, above: NONE };
        let index = self.place(entry);
        match self.at(older) {
            Some(older) => older.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
        if let Some(below) = self.at(below) {
            below.above = index;
        }
        self.youngest.insert(key, index);
        self.count += 1;
        evicted.flatten()
    }

    /// How many values there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Takes the youngest value of `key`.
    pub(super) fn take(&mut self, key: u64) -> Option<V> {
        let index = *self.youngest.get(&key)?;
        self.remove(index)
    }

    /// Removes the values for which `keep` is false, the oldest first, and hands them to `gone`.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut V) -> bool, mut gone: impl FnMut(V)) {
        let mut index = self.oldest;
        while let Some(entry) = self.at(index) {
            let newer = entry.newer;
            if entry.value.as_mut().is_some_and(|value| !keep(value))
                && let Some(value) = self.remove(index)
            {
                gone(value);
            }
            index = newer;
        }
    }

    fn at(&mut self, index: u32) -> Option<&mut Entry<V>> {
        self.entries.get_mut(index as usize)
    }

    fn place(&mut self, entry: Entry<V>) -> u32 {
        if self.free == NONE {
            self.entries.push(entry);
            return (self.entries.len() - 1) as u32;
        }
        let index = self.free;
        self.free = std::mem::replace(&mut self.entries[index as usize], entry).newer;
        index
    }

    fn remove(&mut self, index: u32) -> Option<V> {
        let free = self.free;
        let entry = self.at(index)?;
        let value = entry.value.take();
        let Entry { key, older, newer, below, above, .. } = *entry;
        entry.newer = free;
        self.free = index;
        self.count -= 1;
        match self.at(older) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.at(newer) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        if let Some(below) = self.at(below) {
            below.above = above;
        }
        match self.at(above) {
            Some(above) => above.below = below,
            None if below == NONE => {
                self.youngest.remove(&key);
            }
            None => {
                self.youngest.insert(key, below);
            }
        }
        value
    }
}

/// Hashes what is a hash already.
#[derive(Debug, Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u64),
        Take(u64),
        Retain(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..4u64).prop_map(Step::Put),
            3 => (0..4u64).prop_map(Step::Take),
            1 => (2..5u32).prop_map(Step::Retain),
        ]
    }

    proptest! {
        #[test]
        fn the_youngest_is_taken_and_the_oldest_goes(
            max in 0..6usize,
            steps in prop::collection::vec(step(), 0..100),
        ) {
            let mut idle = Idle::new(max);
            // The oldest first.
            let mut list: Vec<(u64, u32)> = Vec::new();
            for (number, step) in (0u32..).zip(steps) {
                match step {
                    Step::Put(key) => {
                        list.push((key, number));
                        let gone = (list.len() > max).then(|| list.remove(0).1);
                        prop_assert_eq!(idle.put(key, number), gone);
                    }
                    Step::Take(key) => {
                        let youngest = list.iter().rposition(|(other, _)| *other == key);
                        let expected = youngest.map(|at| list.remove(at).1);
                        prop_assert_eq!(idle.take(key), expected);
                    }
                    Step::Retain(divisor) => {
                        let mut gone = Vec::new();
                        idle.retain(|value| *value % divisor > 0, |value| gone.push(value));
                        let expected: Vec<_> = list
                            .extract_if(.., |(_, value)| *value % divisor == 0)
                            .map(|(_, value)| value)
                            .collect();
                        prop_assert_eq!(gone, expected);
                    }
                }
                prop_assert_eq!(idle.count, list.len());
                prop_assert!(idle.entries.len() <= max);
            }
            for (key, number) in list.into_iter().rev() {
                prop_assert_eq!(idle.take(key), Some(number));
            }
            prop_assert!(idle.youngest.is_empty());
        }
    }
}
