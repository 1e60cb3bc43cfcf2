//! Readers of values that any file may hold: names, flags, addresses, networks, times, sizes.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use crate::tree::{Node, Sink};
use crate::units;

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
pub fn network(node: Node<'_>, sink: &mut Sink) -> Option<IpNet> {
    node.parsed(sink, "write a prefix such as 10.0.0.0/8 or an address", |text| {
        text.parse::<IpNet>()
            .or_else(|error| text.parse::<IpAddr>().map(IpNet::from).map_err(|_| error))
    })
}

/// A time above zero, up to a day.
pub fn duration(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    // A day is longer than anything here should wait, and far from where clocks overflow.
    const LONGEST: Duration = Duration::from_secs(86_400);
    node.parsed(sink, "write a time above 0 and up to 24h, such as 250ms, 15s or 5m", |text| {
        units::duration(text)
            .filter(|time| !time.is_zero() && *time <= LONGEST)
            .ok_or("is not such a time")
    })
}

/// A number of bytes from `least` to `most`.
pub fn bytes(node: Node<'_>, sink: &mut Sink, least: u64, most: u64) -> Option<u64> {
    let fix = format!("write a size from {least}B to {most}B, such as 64KiB");
    node.parsed(sink, &fix, |text| {
        units::bytes(text)
            .filter(|bytes| (least..=most).contains(bytes))
            .ok_or("is not such a size")
    })
}
