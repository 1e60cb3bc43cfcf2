//! Putting a configuration in force, all of it at one instant.
//!
//! The maps hold two versions of every value, and the lowest bit of the generation says which one
//! counts. [`plan`] writes the new configuration into the version that does not, raises the
//! generation, and removes what the new configuration does not have. At every step in between,
//! whatever is looked up gives the answer of the old configuration before the generation changes
//! and of the new one after:
//!
//! - A key that one of the two does not have is in the map all the same while the other needs it. Its
//!   value under the one without it is what a lookup would find there were the key not in the map: for
//!   a prefix the longest one around it, for a VLAN its interface's entry for all VLANs.
//! - The version of a value that is in force is never changed, and a key goes only after the generation
//!   has changed.
//!
//! Afterwards both versions of every network are made the same, so that the next change has to
//! write only what it changes: lists have a million prefixes.

mod store;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use classifier_abi::{Name, NameKey, NameKind, Network, Prefix, Slots, Zone, ZoneKey};

use crate::prefixes::ByPrefix;
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
    pub networks: ByPrefix<Slots<Network>>,
    /// The words of `ports` that are not 0.
    pub ports: BTreeMap<u32, u64>,
    /// The names.
    pub names: HashMap<NameKey, Name>,
}

/// One write to one map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Sets a name.
    Name(NameKey, Name),
    /// Sets a zone. Boxed, as there may be a million of the others.
    Zone(ZoneKey, Box<Slots<Zone>>),
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
            Step::Zone(key, ref slots) => drop(self.zones.insert(key, **slots)),
            Step::Network(key, slots) => self.networks.set(key, Some(slots)),
            Step::Ports(word, 0) => drop(self.ports.remove(&word)),
            Step::Ports(word, ports) => drop(self.ports.insert(word, ports)),
            Step::Generation(generation) => self.generation = generation,
            Step::DropZone(key) => drop(self.zones.remove(&key)),
            Step::DropNetwork(key) => self.networks.set(key, None),
            Step::DropName(key) => drop(self.names.remove(&key)),
        }
    }
}

impl Held {
    /// Follows steps; networks in a row in one walk.
    pub fn follow_all(&mut self, steps: &[Step]) {
        let change = |step: &Step| match *step {
            Step::Network(key, slots) => Some((key, Some(slots))),
            Step::DropNetwork(key) => Some((key, None)),
            _ => None,
        };
        for run in steps.chunk_by(|one, next| change(one).is_some() == change(next).is_some()) {
            let changes: Vec<_> = run.iter().filter_map(change).collect();
            // As `plan` has them.
            if changes.is_sorted_by(|(one, _), (next, _)| one < next) && !changes.is_empty() {
                self.networks.set_all(&changes);
            } else {
                run.iter().for_each(|step| self.follow(step));
            }
        }
    }
}

/// The writes that take the maps from what they hold to `new`, in order. What is there already is
/// not written again.
#[must_use]
pub fn plan(held: &Held, new: &Tables) -> Vec<Step> {
    let next = held.generation.wrapping_add(1);
    let mut steps = Vec::new();
    names(held, new, &mut steps);
    zones(held, new, next, &mut steps);
    let mut later = Vec::new();
    networks(held, new, next, &mut steps, &mut later);
    ports(held, new, next, &mut steps);
    steps.push(Step::Generation(next));
    steps.append(&mut later);
    let gone = held.zones.keys().filter(|key| !new.zones.contains_key(key));
    steps.extend(gone.map(|key| Step::DropZone(*key)));
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
            steps.push(Step::Zone(*key, Box::new(slots)));
        }
    }
}

/// The length of a prefix that holds one address: no other prefix is inside it.
const ADDRESS_BITS: u32 = 128;

/// Walks over both in the order of addresses, in which a prefix stands before those inside it:
/// those around the one that is looked at are on two stacks.
fn networks(held: &Held, new: &Tables, next: u32, steps: &mut Vec<Step>, later: &mut Vec<Step>) {
    let (mut before, mut after) = (Around::default(), Around::default());
    let (mut old, mut new) = (held.networks.iter().peekable(), new.networks.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((old, _)), Some((new, _))) => old.cmp(new),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        let known = if order.is_le() { old.next() } else { None };
        let wanted = if order.is_ge() { new.next() } else { None };
        let Some(prefix) = known.map(|(prefix, _)| *prefix).or(wanted.map(|(prefix, _)| *prefix))
        else {
            break;
        };
        let (known, wanted) = (known.map(|(_, slots)| *slots), wanted.map(|(_, network)| *network));
        // Nearly all of a list: single addresses, inside which nothing is, that stay what they are.
        if prefix.bits == ADDRESS_BITS && known.is_some() && known == wanted.map(both) {
            continue;
        }
        let was = before.of(&prefix, known.map(|slots| *slots.of(held.generation)));
        let becomes = after.of(&prefix, wanted);
        let mut slots = known.unwrap_or(both(was));
        *slots.of_mut(next) = becomes;
        if known != Some(slots) {
            steps.push(Step::Network(prefix, slots));
        }
        if wanted.is_none() {
            later.push(Step::DropNetwork(prefix));
        } else if slots != both(becomes) {
            later.push(Step::Network(prefix, both(becomes)));
        }
    }
}

/// The prefixes around the one that is looked at, each inside the one before it.
#[derive(Default)]
struct Around(Vec<(Prefix, Network)>);

impl Around {
    /// What holds for `prefix`, which has `own` or is not there. Called in the order of addresses.
    fn of(&mut self, prefix: &Prefix, own: Option<Network>) -> Network {
        while self.0.pop_if(|(around, _)| !around.contains(prefix)).is_some() {}
        if let Some(own) = own {
            self.0.push((*prefix, own));
        }
        self.0.last().map(|(_, network)| *network).unwrap_or_default()
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

#[cfg(test)]
mod tests;
