//! What is known of a control plane: resources by kind and name, what of them is accepted, and what
//! of that can be in force.
//!
//! Pure: no socket and no clock of its own. A resource that names others is in force once they are
//! there, and its last version that was in force stays until then: make before break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost_reflect::DynamicMessage;

use crate::references::{self, Reference};
use crate::resources::{Resource, ResourceKind, Resources};

/// A resource as a control plane sent it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) resource: Resource,
    pub(crate) version: String,
    references: Arc<[Reference]>,
    /// When it is no more unless it is heard of again.
    expires: Option<Instant>,
}

/// One resource of an update.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) name: String,
    pub(crate) version: String,
    /// `None` says that what is known is still so.
    pub(crate) message: Option<Arc<DynamicMessage>>,
    pub(crate) ttl: Option<Duration>,
}

/// All that is known, by kind and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    known: ByKind,
    in_force: ByKind,
}

/// What an update replaced, so that it can be taken back.
#[derive(Debug, Default)]
pub(crate) struct Undo(Vec<(ResourceKind, String, Option<Known>)>);

impl Undo {
    /// The part that is one resource's, which is then no part of this.
    pub(crate) fn of(&mut self, name: &str) -> Self {
        Self(self.0.extract_if(.., |(_, of, _)| of == name).collect())
    }
}

/// The place of a resource: what the places of its fields begin with.
pub(crate) fn place(kind: ResourceKind, name: &str) -> String {
    format!("{}[{name}]", kind.short_name())
}

impl State {
    /// The names of one kind.
    pub(crate) fn names(&self, kind: ResourceKind) -> impl Iterator<Item = &str> {
        self.known.get(&kind).into_iter().flatten().map(|(name, _)| &**name)
    }

    /// How many resources of a kind are known.
    pub(crate) fn count(&self, kind: ResourceKind) -> usize {
        self.known.get(&kind).map_or(0, BTreeMap::len)
    }

    /// The versions of one kind, by name: what a control plane need not send again.
    pub(crate) fn versions(&self, kind: ResourceKind) -> Vec<(String, String)> {
        let known = self.known.get(&kind).into_iter().flatten();
        known.map(|(name, known)| (name.clone(), known.version.clone())).collect()
    }

    /// Takes a resource; notes in `undo` what was before. Whether anything is another than before.
    pub(crate) fn insert(
        &mut self,
        kind: ResourceKind,
        incoming: Incoming,
        now: Instant,
        undo: &mut Undo,
    ) -> bool {
        let Incoming { name, version, message, ttl } = incoming;
        let expires = ttl.map(|ttl| now + ttl);
        let of_kind = self.known.entry(kind).or_default();
        let Some(message) = message else {
            if let Some(known) = of_kind.get_mut(&name) {
                known.expires = expires;
            }
            return false;
        };
        if let Some(known) = of_kind.get_mut(&name)
            && *known.resource.message == *message
        {
            known.version = version;
            known.expires = expires;
            return false;
        }
        let references = references::of(&message).into();
        let resource = Resource { message, place: place(kind, &name) };
        let known = Known { resource, version, references, expires };
        let before = of_kind.insert(name.clone(), known);
        undo.0.push((kind, name, before));
        true
    }

    /// Removes a resource. Whether it was there.
    pub(crate) fn remove(&mut self, kind: ResourceKind, name: &str, undo: &mut Undo) -> bool {
        let Some(before) = self.known.get_mut(&kind).and_then(|of_kind| of_kind.remove(name))
        else {
            return false;
        };
        undo.0.push((kind, name.to_owned(), Some(before)));
        true
    }

    /// Takes an update back.
    pub(crate) fn undo(&mut self, undo: Undo) {
        for (kind, name, before) in undo.0.into_iter().rev() {
            let of_kind = self.known.entry(kind).or_default();
            match before {
                Some(before) => drop(of_kind.insert(name, before)),
                None => drop(of_kind.remove(&name)),
            }
        }
    }

    /// Removes what was not heard of in time; returns the names.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<(ResourceKind, String)> {
        let mut gone = Vec::new();
        for (kind, of_kind) in &mut self.known {
            of_kind.retain(|name, known| {
                let is_over = known.expires.is_some_and(|expires| expires <= now);
                if is_over {
                    gone.push((*kind, name.clone()));
                }
                !is_over
            });
        }
        gone
    }

    /// When the next resource is no more unless it is heard of again.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let known = self.known.values().flat_map(BTreeMap::values);
        known.filter_map(|known| known.expires).min()
    }

    /// The names of a kind that known resources and those in force need. Names that nobody needs
    /// any more are forgotten.
    pub(crate) fn needed(&self, kind: ResourceKind) -> BTreeSet<String> {
        let all = [&self.known, &self.in_force].into_iter().flat_map(BTreeMap::values);
        let references = all.flat_map(BTreeMap::values).flat_map(|known| known.references.iter());
        references.filter(|it| it.kind == kind).map(|it| it.name.clone()).collect()
    }

    /// Forgets resources of a kind that are not among `names`.
    pub(crate) fn retain(&mut self, kind: ResourceKind, names: &BTreeSet<String>) -> Vec<String> {
        let mut gone = Vec::new();
        if let Some(of_kind) = self.known.get_mut(&kind) {
            of_kind.retain(|name, _| {
                let stays = names.contains(name);
                if !stays {
                    gone.push(name.clone());
                }
                stays
            });
        }
        gone
    }

    /// The resource of this kind and name, if it is known.
    pub(crate) fn find(&self, kind: ResourceKind, name: &str) -> Option<&Known> {
        self.known.get(&kind)?.get(name)
    }

    /// All that is known, as resources.
    pub(crate) fn resources(&self) -> Resources {
        resources(&self.known)
    }

    /// What can be in force now, and what waits for something that is not there.
    pub(crate) fn effective(&self) -> Effective {
        let mut effective = Effective::default();
        for kind in [ResourceKind::Cluster, ResourceKind::Listener] {
            for (name, known) in self.known.get(&kind).into_iter().flatten() {
                match self.missing(known, 0) {
                    None => self.take(kind, name, known, &mut effective, 0),
                    Some(missing) => {
                        let waiting = Waiting { place: known.resource.place.clone(), missing };
                        effective.waiting.push(waiting);
                        if let Some(before) = self.before(kind, name) {
                            self.take(kind, name, before, &mut effective, 0);
                        }
                    }
                }
            }
        }
        for kind in [ResourceKind::Runtime, ResourceKind::Secret] {
            for (name, known) in self.known.get(&kind).into_iter().flatten() {
                effective
                    .chosen
                    .entry(kind)
                    .or_default()
                    .entry(name.clone())
                    .or_insert(known.clone());
            }
        }
        effective
    }

    fn before(&self, kind: ResourceKind, name: &str) -> Option<&Known> {
        self.in_force.get(&kind)?.get(name)
    }

    /// What a resource waits for: the first that it cannot do without, or that those cannot.
    fn missing(&self, known: &Known, depth: usize) -> Option<Reference> {
        let hard = known.references.iter().filter(|it| it.kind != ResourceKind::Cluster);
        for reference in hard {
            match self.find(reference.kind, &reference.name) {
                None => return Some(reference.clone()),
                // They do not name each other in circles; who does waits for good.
                Some(inner) if depth < 8 => {
                    if let Some(missing) = self.missing(inner, depth + 1) {
                        return Some(missing);
                    }
                }
                Some(_) => return Some(reference.clone()),
            }
        }
        None
    }

    /// Adds a resource and all that it names: what is known, else what is in force.
    fn take(
        &self,
        kind: ResourceKind,
        name: &str,
        known: &Known,
        effective: &mut Effective,
        depth: usize,
    ) {
        let of_kind = effective.chosen.entry(kind).or_default();
        if of_kind.contains_key(name) || depth > 8 {
            return;
        }
        of_kind.insert(name.to_owned(), known.clone());
        for reference in known.references.iter() {
            let (kind, name) = (reference.kind, &reference.name);
            let ready = self.find(kind, name).filter(|known| self.missing(known, 0).is_none());
            match ready.or_else(|| self.before(kind, name)) {
                Some(found) => self.take(kind, name, found, effective, depth + 1),
                None if kind == ResourceKind::Cluster => {
                    let waiting =
                        Waiting { place: known.resource.place.clone(), missing: reference.clone() };
                    effective.waiting.push(waiting);
                }
                None => {}
            }
        }
    }

    /// Notes that `effective` is in force.
    pub(crate) fn settle(&mut self, effective: Effective) {
        self.in_force = effective.chosen;
    }
}

fn resources(of: &ByKind) -> Resources {
    let mut resources = Resources::default();
    for (kind, of_kind) in of {
        for (name, known) in of_kind {
            resources.insert(*kind, name.clone(), known.resource.clone());
        }
    }
    resources
}

type ByKind = BTreeMap<ResourceKind, BTreeMap<String, Known>>;

/// Whether both are made of the same messages. Endpoints are in force beside the tables and do not
/// count.
fn are_same(one: &ByKind, other: &ByKind) -> bool {
    let tables = |of: &'_ ByKind| {
        let kinds = of.iter().filter(|(kind, _)| **kind != ResourceKind::ClusterLoadAssignment);
        let all = kinds
            .flat_map(|(kind, of_kind)| of_kind.iter().map(|(name, known)| (*kind, name, known)));
        all.map(|(kind, name, known)| (kind, name.clone(), Arc::as_ptr(&known.resource.message)))
            .collect::<Vec<_>>()
    };
    tables(one) == tables(other)
}

/// What can be in force, and what waits.
#[derive(Clone, Debug, Default)]
pub(crate) struct Effective {
    chosen: ByKind,
    pub(crate) waiting: Vec<Waiting>,
}

impl Effective {
    /// As resources.
    pub(crate) fn resources(&self) -> Resources {
        resources(&self.chosen)
    }

    /// Whether it is made of the same messages as what is in force.
    pub(crate) fn is_in_force(&self, state: &State) -> bool {
        are_same(&self.chosen, &state.in_force)
    }

    /// Whether both are made of the same messages.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        are_same(&self.chosen, &other.chosen)
    }
}

/// A resource and what it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) place: String,
    pub(crate) missing: Reference,
}

#[cfg(test)]
pub(super) mod tests;
