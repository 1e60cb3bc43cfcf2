//! What the file says: names not yet looked up.
//!
//! Scalars are parsed here, where their place is at hand; whatever needs a second entry to be judged
//! is left to [`resolve`](super::resolve).

mod screen;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use classifier_abi::{NAME_BYTES, NetworkAction, Prefix, ZONES_MAX};
use ipnet::IpNet;
use sallyport_config::{Fields, Node, Place, Sink, parse, scalar};

use super::limits::{ENTRIES_MAX, Limits};
use super::model::{IPV6_PREFIX, Mode, PIN_PATH};

pub(super) use screen::RawScreen;

/// The longest name that Linux gives an interface (`IFNAMSIZ` and its end).
const INTERFACE_BYTES: usize = 15;

/// How old a list may be: the clock is looked at once a second, and a year is as good as ever.
const EXPIRES_MIN: Duration = Duration::from_secs(1);
const EXPIRES_MAX: Duration = Duration::from_secs(8_760 * 3_600);

/// The file.
#[derive(Debug)]
pub(super) struct RawFile {
    pub(super) pin_path: PathBuf,
    pub(super) metrics: Option<SocketAddr>,
    pub(super) interfaces: Vec<RawInterface>,
    pub(super) zones: Vec<RawZone>,
    pub(super) networks: Vec<RawNetwork>,
    pub(super) trusted_proxies: Vec<(String, IpNet)>,
    pub(super) ipv6_prefix: u32,
    pub(super) screens: Vec<RawScreen>,
    pub(super) ports: Vec<u16>,
    pub(super) limits: Limits,
}

#[derive(Debug)]
pub(super) struct RawInterface {
    pub(super) place: String,
    pub(super) name: Box<str>,
    pub(super) vlan: Option<u16>,
    pub(super) zone: Option<Box<str>>,
    pub(super) mode: Mode,
}

/// Its id is missing where it was refused: the zone is there all the same for those who name it.
#[derive(Debug)]
pub(super) struct RawZone {
    pub(super) place: String,
    pub(super) name: Box<str>,
    pub(super) id: Option<u16>,
    pub(super) screen: Option<Box<str>>,
}

#[derive(Debug)]
pub(super) struct RawNetwork {
    pub(super) place: String,
    pub(super) name: Box<str>,
    /// Each with its place.
    pub(super) cidrs: Vec<(String, IpNet)>,
    pub(super) file: Option<PathBuf>,
    /// How old the file may be.
    pub(super) expires: Option<Duration>,
    pub(super) action: NetworkAction,
}

/// Decodes the text of the file.
pub(super) fn decode(text: &str, sink: &mut Sink) -> Option<RawFile> {
    let value = parse(0, text, sink)?;
    let node = Node { value: &value, place: Place::File(0) };
    node.mapping(sink, |fields, sink| Some(sections(fields, sink)))
}

fn sections(fields: &mut Fields<'_>, sink: &mut Sink) -> RawFile {
    let pin_path = fields.optional(sink, "pin_path", pin_path);
    let metrics = fields.optional(sink, "metrics", metrics);
    let interfaces = fields.required(sink, "interfaces", |node, sink| node.list(sink, interface));
    let zones = fields.required(sink, "zones", |node, sink| node.list(sink, zone));
    let networks = fields.optional(sink, "networks", |node, sink| node.list(sink, network));
    let trusted = fields.optional(sink, "trusted_proxies", |node, sink| node.list(sink, cidr));
    let ipv6_prefix = fields.optional(sink, "ipv6_prefix", |node, sink| node.number(sink, 32, 128));
    let screens = fields.optional(sink, "screens", |node, sink| node.list(sink, screen::screen));
    let ports = fields.optional(sink, "flows", flows);
    let limits = fields.optional(sink, "limits", limits);
    RawFile {
        pin_path: pin_path.unwrap_or_else(|| PIN_PATH.into()),
        metrics,
        interfaces: interfaces.unwrap_or_default(),
        zones: zones.unwrap_or_default(),
        networks: networks.unwrap_or_default(),
        trusted_proxies: trusted.unwrap_or_default(),
        ipv6_prefix: ipv6_prefix.map_or(IPV6_PREFIX, |bits| bits as u32),
        screens: screens.unwrap_or_default(),
        ports: ports.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
    }
}

fn pin_path(node: Node<'_>, sink: &mut Sink) -> Option<PathBuf> {
    let path = PathBuf::from(node.text(sink)?);
    if !path.is_absolute() {
        let what = format!("{:?} is not an absolute path", path.display().to_string());
        return node.refuse(sink, what, format!("write a folder such as {PIN_PATH}"));
    }
    Some(path)
}

fn metrics(node: Node<'_>, sink: &mut Sink) -> Option<SocketAddr> {
    node.mapping(sink, |fields, sink| fields.required(sink, "address", scalar::address))
}

fn interface(node: Node<'_>, sink: &mut Sink) -> Option<RawInterface> {
    let place = node.place.to_string();
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", interface_name);
        let zone = fields.required(sink, "zone", scalar::name);
        let mode = fields.optional(sink, "mode", mode);
        let vlan = fields.optional(sink, "vlan", |node, sink| node.number(sink, 1, 4_094));
        let vlan = vlan.map(|vlan| vlan as u16);
        Some(RawInterface { place, name: name?, vlan, zone, mode: mode.unwrap_or_default() })
    })
}

fn interface_name(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let name = node.name(sink)?;
    let fix = "write the name that `ip link` shows";
    if name.len() > INTERFACE_BYTES {
        return node.refuse(sink, format!("{name:?} is over {INTERFACE_BYTES} bytes"), fix);
    }
    if name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control()) {
        return node.refuse(sink, format!("{name:?} cannot be an interface"), fix);
    }
    Some(name)
}

fn mode(node: Node<'_>, sink: &mut Sink) -> Option<Mode> {
    node.parsed(sink, "write auto, native or generic", |text| match text {
        "auto" => Ok(Mode::Auto),
        "native" => Ok(Mode::Native),
        "generic" => Ok(Mode::Generic),
        _ => Err("is not a mode"),
    })
}

fn zone(node: Node<'_>, sink: &mut Sink) -> Option<RawZone> {
    let place = node.place.to_string();
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", name);
        let id = fields.required(sink, "id", |node, sink| {
            node.number(sink, 1, u64::from(ZONES_MAX) - 1).map(|id| id as u16)
        });
        let screen = fields.optional(sink, "screen", scalar::name);
        Some(RawZone { place, name: name?, id, screen })
    })
}

/// A name that fits into the map of names.
fn name(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    let name = node.name(sink)?;
    if name.len() > NAME_BYTES {
        let what = format!("{name:?} is {} bytes long", name.len());
        return node.refuse(sink, what, format!("use at most {NAME_BYTES} bytes"));
    }
    if name.contains(char::is_control) {
        return node.refuse(sink, format!("{name:?} has control characters"), "remove them");
    }
    Some(name)
}

fn network(node: Node<'_>, sink: &mut Sink) -> Option<RawNetwork> {
    let place = node.place.to_string();
    node.mapping(sink, |fields, sink| {
        let name = fields.required(sink, "name", name);
        let cidrs = fields.optional(sink, "cidrs", |node, sink| node.list(sink, cidr));
        let file = fields.optional(sink, "file", list_file);
        let expires = fields.optional(sink, "expires", expires);
        // It says what is wrong itself, and the network is there all the same for those who name it.
        let _ = fields.exactly_one(sink, &["cidrs", "file"]);
        if fields.has("expires") && !fields.has("file") {
            let fix = "write the list into a file and name it under `file`, or remove `expires`";
            fields.node().refuse::<()>(sink, "`expires` is for lists in files", fix);
        }
        let action = fields.optional(sink, "action", network_action);
        Some(RawNetwork {
            place,
            name: name?,
            cidrs: cidrs.unwrap_or_default(),
            file,
            expires,
            action: action.unwrap_or_default(),
        })
    })
}

fn list_file(node: Node<'_>, sink: &mut Sink) -> Option<PathBuf> {
    let path = node.text(sink)?;
    if path.is_empty() {
        let fix = "write the path of a file, such as /etc/sallyport/bad.txt";
        return node.refuse(sink, "is empty", fix);
    }
    Some(path.into())
}

fn expires(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    let time = scalar::duration(node, sink)?;
    if time < EXPIRES_MIN || time > EXPIRES_MAX {
        return node.refuse(sink, "is not from 1s to 8760h", "write a time such as 48h");
    }
    Some(time)
}

fn cidr(node: Node<'_>, sink: &mut Sink) -> Option<(String, IpNet)> {
    let cidr = scalar::cidr(node, sink)?;
    if cidr.trunc() != cidr {
        let fix =
            format!("write {} for the network or {} for the address", cidr.trunc(), cidr.addr());
        return node.refuse(sink, format!("{cidr} has bits set behind its prefix"), fix);
    }
    Some((node.place.to_string(), cidr))
}

fn network_action(node: Node<'_>, sink: &mut Sink) -> Option<NetworkAction> {
    node.parsed(sink, "write classify, allow, exempt or drop", |text| match text {
        "classify" => Ok(NetworkAction::Classify),
        "allow" => Ok(NetworkAction::Allow),
        "exempt" => Ok(NetworkAction::Exempt),
        "drop" => Ok(NetworkAction::Drop),
        _ => Err("is not an action"),
    })
}

fn flows(node: Node<'_>, sink: &mut Sink) -> Option<Vec<u16>> {
    node.mapping(sink, |fields, sink| {
        fields.required(sink, "ports", |node, sink| {
            node.list(sink, |node, sink| node.number(sink, 1, 65_535).map(|port| port as u16))
        })
    })
}

fn limits(node: Node<'_>, sink: &mut Sink) -> Option<Limits> {
    node.mapping(sink, |fields, sink| {
        let mut limits = Limits::default();
        let mut count = |key, limit: &mut u32| {
            let most = u64::from(ENTRIES_MAX);
            let number = fields.optional(sink, key, |node, sink| node.number(sink, 1, most));
            *limit = number.map_or(*limit, |number| number as u32);
        };
        count("sources", &mut limits.sources);
        count("flows", &mut limits.flows);
        count("verdicts", &mut limits.verdicts);
        count("networks", &mut limits.networks);
        count("handshakes", &mut limits.handshakes);
        Some(limits)
    })
}

/// A prefix as the trie has it: IPv4 mapped into IPv6.
pub(super) fn prefix(cidr: &IpNet) -> Prefix {
    let before = if cidr.addr().is_ipv4() { 96 } else { 0 };
    Prefix::new(cidr.addr().into(), before + u32::from(cidr.prefix_len()))
}
