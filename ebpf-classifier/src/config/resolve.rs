//! From what was written to what holds: names are looked up, and what only shows when everything is
//! seen together is found here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use classifier_abi::{NETWORK_MAX, NetworkAction, Prefix};
use ipnet::IpNet;
use sallyport_config::{Found, Sink};

use super::limits::Limits;
use super::list::{Content, Lists};
use super::model::{Config, Interface, List, Mode, Network, Zone};
use super::raw::{RawFile, RawInterface, RawNetwork, RawScreen, RawZone, prefix};

/// The most entries under `interfaces`: half of what the map of zones holds, so that an edit can
/// replace all of them.
const INTERFACES_MAX: usize = 2_048;

/// The most networks: half of all ids, so that an edit can replace all of them.
const NETWORKS_MAX: usize = NETWORK_MAX as usize / 2;

/// Turns the file into a configuration. It may be used only if nothing was added to `problems`.
pub(super) fn resolve(
    raw: RawFile,
    folder: &Path,
    lists: &mut Lists,
    problems: &mut Sink,
) -> Config {
    let mut resolver = Resolver { problems, folder, lists };
    let screens = resolver.screens(raw.screens);
    let zones = resolver.zones(raw.zones, &screens);
    Config {
        pin_path: raw.pin_path,
        metrics: raw.metrics,
        interfaces: resolver.interfaces(raw.interfaces, &zones),
        networks: resolver.networks(raw.networks, &raw.trusted_proxies, &raw.limits),
        trusted_proxies: raw.trusted_proxies.iter().map(|(_, cidr)| prefix(cidr)).collect(),
        ipv6_prefix: raw.ipv6_prefix,
        zones,
        ports: raw.ports.into_iter().collect(),
        limits: raw.limits,
    }
}

struct Resolver<'p> {
    problems: &'p mut Sink,
    /// Where paths begin.
    folder: &'p Path,
    lists: &'p mut Lists,
}

impl Resolver<'_> {
    fn refuse(&mut self, place: String, what: String, fix: impl Into<String>) {
        self.problems.push(Found::error(0, place, what, fix));
    }

    /// Notes a second use of what may be used once.
    fn refuse_repeated<K: Hash + Eq>(
        &mut self,
        seen: &mut HashMap<K, String>,
        key: K,
        place: String,
        what: String,
    ) {
        match seen.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(place);
            }
            Entry::Occupied(first) => {
                let fix = format!("it is taken by {}: change or remove one of them", first.get());
                self.refuse(place, what, fix);
            }
        }
    }

    fn screens(&mut self, raws: Vec<RawScreen>) -> HashMap<Box<str>, classifier_abi::Zone> {
        let mut names = HashMap::new();
        for raw in &raws {
            let what = format!("duplicate screen {:?}", raw.name);
            self.refuse_repeated(&mut names, &raw.name, format!("{}.name", raw.place), what);
        }
        raws.iter().map(|raw| (raw.name.clone(), raw.rules)).collect()
    }

    fn zones(
        &mut self,
        raws: Vec<RawZone>,
        screens: &HashMap<Box<str>, classifier_abi::Zone>,
    ) -> Vec<Zone> {
        let (mut names, mut ids) = (HashMap::new(), HashMap::new());
        let mut zones = Vec::new();
        for raw in raws {
            let place = raw.place;
            let what = format!("duplicate zone {:?}", raw.name);
            self.refuse_repeated(&mut names, raw.name.clone(), format!("{place}.name"), what);
            if let Some(id) = raw.id {
                let what = format!("duplicate zone id {id}");
                self.refuse_repeated(&mut ids, id, format!("{place}.id"), what);
            }
            let mut rules = classifier_abi::Zone::default();
            if let Some(screen) = raw.screen {
                match screens.get(&screen) {
                    Some(screen) => rules = *screen,
                    None => {
                        let fix = unknown_fix("screen", screens.keys());
                        self.refuse(
                            format!("{place}.screen"),
                            format!("unknown screen {screen:?}"),
                            fix,
                        );
                    }
                }
            }
            rules.id = raw.id.unwrap_or_default();
            zones.push(Zone { name: raw.name, rules });
        }
        zones
    }

    fn interfaces(&mut self, raws: Vec<RawInterface>, zones: &[Zone]) -> Vec<Interface> {
        if raws.len() > INTERFACES_MAX {
            let what = format!("{} entries", raws.len());
            self.refuse("interfaces".into(), what, format!("use at most {INTERFACES_MAX}"));
        }
        let mut seen = HashMap::new();
        let mut modes: HashMap<Box<str>, (Mode, String)> = HashMap::new();
        let mut interfaces = Vec::new();
        for raw in raws {
            let RawInterface { place, name, vlan, zone, mode } = raw;
            let on = vlan.map_or_else(|| "every VLAN".to_owned(), |vlan| format!("VLAN {vlan}"));
            let what = format!("duplicate interface {name:?} with {on}");
            self.refuse_repeated(&mut seen, (name.clone(), vlan), place.clone(), what);
            let (first, at) = modes.entry(name.clone()).or_insert((mode, place.clone()));
            if *first != mode {
                let fix = format!("an interface has one mode: write the same as in {at}");
                let what = format!("interface {name:?} has two modes");
                self.refuse(format!("{place}.mode"), what, fix);
            }
            let Some(zone) = zone else { continue };
            match zones.iter().find(|known| known.name == zone) {
                Some(known) => {
                    let zone = known.rules.id;
                    interfaces.push(Interface { name, vlan, zone, mode });
                }
                None => {
                    let fix = unknown_fix("zone", zones.iter().map(|zone| &zone.name));
                    self.refuse(format!("{place}.zone"), format!("unknown zone {zone:?}"), fix);
                }
            }
        }
        interfaces
    }

    /// The networks, and what of the trusted proxies is in none of them as one more.
    fn networks(
        &mut self,
        raws: Vec<RawNetwork>,
        trusted: &[(String, IpNet)],
        limits: &Limits,
    ) -> Vec<Network> {
        if raws.len() > NETWORKS_MAX {
            let what = format!("{} networks", raws.len());
            self.refuse("networks".into(), what, format!("use at most {NETWORKS_MAX}"));
        }
        let mut names = HashMap::new();
        let mut prefixes: HashMap<Prefix, String> = HashMap::new();
        let mut networks = Vec::new();
        for raw in raws {
            let what = format!("duplicate network {:?}", raw.name);
            self.refuse_repeated(&mut names, raw.name.clone(), format!("{}.name", raw.place), what);
            for (place, cidr) in &raw.cidrs {
                let what = format!("overlaps: {cidr} is in two networks or twice in one");
                self.refuse_repeated(&mut prefixes, prefix(cidr), place.clone(), what);
            }
            let own = raw.cidrs.iter().map(|(_, cidr)| prefix(cidr)).collect();
            let list = self.list(&raw);
            let (name, action) = (raw.name, raw.action);
            networks.push(Network { name, prefixes: own, list, action });
        }
        let count: usize =
            networks.iter().map(Network::prefix_count).sum::<usize>() + trusted.len();
        if count > limits.networks as usize {
            let what = format!("{count} prefixes, over the limit of {}", limits.networks);
            self.refuse("networks".into(), what, "use fewer or raise `limits.networks`");
        }
        let mut own = Vec::new();
        let mut proxies = HashMap::new();
        for (place, cidr) in trusted {
            let key = prefix(cidr);
            let what = format!("{cidr} is in `trusted_proxies` twice");
            self.refuse_repeated(&mut proxies, key, place.clone(), what);
            let same = networks.iter().find(|network: &&Network| network.prefixes.contains(&key));
            match same {
                None => own.push(key),
                Some(network) if network.action == NetworkAction::Drop => {
                    let what = format!("{cidr} is of network {:?}, which is dropped", network.name);
                    let fix = "take it out of one of them";
                    self.refuse(place.clone(), what, fix);
                }
                Some(_) => {}
            }
        }
        if !own.is_empty() {
            let (name, action) = (Config::TRUSTED_PROXIES.into(), NetworkAction::Exempt);
            if names.contains_key(&name) {
                let what = format!("network {name:?} and the key of that name");
                self.refuse("networks".into(), what, "give the network another name");
            }
            networks.push(Network { name, prefixes: own, list: None, action });
        }
        networks
    }
}

impl Resolver<'_> {
    /// What the file of a network holds; nothing where it cannot be read.
    fn list(&mut self, raw: &RawNetwork) -> Option<List> {
        let place = || format!("{}.file", raw.place);
        let Content { prefixes, modified } =
            match self.lists.read(&self.folder.join(raw.file.as_ref()?)) {
                Ok(content) => content,
                Err(refusals) => {
                    refusals.into_iter().for_each(|(what, fix)| self.refuse(place(), what, fix));
                    return None;
                }
            };
        // IPv4's own is one of 96 bits.
        let everybody =
            |prefix: &&Prefix| prefix.bits == 0 || prefix.bits == 96 && prefix.address().is_v4();
        if raw.action == NetworkAction::Drop && prefixes.iter().any(|prefix| everybody(&prefix)) {
            let what = "the list holds everybody: 0.0.0.0/0 or ::/0".to_owned();
            self.refuse(place(), what, "remove that line, or write it under `cidrs`");
        }
        let expires = raw.expires.and_then(|time| modified.checked_add(time));
        let is_expired = expires.is_some_and(|expires| expires <= SystemTime::now());
        let prefixes = if is_expired { Arc::default() } else { prefixes };
        Some(List { prefixes, modified, expires, is_expired })
    }
}

fn unknown_fix<'n>(kind: &str, known: impl Iterator<Item = &'n Box<str>>) -> String {
    let mut known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    known.sort();
    match known.as_slice() {
        [] => format!("add it under `{kind}s:`"),
        known => format!("known {kind}s: {}", known.join(", ")),
    }
}
