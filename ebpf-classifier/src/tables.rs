//! A configuration as the maps hold it.
//!
//! Between [`Config`], which speaks of names, and [`apply`](crate::apply), which writes: interfaces
//! have become indices here and networks ids.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use classifier_abi::{Name, NameKey, NameKind, Network, NetworkAction, Prefix, Zone, ZoneKey};

use crate::config::Config;
use crate::prefixes::ByPrefix;

/// The words of one set of 65,536 ports.
pub const PORT_WORDS: usize = 1_024;

/// Everything that one configuration puts into the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Zones by interface and VLAN.
    pub zones: HashMap<ZoneKey, Zone>,
    /// Networks by prefix.
    pub networks: ByPrefix<Network>,
    /// The words of `ports` that are not 0, by their index.
    pub ports: BTreeMap<u32, u64>,
    /// Names of zones and networks.
    pub names: HashMap<NameKey, Name>,
}

impl Tables {
    /// Translates `config`. `ifindex` knows every interface of it and `ids` every network; what one
    /// of them does not know is left out.
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

/// What the configuration itself says comes before every list, and lists in their order: of a
/// prefix that is there twice the first is taken.
fn networks(config: &Config, ids: &HashMap<&str, u16>) -> ByPrefix<Network> {
    let known = || config.networks.iter().filter_map(|one| Some((one, *ids.get(&*one.name)?)));
    let mut all = Vec::with_capacity(known().map(|(network, _)| network.prefix_count()).sum());
    let mut add = |prefixes: &[Prefix], action: NetworkAction, id: u16, counted: u16| {
        let of = |action: NetworkAction| Network { id, action: action as u16 | counted };
        // A list has a million prefixes: what depends on none of them is decided once.
        if action != NetworkAction::Classify || config.trusted_proxies.is_empty() {
            return all.extend(prefixes.iter().map(|prefix| (*prefix, of(action))));
        }
        all.extend(prefixes.iter().map(|prefix| {
            let is_trusted = config.trusted_proxies.iter().any(|proxy| proxy.contains(prefix));
            (*prefix, of(if is_trusted { NetworkAction::Exempt } else { action }))
        }));
    };
    for (network, id) in known() {
        add(&network.prefixes, network.action, id, 0);
    }
    for (network, id) in known() {
        if let Some(list) = &network.list {
            add(&list.prefixes, network.action, id, Network::COUNTED);
        }
    }
    ByPrefix::new(all)
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Lists, load};

    fn tables(folder: &Path, networks: &str) -> Tables {
        let path = folder.join("c.yaml");
        let text = format!(
            "interfaces: [ {{ name: eth0, zone: a }} ]\nzones: [ {{ name: a, id: 1 }} ]\n{networks}\n"
        );
        std::fs::write(&path, text).unwrap();
        let config = load(&path, &mut Lists::default()).unwrap().config;
        let names: Vec<&str> = config.networks.iter().map(|network| &*network.name).collect();
        let ids = names.into_iter().zip(1..).collect();
        Tables::of(&config, &BTreeMap::new(), &ids)
    }

    #[test]
    fn what_the_configuration_says_comes_before_lists_and_these_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("one"), "192.0.2.1\n192.0.2.2\n10.1.0.0/16\n").unwrap();
        std::fs::write(folder.path().join("two"), "192.0.2.2\n192.0.2.3\n192.0.2.4\n").unwrap();
        let tables = tables(
            folder.path(),
            "networks:\n- { name: one, file: one, action: drop }\n\
             - { name: two, file: two }\n\
             - { name: own, cidrs: [192.0.2.1], action: allow }\n\
             trusted_proxies: [192.0.2.3, 10.0.0.0/8]",
        );
        let of = |address: [u8; 4], bits| {
            let network = tables
                .networks
                .get(&Prefix::new(classifier_abi::Address::v4(address), bits))
                .unwrap();
            (network.id, network.action(), network.is_counted())
        };
        assert_eq!(of([192, 0, 2, 1], 128), (3, NetworkAction::Allow, false));
        assert_eq!(of([192, 0, 2, 2], 128), (1, NetworkAction::Drop, true));
        assert_eq!(of([192, 0, 2, 3], 128), (4, NetworkAction::Exempt, false));
        assert_eq!(of([192, 0, 2, 4], 128), (2, NetworkAction::Classify, true));
        assert_eq!(of([10, 1, 0, 0], 112), (1, NetworkAction::Drop, true));
        assert_eq!(tables.networks.len(), 6);
    }
}
