//! `screens:`, by the labels of their reasons.

use classifier_abi::{DISTINCT_MAX, Reason, Screens, Zone, bits_for, per_window};
use sallyport_config::{Fields, Node, Sink, Value};

/// The highest rate that can be set: what a window counts, with room to exceed it.
const RATE_MAX: u64 = 3_900_000;

/// Screens that need no figure.
const PLAIN: [Reason; 10] = [
    Reason::Land,
    Reason::SynFin,
    Reason::NoFlags,
    Reason::FinNoAck,
    Reason::WinNuke,
    Reason::SynFragment,
    Reason::TearDrop,
    Reason::SourceRoute,
    Reason::PingOfDeath,
    Reason::IcmpFragment,
];

/// A set of screens. Its rules are a zone's without an id.
#[derive(Debug)]
pub(in crate::config) struct RawScreen {
    pub(in crate::config) place: String,
    pub(in crate::config) name: Box<str>,
    pub(in crate::config) rules: Zone,
}

/// What a screen does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Off,
    Count,
    Drop,
}

pub(super) fn screen(node: Node<'_>, sink: &mut Sink) -> Option<RawScreen> {
    let place = node.place.to_string();
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", super::name);
        let mut rules = Zone::default();
        for reason in PLAIN {
            let read = fields.optional(sink, reason.label(), action);
            set(&mut rules, reason, read.unwrap_or(Action::Off));
        }
        floods(fields, sink, &mut rules);
        rules.port_bits = spread(fields, sink, &mut rules, Reason::PortScan, "ports_per_8s");
        rules.address_bits =
            spread(fields, sink, &mut rules, Reason::AddressSweep, "addresses_per_8s");
        Some(RawScreen { place, name: name?, rules })
    })
}

fn action(node: Node<'_>, sink: &mut Sink) -> Option<Action> {
    // YAML 1.1 read an unquoted `off` as false; such a file means the same here.
    if matches!(node.value, Value::Bool(false)) {
        return Some(Action::Off);
    }
    node.parsed(sink, "write off, count or drop", |text| match text {
        "off" => Ok(Action::Off),
        "count" => Ok(Action::Count),
        "drop" => Ok(Action::Drop),
        _ => Err("is not an action"),
    })
}

fn set(rules: &mut Zone, reason: Reason, action: Action) {
    let screen = Screens::of(reason);
    rules.watched = rules.watched.with(screen.when(action != Action::Off));
    rules.dropping = rules.dropping.with(screen.when(action == Action::Drop));
}

fn floods(fields: &mut Fields<'_>, sink: &mut Sink, rules: &mut Zone) {
    if let Some(flood) = fields.optional(sink, "syn_flood", flood) {
        (rules.syn.source, rules.syn.zone) =
            flood.apply(rules, Reason::SynFloodSource, Reason::SynFloodZone);
    }
    if let Some(flood) = fields.optional(sink, "udp_flood", flood) {
        (rules.udp.source, rules.udp.zone) =
            flood.apply(rules, Reason::UdpFloodSource, Reason::UdpFloodZone);
    }
    if let Some(flood) = fields.optional(sink, "icmp_flood", flood) {
        (rules.icmp.source, rules.icmp.zone) =
            flood.apply(rules, Reason::IcmpFloodSource, Reason::IcmpFloodZone);
    }
}

/// The rates of one kind of packet, for each second.
struct Flood {
    source: Option<u32>,
    zone: Option<u32>,
    action: Action,
}

impl Flood {
    /// Turns on what is set; returns the limits for each window, 0 for none.
    fn apply(&self, rules: &mut Zone, by_source: Reason, by_zone: Reason) -> (u32, u32) {
        let mut limit = |rate: Option<u32>, reason| match rate {
            Some(rate) if self.action != Action::Off => {
                set(rules, reason, self.action);
                per_window(rate)
            }
            _ => 0,
        };
        (limit(self.source, by_source), limit(self.zone, by_zone))
    }
}

fn flood(node: Node<'_>, sink: &mut Sink) -> Option<Flood> {
    node.mapping(sink, |fields, sink| {
        let rate = |node: Node<'_>, sink: &mut Sink| {
            node.number(sink, 1, RATE_MAX).map(|rate| rate as u32)
        };
        let source = fields.optional(sink, "per_source_per_s", rate);
        let zone = fields.optional(sink, "per_zone_per_s", rate);
        let action = fields.required(sink, "action", action);
        if !fields.has("per_source_per_s") && !fields.has("per_zone_per_s") {
            let fix = "write at least one of them";
            let what = "has none of `per_source_per_s`, `per_zone_per_s`";
            return fields.node().refuse(sink, what, fix);
        }
        Some(Flood { source, zone, action: action? })
    })
}

/// Reads a limit of different things in a span; returns the bits that it sets, 0 for none.
fn spread(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    rules: &mut Zone,
    reason: Reason,
    key: &'static str,
) -> u32 {
    let read = fields.optional(sink, reason.label(), |node, sink| {
        node.mapping(sink, |fields, sink| {
            let most = u64::from(DISTINCT_MAX);
            let things = fields.required(sink, key, |node, sink| node.number(sink, 1, most));
            let action = fields.required(sink, "action", action);
            Some((things? as u32, action?))
        })
    });
    match read {
        Some((things, action)) if action != Action::Off => {
            set(rules, reason, action);
            bits_for(things)
        }
        _ => 0,
    }
}
