//! What the maps say, by name instead of by number.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use classifier_abi::{Counter, Meta, Reason};
use serde::Serialize;

use crate::kernel::{Attachment, attached_names, interface, link_path};
use crate::pinned::view::{self, Names, NetworkView, SourceView, ZoneView};
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
    pub(super) zones: Vec<ZoneView>,
    pub(super) networks: Vec<NetworkRow>,
    /// Those with the most SYNs a second, the highest first.
    pub(super) sources: Vec<SourceView>,
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
pub(super) struct NetworkRow {
    pub(super) id: u16,
    pub(super) name: String,
    pub(super) action: &'static str,
    pub(super) prefixes: usize,
    /// Packets from its sources, where it is a list.
    pub(super) packets: Option<u64>,
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
    let names = Names::read(maps).context("cannot read `names`")?;
    let zones = view::zones(maps, meta.generation, &names).context("cannot read `zones`")?;
    let sources = view::top_sources(maps, SOURCES, &names).context("cannot read `sources`")?;
    Ok(Report {
        pin_path: pin_path.to_path_buf(),
        generation: meta.generation,
        heartbeat_age_s: (meta.heartbeat_ns != 0).then_some(age),
        syn_cookies: meta.flags & Meta::COOKIES != 0,
        interfaces_attached: meta.attached(),
        interfaces: meta.interfaces(),
        attached: attached(pin_path),
        zones,
        networks: network_rows(maps, meta.generation, &names)?,
        sources,
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

fn network_rows(maps: &Maps, generation: u32, names: &Names) -> anyhow::Result<Vec<NetworkRow>> {
    let networks = view::networks(maps, generation, names).context("cannot read `networks`")?;
    let counted = maps.network_counted().context("cannot read `network_counters`")?;
    let counted: HashMap<String, Counter> = counted.into_iter().collect();
    let row = |NetworkView { id, name, action, prefixes }| {
        let packets = counted.get(&name).map(|counter| counter.packets);
        NetworkRow { id, name, action, prefixes, packets }
    };
    Ok(networks.into_iter().map(row).collect())
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
