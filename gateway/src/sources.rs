//! Sources of configuration besides the file: what they deliver, and what becomes of it.
//!
//! A source hands over whole fragments ([`Delivery`]). The reload thread merges the latest one of
//! each with the file (`sources/merge.rs`) and resolves the whole as it resolves a file, so that
//! the same checks hold and the same words tell what is wrong. A part that cannot be used is left
//! out and told; it does not keep the rest from coming into force. Endpoints go beside all that,
//! straight to the upstreams that name them (`sources/groups.rs`). What was in force last is kept
//! on disk (`sources/disk.rs`): a gateway restarts while its sources are away.
//!
//! What a source is connected to and how is the source's own matter.

mod disk;
mod groups;
mod merge;
mod start;
mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use sallyport_config::delivery::{Delivery, Outcome, Outlet, Rejection, Unit};
use sallyport_config::spec::{self, Providers};
use sallyport_config::watch::Waker;
use sallyport_config::{Place, Sink};
use tokio::sync::watch;

use self::disk::Disk;
pub use self::groups::{Group, Groups};
pub use self::merge::Merge;
pub use self::start::start;
pub use self::written::{Written, whole};

/// The name of a Kubernetes cluster as a source.
pub const KUBERNETES: &str = "kubernetes";

/// A control plane that speaks xDS as a source.
pub const XDS: &str = "xds";

/// Problems of one source that are shown: a cluster full of mistakes must not fill a page.
const PROBLEMS_SHOWN: usize = 1_000;

/// Refuses what this build does not have.
pub fn check(providers: &Providers, place: &Place<'_>, sink: &mut Sink) {
    if cfg!(not(feature = "kubernetes")) && providers.kubernetes.is_some() {
        let what = "this binary was built without its feature `kubernetes`";
        Place::Key(place, KUBERNETES).refuse::<()>(sink, what, "remove it, or use another build");
    }
    if cfg!(not(feature = "xds")) && providers.xds.is_some() {
        let what = "this binary was built without its feature `xds`";
        Place::Key(place, XDS).refuse::<()>(sink, what, "remove it, or use another build");
    }
    if let Some(xds) = &providers.xds
        && xds.tls.is_some()
        && !xds.server.starts_with("https:")
    {
        let place = Place::Key(place, XDS);
        let what = "is of no use towards a server in clear text";
        let fix = "write https:// in `server`, or remove it";
        Place::Key(&place, "tls").refuse::<()>(sink, what, fix);
    }
    if providers.kubernetes.is_none() && providers.xds.is_none() {
        place.refuse::<()>(
            sink,
            "names no source",
            "add `kubernetes: {}` or `xds: {…}`, or remove it",
        );
    }
}

/// All sources of a process.
#[derive(Debug)]
pub struct Sources {
    /// `None` where the file names no source.
    disk: Option<Disk>,
    groups: Groups,
    held: Mutex<BTreeMap<&'static str, Held>>,
    /// What makes the reload thread look; set once it runs.
    waker: OnceLock<Waker>,
    /// What is counted of a control plane, where the file names one.
    #[cfg(feature = "xds")]
    xds: Option<sallyport_xds::client::Figures>,
}

/// What is held of one source.
#[derive(Debug, Default)]
struct Held {
    /// What it said last, the same as text, and when.
    latest: Option<(Arc<Delivery>, Arc<Written>, SystemTime)>,
    /// What of it is in force.
    in_force: Option<InForce>,
    /// What of `latest` was rejected by the gateway.
    rejections: Arc<[Rejection]>,
    /// Since when it is out of touch, and why; `None` while it is in touch.
    away: Option<(SystemTime, String)>,
    outcome: Option<watch::Sender<Outcome>>,
}

/// The part of a configuration in force that is one source's.
#[derive(Clone, Debug)]
struct InForce {
    version: Box<str>,
    fragment: Arc<spec::Fragment>,
    written: Arc<Written>,
    /// When the source said so.
    since: SystemTime,
    /// What it is part of; `None` where it was said to an earlier process.
    delivery: Option<Arc<Delivery>>,
}

impl InForce {
    fn delivery_is(&self, delivery: &Arc<Delivery>) -> bool {
        self.delivery.as_ref().is_some_and(|known| Arc::ptr_eq(known, delivery))
    }
}

/// One source as `/config` shows it.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// Its name.
    pub name: &'static str,
    /// The version in force.
    pub version: Option<String>,
    /// When the source said what is in force.
    pub since: Option<SystemTime>,
    /// Whether what is in force was read from disk: the source has not been reached yet.
    pub is_restored: bool,
    /// Since when the source is out of touch, and why.
    pub away: Option<(SystemTime, String)>,
    /// What of it is not in force, in its own words and in the gateway's.
    pub problems: Vec<String>,
}

impl Sources {
    /// Those that `providers` names, with what is on disk of them.
    #[must_use]
    pub fn of(providers: Option<&Providers>) -> Arc<Self> {
        let disk = providers.map(|providers| Disk::at(PathBuf::from(&*providers.storage.0)));
        let sources = Self {
            disk,
            groups: Groups::default(),
            held: Mutex::default(),
            waker: OnceLock::new(),
            #[cfg(feature = "xds")]
            xds: providers.and_then(|it| it.xds.as_ref()).map(|_| Default::default()),
        };
        let kubernetes = providers.and_then(|providers| providers.kubernetes.as_ref());
        if kubernetes.is_some() {
            sources.restore(KUBERNETES);
        }
        if providers.is_some_and(|providers| providers.xds.is_some()) {
            sources.restore(XDS);
        }
        Arc::new(sources)
    }

    /// None at all.
    #[must_use]
    pub fn none() -> Arc<Self> {
        Self::of(None)
    }

    /// What sources count.
    #[must_use]
    pub fn families(&self) -> Vec<prometheus::proto::MetricFamily> {
        #[cfg(feature = "xds")]
        let families = self.xds.iter().flat_map(sallyport_xds::client::Figures::families).collect();
        #[cfg(not(feature = "xds"))]
        let families = Vec::new();
        families
    }

    /// The endpoints that sources know of.
    #[must_use]
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// Lets deliveries wake the reload thread.
    pub fn wake_by(&self, waker: Waker) {
        // It is given once.
        self.waker.set(waker).ok();
        self.look();
    }

    fn look(&self) {
        self.waker.get().map(Waker::look);
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<&'static str, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is on disk of a source.
    fn restore(&self, name: &'static str) {
        let mut held = Held {
            away: Some((SystemTime::now(), "it has not been reached yet".to_owned())),
            ..Held::default()
        };
        if let Some(saved) = self.disk.as_ref().and_then(|disk| disk.read(name)) {
            self.groups.restore(name, saved.groups);
            held.in_force = Some(InForce {
                version: saved.version,
                written: Written::of(&saved.fragment),
                fragment: Arc::new(saved.fragment),
                since: saved.since,
                delivery: None,
            });
        }
        self.held().insert(name, held);
    }

    /// Where the source called `name` delivers, and where it is told what became of it.
    #[must_use]
    pub fn outlet(
        self: &Arc<Self>,
        name: &'static str,
    ) -> (Arc<dyn Outlet>, watch::Receiver<Outcome>) {
        let (sender, receiver) = watch::channel(Outcome::default());
        self.held().entry(name).or_default().outcome = Some(sender);
        let storage = self.disk.as_ref().map(|disk| disk.files_of(name)).unwrap_or_default();
        (Arc::new(SourceOutlet { name, storage, sources: self.clone() }), receiver)
    }

    /// The latest of each source, to be merged with the file.
    #[must_use]
    pub fn merge(&self, files: sallyport_config::Sources) -> Merge {
        let held = self.held();
        let taken = held.iter().filter_map(|(name, held)| match (&held.latest, &held.in_force) {
            (Some((delivery, written, _)), _) => Some(merge::Taken {
                source: name,
                fragment: delivery.fragment.clone(),
                written: Some(written.clone()),
                delivery: Some(delivery.clone()),
                before: held.in_force.as_ref().map(|it| (it.fragment.clone(), it.written.clone())),
                is_whole: delivery.unit == Unit::Delivery,
                is_refused: false,
                rejections: Vec::new(),
            }),
            (None, Some(in_force)) => Some(merge::Taken {
                source: name,
                fragment: in_force.fragment.clone(),
                written: Some(in_force.written.clone()),
                delivery: None,
                before: None,
                is_whole: false,
                is_refused: false,
                rejections: Vec::new(),
            }),
            (None, None) => None,
        });
        Merge::new(files, taken.collect())
    }

    /// Notes that `merge` is in force, tells the sources, and keeps it on disk.
    pub fn settle(&self, merge: &Merge) {
        let mut held = self.held();
        for taken in merge.taken() {
            let (Some(held), Some(delivery)) = (held.get_mut(taken.source), &taken.delivery) else {
                continue;
            };
            match &held.latest {
                Some((latest, _, at)) if Arc::ptr_eq(latest, delivery) => {
                    let at = *at;
                    self.settle_one(held, taken, delivery, at);
                }
                // Another delivery came meanwhile, and is looked at next.
                _ => {}
            }
        }
    }

    fn settle_one(
        &self,
        held: &mut Held,
        taken: &merge::Taken,
        delivery: &Arc<Delivery>,
        at: SystemTime,
    ) {
        for rejection in taken.rejections.iter().filter(|it| !held.rejections.contains(it)) {
            tracing::warn!(source = taken.source, "{rejection}");
        }
        held.rejections = taken.rejections.clone().into();
        let version = &delivery.version;
        let is_known = held.in_force.as_ref().is_some_and(|it| it.delivery_is(delivery));
        if let Some(written) = &taken.written
            && !taken.is_refused
            && !is_known
        {
            held.in_force = Some(InForce {
                version: version.clone(),
                fragment: taken.fragment.clone(),
                written: written.clone(),
                since: at,
                delivery: Some(delivery.clone()),
            });
            if let Some(disk) = &self.disk {
                disk.write(taken.source, version, at, written, &delivery.files);
            }
        }
        if let Some(outcome) = &held.outcome {
            let (version, rejections) = (version.clone(), held.rejections.clone());
            let is_in_force = !taken.is_refused;
            outcome.send_replace(Outcome { version, is_in_force, rejections });
        }
    }

    /// Each source as it is now.
    #[must_use]
    pub fn views(&self) -> Vec<SourceView> {
        let held = self.held();
        let views = held.iter().map(|(name, held)| {
            let delivered = held.latest.iter().flat_map(|(delivery, ..)| &delivery.problems);
            let problems = delivered.chain(held.rejections.iter());
            SourceView {
                name,
                version: held.in_force.as_ref().map(|it| it.version.to_string()),
                since: held.in_force.as_ref().map(|it| it.since),
                is_restored: held.in_force.as_ref().is_some_and(|it| it.delivery.is_none()),
                away: held.away.clone(),
                problems: problems.take(PROBLEMS_SHOWN).map(ToString::to_string).collect(),
            }
        });
        views.collect()
    }
}

/// The way from one source to the reload thread.
#[derive(Debug)]
struct SourceOutlet {
    name: &'static str,
    storage: PathBuf,
    sources: Arc<Sources>,
}

impl Outlet for SourceOutlet {
    fn deliver(&self, delivery: Delivery) {
        let written = Written::of(&delivery.fragment);
        // With the lock: files that no delivery names are removed with it as well.
        let mut held = self.sources.held();
        if let Some(disk) = &self.sources.disk
            && let Err(error) = disk.write_files(self.name, &delivery.files)
        {
            tracing::error!(source = self.name, %error, "files of a source cannot be kept");
        }
        let latest = (Arc::new(delivery), written, SystemTime::now());
        held.entry(self.name).or_default().latest = Some(latest);
        drop(held);
        self.sources.look();
    }

    fn set_endpoints(&self, group: &str, endpoints: Option<Vec<spec::Endpoint>>) {
        self.sources.groups.set(self.name, group, endpoints);
        if let Some(disk) = &self.sources.disk {
            disk.write_groups_soon(self.name, &self.sources.groups);
        }
    }

    fn set_state(&self, state: Result<(), String>) {
        let mut held = self.sources.held();
        let held = held.entry(self.name).or_default();
        match (state, &mut held.away) {
            (Ok(()), away) => {
                if let Some((_, why)) = away.take() {
                    tracing::info!(source = self.name, before = why, "a source is in touch");
                }
            }
            (Err(why), Some((_, known))) => *known = why,
            (Err(why), away) => {
                tracing::warn!(
                    source = self.name,
                    why,
                    "a source is out of touch: what it said stays"
                );
                *away = Some((SystemTime::now(), why));
            }
        }
    }

    fn storage(&self) -> &Path {
        &self.storage
    }
}
