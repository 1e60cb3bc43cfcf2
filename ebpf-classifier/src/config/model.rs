//! A configuration that cannot be invalid.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use classifier_abi::{NetworkAction, Prefix};

use super::Limits;

/// Where maps are pinned unless a file or the command line says otherwise.
pub const PIN_PATH: &str = "/sys/fs/bpf/sallyport";

/// The prefix that stands for an IPv6 source unless a file says otherwise: what one customer has at
/// least (RFC 6177).
pub const IPV6_PREFIX: u32 = 64;

/// What the classifier is to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// The folder of the pins, on a BPF file system.
    pub pin_path: PathBuf,
    /// Where metrics are served; nowhere without it.
    pub metrics: Option<SocketAddr>,
    /// What the program is attached to; each pair of name and VLAN once.
    pub interfaces: Vec<Interface>,
    /// The zones, ids and names each once.
    pub zones: Vec<Zone>,
    /// The networks, names and prefixes each once.
    pub networks: Vec<Network>,
    /// Prefixes that rates and scans do not count for, whatever network they are of.
    pub trusted_proxies: Vec<Prefix>,
    /// The length of the prefix that stands for an IPv6 source.
    pub ipv6_prefix: u32,
    /// TCP destination ports whose connections get flow entries.
    pub ports: BTreeSet<u16>,
    /// The sizes of the maps.
    pub limits: Limits,
}

/// An interface, or one VLAN of it, and the zone it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: Box<str>,
    /// The VLAN; all that have no entry of their own without it.
    pub vlan: Option<u16>,
    /// The id of the zone.
    pub zone: u16,
    /// How the program is attached.
    pub mode: Mode,
}

/// How a program is attached to an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// In the driver where it can, else behind it; on veth the other way round.
    #[default]
    Auto,
    /// In the driver.
    Native,
    /// Behind the driver: works with every one, at several times the cost.
    Generic,
}

/// A zone and its screens.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name.
    pub name: Box<str>,
    /// Its id and its screens, as the program has them.
    pub rules: classifier_abi::Zone,
}

/// A network.
#[derive(Clone, Debug)]
pub struct Network {
    /// Its name.
    pub name: Box<str>,
    /// What is in it, as the configuration says.
    pub prefixes: Vec<Prefix>,
    /// What is in it, as a file says.
    pub list: Option<List>,
    /// What happens to its packets.
    pub action: NetworkAction,
}

/// The list of a network.
#[derive(Clone, Debug)]
pub struct List {
    /// What the file holds, in order; nothing once it has expired. Prefixes that the configuration
    /// itself has elsewhere, or a list before, are not taken from here.
    pub prefixes: Arc<Vec<Prefix>>,
    /// When the file was written.
    pub modified: SystemTime,
    /// When it expires; never without it.
    pub expires: Option<SystemTime>,
    /// Whether it has.
    pub is_expired: bool,
}

impl Network {
    /// How many prefixes it was given.
    #[must_use]
    pub fn prefix_count(&self) -> usize {
        self.prefixes.len() + self.list.as_ref().map_or(0, |list| list.prefixes.len())
    }
}

impl Config {
    /// When the first list expires that has not yet.
    #[must_use]
    pub fn next_expiry(&self) -> Option<SystemTime> {
        let lists = self.networks.iter().filter_map(|network| network.list.as_ref());
        lists.filter(|list| !list.is_expired).filter_map(|list| list.expires).min()
    }

    /// The name under which trusted proxies are a network where no other holds them.
    pub const TRUSTED_PROXIES: &str = "trusted_proxies";

    /// The interfaces to attach to, each once however many VLANs of it are named.
    pub fn attachments(&self) -> impl Iterator<Item = (&str, Mode)> {
        let mut seen = BTreeSet::new();
        self.interfaces
            .iter()
            .filter(move |interface| seen.insert(&interface.name))
            .map(|interface| (&*interface.name, interface.mode))
    }
}
