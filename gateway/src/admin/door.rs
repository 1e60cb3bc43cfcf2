//! `/door`: what the outer door sees and drops, out of the classifier's pinned maps.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sallyport_classifier::pinned::abi::{
    Address, Meta, NameKind, NetworkAction, Reason, Source, per_second,
};
use sallyport_classifier::pinned::{Maps, ktime_ns};
use serde::Serialize;

use super::problem::{Parameters, Problem};
use super::readings::STEP_S;
use super::{Admin, heavy};
use crate::classifier::State as DoorState;

/// Sources that are told: those that send most SYNs.
const SOURCES: usize = 20;

/// How long an answer holds. Making one walks the map of sources, which may have a million.
const FRESH: Duration = Duration::from_secs(1);

/// The answer that was made last: whoever else asks within a second gets the same.
#[derive(Debug, Default)]
pub struct LastDoor(Mutex<Option<(Instant, Arc<str>)>>);

#[derive(Serialize)]
struct DoorView {
    /// `none` where the configuration has no classifier, `absent` where there are no maps, `stale` where
    /// nobody tends them, or `fresh`.
    state: &'static str,
    /// Whether verdicts of the gateway are written into the maps, so that packets are dropped.
    enforces_verdicts: bool,
    #[serde(flatten)]
    seen: Option<Seen>,
    /// Connections that verdicts refused at accept.
    connections_refused: u64,
    history: HistoryView,
}

#[derive(Serialize)]
struct Seen {
    interfaces: u16,
    interfaces_attached: u16,
    syn_cookies: bool,
    zones: Vec<ZoneView>,
    networks: Vec<NetworkView>,
    sources: Vec<SourceView>,
    counters: Vec<CounterView>,
}

#[derive(Serialize)]
struct ZoneView {
    zone: String,
    ifindex: u32,
    vlan: u32,
    counting: Vec<&'static str>,
    dropping: Vec<&'static str>,
}

#[derive(Serialize)]
struct NetworkView {
    network: String,
    action: &'static str,
    prefixes: usize,
}

#[derive(Serialize)]
struct SourceView {
    address: IpAddr,
    network: Option<String>,
    zone: Option<String>,
    syn_per_s: u32,
    screens: Vec<&'static str>,
    last_seen_s: f64,
}

#[derive(Serialize)]
struct CounterView {
    reason: &'static str,
    packets: u64,
    dropped_packets: u64,
}

/// Packets that were dropped, by reason, of the last hour.
#[derive(Serialize)]
struct HistoryView {
    step_s: u64,
    at_unix_s: Vec<u64>,
    dropped: Vec<DroppedView>,
}

#[derive(Serialize)]
struct DroppedView {
    reason: &'static str,
    packets_per_s: Vec<f64>,
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    // Drops over time are read with everything else.
    let failed = |error| Problem::internal(format!("readings cannot be taken: {error}"));
    admin.readings.follow(&admin).map_err(failed)?;
    Ok(heavy(admin, |admin| &admin.views, answer).await)
}

fn answer(admin: &Admin) -> Response {
    let mut last = admin.door.0.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = last.as_ref().filter(|(made, _)| made.elapsed() < FRESH);
    let text = match fresh {
        Some((_, text)) => text.clone(),
        None => {
            let made = view(admin).map_err(|error| format!("the classifier's maps: {error}"));
            let made = made.and_then(|it| serde_json::to_string(&it).map_err(|it| it.to_string()));
            let text: Arc<str> = match made {
                Ok(text) => (text + "\n").into(),
                Err(error) => return Problem::internal(error).into_response(),
            };
            *last = Some((Instant::now(), text.clone()));
            text
        }
    };
    ([(header::CONTENT_TYPE, "application/json")], text.to_string()).into_response()
}

fn view(admin: &Admin) -> io::Result<DoorView> {
    let classifier = admin.classifier.as_deref();
    let maps = classifier.and_then(|classifier| classifier.maps());
    Ok(DoorView {
        state: match classifier.map(|classifier| classifier.state()) {
            None => "none",
            Some(DoorState::Absent) => "absent",
            Some(DoorState::Stale) => "stale",
            Some(DoorState::Fresh) => "fresh",
        },
        enforces_verdicts: classifier.is_some_and(|it| it.is_fresh() && it.writable().is_some()),
        seen: maps.map(|maps| seen(&maps)).transpose()?,
        connections_refused: admin.registry.verdicts().connections_refused(),
        history: history(admin),
    })
}

fn history(admin: &Admin) -> HistoryView {
    let history = admin.readings.history();
    let steps: Vec<_> = history.drops().collect();
    let dropped = Reason::ALL.iter().enumerate().filter_map(|(at, reason)| {
        let of_reason = |step: &&super::readings::Drops| step.packets.get(at).copied().unwrap_or(0);
        let packets: Vec<u64> = steps.iter().map(of_reason).collect();
        let any = packets.iter().any(|packets| *packets > 0);
        let per_s = packets.iter().map(|packets| *packets as f64 / STEP_S as f64);
        any.then(|| DroppedView { reason: reason.label(), packets_per_s: per_s.collect() })
    });
    let dropped = dropped.collect();
    HistoryView {
        step_s: STEP_S,
        at_unix_s: steps.iter().map(|it| it.at_unix_s).collect(),
        dropped,
    }
}

fn seen(maps: &Maps) -> io::Result<Seen> {
    let meta = maps.meta()?;
    let names =
        |kind| -> io::Result<HashMap<u16, String>> { Ok(maps.names(kind)?.into_iter().collect()) };
    let (zones, networks) = (names(NameKind::Zone)?, names(NameKind::Network)?);
    Ok(Seen {
        interfaces: meta.interfaces(),
        interfaces_attached: meta.attached(),
        syn_cookies: meta.flags & Meta::COOKIES != 0,
        zones: zone_views(maps, meta.generation, &zones)?,
        networks: network_views(maps, meta.generation, &networks)?,
        sources: source_views(maps, &zones, &networks)?,
        counters: counter_views(maps)?,
    })
}

fn name_of(names: &HashMap<u16, String>, id: u16) -> String {
    names.get(&id).cloned().unwrap_or_else(|| id.to_string())
}

fn zone_views(
    maps: &Maps,
    generation: u32,
    names: &HashMap<u16, String>,
) -> io::Result<Vec<ZoneView>> {
    let zones = maps.zones.entries()?.into_iter();
    let zones = zones.map(|(key, slots)| (key, *slots.of(generation)));
    let mut views: Vec<_> = zones
        .filter(|(_, zone)| zone.id != 0)
        .map(|(key, zone)| {
            let dropping: Vec<_> = zone.dropping.iter().map(Reason::label).collect();
            let watched = zone.watched.iter().map(Reason::label);
            let counting = watched.filter(|label| !dropping.contains(label)).collect();
            let (ifindex, vlan) = (key.ifindex, key.vlan);
            ZoneView { zone: name_of(names, zone.id), ifindex, vlan, counting, dropping }
        })
        .collect();
    views.sort_by(|one, other| {
        (&one.zone, one.ifindex, one.vlan).cmp(&(&other.zone, other.ifindex, other.vlan))
    });
    Ok(views)
}

fn network_views(
    maps: &Maps,
    generation: u32,
    names: &HashMap<u16, String>,
) -> io::Result<Vec<NetworkView>> {
    let mut networks: HashMap<u16, (NetworkAction, usize)> = HashMap::new();
    for (_, slots) in maps.networks.entries()? {
        let network = slots.of(generation);
        if network.id != 0 {
            networks.entry(network.id).or_insert((network.action(), 0)).1 += 1;
        }
    }
    let mut views: Vec<_> = networks
        .into_iter()
        .map(|(id, (action, prefixes))| NetworkView {
            network: name_of(names, id),
            action: match action {
                NetworkAction::Classify => "classify",
                NetworkAction::Allow => "allow",
                NetworkAction::Drop => "drop",
                NetworkAction::Exempt => "exempt",
            },
            prefixes,
        })
        .collect();
    views.sort_by(|one, other| one.network.cmp(&other.network));
    Ok(views)
}

fn source_views(
    maps: &Maps,
    zones: &HashMap<u16, String>,
    networks: &HashMap<u16, String>,
) -> io::Result<Vec<SourceView>> {
    let now_ns = ktime_ns();
    let entries = maps.sources.entries()?.into_iter();
    let ranked =
        entries.map(|(address, source)| (per_second(source.syn_level(now_ns)), address, source));
    let mut ranked: Vec<(u32, Address, Source)> = ranked.collect();
    ranked.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(&other.1)));
    let view = |(syn_per_s, address, source): (u32, Address, Source)| {
        let (network, zone) = (source.standing().network.id, source.zone.load() as u16);
        SourceView {
            address: address.into(),
            network: (network != 0).then(|| name_of(networks, network)),
            zone: (zone != 0).then(|| name_of(zones, zone)),
            syn_per_s,
            screens: source.screens(now_ns).iter().map(Reason::label).collect(),
            last_seen_s: now_ns.saturating_sub(source.last_ns.load()) as f64 / 1e9,
        }
    };
    Ok(ranked.into_iter().take(SOURCES).map(view).collect())
}

fn counter_views(maps: &Maps) -> io::Result<Vec<CounterView>> {
    let view = |reason: &Reason| {
        let [passed, dropped] = maps.counted(*reason)?;
        Ok(CounterView {
            reason: reason.label(),
            packets: passed.packets,
            dropped_packets: dropped.packets,
        })
    };
    Reason::ALL.iter().map(view).collect()
}
