//! Putting a configuration in force, all of it at one instant.
//!
//! The maps hold two versions of every value, and the lowest bit of the generation says which one
//! counts. [`plan`] writes the new configuration into the version that does not, raises the generation,
//! and removes what the new configuration does not have. At every step in between, whatever is looked
//! up gives the answer of the old configuration before the generation changes and of the new one after:
//!
//! - A key that one of the two does not have is in the map all the same while the other needs it. Its
//!   value under the one without it is what a lookup would find there were the key not in the map: for
//!   a prefix the longest one around it, for a VLAN its interface's entry for all VLANs.
//! - The old version of a value is never changed, and a key goes only after the generation has.

mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use classifier_abi::{Name, NameKey, NameKind, Network, Prefix, Slots, Zone, ZoneKey};

use crate::tables::{PORT_WORDS, Tables};

pub use store::{ApplyError, Heart, Store};

/// What the maps hold.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// The generation in force.
    pub generation: u32,
    /// The zones.
    pub zones: HashMap<ZoneKey, Slots<Zone>>,
    /// The networks.
    pub networks: HashMap<Prefix, Slots<Network>>,
    /// The words of `ports` that are not 0.
    pub ports: BTreeMap<u32, u64>,
    /// The names.
    pub names: HashMap<NameKey, Name>,
}

/// One write to one map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sets a name.
    Name(NameKey, Name),
    /// Sets a zone.
    Zone(ZoneKey, Slots<Zone>),
    /// Sets a network.
    Network(Prefix, Slots<Network>),
    /// Sets a word of the ports.
    Ports(u32, u64),
    /// Sets the generation: from here on the new configuration holds.
    Generation(u32),
    /// Removes a zone.
    DropZone(ZoneKey),
    /// Removes a network.
    DropNetwork(Prefix),
    /// Removes a name.
    DropName(NameKey),
}

impl Held {
    /// Follows a step.
    pub fn follow(&mut self, step: &Step) {
        match *step {
            Step::Name(key, name) => drop(self.names.insert(key, name)),
            Step::Zone(key, slots) => drop(self.zones.insert(key, slots)),
            Step::Network(key, slots) => drop(self.networks.insert(key, slots)),
            Step::Ports(word, 0) => drop(self.ports.remove(&word)),
            Step::Ports(word, ports) => drop(self.ports.insert(word, ports)),
            Step::Generation(generation) => self.generation = generation,
            Step::DropZone(key) => drop(self.zones.remove(&key)),
            Step::DropNetwork(key) => drop(self.networks.remove(&key)),
            Step::DropName(key) => drop(self.names.remove(&key)),
        }
    }
}

/// The writes that take the maps from what they hold to `new`, in order. What is there already is not
/// written again.
#[must_use]
pub fn plan(held: &Held, new: &Tables) -> Vec<Step> {
    let next = held.generation.wrapping_add(1);
    let mut steps = Vec::new();
    names(held, new, &mut steps);
    zones(held, new, next, &mut steps);
    networks(held, new, next, &mut steps);
    ports(held, new, next, &mut steps);
    steps.push(Step::Generation(next));
    let gone = held.zones.keys().filter(|key| !new.zones.contains_key(key));
    steps.extend(gone.map(|key| Step::DropZone(*key)));
    let gone = held.networks.keys().filter(|key| !new.networks.contains_key(key));
    steps.extend(gone.map(|key| Step::DropNetwork(*key)));
    // Networks' names stay, so that they return under their ids.
    let zone = |key: &&NameKey| key.kind == NameKind::Zone as u16;
    let gone = held.names.keys().filter(zone).filter(|key| !new.names.contains_key(key));
    steps.extend(gone.map(|key| Step::DropName(*key)));
    steps
}

/// Names come first: an id must not be seen before its name.
fn names(held: &Held, new: &Tables, steps: &mut Vec<Step>) {
    let changed = new.names.iter().filter(|(key, name)| held.names.get(key) != Some(name));
    steps.extend(changed.map(|(key, name)| Step::Name(*key, *name)));
}

fn zones(held: &Held, new: &Tables, next: u32, steps: &mut Vec<Step>) {
    let every = |key: &ZoneKey| ZoneKey { vlan: 0, ..*key };
    let wanted = |key: &ZoneKey| {
        new.zones.get(key).or_else(|| new.zones.get(&every(key))).copied().unwrap_or_default()
    };
    let before = |key: &ZoneKey| {
        let slots = held.zones.get(&every(key));
        slots.map(|slots| *slots.of(held.generation)).unwrap_or_default()
    };
    for key in held.zones.keys().chain(new.zones.keys().filter(|key| !held.zones.contains_key(key)))
    {
        let known = held.zones.get(key).copied();
        let mut slots = known.unwrap_or_else(|| both(before(key)));
        *slots.of_mut(next) = wanted(key);
        if known != Some(slots) {
            steps.push(Step::Zone(*key, slots));
        }
    }
}

fn networks(held: &Held, new: &Tables, next: u32, steps: &mut Vec<Step>) {
    let before =
        Trie::of(held.networks.iter().map(|(prefix, slots)| (*prefix, *slots.of(held.generation))));
    let after = Trie::of(new.networks.iter().map(|(prefix, network)| (*prefix, *network)));
    let added = new.networks.keys().filter(|prefix| !held.networks.contains_key(prefix));
    for prefix in held.networks.keys().chain(added) {
        let known = held.networks.get(prefix).copied();
        let mut slots = known.unwrap_or_else(|| both(before.longest(prefix)));
        *slots.of_mut(next) = after.longest(prefix);
        if known != Some(slots) {
            steps.push(Step::Network(*prefix, slots));
        }
    }
}

fn ports(held: &Held, new: &Tables, next: u32, steps: &mut Vec<Step>) {
    let words = PORT_WORDS as u32;
    let from = (next & 1) * words;
    let held_words = held.ports.range(from..from + words).map(|(word, _)| *word);
    let all: BTreeSet<u32> = held_words.chain(new.ports.keys().map(|word| from + word)).collect();
    for word in all {
        let wanted = new.ports.get(&(word - from)).copied().unwrap_or_default();
        if held.ports.get(&word).copied().unwrap_or_default() != wanted {
            steps.push(Step::Ports(word, wanted));
        }
    }
}

fn both<T: Copy>(value: T) -> Slots<T> {
    Slots { even: value, odd: value }
}

/// Longest-prefix matching, as the kernel's trie does it.
struct Trie {
    /// By the address with all further bits cleared.
    networks: HashMap<(u32, u128), Network>,
    /// The lengths that occur, longest first.
    lengths: Vec<u32>,
}

impl Trie {
    fn of(entries: impl Iterator<Item = (Prefix, Network)>) -> Self {
        let networks: HashMap<_, _> =
            entries.map(|(prefix, network)| (masked(&prefix, prefix.bits), network)).collect();
        let lengths: BTreeSet<u32> = networks.keys().map(|(bits, _)| *bits).collect();
        Self { networks, lengths: lengths.into_iter().rev().collect() }
    }

    /// What holds for all of `prefix`, as far as no longer one is looked at.
    fn longest(&self, prefix: &Prefix) -> Network {
        let lengths = self.lengths.iter().filter(|bits| **bits <= prefix.bits);
        let mut found = lengths.filter_map(|bits| self.networks.get(&masked(prefix, *bits)));
        found.next().copied().unwrap_or_default()
    }
}

fn masked(prefix: &Prefix, bits: u32) -> (u32, u128) {
    let address = u128::from_be_bytes(prefix.octets);
    let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
    (bits, address & mask)
}

#[cfg(test)]
mod tests;
