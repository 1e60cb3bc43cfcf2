//! The kinds of filters that a gateway knows, and how one reads its configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sallyport_config::schema::SettingsSchema;
use sallyport_config::{Files, Node, Place, Sink};

use crate::filter::Filter;
use crate::host::Host;

/// One kind of filter.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its key in `filters:`.
    pub name: &'static str,
    /// Reads the value under the key and makes the filter; notes every problem in the sink. It must
    /// not start anything: that is [`Filter::start`]'s, once the configuration is in force.
    pub read: fn(Node<'_>, &mut Sink, &mut Setting<'_>) -> Option<Arc<dyn Filter>>,
    /// What may be set of it, for the schema of the configuration.
    pub schema: SettingsSchema,
}

/// In the place of `wasm` where its host is not built in: whoever writes one is told why.
#[cfg(not(feature = "wasm"))]
const NO_WASM: Kind = Kind {
    name: "wasm",
    read: |node, sink, _| {
        let fix = "run a build with cargo's feature `wasm`, as the packages are";
        node.refuse(sink, "this build has no host for WebAssembly", fix)
    },
    schema: |_| schemars::Schema::default(),
};

/// The kinds that a gateway knows.
#[derive(Clone, Debug)]
pub struct Kinds(Vec<Kind>);

impl Kinds {
    /// Those that ship with Sallyport.
    #[must_use]
    pub fn builtin() -> Self {
        let kinds = Self(crate::builtin::KINDS.to_vec());
        #[cfg(feature = "wasm")]
        let kinds = kinds.with(crate::wasm::KIND);
        #[cfg(not(feature = "wasm"))]
        let kinds = kinds.with(NO_WASM);
        kinds
    }

    /// These and `kind`, which replaces one of the same name.
    #[must_use]
    pub fn with(mut self, kind: Kind) -> Self {
        self.0.retain(|known| known.name != kind.name);
        self.0.push(kind);
        self
    }

    /// The kinds, by their keys in `filters:`.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.0.iter()
    }

    pub(crate) fn names(&self) -> String {
        self.0.iter().map(|kind| format!("`{}`", kind.name)).collect::<Vec<_>>().join(", ")
    }
}

impl Default for Kinds {
    fn default() -> Self {
        Self::builtin()
    }
}

/// Where a filter is being set up.
#[derive(Debug)]
pub struct Setting<'a> {
    /// What the process provides.
    pub host: &'a Arc<Host>,
    /// The filter's name: its kind's, unless the entry gives another.
    pub name: &'a str,
    /// The place that sets it up, such as `route "shop" "login"`: the same at the next reload, and in
    /// every gateway with this configuration.
    pub scope: &'a str,
    /// The folder that relative paths begin at: the configuration's.
    pub folder: &'a Path,
    pub(crate) files: Files,
    pub(crate) upstreams: Vec<UpstreamUse>,
}

/// A place that names an upstream. Whether there is such an upstream only shows when all files are
/// read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUse {
    /// The index of the file.
    pub file: usize,
    /// The place of the name.
    pub place: String,
    /// The name.
    pub upstream: Box<str>,
}

impl Setting<'_> {
    /// The file whose path `node` holds, read whole. It is watched from then on.
    pub fn file(&mut self, node: Node<'_>, sink: &mut Sink) -> Option<(PathBuf, Vec<u8>)> {
        self.files.read_named(self.folder, node.text(sink)?, &node.place, sink)
    }

    /// As [`Setting::file`], where the path called `name` was read from `place` already.
    pub fn file_called(
        &mut self,
        name: &str,
        place: &Place<'_>,
        sink: &mut Sink,
    ) -> Option<(PathBuf, Vec<u8>)> {
        self.files.read_named(self.folder, name, place, sink)
    }

    /// The upstream that `node` names.
    pub fn upstream(&mut self, node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
        let upstream = node.name(sink)?;
        self.upstream_called(&upstream, &node.place);
        Some(upstream)
    }

    /// As [`Setting::upstream`], where the name was read from `place` already.
    pub fn upstream_called(&mut self, name: &str, place: &Place<'_>) {
        self.upstreams.push(UpstreamUse {
            file: place.file(),
            place: place.to_string(),
            upstream: name.into(),
        });
    }
}
