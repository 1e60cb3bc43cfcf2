//! A configuration as the maps hold it.
//!
//! Between [`Config`], which speaks of names, and [`apply`](crate::apply), which writes: interfaces
//! have become indices here and networks ids.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use classifier_abi::{Name, NameKey, NameKind, Network, NetworkAction, Prefix, Zone, ZoneKey};

use crate::config::Config;

/// The words of one set of 65,536 ports.
pub const PORT_WORDS: usize = 1_024;

/// Everything that one configuration puts into the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Zones by interface and VLAN.
    pub zones: HashMap<ZoneKey, Zone>,
    /// Networks by prefix.
    pub networks: HashMap<Prefix, Network>,
    /// The words of `ports` that are not 0, by their index.
    pub ports: BTreeMap<u32, u64>,
    /// Names of zones and networks.
    pub names: HashMap<NameKey, Name>,
}

impl Tables {
    /// Translates `config`. `ifindex` knows every interface of it and `ids` every network; what one of
    /// them does not know is left out.
    #[must_use]
    pub fn of(
        config: &Config,
        ifindex: &BTreeMap<Box<str>, u32>,
        ids: &HashMap<&str, u16>,
    ) -> Self {
        Self {
            zones: zones(config, ifindex),
            networks: networks(config, ids),
            ports: ports(&config.ports),
            names: names(config, ids),
        }
    }
}

fn zones(config: &Config, ifindex: &BTreeMap<Box<str>, u32>) -> HashMap<ZoneKey, Zone> {
    let rules: HashMap<u16, Zone> =
        config.zones.iter().map(|zone| (zone.rules.id, zone.rules)).collect();
    config
        .interfaces
        .iter()
        .filter_map(|interface| {
            let ifindex = *ifindex.get(&interface.name)?;
            let vlan = interface.vlan.map_or(0, u32::from);
            Some((ZoneKey { ifindex, vlan }, *rules.get(&interface.zone)?))
        })
        .collect()
}

fn networks(config: &Config, ids: &HashMap<&str, u16>) -> HashMap<Prefix, Network> {
    let mut networks = HashMap::new();
    for network in &config.networks {
        let Some(id) = ids.get(&*network.name) else { continue };
        for prefix in &network.prefixes {
            let trusted = || config.trusted_proxies.iter().any(|proxy| proxy.contains(prefix));
            let action = match network.action {
                NetworkAction::Classify if trusted() => NetworkAction::Exempt,
                action => action,
            };
            networks.insert(*prefix, Network { id: *id, action: action as u16 });
        }
    }
    networks
}

fn ports(ports: &BTreeSet<u16>) -> BTreeMap<u32, u64> {
    let mut words = BTreeMap::new();
    for port in ports {
        *words.entry(u32::from(port >> 6)).or_default() |= 1 << (port & 63);
    }
    words
}

fn names(config: &Config, ids: &HashMap<&str, u16>) -> HashMap<NameKey, Name> {
    let zones = config.zones.iter().map(|zone| (NameKind::Zone, zone.rules.id, &zone.name));
    let networks = config
        .networks
        .iter()
        .filter_map(|network| Some((NameKind::Network, *ids.get(&*network.name)?, &network.name)));
    zones
        .chain(networks)
        .filter_map(|(kind, id, name)| Some((NameKey { kind: kind as u16, id }, Name::new(name)?)))
        .collect()
}
