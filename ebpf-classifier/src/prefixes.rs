//! Values by prefix, in the order of addresses.
//!
//! A sorted vector instead of a tree: a list has a million prefixes, of which each edit looks at all and
//! changes some. Both are walks from one end to the other here.

use classifier_abi::Prefix;

/// Values by prefix; a prefix stands before those inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByPrefix<V>(Vec<(Prefix, V)>);

impl<V> Default for ByPrefix<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<V: Copy> ByPrefix<V> {
    /// Of a prefix that is there twice the first is taken.
    #[must_use]
    pub fn new(mut entries: Vec<(Prefix, V)>) -> Self {
        if !entries.is_sorted_by(|(one, _), (next, _)| one < next) {
            // Stable: the first of equals stays the first.
            entries.sort_by_key(|(prefix, _)| *prefix);
            entries.dedup_by_key(|(prefix, _)| *prefix);
        }
        Self(entries)
    }

    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, (Prefix, V)> {
        self.0.iter()
    }

    /// Their values.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `prefix`.
    #[must_use]
    pub fn get(&self, prefix: &Prefix) -> Option<&V> {
        let at = self.find(prefix).ok()?;
        self.0.get(at).map(|(_, value)| value)
    }

    /// Sets the value of one prefix, or removes it; moves all behind it.
    pub fn set(&mut self, prefix: Prefix, value: Option<V>) {
        match (self.find(&prefix), value) {
            (Ok(at), Some(value)) => {
                if let Some((_, known)) = self.0.get_mut(at) {
                    *known = value;
                }
            }
            (Ok(at), None) => drop(self.0.remove(at)),
            (Err(at), Some(value)) => self.0.insert(at, (prefix, value)),
            (Err(_), None) => {}
        }
    }

    /// As [`set`](Self::set) of each, in one walk. `changes` are in the order of their prefixes.
    pub fn set_all(&mut self, changes: &[(Prefix, Option<V>)]) {
        let mut changed = Vec::with_capacity(self.0.len() + changes.len());
        let mut old = self.0.as_slice();
        for (prefix, value) in changes {
            let before = old.partition_point(|(known, _)| known < prefix);
            let (kept, rest) = old.split_at(before);
            changed.extend_from_slice(kept);
            old = match rest {
                [(known, _), behind @ ..] if known == prefix => behind,
                _ => rest,
            };
            changed.extend(value.map(|value| (*prefix, value)));
        }
        changed.extend_from_slice(old);
        self.0 = changed;
    }

    fn find(&self, prefix: &Prefix) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| known.cmp(prefix))
    }
}

#[cfg(test)]
mod tests {
    use classifier_abi::Address;

    use super::*;

    fn prefix(number: u8) -> Prefix {
        Prefix::new(Address::v4([10, 0, 0, number]), 128)
    }

    #[test]
    fn the_first_of_equals_is_taken() {
        let by = ByPrefix::new(vec![(prefix(2), 1), (prefix(1), 2), (prefix(2), 3)]);
        assert_eq!(by.iter().copied().collect::<Vec<_>>(), [(prefix(1), 2), (prefix(2), 1)]);
        assert_eq!((by.get(&prefix(2)), by.get(&prefix(3)), by.len()), (Some(&1), None, 2));
        assert_eq!(by.values().sum::<i32>(), 3);
    }

    #[test]
    fn many_changes_are_the_same_as_each() {
        let first: Vec<_> = (0..200).step_by(3).map(|number| (prefix(number), 0)).collect();
        let changes: Vec<_> = (0..200)
            .step_by(2)
            .map(|number| (prefix(number), (number % 4 == 0).then_some(i32::from(number))))
            .collect();
        let (mut one, mut other) = (ByPrefix::new(first.clone()), ByPrefix::new(first));
        one.set_all(&changes);
        changes.iter().for_each(|(prefix, value)| other.set(*prefix, *value));
        assert_eq!(one, other);
        assert!(!one.is_empty() && one.get(&prefix(6)).is_none());
    }
}
