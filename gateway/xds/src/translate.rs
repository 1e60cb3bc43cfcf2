//! Envoy's resources as Sallyport's configuration.
//!
//! A pure function: resources in, a tree of our configuration and a report out. Listeners come
//! first, since they say which route configurations are used and with which filters; then routes,
//! which say what clusters hash on; then clusters.

mod access_log;
mod action;
mod cluster;
mod dangling;
mod data;
mod filters;
mod fraction;
mod headers;
mod listener;
mod manager;
mod matching;
mod memo;
mod redirect;
mod regex;
mod retry;
mod routes;
mod tls;

use std::cell::RefCell;
use std::collections::BTreeMap;

use sallyport_config::Value;

pub(crate) use self::cluster::of_resource as endpoints_of;
pub use self::data::{Inline, Inlined, NoInline};
use self::fraction::Runtime;
pub(crate) use self::memo::Memo;
use self::memo::Tape;
use crate::fields::Fields;
use crate::findings::{Findings, Report};
use crate::output::{self, Map};
use crate::resources::{Resource, ResourceKind, Resources};

/// Our configuration, as far as resources make it up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// Entries of `listeners`.
    pub listeners: Vec<Value>,
    /// Entries of `upstreams`.
    pub upstreams: Vec<Value>,
    /// Entries of `virtual_hosts`.
    pub virtual_hosts: Vec<Value>,
    /// What became of each field.
    pub report: Report,
}

impl Translation {
    /// The keys that it makes up, as one mapping.
    #[must_use]
    pub fn into_value(self) -> Value {
        let list = |items: Vec<Value>| (!items.is_empty()).then_some(Value::Sequence(items));
        Map::new()
            .with("listeners", output::list(self.listeners))
            .with_some("upstreams", list(self.upstreams))
            .with_some("virtual_hosts", list(self.virtual_hosts))
            .done()
    }
}

/// What resources are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A file, in which all are there or never will be.
    File,
    /// What a control plane says: endpoints come apart from their clusters, and what is not there
    /// may come yet.
    Live,
}

/// Translates `resources`. What stands in them in place of a file goes through `inline`; findings
/// are added to `findings`.
#[must_use]
pub fn translate(
    resources: &Resources,
    inline: &dyn Inline,
    setting: Setting,
    findings: Findings,
) -> Translation {
    translate_again(resources, inline, setting, findings, &mut Memo::default())
}

/// As [`translate`], taking over from `memo` what is as it was, and leaving there what the next
/// translation may take over.
pub(crate) fn translate_again(
    resources: &Resources,
    inline: &dyn Inline,
    setting: Setting,
    findings: Findings,
    memo: &mut Memo,
) -> Translation {
    let (listeners, virtual_hosts, upstreams) = {
        let runtime = Runtime::of(resources, &findings);
        memo.begin(&runtime);
        let (hashing, tape) = Default::default();
        let findings = &findings;
        let scope = Scope { resources, inline, setting, findings, runtime, hashing, memo, tape };
        let gates = listener::all(&scope);
        let virtual_hosts = routes::all(&scope, &gates);
        let upstreams = cluster::all(&scope);
        let gates = gates.into_iter().enumerate();
        let listeners =
            gates.flat_map(|(index, gate)| gate.written(index, &virtual_hosts)).collect();
        let virtual_hosts = dangling::pruned(virtual_hosts.into_values(), &upstreams, findings);
        memo.end();
        (listeners, virtual_hosts, upstreams)
    };
    Translation { listeners, upstreams, virtual_hosts, report: findings.into_report() }
}

/// What every step of one translation can reach.
struct Scope<'r> {
    resources: &'r Resources,
    inline: &'r dyn Inline,
    setting: Setting,
    findings: &'r Findings,
    runtime: Runtime,
    /// What the routes of a cluster hash on, by the cluster's name.
    hashing: RefCell<BTreeMap<String, Vec<HashWish>>>,
    /// What was translated before.
    memo: &'r Memo,
    /// What is looked at, while that is noted.
    tape: RefCell<Option<Tape>>,
}

/// What one route asks its cluster to hash on.
#[derive(Clone, Debug, PartialEq)]
struct HashWish {
    /// The route's place.
    place: String,
    /// As `hash_on` has it.
    on: Value,
}

impl<'r> Scope<'r> {
    /// The fields of a resource.
    fn fields(&self, resource: &'r Resource) -> Fields<'r> {
        Fields::new(&resource.message, resource.place.clone(), self.findings)
    }

    /// The fields of the resource of this kind and name, if it is there.
    fn find(&self, kind: ResourceKind, name: &str) -> Option<Fields<'r>> {
        self.resource(kind, name).map(|resource| self.fields(resource))
    }

    /// The resource of this kind and name, if it is there.
    fn resource(&self, kind: ResourceKind, name: &str) -> Option<&'r Resource> {
        let found = self.resources.find(kind, name);
        self.note(|tape| tape.look_at(kind, name, found));
        found
    }

    /// Notes what a route asks its cluster to hash on.
    fn wish(&self, cluster: &str, wish: HashWish) {
        self.note(|tape| tape.wishes.push((cluster.to_owned(), wish.clone())));
        self.hashing.borrow_mut().entry(cluster.to_owned()).or_default().push(wish);
    }

    /// See [`Inline::keep`].
    fn keep(&self, what: &str, data: &[u8]) -> Inlined {
        self.note(|tape| tape.files.push((what.to_owned(), data.to_vec())));
        self.inline.keep(what, data)
    }

    /// See [`Inline::read`].
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.note(|tape| tape.is_volatile = true);
        self.inline.read(path)
    }

    fn note(&self, note: impl FnOnce(&mut Tape)) {
        if let Some(tape) = &mut *self.tape.borrow_mut() {
            note(tape);
        }
    }
}

#[cfg(test)]
mod tests;
