//! The outer door's side of a connection: hints out of the classifier's pinned maps.
//!
//! Opened by path, for reading; no program is loaded here and none is needed. A task in the background
//! looks at the heartbeat and publishes a view of the maps that requests read without waiting;
//! once a connection, `known` makes of two lookups what its requests go by. Without maps, or with
//! ones that nobody tends, there are no hints and everything else goes on.

mod known;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use ipnet::IpNet;
use sallyport_classifier::pinned::abi::{
    Address, Meta, NameKey, NameKind, Network, NetworkAction, Prefix, Reason as DropReason, Verdict,
};
use sallyport_classifier::pinned::{Access, Map, Maps, OpenError, ktime_ns};
use sallyport_stats::{HintStats, Registry};

use crate::config;

pub use known::Known;

/// How old a heartbeat may be: the loader writes one every second, and five that were missed are no
/// hiccup.
const HEARTBEAT_NS_MAX: u64 = 5_000_000_000;

/// What the gateway knows of the classifier.
#[derive(Debug)]
pub struct Classifier {
    pin_path: PathBuf,
    registry: Arc<Registry>,
    view: ArcSwapOption<View>,
    /// Counts requests that came without hints.
    unknown: HintStats,
    progress: Mutex<Progress>,
}

/// What the background task remembers from one look to the next.
#[derive(Debug, Default)]
struct Progress {
    state: Option<State>,
    said_read_only: bool,
    /// Counts up with every opening of the maps.
    opened: u64,
}

/// What can be had from the classifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There are no maps.
    Absent,
    /// There are maps that nobody tends.
    Stale,
    /// There are maps, and a loader at work.
    Fresh,
}

/// The maps and the names in them, as they were at the last look.
#[derive(Debug)]
struct View {
    maps: Arc<Maps>,
    writable: bool,
    opened: u64,
    generation: u32,
    /// As `maps` had it at the last look.
    meta: Meta,
    fresh: bool,
    zones: Arc<HashMap<u16, Arc<str>>>,
    networks: Arc<HashMap<u16, Arc<str>>>,
}

impl Classifier {
    /// Looks for the maps for the first time.
    ///
    /// # Errors
    /// If they are required and of no use.
    pub fn start(config: &config::Classifier, registry: &Arc<Registry>) -> anyhow::Result<Self> {
        let classifier = Self {
            pin_path: config.pin_path.clone(),
            registry: registry.clone(),
            view: ArcSwapOption::empty(),
            unknown: registry.classifier().requests(None, None, None),
            progress: Mutex::default(),
        };
        match classifier.look() {
            Err(reason) if config.required => {
                Err(anyhow::anyhow!("the classifier is required, and there are no hints: {reason}"))
            }
            found => {
                classifier.publish(&found);
                Ok(classifier)
            }
        }
    }

    /// Looks again: for the maps, their heartbeat and their names. Says so when anything changed.
    pub fn tick(&self) {
        self.publish(&self.look());
    }

    /// Whether there are hints.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.view.load().as_ref().is_some_and(|view| view.fresh)
    }

    /// What can be had from the classifier.
    #[must_use]
    pub fn state(&self) -> State {
        match self.view.load().as_ref() {
            None => State::Absent,
            Some(view) if view.fresh => State::Fresh,
            Some(_) => State::Stale,
        }
    }

    /// The maps, if there are any, whether somebody tends them or not.
    #[must_use]
    pub fn maps(&self) -> Option<Arc<Maps>> {
        self.view.load().as_ref().map(|view| view.maps.clone())
    }

    /// Packets dropped so far, in the order of [`Reason::ALL`](DropReason::ALL); `None` where that
    /// cannot be read.
    #[must_use]
    pub fn dropped(&self) -> Option<Vec<u64>> {
        let maps = self.maps()?;
        let counted = DropReason::ALL.iter().map(|reason| maps.counted(*reason));
        counted.map(|counted| Some(counted.ok()?[1].packets)).collect()
    }

    /// What is known of the connection from `peer` to `local` when its first request was read. `None`
    /// while there are no hints.
    #[must_use]
    pub fn connection(&self, peer: SocketAddr, local: SocketAddr) -> Option<Arc<Known>> {
        let view = self.view.load();
        let view = view.as_ref().filter(|view| view.fresh)?;
        match Known::look_up(view, peer, local, self.registry.classifier()) {
            Ok(known) => Some(Arc::new(known)),
            Err(error) => {
                tracing::debug!(%error, "classifier: a lookup failed");
                None
            }
        }
    }

    /// Counts a request under its hints.
    pub fn count(&self, known: Option<&Known>) {
        known.map_or(&self.unknown, Known::stats).count();
    }

    /// Whether `address` is of a network that is never to be shut out, stale maps included.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let view = self.view.load();
        let Some(view) = view.as_ref() else { return false };
        let network = view.maps.meta().and_then(|meta| {
            view.maps.network(Address::from(address.to_canonical()), meta.generation)
        });
        let action = |network: Option<Network>| network.map(Network::action);
        network.is_ok_and(|network| action(network) == Some(NetworkAction::Allow))
    }

    /// Which opening of the maps verdicts can be written to now; `None` while there is none.
    #[must_use]
    pub fn writable(&self) -> Option<u64> {
        self.view.load().as_ref().filter(|view| view.writable).map(|view| view.opened)
    }

    /// Writes a verdict into the pinned map, or removes it with `None`. Returns whether one was there
    /// to be removed, or was written.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_verdict(&self, source: IpNet, verdict: Option<Verdict>) -> std::io::Result<bool> {
        let view = self.view.load();
        let Some(view) = view.as_ref().filter(|view| view.writable) else { return Ok(false) };
        let prefix = prefix(source);
        match verdict {
            Some(verdict) => view.maps.verdicts.insert(&prefix, verdict).map(|()| true),
            None => view.maps.verdicts.remove(&prefix),
        }
    }

    /// The verdict on `source` in the pinned map.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn verdict(&self, source: IpNet) -> std::io::Result<Option<Verdict>> {
        let view = self.view.load();
        let Some(view) = view.as_ref() else { return Ok(None) };
        view.maps.verdicts.lookup(&prefix(source))
    }

    /// Every verdict in the pinned map, whoever wrote it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn verdicts(&self) -> std::io::Result<Vec<(IpNet, Verdict)>> {
        let view = self.view.load();
        let Some(view) = view.as_ref() else { return Ok(Vec::new()) };
        let entries = view.maps.verdicts.entries()?.into_iter();
        Ok(entries.filter_map(|(prefix, verdict)| Some((network(&prefix)?, verdict))).collect())
    }

    /// The maps as they are now; the reason is why there are no hints.
    fn look(&self) -> Result<(), Reason> {
        let view = self.view.load_full();
        let found = match &view {
            Some(view) => refreshed(view),
            None => Err(Reason::None),
        };
        match found {
            Ok(renewed) => {
                if let Some(renewed) = renewed {
                    self.view.store(Some(Arc::new(renewed)));
                }
                Ok(())
            }
            Err(reason) => self.reopen(view.as_deref(), reason),
        }
    }

    /// Opens what is now pinned under the path, unless that is what `old` has.
    fn reopen(&self, old: Option<&View>, reason: Reason) -> Result<(), Reason> {
        if let Some(old) = old {
            if old.fresh {
                self.view.store(Some(Arc::new(View { fresh: false, ..old.clone() })));
            }
            let replaced = Map::<u32, Meta>::open(&self.pin_path.join("meta"), Access::Read)
                .is_ok_and(|meta| meta.id() != old.maps.meta.id());
            if !replaced {
                return Err(reason);
            }
        }
        let (maps, writable) = open(&self.pin_path).map_err(Reason::Open)?;
        let opened = {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.opened += 1;
            progress.opened
        };
        let maps = Arc::new(maps);
        let meta = maps.meta().map_err(Reason::Io)?;
        let fresh = check(&meta);
        let (zones, networks) = names(&maps).map_err(Reason::Io)?;
        let generation = meta.generation;
        let fresh_now = fresh.is_ok();
        let view =
            View { maps, writable, opened, generation, meta, fresh: fresh_now, zones, networks };
        self.view.store(Some(Arc::new(view)));
        fresh
    }

    /// Tells the operator of a change, once, and the gauge.
    fn publish(&self, found: &Result<(), Reason>) {
        let state = match found {
            Ok(()) => State::Fresh,
            Err(Reason::Open(_) | Reason::None) => State::Absent,
            Err(Reason::Ended | Reason::Stale(_) | Reason::Detached(_) | Reason::Io(_)) => {
                State::Stale
            }
        };
        let view = self.view.load();
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if progress.state.replace(state) != Some(state) {
            self.registry.classifier().set_up(state == State::Fresh);
            match found {
                Ok(()) => tracing::info!("classifier: hints in use"),
                Err(reason) => tracing::warn!("classifier: no hints: {reason}"),
            }
        }
        if view.as_ref().is_some_and(|view| !view.writable) && !progress.said_read_only {
            progress.said_read_only = true;
            tracing::warn!(
                "classifier: verdicts may not be written by this user: the gateway alone enforces its own"
            );
        }
    }
}

impl Clone for View {
    fn clone(&self) -> Self {
        Self {
            maps: self.maps.clone(),
            zones: self.zones.clone(),
            networks: self.networks.clone(),
            ..*self
        }
    }
}

/// Why there are no hints.
#[derive(Debug, thiserror::Error)]
enum Reason {
    #[error("the maps were not looked for")]
    None,
    #[error(transparent)]
    Open(OpenError),
    #[error("the classifier has ended")]
    Ended,
    #[error("the classifier's heartbeat is {0} s old")]
    Stale(u64),
    #[error(
        "the classifier's program is on none of its {0} interfaces: `sallyport-classifier status` and \
         its log say why"
    )]
    Detached(u16),
    #[error("the maps cannot be read: {0}")]
    Io(std::io::Error),
}

/// The view after a change of generation or freshness; `None` where nothing changed.
fn refreshed(view: &View) -> Result<Option<View>, Reason> {
    let meta = view.maps.meta().map_err(Reason::Io)?;
    check(&meta)?;
    if view.fresh && meta.generation == view.generation {
        return Ok(None);
    }
    let (zones, networks) = names(&view.maps).map_err(Reason::Io)?;
    let generation = meta.generation;
    Ok(Some(View { generation, meta, fresh: true, zones, networks, ..view.clone() }))
}

fn check(meta: &Meta) -> Result<(), Reason> {
    if meta.heartbeat_ns == 0 {
        return Err(Reason::Ended);
    }
    let age_ns = ktime_ns().saturating_sub(meta.heartbeat_ns);
    if age_ns > HEARTBEAT_NS_MAX {
        return Err(Reason::Stale(age_ns / 1_000_000_000));
    }
    if meta.attached() == 0 { Err(Reason::Detached(meta.interfaces())) } else { Ok(()) }
}

/// Those of `trusted` that the classifier pinned at `pin_path` counts like any client: its rates would
/// take what all clients behind such a proxy send for one client's. None while there is no classifier.
#[must_use]
pub fn proxies_with_rates(pin_path: &Path, trusted: &[IpNet]) -> Vec<IpNet> {
    let Ok(maps) = Maps::open(pin_path, Access::Read) else { return Vec::new() };
    let Ok(meta) = maps.meta() else { return Vec::new() };
    let is_exempt = |proxy: &&IpNet| {
        let network = maps.network(proxy.network().into(), meta.generation).ok().flatten();
        matches!(network.map(Network::action), Some(NetworkAction::Exempt | NetworkAction::Allow))
    };
    trusted.iter().filter(|proxy| !is_exempt(proxy)).copied().collect()
}

/// What to tell an operator of one of [`proxies_with_rates`].
#[must_use]
pub fn proxy_hint(proxy: IpNet) -> String {
    format!(
        "{proxy} is a trusted proxy of a listener, but the classifier counts its connections like one \
         client's: write it under `trusted_proxies:` of the classifier's file as well"
    )
}

/// A source as the maps have it: IPv4 mapped into IPv6.
fn prefix(source: IpNet) -> Prefix {
    let before = if source.addr().is_ipv4() { 96 } else { 0 };
    Prefix::new(source.network().into(), before + u32::from(source.prefix_len()))
}

/// The same the other way round; `None` where the length is none that a network can have.
fn network(prefix: &Prefix) -> Option<IpNet> {
    let address = IpAddr::from(prefix.address());
    let before = if address.is_ipv4() { 96 } else { 0 };
    IpNet::new(address, u8::try_from(prefix.bits.checked_sub(before)?).ok()?).ok()
}

/// Opens the maps, with the verdicts for writing if this user may.
fn open(pin_path: &Path) -> Result<(Maps, bool), OpenError> {
    match Maps::open(pin_path, Access::Write) {
        Err(OpenError::Denied { .. }) => Ok((Maps::open(pin_path, Access::Read)?, false)),
        opened => Ok((opened?, true)),
    }
}

type Names = Arc<HashMap<u16, Arc<str>>>;

fn names(maps: &Maps) -> std::io::Result<(Names, Names)> {
    let of = |kind| -> std::io::Result<Names> {
        let names = maps.names(kind)?.into_iter();
        Ok(Arc::new(names.map(|(id, name)| (id, name.into())).collect()))
    };
    Ok((of(NameKind::Zone)?, of(NameKind::Network)?))
}

impl View {
    /// The name of an id; 0 has none. One that came since the last look is asked for.
    fn name(&self, kind: NameKind, id: u16) -> Option<Arc<str>> {
        let known = match kind {
            NameKind::Network => &self.networks,
            NameKind::Zone => &self.zones,
        };
        if id == 0 {
            return None;
        }
        known.get(&id).cloned().or_else(|| {
            let name = self.maps.names.lookup(&NameKey { kind: kind as u16, id }).ok()??;
            name.as_str().map(Arc::from)
        })
    }
}
