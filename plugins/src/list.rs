//! `filters:` lists: read entry by entry, kept over reloads, and merged from the least specific
//! place to the most specific.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sallyport_config::spec::FilterEntry;
use sallyport_config::{Files, Node, Place, Sink, Value};

use crate::filter::{Filter, Phases};
use crate::host::Host;
use crate::kind::{Kind, Kinds, Setting, UpstreamUse};

/// An entry of a list.
#[derive(Clone, Debug)]
pub enum Entry {
    /// This filter runs.
    Use(Arc<Instance>),
    /// The filter of this name, which a less specific place sets up, does not.
    Off(Arc<str>),
}

impl Entry {
    /// The filter's name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        match self {
            Self::Use(instance) => &instance.name,
            Self::Off(name) => name,
        }
    }
}

/// A filter as one place sets it up.
pub struct Instance {
    /// Its name: the kind's, unless the entry gives another.
    pub name: Arc<str>,
    /// Its kind.
    pub kind: &'static str,
    /// The filter.
    pub filter: Arc<dyn Filter>,
    /// The filter's phases.
    pub phases: Phases,
    written: Value,
    files: Files,
    /// Their places without that of the entry, which may move.
    upstreams: Vec<UpstreamUse>,
    started: AtomicBool,
}

impl Instance {
    /// Lets the filter prepare for being in force, if it is not yet.
    pub fn prepare(&self, host: &Host) {
        if !self.started.load(Ordering::Relaxed) {
            self.filter.prepare(host);
        }
    }

    /// Tells the filter that it is in force, once.
    pub fn start(&self, host: &Arc<Host>) {
        if !self.started.swap(true, Ordering::Relaxed) {
            self.filter.clone().start(host);
        }
    }

    fn is_current(&self, kind: &'static str, written: &Value) -> bool {
        self.kind == kind && self.written == *written && self.files.are_current()
    }
}

impl fmt::Display for Instance {
    /// The name, and the kind where that is another word.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.name == self.kind {
            true => out.write_str(self.kind),
            false => write!(out, "{} ({})", self.name, self.kind),
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Instance").field("name", &self.name).field("kind", &self.kind).finish()
    }
}

/// The filters of one configuration, by the place that sets them up and their name.
#[derive(Clone, Debug, Default)]
pub struct Instances(HashMap<(String, Arc<str>), Arc<Instance>>);

impl Instances {
    /// Lets every new filter prepare for being in force; returns when all have.
    pub fn prepare(&self, host: &Host) {
        for instance in self.0.values() {
            instance.prepare(host);
        }
    }

    /// What each filter that counts has counted, for another process.
    #[must_use]
    pub fn counted(&self) -> Vec<Counted> {
        let each = self.0.iter().filter_map(|((scope, name), instance)| {
            let state = instance.filter.counted()?;
            let (name, kind) = (name.to_string(), instance.kind.to_owned());
            Some(Counted { scope: scope.clone(), name, kind, state })
        });
        each.collect()
    }

    /// Lets the same filter go on from what it has counted in another process, if there is one.
    pub fn go_on_from(&self, counted: Counted) {
        let Counted { scope, name, kind, state } = counted;
        let instance = self.0.get(&(scope, Arc::from(name)));
        if let Some(instance) = instance.filter(|instance| instance.kind == kind) {
            instance.filter.go_on_from(&state);
        }
    }

    /// Tells every new filter that it is in force.
    pub fn start(&self, host: &Arc<Host>) {
        for instance in self.0.values() {
            instance.start(host);
        }
    }
}

/// What a filter has counted, and which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The place that sets it up.
    pub scope: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What it has counted, in a form of its own.
    pub state: Vec<u8>,
}

/// Reads the lists of one configuration.
#[derive(Debug)]
pub struct Reader<'a> {
    kinds: &'a Kinds,
    host: &'a Arc<Host>,
    folder: &'a Path,
    previous: &'a Instances,
    instances: Instances,
    files: Files,
    upstreams: Vec<UpstreamUse>,
}

/// Entries of one list: each may be a call on every request.
const ENTRIES_MAX: usize = 64;

/// The name of an entry that is not its kind.
const NAME: &str = "name";

impl<'a> Reader<'a> {
    /// Reads with these kinds. Relative paths begin at `folder`; what is as it was in `previous` is
    /// taken from there, with all it has counted, learnt and opened.
    #[must_use]
    pub fn new(
        kinds: &'a Kinds,
        host: &'a Arc<Host>,
        folder: &'a Path,
        previous: &'a Instances,
    ) -> Self {
        Self {
            kinds,
            host,
            folder,
            previous,
            instances: Instances::default(),
            files: Files::default(),
            upstreams: Vec::new(),
        }
    }

    /// The folder that relative paths begin at.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder
    }

    /// The file at `path`, if it is there. It is watched from then on, there or not.
    pub fn file_if_there(&mut self, path: &Path) -> Option<Vec<u8>> {
        self.files.read(path).ok()
    }

    /// The filters read so far.
    #[must_use]
    pub fn instances(&self) -> &Instances {
        &self.instances
    }

    /// The files that were read, those that could not be read among them.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Adds files that were read elsewhere, to be watched as the others are.
    pub fn add_files(&mut self, files: &Files) {
        self.files.extend(files);
    }

    /// The file called `name`, as it stands at `place`, read whole, for a key that is no filter's. It is
    /// watched from then on, as those of filters are.
    pub fn file(
        &mut self,
        name: &str,
        place: &Place<'_>,
        sink: &mut Sink,
    ) -> Option<(PathBuf, Vec<u8>)> {
        self.files.read_named(self.folder, name, place, sink)
    }

    /// The upstreams that filters name.
    #[must_use]
    pub fn upstreams(&self) -> &[UpstreamUse] {
        &self.upstreams
    }

    /// Reads the list at `place`, of what is called `scope`, which must be the same at the next reload for
    /// the filters to be kept.
    pub fn list(
        &mut self,
        scope: &str,
        list: &[FilterEntry],
        place: &Place<'_>,
        sink: &mut Sink,
    ) -> Option<Vec<Entry>> {
        let mut entries: Vec<Entry> = Vec::with_capacity(list.len());
        if list.len() > ENTRIES_MAX {
            let fix = format!("write at most {ENTRIES_MAX}");
            return place.refuse(sink, format!("has {} filters", list.len()), fix);
        }
        for (index, FilterEntry(value)) in list.iter().enumerate() {
            let node = Node { value, place: Place::Item(place, index) };
            let Some(entry) = self.entry(scope, node, sink) else { continue };
            if entries.iter().any(|before| before.name() == entry.name()) {
                let what = format!("a second filter called {:?} in one list", entry.name());
                node.refuse::<()>(sink, what, "give one of them another `name`");
                continue;
            }
            entries.push(entry);
        }
        Some(entries)
    }

    /// The filter of the kind called `kind` that `node` sets up by itself, outside of a list; `None` if
    /// there is no such kind, or something is wrong.
    pub fn of_kind(&mut self, kind: &str, node: Node<'_>, sink: &mut Sink) -> Option<Entry> {
        let found = self.kinds.iter().find(|known| known.name == kind)?;
        self.instance("top", found.name.into(), found, node, sink).map(Entry::Use)
    }

    fn entry(&mut self, scope: &str, node: Node<'_>, sink: &mut Sink) -> Option<Entry> {
        let kinds = self.kinds;
        node.mapping(sink, |fields, sink| {
            let name = fields.optional(sink, NAME, |node, sink| node.name(sink));
            let mut written = None;
            for kind in kinds.iter() {
                let value = fields.value(kind.name);
                if let Some(value) = value
                    && written.replace((kind, value)).is_some()
                {
                    let fix = "write one kind of filter in each entry";
                    return node.refuse(sink, "holds two kinds of filters", fix);
                }
            }
            let Some((kind, value)) = written else {
                // An unknown key says more than a missing one.
                if !fields.unknown() {
                    let what = format!("has none of {}", kinds.names());
                    return node.refuse(sink, what, "write one of them");
                }
                return None;
            };
            let name: Arc<str> = name.map_or_else(|| kind.name.into(), Arc::from);
            if value.as_str() == Some("off") {
                return Some(Entry::Off(name));
            }
            let place = Place::Key(&node.place, kind.name);
            self.instance(scope, name, kind, Node { value, place }, sink).map(Entry::Use)
        })
    }

    fn instance(
        &mut self,
        scope: &str,
        name: Arc<str>,
        kind: &Kind,
        node: Node<'_>,
        sink: &mut Sink,
    ) -> Option<Arc<Instance>> {
        let key = (scope.to_owned(), name.clone());
        let place = node.place.to_string();
        let kept = self.previous.0.get(&key);
        let instance = match kept.filter(|kept| kept.is_current(kind.name, node.value)) {
            Some(kept) => kept.clone(),
            None => Arc::new(self.read(scope, name, kind, node, &place, sink)?),
        };
        self.files.extend(&instance.files);
        self.upstreams.extend(instance.upstreams.iter().map(|used| UpstreamUse {
            file: node.place.file(),
            place: format!("{place}{}", used.place),
            upstream: used.upstream.clone(),
        }));
        self.instances.0.insert(key, instance.clone());
        Some(instance)
    }

    fn read(
        &mut self,
        scope: &str,
        name: Arc<str>,
        kind: &Kind,
        node: Node<'_>,
        place: &str,
        sink: &mut Sink,
    ) -> Option<Instance> {
        let mut setting = Setting {
            host: self.host,
            name: &name,
            scope,
            folder: self.folder,
            files: Files::default(),
            upstreams: Vec::new(),
        };
        let filter = (kind.read)(node, sink, &mut setting);
        let Setting { files, mut upstreams, .. } = setting;
        let Some(filter) = filter else {
            // They are watched all the same: the one that is missing may be about to come.
            self.files.extend(&files);
            // And an upstream that is not there is one more problem.
            self.upstreams.extend(upstreams);
            return None;
        };
        for used in &mut upstreams {
            used.place = used.place.strip_prefix(place).unwrap_or("").to_owned();
        }
        Some(Instance {
            name,
            kind: kind.name,
            phases: filter.phases(),
            filter,
            written: node.value.clone(),
            files,
            upstreams,
            started: AtomicBool::new(false),
        })
    }
}

/// The filters of a route, in the order in which its request hooks run: those of the lists, the least
/// specific list first. A name that comes again replaces the filter where it stands, or turns it off.
#[must_use]
pub fn merge(lists: &[&[Entry]]) -> Vec<Arc<Instance>> {
    let mut merged: Vec<Arc<Instance>> = Vec::new();
    for entry in lists.iter().copied().flatten() {
        let at = merged.iter().position(|before| before.name == *entry.name());
        match (entry, at) {
            (Entry::Use(instance), Some(at)) => merged[at] = instance.clone(),
            (Entry::Use(instance), None) => merged.push(instance.clone()),
            (Entry::Off(_), Some(at)) => drop(merged.remove(at)),
            (Entry::Off(_), None) => {}
        }
    }
    merged
}

#[cfg(test)]
mod tests;
