//! `screens:`, by the labels of their reasons.

use classifier_abi::{DISTINCT_MAX, Limits, Rate, Reason, Screens, Zone, bits_for, per_window};
use sallyport_config::{Fields, Node, Sink, Value, scalar};

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
        unparsable(fields, sink, &mut rules);
        for (key, rate) in FLOODS {
            flood(fields, sink, &mut rules, key, rate);
        }
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
    turn(rules, Screens::of(reason), action);
}

fn turn(rules: &mut Zone, screen: Screens, action: Action) {
    rules.watched = rules.watched.with(screen.when(action != Action::Off));
    rules.dropping = rules.dropping.with(screen.when(action == Action::Drop));
}

/// The keys of rates.
const FLOODS: [(&str, Rate); Rate::COUNT] = [
    ("syn_flood", Rate::Syn),
    ("udp_flood", Rate::Udp),
    ("icmp_flood", Rate::Icmp),
    ("icmp_error_flood", Rate::IcmpError),
    ("ack_flood", Rate::Ack),
    ("rst_flood", Rate::Rst),
    ("synack_flood", Rate::SynAck),
    ("fragment_flood", Rate::Fragment),
    ("other_flood", Rate::Other),
];

/// On unless it is turned off: what is not parsed gets around every screen that would look at it. By
/// default only what may be TCP to a port with flow entries is dropped.
fn unparsable(fields: &mut Fields<'_>, sink: &mut Sink, rules: &mut Zone) {
    match fields.optional(sink, Reason::Unparsable.label(), action) {
        Some(action) => set(rules, Reason::Unparsable, action),
        None => {
            set(rules, Reason::Unparsable, Action::Drop);
            rules.flags |= Zone::UNPARSABLE_TCP;
        }
    }
}

/// Reads the limits of one rate, for each second.
fn flood(
    fields: &mut Fields<'_>,
    sink: &mut Sink,
    rules: &mut Zone,
    key: &'static str,
    rate: Rate,
) {
    let read = fields.optional(sink, key, |node, sink| {
        node.mapping(sink, |fields, sink| {
            let per_s = |node: Node<'_>, sink: &mut Sink| {
                node.number(sink, 1, RATE_MAX).map(|rate| rate as u32)
            };
            let source = fields.optional(sink, "per_source_per_s", per_s);
            let zone = fields.optional(sink, "per_zone_per_s", per_s);
            let action = fields.required(sink, "action", action);
            let cookies = match rate {
                Rate::Syn => fields.optional(sink, "cookies", scalar::flag),
                _ => None,
            };
            if !fields.has("per_source_per_s") && !fields.has("per_zone_per_s") {
                let fix = "write at least one of them";
                let what = "has none of `per_source_per_s`, `per_zone_per_s`";
                return fields.node().refuse(sink, what, fix);
            }
            Some((source, zone, action?, cookies))
        })
    });
    let Some((source, zone, action, cookies)) = read else { return };
    let (of_source, of_zone) = Screens::floods(rate);
    let mut limit = |rate: Option<u32>, screen| match rate {
        Some(rate) if action != Action::Off => {
            turn(rules, screen, action);
            per_window(rate)
        }
        _ => 0,
    };
    let limits = Limits { source: limit(source, of_source), zone: limit(zone, of_zone) };
    if rate == Rate::Syn && limits.zone != 0 && action == Action::Drop && cookies.unwrap_or(true) {
        rules.flags |= Zone::COOKIES;
    }
    if let Some(place) = rules.limits.get_mut(rate as usize) {
        *place = limits;
    }
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
