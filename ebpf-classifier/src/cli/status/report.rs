//! What the maps say, by name instead of by number.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use classifier_abi::{Address, Counter, Meta, NameKind, NetworkAction, Reason, Source, per_second};
use serde::Serialize;

use crate::kernel::{Attachment, attached_names, interface, link_path};
use crate::pinned::{self, Fill, Link, Maps};

/// How many sources are shown.
const SOURCES: usize = 20;

/// Everything that `status` shows.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) pin_path: PathBuf,
    pub(super) generation: u32,
    /// `None` once the loader has ended.
    pub(super) heartbeat_age_s: Option<f64>,
    /// Whether strangers' SYNs over a zone's rate are answered with SYN cookies where it asks for them.
    pub(super) syn_cookies: bool,
    /// On how many of the interfaces of the configuration the program is, as the loader saw it last.
    pub(super) interfaces_attached: u16,
    pub(super) interfaces: u16,
    pub(super) attached: Vec<AttachedRow>,
    pub(super) zones: Vec<ZoneRow>,
    pub(super) networks: Vec<NetworkRow>,
    /// Those with the most SYNs a second, the highest first.
    pub(super) sources: Vec<SourceRow>,
    pub(super) counters: Vec<CounterRow>,
    pub(super) maps: Vec<MapRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct AttachedRow {
    pub(super) interface: Box<str>,
    /// `None` where no program is on it any more.
    pub(super) mode: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ZoneRow {
    pub(super) id: u16,
    pub(super) name: String,
    pub(super) ifindex: u32,
    /// 0 for all that have no entry of their own.
    pub(super) vlan: u32,
    pub(super) counting: Vec<&'static str>,
    pub(super) dropping: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct NetworkRow {
    pub(super) id: u16,
    pub(super) name: String,
    pub(super) action: &'static str,
    pub(super) prefixes: usize,
    /// Packets from its sources, where it is a list.
    pub(super) packets: Option<u64>,
}

#[derive(Debug, Serialize)]
pub(super) struct SourceRow {
    pub(super) address: IpAddr,
    pub(super) network: Option<String>,
    pub(super) zone: Option<String>,
    pub(super) syn_per_s: u32,
    pub(super) screens: Vec<&'static str>,
    pub(super) last_seen_s: f64,
}

#[derive(Debug, Serialize)]
pub(super) struct CounterRow {
    pub(super) reason: &'static str,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) dropped_packets: u64,
    pub(super) dropped_bytes: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct MapRow {
    pub(super) map: &'static str,
    /// Entries, or slots in use; `None` where they cannot be counted.
    pub(super) entries: Option<usize>,
    pub(super) entries_max: u32,
}

/// Reads the maps.
pub(super) fn gather(pin_path: &Path, maps: &Maps) -> anyhow::Result<Report> {
    let meta = maps.meta().context("cannot read `meta`")?;
    let now_ns = pinned::ktime_ns();
    let age = now_ns.saturating_sub(meta.heartbeat_ns) as f64 / 1e9;
    let names = |kind| -> anyhow::Result<HashMap<u16, String>> {
        Ok(maps.names(kind).context("cannot read `names`")?.into_iter().collect())
    };
    let (zones, networks) = (names(NameKind::Zone)?, names(NameKind::Network)?);
    Ok(Report {
        pin_path: pin_path.to_path_buf(),
        generation: meta.generation,
        heartbeat_age_s: (meta.heartbeat_ns != 0).then_some(age),
        syn_cookies: meta.flags & Meta::COOKIES != 0,
        interfaces_attached: meta.attached(),
        interfaces: meta.interfaces(),
        attached: attached(pin_path),
        zones: zone_rows(maps, meta.generation, &zones)?,
        networks: network_rows(maps, meta.generation, &networks)?,
        sources: source_rows(maps, now_ns, &zones, &networks)?,
        counters: counter_rows(maps)?,
        maps: maps.fill(now_ns).into_iter().map(map_row).collect(),
    })
}

fn map_row(Fill { map, entries_max, entries }: Fill) -> MapRow {
    MapRow { map, entries: entries.ok(), entries_max }
}

fn attached(pin_path: &Path) -> Vec<AttachedRow> {
    // Who may read the maps but not list the folder sees the rest.
    let names = attached_names(pin_path).unwrap_or_default();
    let row = |interface: Box<str>| {
        let mode = mode(pin_path, &interface).map(|mode| mode.to_string());
        AttachedRow { interface, mode }
    };
    names.into_iter().map(row).collect()
}

/// The mode in which the program is on the interface; `None` where it is not.
fn mode(pin_path: &Path, name: &str) -> Option<Attachment> {
    let holder = match Link::open(&link_path(pin_path, name)).and_then(|link| link.state()) {
        Ok(state) => {
            let holder = interface::holder(state.ifindex?).ok()??;
            Some(holder).filter(|holder| holder.program == state.program)
        }
        // The link is the loader's alone: others see whether there is a program.
        Err(_) => interface::holder(interface::index(name).ok()??).ok()?,
    };
    holder.map(|holder| holder.mode)
}

fn name_of(names: &HashMap<u16, String>, id: u16) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

fn zone_rows(
    maps: &Maps,
    generation: u32,
    names: &HashMap<u16, String>,
) -> anyhow::Result<Vec<ZoneRow>> {
    let zones = maps.zones.entries().context("cannot read `zones`")?;
    let rows = zones.into_iter().map(|(key, slots)| (key, *slots.of(generation)));
    let mut rows: Vec<ZoneRow> = rows
        .filter(|(_, zone)| zone.id != 0)
        .map(|(key, zone)| {
            let counting = zone.watched.iter().filter(|reason| {
                reason.screen().is_some_and(|screen| zone.dropping.and(screen).is_empty())
            });
            ZoneRow {
                id: zone.id,
                name: name_of(names, zone.id),
                ifindex: key.ifindex,
                vlan: key.vlan,
                counting: counting.map(Reason::label).collect(),
                dropping: zone.dropping.iter().map(Reason::label).collect(),
            }
        })
        .collect();
    rows.sort_by_key(|row| (row.id, row.ifindex, row.vlan));
    Ok(rows)
}

fn network_rows(
    maps: &Maps,
    generation: u32,
    names: &HashMap<u16, String>,
) -> anyhow::Result<Vec<NetworkRow>> {
    let mut networks: BTreeMap<u16, (NetworkAction, usize)> = BTreeMap::new();
    // Each once: while keys are removed, a walk over them begins anew.
    let entries = maps.networks.entries().context("cannot read `networks`")?;
    for slots in entries.into_iter().collect::<BTreeMap<_, _>>().into_values() {
        let network = slots.of(generation);
        if network.id != 0 {
            networks.entry(network.id).or_insert((network.action(), 0)).1 += 1;
        }
    }
    let counted = maps.network_counted().context("cannot read `network_counters`")?;
    let counted: HashMap<String, Counter> = counted.into_iter().collect();
    let row = |(id, (action, prefixes))| NetworkRow {
        id,
        name: name_of(names, id),
        action: match action {
            NetworkAction::Classify => "classify",
            NetworkAction::Allow => "allow",
            NetworkAction::Drop => "drop",
            NetworkAction::Exempt => "exempt",
        },
        prefixes,
        packets: counted.get(&name_of(names, id)).map(|counter| counter.packets),
    };
    Ok(networks.into_iter().map(row).collect())
}

fn source_rows(
    maps: &Maps,
    now_ns: u64,
    zones: &HashMap<u16, String>,
    networks: &HashMap<u16, String>,
) -> anyhow::Result<Vec<SourceRow>> {
    let sources = maps.sources.entries().context("cannot read `sources`")?;
    let rate = |source: &Source| per_second(source.syn_level(now_ns));
    let mut ranked: Vec<(Reverse<u32>, Address, Source)> = sources
        .into_iter()
        .map(|(address, source)| (Reverse(rate(&source)), address, source))
        .collect();
    ranked.sort_by_key(|(rate, address, _)| (*rate, *address));
    let row = |(Reverse(syn_per_s), address, source): (Reverse<u32>, Address, Source)| {
        let (network, zone) = (source.standing().network.id, source.zone.load() as u16);
        SourceRow {
            address: address.into(),
            network: (network != 0).then(|| name_of(networks, network)),
            zone: (zone != 0).then(|| name_of(zones, zone)),
            syn_per_s,
            screens: source.screens(now_ns).iter().map(Reason::label).collect(),
            last_seen_s: now_ns.saturating_sub(source.last_ns.load()) as f64 / 1e9,
        }
    };
    Ok(ranked.into_iter().take(SOURCES).map(row).collect())
}

fn counter_rows(maps: &Maps) -> anyhow::Result<Vec<CounterRow>> {
    let row = |reason: &Reason| -> anyhow::Result<CounterRow> {
        let [on, dropped]: [Counter; 2] =
            maps.counted(*reason).context("cannot read `counters`")?;
        Ok(CounterRow {
            reason: reason.label(),
            packets: on.packets,
            bytes: on.bytes,
            dropped_packets: dropped.packets,
            dropped_bytes: dropped.bytes,
        })
    };
    Reason::ALL.iter().map(row).collect()
}
