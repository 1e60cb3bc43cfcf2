//! The maps of the configuration, opened for writing, and the one word that all of it turns on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use classifier_abi::{
    ABI_VERSION, Address, Counter, MAGIC, Meta, NETWORK_MAX, Name, NameKey, NameKind, Network,
    Prefix, Slots, ZONES_MAX, Zone, ZoneKey, map as name,
};

use super::{Held, Step, plan};
use crate::config::Config;
use crate::names::{self, NoIds};
use crate::parallel;
use crate::pinned::{self, Access, Map, OpenError, PerCpuHash, Verdicts};
use crate::prefixes::ByPrefix;
use crate::tables::Tables;

/// How long keys that only the old generation needs stay after it: a packet that read the
/// generation before it changed is through its lookups within microseconds.
const GRACE: Duration = Duration::from_millis(1);

/// Prefixes that are written by one system call: many enough for its cost not to count.
const BATCH: usize = 4_096;

/// Why a configuration could not be put in force. The one before holds.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The map has no room.
    #[error("the map `{map}` is full: use fewer entries, or make large changes in two steps")]
    Full {
        /// The map.
        map: &'static str,
    },
    /// Anything else that the kernel says.
    #[error("the map `{map}` cannot be used: {error}")]
    Map {
        /// The map.
        map: &'static str,
        /// What the kernel says.
        error: io::Error,
    },
    /// There are too many networks.
    #[error(transparent)]
    NoIds(#[from] NoIds),
}

impl ApplyError {
    fn of(map: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| match error.raw_os_error() {
            Some(libc::E2BIG | libc::ENOSPC) => Self::Full { map },
            _ => Self::Map { map, error },
        }
    }
}

/// `meta`, which is written here only: by configurations that come into force and by the clock.
#[derive(Debug)]
pub struct Heart {
    state: Mutex<HeartState>,
}

#[derive(Debug)]
struct HeartState {
    map: Map<u32, Meta>,
    meta: Meta,
    ended: bool,
}

impl Heart {
    fn open(path: &Path, ipv6_prefix: u32, cookies: bool) -> Result<Self, OpenError> {
        let map = Map::open(&path.join(name::META), Access::Write)?;
        let found: Meta = map.lookup(&0).ok().flatten().unwrap_or_default();
        let seed = if found.seed == 0 { seed() } else { found.seed };
        let meta = Meta {
            magic: MAGIC,
            abi: ABI_VERSION,
            ipv6_prefix,
            ipv6_mask: Address::mask(ipv6_prefix),
            seed,
            flags: if cookies { Meta::COOKIES } else { 0 },
            ..found
        };
        Ok(Self { state: Mutex::new(HeartState { map, meta, ended: false }) })
    }

    /// Says that the loader is at work.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn beat(&self) -> io::Result<()> {
        self.write(|meta| meta.heartbeat_ns = pinned::ktime_ns())
    }

    /// Says on how many of its interfaces the program is.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn note_interfaces(&self, attached: usize, interfaces: usize) -> io::Result<()> {
        let number = |count: usize| u16::try_from(count).unwrap_or(u16::MAX);
        let (attached, interfaces) = (number(attached), number(interfaces));
        let known = self.state.lock().unwrap_or_else(PoisonError::into_inner).meta;
        if (known.attached(), known.interfaces()) == (attached, interfaces) {
            return Ok(());
        }
        self.write(|meta| *meta = meta.with_interfaces(attached, interfaces))
    }

    /// Says that the loader has ended; nothing is written from then on.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn end(&self) -> io::Result<()> {
        let result = self.write(|meta| meta.heartbeat_ns = 0);
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        result
    }

    /// The generation in force.
    pub fn generation(&self) -> u32 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).meta.generation
    }

    fn write(&self, change: impl FnOnce(&mut Meta)) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return Ok(());
        }
        let mut meta = state.meta;
        change(&mut meta);
        state.map.insert(&0, meta)?;
        state.meta = meta;
        Ok(())
    }
}

/// What senders cannot foresee: the hasher's keys are the operating system's random bytes.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(pinned::ktime_ns()) | 1
}

/// The maps of the configuration.
#[derive(Debug)]
pub struct Store {
    heart: std::sync::Arc<Heart>,
    zones: Map<ZoneKey, Slots<Zone>>,
    networks: Map<Prefix, Slots<Network>>,
    ports: Map<u32, u64>,
    names: Map<NameKey, Name>,
    network_counters: PerCpuHash<Counter>,
    verdicts: Verdicts,
    /// What they hold; unknown after a write that failed.
    held: Option<Held>,
    /// What was written to put a configuration in force and `held` does not say yet, and what is to be
    /// written once it is.
    written: Vec<Step>,
    left: Vec<Step>,
    /// The ids of its networks that are counted.
    counted: HashSet<u32>,
}

impl Store {
    /// Opens the maps pinned in `path`.
    ///
    /// # Errors
    /// If one cannot be opened for writing.
    pub fn open(path: &Path, ipv6_prefix: u32, cookies: bool) -> Result<Self, OpenError> {
        Ok(Self {
            heart: std::sync::Arc::new(Heart::open(path, ipv6_prefix, cookies)?),
            verdicts: Verdicts::open(path, Access::Write)?,
            zones: Map::open(&path.join(name::ZONES), Access::Write)?,
            networks: Map::open(&path.join(name::NETWORKS), Access::Write)?,
            ports: Map::open(&path.join(name::PORTS), Access::Write)?,
            names: Map::open(&path.join(name::NAMES), Access::Write)?,
            network_counters: PerCpuHash::open(&path.join(name::NETWORK_COUNTERS), Access::Write)?,
            held: None,
            written: Vec::new(),
            left: Vec::new(),
            counted: HashSet::new(),
        })
    }

    /// Removes verdicts that have expired.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn sweep_verdicts(&self) -> io::Result<()> {
        self.verdicts.sweep(pinned::ktime_ns())
    }

    /// The word that says which generation holds.
    #[must_use]
    pub fn heart(&self) -> &std::sync::Arc<Heart> {
        &self.heart
    }

    /// Puts `config` in force and returns its generation. [`tidy`](Store::tidy) ends it.
    ///
    /// # Errors
    /// If a map is full or cannot be written; then the configuration before holds.
    pub fn apply(
        &mut self,
        config: &Config,
        ifindex: &BTreeMap<Box<str>, u32>,
    ) -> Result<u32, ApplyError> {
        self.tidy()?;
        let held = match self.held.take() {
            Some(held) => held,
            None => self.read()?,
        };
        let known = network_names(&held);
        let in_use: HashSet<u16> = ids_in_use(&held);
        let wanted: Vec<&str> = config.networks.iter().map(|network| &*network.name).collect();
        let ids = names::assign(&known, &in_use, &wanted, self.network_ids_max())?;
        let lists = config.networks.iter().filter(|network| network.list.is_some());
        let lists = lists.filter_map(|network| ids.get(&*network.name));
        self.counted = lists.map(|id| u32::from(*id)).collect();
        for id in &self.counted {
            self.network_counters.begin(*id).map_err(ApplyError::of(name::NETWORK_COUNTERS))?;
        }
        let mut steps = plan(&held, &Tables::of(config, ifindex, &ids));
        let in_force = steps.iter().position(|step| matches!(step, Step::Generation(_)));
        let left = steps.split_off(in_force.map_or(steps.len(), |at| at + 1));
        self.write_all(&steps)?;
        self.held = Some(held);
        (self.written, self.left) = (steps, left);
        Ok(self.heart.generation())
    }

    /// Removes what the configuration in force does not have. Without it all is as it should be for
    /// packets, but there is less room.
    ///
    /// # Errors
    /// If a map cannot be written.
    pub fn tidy(&mut self) -> Result<(), ApplyError> {
        let (written, left) = (std::mem::take(&mut self.written), std::mem::take(&mut self.left));
        let Some(mut held) = self.held.take() else { return Ok(()) };
        self.write_all(&left)?;
        held.follow_all(&written);
        held.follow_all(&left);
        self.held = Some(held);
        let gone = |id: &u32| !self.counted.contains(id);
        let fail = ApplyError::of(name::NETWORK_COUNTERS);
        for id in self.network_counters.keys().map_err(&fail)?.into_iter().filter(gone) {
            self.network_counters.remove(id).map_err(&fail)?;
        }
        Ok(())
    }

    /// Writes steps in order; networks in a row together.
    ///
    /// None of those depends on another: `plan` writes for each what a lookup finds there without it. So
    /// many are written from two threads: half of their cost is outside the map's lock.
    fn write_all(&self, steps: &[Step]) -> Result<(), ApplyError> {
        for run in steps.chunk_by(|one, next| Kind::of(one) == Kind::of(next)) {
            let is_of_networks = run.first().is_some_and(|step| Kind::of(step) != Kind::Other);
            if is_of_networks && run.len() > 2 * BATCH {
                let (one, other) = run.split_at(run.len() / 2);
                let halves = parallel::both(|| self.write_run(one), || self.write_run(other));
                halves.into_iter().collect::<Result<(), _>>()?;
            } else {
                self.write_run(run)?;
            }
        }
        Ok(())
    }

    /// Writes steps of one kind.
    fn write_run(&self, run: &[Step]) -> Result<(), ApplyError> {
        let fail = ApplyError::of(name::NETWORKS);
        for steps in run.chunks(BATCH) {
            match steps.first().map_or(Kind::Other, Kind::of) {
                Kind::Network => {
                    let pair = |step: &Step| match *step {
                        Step::Network(key, slots) => Some((key, slots)),
                        _ => None,
                    };
                    let (keys, values): (Vec<_>, Vec<_>) = steps.iter().filter_map(pair).unzip();
                    self.networks.insert_all(&keys, &values).map_err(&fail)?;
                }
                Kind::DropNetwork => {
                    let key = |step: &Step| match *step {
                        Step::DropNetwork(key) => Some(key),
                        _ => None,
                    };
                    let keys: Vec<_> = steps.iter().filter_map(key).collect();
                    self.networks.remove_all(&keys).map_err(&fail)?;
                }
                Kind::Other => steps.iter().try_for_each(|step| self.write(step))?,
            }
        }
        Ok(())
    }

    /// The map of names also has room for every zone's.
    fn network_ids_max(&self) -> u16 {
        let room = self.names.entries_max().saturating_sub(u32::from(ZONES_MAX));
        u16::try_from(room).unwrap_or(u16::MAX).min(NETWORK_MAX)
    }

    fn read(&self) -> Result<Held, ApplyError> {
        let zones = self.zones.entries().map_err(ApplyError::of(name::ZONES))?;
        let networks = self.networks.entries().map_err(ApplyError::of(name::NETWORKS))?;
        let ports = self.ports.entries().map_err(ApplyError::of(name::PORTS))?;
        let names = self.names.entries().map_err(ApplyError::of(name::NAMES))?;
        Ok(Held {
            generation: self.heart.generation(),
            zones: zones.into_iter().collect(),
            networks: ByPrefix::new(networks),
            ports: ports.into_iter().filter(|(_, word)| *word != 0).collect(),
            names: names.into_iter().collect::<HashMap<_, _>>(),
        })
    }

    fn write(&self, step: &Step) -> Result<(), ApplyError> {
        let (zones, networks) = (ApplyError::of(name::ZONES), ApplyError::of(name::NETWORKS));
        let names = ApplyError::of(name::NAMES);
        match *step {
            Step::Name(key, name) => self.names.insert(&key, name).map_err(names),
            Step::Zone(key, ref slots) => self.zones.insert(&key, **slots).map_err(zones),
            Step::Network(key, slots) => self.networks.insert(&key, slots).map_err(networks),
            Step::Ports(word, ports) => {
                self.ports.insert(&word, ports).map_err(ApplyError::of(name::PORTS))
            }
            Step::Generation(generation) => {
                let written = self.heart.write(|meta| meta.generation = generation);
                std::thread::sleep(GRACE);
                written.map_err(ApplyError::of(name::META))
            }
            Step::DropZone(key) => self.zones.remove(&key).map(drop).map_err(zones),
            Step::DropNetwork(key) => self.networks.remove(&key).map(drop).map_err(networks),
            Step::DropName(key) => self.names.remove(&key).map(drop).map_err(names),
        }
    }
}

/// What steps are written together by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Network,
    DropNetwork,
    Other,
}

impl Kind {
    pub(super) fn of(step: &Step) -> Self {
        match step {
            Step::Network(..) => Self::Network,
            Step::DropNetwork(_) => Self::DropNetwork,
            _ => Self::Other,
        }
    }
}

fn ids_in_use(held: &Held) -> HashSet<u16> {
    let mut used = vec![false; usize::from(u16::MAX) + 1];
    for slots in held.networks.values() {
        if let Some(used) = used.get_mut(usize::from(slots.of(held.generation).id)) {
            *used = true;
        }
    }
    (0..=u16::MAX).zip(used).filter_map(|(id, used)| used.then_some(id)).collect()
}

fn network_names(held: &Held) -> BTreeMap<u16, String> {
    let names = held.names.iter().filter(|(key, _)| key.kind == NameKind::Network as u16);
    names.filter_map(|(key, name)| Some((key.id, name.as_str()?.to_owned()))).collect()
}
