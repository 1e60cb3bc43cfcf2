//! Readers of values that any file may hold: names, flags, addresses, networks, times, sizes.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use crate::spec::scalar::{Network, Scalar};
use crate::tree::{Node, Sink};
use crate::units;
use crate::value::Value;

/// A non-empty string.
pub fn name(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.name(sink)
}

/// `true` or `false`.
pub fn flag(node: Node<'_>, sink: &mut Sink) -> Option<bool> {
    node.flag(sink)
}

const ADDRESS_FIX: &str = "write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080";

/// An IP address and port.
pub fn address(node: Node<'_>, sink: &mut Sink) -> Option<SocketAddr> {
    node.parsed(sink, ADDRESS_FIX, |text| {
        text.parse::<SocketAddr>().map_err(|_| "is not an IP address and port")
    })
}

/// A prefix, or an address as the prefix that holds it alone.
pub fn cidr(node: Node<'_>, sink: &mut Sink) -> Option<IpNet> {
    node.parsed(sink, &Network::fix(), Network::parse).map(|Network(network)| network)
}

/// As [`cidr`], with a warning where an address within the prefix is written.
pub fn network(node: Node<'_>, sink: &mut Sink) -> Option<IpNet> {
    Some(Network(cidr(node, sink)?).resolve(&node.place, sink))
}

/// A time above zero, up to a day.
pub fn duration(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    // A day is longer than anything here should wait, and far from where clocks overflow.
    const LONGEST: Duration = Duration::from_secs(86_400);
    if let Value::Number(number) = node.value {
        let what = format!("is {number}, not a string with a unit");
        return node.refuse(sink, what, format!("write {number}s if it is seconds, or {number}ms"));
    }
    node.parsed(sink, "write a time above 0 and up to 24h, such as 250ms, 15s or 5m", |text| {
        units::duration(text)
            .filter(|time| !time.is_zero() && *time <= LONGEST)
            .ok_or("is not such a time")
    })
}

/// A number of bytes from `least` to `most`.
pub fn bytes(node: Node<'_>, sink: &mut Sink, least: u64, most: u64) -> Option<u64> {
    refuse_bare_size(node, sink)?;
    let fix = format!("write a size from {} to {}", units::shown(least), units::shown(most));
    node.parsed(sink, &fix, |text| {
        units::bytes(text)
            .filter(|bytes| (least..=most).contains(bytes))
            .ok_or("is not such a size")
    })
}

/// Notes a size without a unit, and which one it would be with one.
pub fn refuse_bare_size(node: Node<'_>, sink: &mut Sink) -> Option<()> {
    let Value::Number(number) = node.value else { return Some(()) };
    let example = node.value.as_u64().map_or_else(|| "64KiB".to_owned(), units::shown);
    let what = format!("is {number}, not a string with a unit");
    node.refuse(sink, what, format!("write {example} if it is bytes"))
}
