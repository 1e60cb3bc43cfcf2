//! What passes between a source of configuration and the gateway.
//!
//! A source (a Kubernetes cluster, an xDS server) knows nothing of how a configuration is resolved
//! and put in force; it hands over whole fragments and is told what became of them. Endpoints go
//! beside the fragments: they change often, and no table is compiled for them.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::spec::{Endpoint, Fragment};

/// All that a source has to say at one moment; it replaces what it said before.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// The source's own name for this state of it.
    pub version: Box<str>,
    /// What the source owns.
    pub fragment: Arc<Fragment>,
    /// What of the source each part comes from, such as `HTTPRoute shop/cart`.
    pub origins: HashMap<Part, Box<str>>,
    /// What the source could not use, with the words of its own status.
    pub problems: Vec<Rejection>,
    /// The files that the fragment names, to be written to [`Outlet::storage`].
    pub files: Vec<DeliveredFile>,
    /// What becomes of the rest if a part cannot be used.
    pub unit: Unit,
}

/// A file that a fragment names.
#[derive(Clone, PartialEq, Eq)]
pub struct DeliveredFile {
    /// Its name, without a folder: another content has another name.
    pub name: Box<str>,
    /// What it holds.
    pub bytes: Box<[u8]>,
}

impl fmt::Debug for DeliveredFile {
    /// Without the content, which may be a key.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("DeliveredFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What is used or refused as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Each part for itself: one that cannot be used is left out.
    #[default]
    Part,
    /// The whole delivery: with one bad part the one before stays in force.
    Delivery,
}

/// A part of a fragment, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// A listener.
    Listener(Box<str>),
    /// A certificate, by the name of its file.
    Certificate(Box<str>),
    /// Names that a listener passes on, behind its name, by the first of them.
    Passthrough(Box<str>, Box<str>),
    /// An upstream.
    Upstream(Box<str>),
    /// A virtual host.
    VirtualHost(Box<str>),
    /// A route, behind its virtual host.
    Route(Box<str>, Box<str>),
    /// A filter of a route, behind that.
    Filter(Box<str>, Box<str>, Box<str>),
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(name) => write!(out, "listener {name}"),
            Self::Certificate(name) => write!(out, "certificate {name}"),
            Self::Passthrough(listener, name) => {
                write!(out, "passthrough of {name} on listener {listener}")
            }
            Self::Upstream(name) => write!(out, "upstream {name}"),
            Self::VirtualHost(name) => write!(out, "virtual host {name}"),
            Self::Filter(host, route, name) => {
                write!(out, "filter {name} of route {route} of virtual host {host}")
            }
            Self::Route(host, name) => write!(out, "route {name} of virtual host {host}"),
        }
    }
}

/// Something of a source that is not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What of the source it is.
    pub origin: Box<str>,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub fix: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}, {}", self.origin, self.what, self.fix)
    }
}

/// What became of the delivery that was looked at last.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The delivery's version.
    pub version: Box<str>,
    /// Whether it is in force, but for the parts that were rejected.
    pub is_in_force: bool,
    /// What was rejected of it.
    pub rejections: Arc<[Rejection]>,
}

/// Where a source hands over what it has.
pub trait Outlet: Send + Sync + fmt::Debug {
    /// Replaces what was delivered before. Returns at once.
    fn deliver(&self, delivery: Delivery);

    /// Replaces the endpoints of `group`, which the source names in
    /// [`Discovery`](crate::spec::Discovery); `None` says that there is no such group any more.
    fn set_endpoints(&self, group: &str, endpoints: Option<Vec<Endpoint>>);

    /// Says whether the source is in touch with what it speaks for, and if not, why.
    fn set_state(&self, state: Result<(), String>);

    /// The folder that the files of deliveries are written to.
    fn storage(&self) -> &Path;
}
