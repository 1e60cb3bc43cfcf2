//! What the maps say of zones, networks and sources, with names in place of numbers: for whatever
//! shows it to people.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;

use classifier_abi::{Address, NameKind, NetworkAction, Reason, Source, per_second};
use serde::Serialize;

use super::{Maps, ktime_ns};

/// The names of zones and networks.
#[derive(Clone, Debug, Default)]
pub struct Names {
    zones: HashMap<u16, String>,
    networks: HashMap<u16, String>,
}

/// What is watched at an interface, or at one VLAN of it.
#[derive(Clone, Debug, Serialize)]
pub struct ZoneView {
    /// The zone's number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// The interface.
    pub ifindex: u32,
    /// 0 for all that have no entry of their own.
    pub vlan: u32,
    /// Screens that only count.
    pub counting: Vec<&'static str>,
    /// Screens that drop.
    pub dropping: Vec<&'static str>,
}

/// A network, over all of its prefixes.
#[derive(Clone, Debug)]
pub struct NetworkView {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// What becomes of its packets, as the configuration says it.
    pub action: &'static str,
    /// How many prefixes it has.
    pub prefixes: usize,
}

/// A source that sends SYNs.
#[derive(Clone, Debug, Serialize)]
pub struct SourceView {
    /// Its address.
    pub address: IpAddr,
    /// Its network, if it is in one.
    pub network: Option<String>,
    /// The zone that saw it.
    pub zone: Option<String>,
    /// SYNs a second.
    pub syn_per_s: u32,
    /// Screens that found something wrong with it.
    pub screens: Vec<&'static str>,
    /// Seconds since it was seen.
    pub last_seen_s: f64,
}

impl Names {
    /// Reads them.
    ///
    /// # Errors
    /// If the map cannot be read.
    pub fn read(maps: &Maps) -> io::Result<Self> {
        let names =
            |kind| -> io::Result<HashMap<_, _>> { Ok(maps.names(kind)?.into_iter().collect()) };
        Ok(Self { zones: names(NameKind::Zone)?, networks: names(NameKind::Network)? })
    }
}

fn name_of(names: &HashMap<u16, String>, id: u16) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

/// Zones in force in that generation, by their numbers.
///
/// # Errors
/// If the map cannot be read.
pub fn zones(maps: &Maps, generation: u32, names: &Names) -> io::Result<Vec<ZoneView>> {
    let zones = maps.zones.entries()?.into_iter();
    let zones = zones.map(|(key, slots)| (key, *slots.of(generation)));
    let mut views: Vec<ZoneView> = zones
        .filter(|(_, zone)| zone.id != 0)
        .map(|(key, zone)| {
            let counting = zone.watched.iter().filter(|reason| {
                reason.screen().is_some_and(|screen| zone.dropping.and(screen).is_empty())
            });
            ZoneView {
                id: zone.id,
                name: name_of(&names.zones, zone.id),
                ifindex: key.ifindex,
                vlan: key.vlan,
                counting: counting.map(Reason::label).collect(),
                dropping: zone.dropping.iter().map(Reason::label).collect(),
            }
        })
        .collect();
    views.sort_by_key(|view| (view.id, view.ifindex, view.vlan));
    Ok(views)
}

/// Networks in force in that generation, by their numbers.
///
/// # Errors
/// If the map cannot be read.
pub fn networks(maps: &Maps, generation: u32, names: &Names) -> io::Result<Vec<NetworkView>> {
    let mut networks: BTreeMap<u16, (NetworkAction, usize)> = BTreeMap::new();
    // Each once: while keys are removed, a walk over them begins anew.
    let entries = maps.networks.entries()?;
    for slots in entries.into_iter().collect::<BTreeMap<_, _>>().into_values() {
        let network = slots.of(generation);
        if network.id != 0 {
            networks.entry(network.id).or_insert((network.action(), 0)).1 += 1;
        }
    }
    let view = |(id, (action, prefixes))| NetworkView {
        id,
        name: name_of(&names.networks, id),
        action: match action {
            NetworkAction::Classify => "classify",
            NetworkAction::Allow => "allow",
            NetworkAction::Drop => "drop",
            NetworkAction::Exempt => "exempt",
        },
        prefixes,
    };
    Ok(networks.into_iter().map(view).collect())
}

/// The `count` sources with the most SYNs a second, the highest first. Walks the whole map, which
/// may have a million entries.
///
/// # Errors
/// If the map cannot be read.
pub fn top_sources(maps: &Maps, count: usize, names: &Names) -> io::Result<Vec<SourceView>> {
    let now_ns = ktime_ns();
    let entries = maps.sources.entries()?.into_iter();
    let mut ranked: Vec<(Reverse<u32>, Address, Source)> = entries
        .map(|(address, source)| (Reverse(per_second(source.syn_level(now_ns))), address, source))
        .collect();
    ranked.sort_by_key(|(rate, address, _)| (*rate, *address));
    let view = |(Reverse(syn_per_s), address, source): (Reverse<u32>, Address, Source)| {
        let (network, zone) = (source.standing().network.id, source.zone.load() as u16);
        SourceView {
            address: address.into(),
            network: (network != 0).then(|| name_of(&names.networks, network)),
            zone: (zone != 0).then(|| name_of(&names.zones, zone)),
            syn_per_s,
            screens: source.screens(now_ns).iter().map(Reason::label).collect(),
            last_seen_s: now_ns.saturating_sub(source.last_ns.load()) as f64 / 1e9,
        }
    };
    Ok(ranked.into_iter().take(count).map(view).collect())
}
