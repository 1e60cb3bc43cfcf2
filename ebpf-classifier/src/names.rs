//! Which id a network has.
//!
//! Hints and records carry ids, so a name keeps its id for as long as the maps live, also across
//! restarts and while the network is missing from the file. Ids run out only after tens of thousands
//! of different names; then those are taken again that the configuration in force does not use.

use std::collections::{BTreeMap, HashMap, HashSet};

/// There are more names than ids.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("there are no ids left for {0} networks: use fewer in one configuration")]
pub struct NoIds(usize);

/// Gives each of `wanted` an id from 1 to `most`: the one it has in `known`, else a free one, else one
/// that is not `in_use`.
///
/// # Errors
/// If there are not enough.
pub fn assign<'n>(
    known: &BTreeMap<u16, String>,
    in_use: &HashSet<u16>,
    wanted: &[&'n str],
    most: u16,
) -> Result<HashMap<&'n str, u16>, NoIds> {
    let by_name: HashMap<&str, u16> = known.iter().map(|(id, name)| (name.as_str(), *id)).collect();
    let mut ids: HashMap<&str, u16> = wanted
        .iter()
        .filter_map(|name| Some((*name, *by_name.get(name)?)))
        .filter(|(_, id)| *id <= most)
        .collect();
    let kept: HashSet<u16> = ids.values().copied().collect();
    let free = (1..=most).filter(|id| !known.contains_key(id) && !in_use.contains(id));
    let unused = known.keys().copied();
    let unused =
        unused.filter(|id| (1..=most).contains(id) && !in_use.contains(id) && !kept.contains(id));
    let mut next = free.chain(unused);
    for name in wanted {
        if !ids.contains_key(name) {
            ids.insert(name, next.next().ok_or(NoIds(wanted.len()))?);
        }
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[(u16, &str)]) -> BTreeMap<u16, String> {
        names.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
    }

    #[test]
    fn a_name_keeps_its_id_and_a_new_one_gets_a_free_one() {
        let known = known(&[(1, "office"), (3, "gone")]);
        let ids = assign(&known, &HashSet::from([1]), &["partner", "office", "lab"], 100).unwrap();
        assert_eq!(ids, HashMap::from([("office", 1), ("partner", 2), ("lab", 4)]));
        let ids = assign(&known, &HashSet::from([1]), &["gone"], 100).unwrap();
        assert_eq!(ids, HashMap::from([("gone", 3)]), "it returns under its id");
    }

    #[test]
    fn only_ids_out_of_use_are_taken_again() {
        let known = known(&[(1, "a"), (2, "b"), (3, "c")]);
        let in_use = HashSet::from([1, 3]);
        let ids = assign(&known, &in_use, &["c", "d"], 3).unwrap();
        assert_eq!(ids, HashMap::from([("c", 3), ("d", 2)]));
        assert_eq!(assign(&known, &in_use, &["d", "e"], 3), Err(NoIds(2)));
    }
}
