//! Translations of the resources before: what is as it was is not translated again.
//!
//! What a translation looked at besides its own message is noted while it is made, and what it came to
//! besides its value: findings, files, and what its routes hash on. As long as all that was looked at is
//! the same, it stands for itself. Clusters are kept each, and routes each within their virtual host;
//! listeners, of which there are few, are translated every time.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use prost_reflect::DynamicMessage;
use sallyport_config::Value;

use super::filters::Chain;
use super::fraction::Runtime;
use super::routes::Level;
use super::{HashWish, Scope};
use crate::fields::Fields;
use crate::findings::Found;
use crate::resources::{Resource, ResourceKind};

/// Translations to be taken over by the next one.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    runtime: Runtime,
    before: RefCell<Entries>,
    now: RefCell<Entries>,
    translated: Cell<usize>,
}

#[derive(Debug, Default)]
struct Entries {
    clusters: HashMap<String, ClusterEntry>,
    hosts: HashMap<String, HostEntry>,
}

#[derive(Debug)]
struct ClusterEntry {
    message: Arc<DynamicMessage>,
    wishes: Vec<HashWish>,
    kept: Kept,
}

/// The routes of a virtual host, and what all of them stand on.
#[derive(Debug)]
pub(super) struct HostEntry {
    /// The route configuration, and the index of the virtual host in it.
    pub(super) message: Arc<DynamicMessage>,
    pub(super) index: usize,
    pub(super) place: String,
    pub(super) chain: Chain,
    pub(super) level: Level,
    pub(super) routes: Vec<RouteEntry>,
}

/// One route, as it is called.
#[derive(Debug)]
pub(super) struct RouteEntry {
    pub(super) name: String,
    pub(super) kept: Kept,
}

/// What a translation came to, and what it looked at.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) value: Option<Value>,
    found: Found,
    tape: Tape,
}

/// What is noted of a translation while it is made.
#[derive(Debug, Default)]
pub(super) struct Tape {
    looked_at: Vec<LookedAt>,
    /// What it asks clusters to hash on.
    pub(super) wishes: Vec<(String, HashWish)>,
    /// What it had kept as files.
    pub(super) files: Vec<(String, Vec<u8>)>,
    /// Whether it read a file, which may be another the next time.
    pub(super) is_volatile: bool,
}

/// A resource, or that there was none.
#[derive(Debug)]
struct LookedAt {
    kind: ResourceKind,
    name: String,
    message: Option<Arc<DynamicMessage>>,
}

impl Tape {
    pub(super) fn look_at(&mut self, kind: ResourceKind, name: &str, found: Option<&Resource>) {
        let is_known = self.looked_at.iter().any(|it| it.kind == kind && it.name == name);
        if !is_known {
            let message = found.map(|resource| resource.message.clone());
            self.looked_at.push(LookedAt { kind, name: name.to_owned(), message });
        }
    }
}

impl Memo {
    /// How many clusters and routes the translations so far have translated, and not taken over.
    pub(crate) fn translated(&self) -> usize {
        self.translated.get()
    }

    /// Begins a translation under this runtime.
    pub(super) fn begin(&mut self, runtime: &Runtime) {
        if self.runtime != *runtime {
            self.before.take();
            self.runtime = runtime.clone();
        }
    }

    /// Ends a translation: what it neither made nor took over is forgotten.
    pub(super) fn end(&self) {
        self.before.replace(self.now.take());
    }

    /// The routes of a virtual host as they were translated before.
    pub(super) fn take_host(&self, name: &str) -> Option<HostEntry> {
        self.before.borrow_mut().hosts.remove(name)
    }

    /// Keeps the routes of a virtual host.
    pub(super) fn keep_host(&self, name: String, entry: HostEntry) {
        self.now.borrow_mut().hosts.insert(name, entry);
    }

    /// The cluster called `name`: what was kept of it, or what `translate` makes of it.
    pub(super) fn cluster(
        &self,
        scope: &Scope<'_>,
        (name, resource): (&str, &Resource),
        wishes: Vec<HashWish>,
        translate: impl FnOnce(&[HashWish]) -> Option<Value>,
    ) -> Option<Value> {
        let before = self.before.borrow_mut().clusters.remove(name).filter(|entry| {
            Arc::ptr_eq(&entry.message, &resource.message)
                && entry.wishes == wishes
                && entry.kept.is_current(scope)
        });
        let entry = match before {
            Some(entry) => {
                entry.kept.replay(scope);
                entry
            }
            None => {
                let kept = self.record(scope, || translate(&wishes));
                ClusterEntry { message: resource.message.clone(), wishes, kept }
            }
        };
        let value = entry.kept.value.clone();
        self.now.borrow_mut().clusters.insert(name.to_owned(), entry);
        value
    }

    /// Translates, and notes what is looked at and found.
    pub(super) fn record(
        &self,
        scope: &Scope<'_>,
        translate: impl FnOnce() -> Option<Value>,
    ) -> Kept {
        self.translated.set(self.translated.get() + 1);
        scope.tape.replace(Some(Tape::default()));
        let mark = scope.findings.mark();
        let value = translate();
        let found = scope.findings.since(mark);
        Kept { value, found, tape: scope.tape.take().unwrap_or_default() }
    }
}

impl Kept {
    /// Whether all that was looked at is as it was.
    pub(super) fn is_current(&self, scope: &Scope<'_>) -> bool {
        let is_same = |it: &LookedAt| {
            let now = scope.resources.find(it.kind, &it.name).map(|resource| &resource.message);
            match (&it.message, now) {
                (Some(before), Some(now)) => Arc::ptr_eq(before, now),
                (before, now) => before.is_none() && now.is_none(),
            }
        };
        !self.tape.is_volatile && self.tape.looked_at.iter().all(is_same)
    }

    /// Does again what the translation did besides: what was found then is found now.
    pub(super) fn replay(&self, scope: &Scope<'_>) {
        scope.findings.add(&self.found);
        for (cluster, wish) in &self.tape.wishes {
            scope.wish(cluster, wish.clone());
        }
        for (what, data) in &self.tape.files {
            // It was kept before.
            scope.inline.keep(what, data).ok();
        }
    }
}

impl HostEntry {
    /// Whether the route with this index is `route`, of the route configuration `message`.
    pub(super) fn says_again(
        &self,
        message: &Arc<DynamicMessage>,
        index: usize,
        route: &Fields<'_>,
    ) -> bool {
        // Where the place is the same and the message is, so are its parts.
        Arc::ptr_eq(&self.message, message)
            || self.route(index).is_some_and(|before| *before == *route.as_message())
    }

    fn route(&self, index: usize) -> Option<&DynamicMessage> {
        let host = item(&self.message, "virtual_hosts", self.index)?;
        item(host, "routes", index)
    }
}

/// One message of a list.
fn item<'m>(message: &'m DynamicMessage, list: &str, index: usize) -> Option<&'m DynamicMessage> {
    let Cow::Borrowed(list) = message.get_field_by_name(list)? else { return None };
    list.as_list()?.get(index)?.as_message()
}
