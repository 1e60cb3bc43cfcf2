//! The maps that a classifier has pinned, opened by path.
//!
//! No BPF program, no capability: `bpf(2)` opens a pin and reads it if the file's mode lets this user
//! (for Linux before 5.19 only where `kernel.unprivileged_bpf_disabled` is 0). What is opened for
//! reading cannot be written to. Values are copies: the kernel's program goes on changing them.

mod fill;
#[cfg(feature = "loader")]
mod link;
mod map;
mod sys;
mod verdicts;
pub mod view;

use std::io;
use std::path::{Path, PathBuf};

use classifier_abi::{
    ABI_VERSION, Address, Counter, Datagram, Flow, FlowKey, Fragments, MAGIC, Marks, Meta, Meter,
    Name, NameKey, NameKind, Network, Pending, Prefix, Reason, Shared, Slots, Source, Standing,
    Stranger, Zone, ZoneKey, map as name,
};

pub use classifier_abi as abi;
pub use fill::Fill;
#[cfg(feature = "loader")]
pub use link::{Link, LinkState};
pub use map::{Access, Key, Map, PerCpuArray, PerCpuHash, Value};
pub use verdicts::{Verdicts, source_prefix};

/// Why pinned maps cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such pin: no classifier runs, or it pins elsewhere.
    #[error("{} does not exist: is the classifier running?", .path.display())]
    Absent {
        /// The pin.
        path: PathBuf,
    },
    /// The file's mode, its folder's, or the kernel does not let this user.
    #[error("{} may not be opened by this user: see docs/classifier.md, permissions", .path.display())]
    Denied {
        /// The pin.
        path: PathBuf,
    },
    /// Another version made the maps.
    #[error("{} holds maps of ABI version {found}, this program is of version {ABI_VERSION}", .path.display())]
    Abi {
        /// The pin.
        path: PathBuf,
        /// Their version.
        found: u32,
    },
    /// Keys or values have other sizes: something else is pinned there.
    #[error("{} is not a map of the classifier", .path.display())]
    Layout {
        /// The pin.
        path: PathBuf,
    },
    /// Anything else.
    #[error("{}: {error}", .path.display())]
    Io {
        /// The pin.
        path: PathBuf,
        /// What the kernel says.
        error: io::Error,
    },
}

impl OpenError {
    fn of(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent { path },
            io::ErrorKind::PermissionDenied => Self::Denied { path },
            _ => Self::Io { path, error },
        }
    }
}

/// The maps of one classifier.
#[derive(Debug)]
pub struct Maps {
    /// One [`Meta`].
    pub meta: Map<u32, Meta>,
    /// Zones by interface and VLAN.
    pub zones: Map<ZoneKey, Slots<Zone>>,
    /// Networks by prefix.
    pub networks: Map<Prefix, Slots<Network>>,
    /// What is known of sources.
    pub sources: Map<Address, Source>,
    /// What is known of TCP connections.
    pub flows: Map<FlowKey, Flow>,
    /// What is known of connections without an entry.
    pub pending: Map<u32, Pending>,
    /// When sources last completed a handshake.
    pub handshakes: Map<Address, Shared>,
    /// Datagrams of which fragments were seen.
    pub fragments: Map<Datagram, Fragments>,
    /// Marks of sources that completed a handshake.
    pub learnt: Map<u32, Marks>,
    /// What is known of sources without an entry.
    pub strangers: Map<u32, Stranger>,
    /// The meters that they share.
    pub cells: Map<u32, Meter>,
    /// Who is not to be let in.
    pub verdicts: Verdicts,
    /// Names of zones and networks.
    pub names: Map<NameKey, Name>,
    /// Packets and bytes by [`Reason::counter`].
    pub counters: PerCpuArray<Counter>,
    /// Packets and bytes of networks that are lists, by their id.
    pub network_counters: PerCpuHash<Counter>,
}

impl Maps {
    /// Opens the maps pinned in the folder `pin_path`: all for reading, the verdicts with `verdicts`.
    ///
    /// # Errors
    /// If one cannot be opened, or they are of another ABI version.
    pub fn open(pin_path: &Path, verdicts: Access) -> Result<Self, OpenError> {
        let at = |name: &str| pin_path.join(name);
        let meta = Map::open(&at(name::META), Access::Read)?;
        check(&meta, &at(name::META))?;
        Ok(Self {
            meta,
            zones: Map::open(&at(name::ZONES), Access::Read)?,
            networks: Map::open(&at(name::NETWORKS), Access::Read)?,
            sources: Map::open(&at(name::SOURCES), Access::Read)?,
            flows: Map::open(&at(name::FLOWS), Access::Read)?,
            pending: Map::open(&at(name::PENDING), Access::Read)?,
            handshakes: Map::open(&at(name::HANDSHAKES), Access::Read)?,
            fragments: Map::open(&at(name::FRAGMENTS), Access::Read)?,
            learnt: Map::open(&at(name::LEARNT), Access::Read)?,
            strangers: Map::open(&at(name::STRANGERS), Access::Read)?,
            cells: Map::open(&at(name::CELLS), Access::Read)?,
            verdicts: Verdicts::open(pin_path, verdicts)?,
            names: Map::open(&at(name::NAMES), Access::Read)?,
            counters: PerCpuArray::open(&at(name::COUNTERS))?,
            network_counters: PerCpuHash::open(&at(name::NETWORK_COUNTERS), Access::Read)?,
        })
    }

    /// What both sides look at first.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn meta(&self) -> io::Result<Meta> {
        self.meta.lookup(&0)?.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What is known of a connection that is open: by its entry or, where it has none yet, by its SYN.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn connection(&self, key: &FlowKey, meta: &Meta) -> io::Result<Option<Flow>> {
        if let Some(flow) = self.flows.lookup(key)? {
            return Ok(Some(flow));
        }
        let (slot, tag) = Pending::slot(key, meta.seed);
        let Some(pending) = self.pending.lookup(&slot)?.filter(|pending| pending.is_of(tag)) else {
            return Ok(None);
        };
        let generation = meta.generation;
        let network = self.network(key.source, generation)?.unwrap_or_default();
        Ok(Some(pending.flow(Standing { generation, network })))
    }

    /// The network that `address` belongs to under `generation`; `None` where it is of none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn network(&self, address: Address, generation: u32) -> io::Result<Option<Network>> {
        let slots = self.networks.lookup(&Prefix::new(address, 128))?;
        Ok(slots.map(|slots| *slots.of(generation)).filter(|network| network.id != 0))
    }

    /// The names of one kind of id.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn names(&self, kind: NameKind) -> io::Result<Vec<(u16, String)>> {
        let names = self.names.entries()?.into_iter();
        let names = names.filter(|(key, _)| key.kind == kind as u16);
        Ok(names.filter_map(|(key, name)| Some((key.id, name.as_str()?.to_owned()))).collect())
    }

    /// Packets and bytes that were counted for `reason`: those that went on all the same, and those
    /// that were dropped for it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn counted(&self, reason: Reason) -> io::Result<[Counter; 2]> {
        let sum = |index| Ok::<_, io::Error>(sum(self.counters.lookup(index)?));
        Ok([sum(reason.counter(false))?, sum(reason.counter(true))?])
    }

    /// Packets and bytes of every network that is counted, by its name.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn network_counted(&self) -> io::Result<Vec<(String, Counter)>> {
        let mut counted = Vec::new();
        for id in self.network_counters.keys()? {
            let id = u16::try_from(id).unwrap_or_default();
            let key = NameKey { kind: NameKind::Network as u16, id };
            if let Some(name) = self.names.lookup(&key)?
                && let Some(name) = name.as_str()
            {
                let values = self.network_counters.lookup(id.into())?;
                counted.push((name.to_owned(), sum(values)));
            }
        }
        counted.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(counted)
    }
}

fn sum(values: Vec<Counter>) -> Counter {
    values.into_iter().fold(Counter::default(), |sum, value| Counter {
        packets: sum.packets.wrapping_add(value.packets),
        bytes: sum.bytes.wrapping_add(value.bytes),
    })
}

/// Compares the first words of `meta` with those of this build.
///
/// # Errors
/// If they differ.
pub fn check(meta: &Map<u32, Meta>, path: &Path) -> Result<(), OpenError> {
    let found = meta.lookup(&0).map_err(|error| OpenError::of(path, error))?.unwrap_or_default();
    match (found.magic, found.abi) {
        (MAGIC, ABI_VERSION) => Ok(()),
        (MAGIC, found) => Err(OpenError::Abi { path: path.to_path_buf(), found }),
        _ => Err(OpenError::Layout { path: path.to_path_buf() }),
    }
}

/// Now, on the clock of all times in the maps: `CLOCK_MONOTONIC`, which BPF calls ktime.
#[must_use]
pub fn ktime_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
