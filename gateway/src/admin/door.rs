//! `/door`: what the outer door sees and drops, out of the classifier's pinned maps.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sallyport_classifier::pinned::Maps;
use sallyport_classifier::pinned::abi::{Meta, Reason};
use sallyport_classifier::pinned::view::{self, Names, SourceView};
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
    /// `none` where the configuration has no classifier, `absent` where there are no maps, `stale`
    /// where nobody tends them, or `fresh`.
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
            let made = door(admin).map_err(|error| format!("the classifier's maps: {error}"));
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

fn door(admin: &Admin) -> io::Result<DoorView> {
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
    let names = Names::read(maps)?;
    Ok(Seen {
        interfaces: meta.interfaces(),
        interfaces_attached: meta.attached(),
        syn_cookies: meta.flags & Meta::COOKIES != 0,
        zones: zone_views(maps, meta.generation, &names)?,
        networks: network_views(maps, meta.generation, &names)?,
        sources: view::top_sources(maps, SOURCES, &names)?,
        counters: counter_views(maps)?,
    })
}

/// By name, which is what people look for.
fn zone_views(maps: &Maps, generation: u32, names: &Names) -> io::Result<Vec<ZoneView>> {
    let zones = view::zones(maps, generation, names)?.into_iter();
    let view = |view::ZoneView { name: zone, ifindex, vlan, counting, dropping, .. }| ZoneView {
        zone,
        ifindex,
        vlan,
        counting,
        dropping,
    };
    let mut views: Vec<_> = zones.map(view).collect();
    views.sort_by(|one, other| {
        (&one.zone, one.ifindex, one.vlan).cmp(&(&other.zone, other.ifindex, other.vlan))
    });
    Ok(views)
}

fn network_views(maps: &Maps, generation: u32, names: &Names) -> io::Result<Vec<NetworkView>> {
    let networks = view::networks(maps, generation, names)?.into_iter();
    let view = |view::NetworkView { name: network, action, prefixes, .. }| NetworkView {
        network,
        action,
        prefixes,
    };
    let mut views: Vec<_> = networks.map(view).collect();
    views.sort_by(|one, other| one.network.cmp(&other.network));
    Ok(views)
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
