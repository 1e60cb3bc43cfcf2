//! The kinds of filters that a gateway knows, and how one reads its configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sallyport_config::regular::{self, Unreadable};
use sallyport_config::{Node, Sink};
use sha2::{Digest, Sha256};

use crate::filter::Filter;
use crate::host::Host;

/// The largest file that a filter may read: a compiled-in language runtime in WebAssembly has 30 MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// One kind of filter.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its key in `filters:`.
    pub name: &'static str,
    /// Reads the value under the key and makes the filter; notes every problem in the sink. It must
    /// not start anything: that is [`Filter::start`]'s, once the configuration is in force.
    pub read: fn(Node<'_>, &mut Sink, &mut Setting<'_>) -> Option<Arc<dyn Filter>>,
}

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
        kinds
    }

    /// These and `kind`, which replaces one of the same name.
    #[must_use]
    pub fn with(mut self, kind: Kind) -> Self {
        self.0.retain(|known| known.name != kind.name);
        self.0.push(kind);
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Kind> {
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
    /// The folder that relative paths begin at: the configuration's.
    pub folder: &'a Path,
    pub(crate) files: Vec<FileUse>,
    pub(crate) upstreams: Vec<UpstreamUse>,
}

/// A file that a filter was made from. A change of it makes the filter anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileUse {
    pub(crate) path: PathBuf,
    /// Of its content; `None` where it could not be read.
    pub(crate) sha256: Option<[u8; 32]>,
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
        let path = self.folder.join(node.text(sink)?);
        let read = read(&path);
        let sha256 = read.as_ref().ok().map(|bytes| Sha256::digest(bytes).into());
        self.files.push(FileUse { path: path.clone(), sha256 });
        match read {
            Ok(bytes) => Some((path, bytes)),
            Err(error) => node.refuse(
                sink,
                format!("{} cannot be read ({})", path.display(), error.reason()),
                "name a regular file that the gateway's user may read",
            ),
        }
    }

    /// The upstream that `node` names.
    pub fn upstream(&mut self, node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
        let upstream = node.name(sink)?;
        self.upstreams.push(UpstreamUse {
            file: node.place.file(),
            place: node.place.to_string(),
            upstream: upstream.clone(),
        });
        Some(upstream)
    }
}

impl FileUse {
    /// Whether the file is as it was.
    pub(crate) fn is_current(&self) -> bool {
        let now = read(&self.path).ok().map(|bytes| Sha256::digest(bytes).into());
        now == self.sha256
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Unreadable> {
    regular::read(path, FILE_BYTES_MAX).map(|(bytes, _)| bytes)
}
