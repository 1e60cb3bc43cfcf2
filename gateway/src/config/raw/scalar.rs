//! Values that more than one section holds: addresses, times, sizes, header fields.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::config::tree::{Node, Sink};
use crate::config::units;

/// A non-empty string.
pub(super) fn name(node: Node<'_>, sink: &mut Sink) -> Option<Box<str>> {
    node.name(sink)
}

/// `true` or `false`.
pub(super) fn flag(node: Node<'_>, sink: &mut Sink) -> Option<bool> {
    node.flag(sink)
}

const ADDRESS_FIX: &str = "write IP:PORT, such as 127.0.0.1:8080 or [::1]:8080";

/// An IP address and port.
pub(super) fn address(node: Node<'_>, sink: &mut Sink) -> Option<SocketAddr> {
    node.parsed(sink, ADDRESS_FIX, |text| {
        text.parse::<SocketAddr>().map_err(|_| "is not an IP address and port")
    })
}

/// As [`address`], for one to connect to.
pub(super) fn remote_address(node: Node<'_>, sink: &mut Sink) -> Option<SocketAddr> {
    let address = address(node, sink)?;
    if address.port() == 0 {
        return node.refuse(sink, "has port 0", "write the port the endpoint listens on");
    }
    Some(address)
}

/// A time above zero.
pub(super) fn duration(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    // A day is longer than anything here should wait, and far from where clocks overflow.
    const LONGEST: Duration = Duration::from_secs(86_400);
    node.parsed(sink, "write a time above 0 and up to 24h, such as 250ms, 15s or 5m", |text| {
        units::duration(text)
            .filter(|time| !time.is_zero() && *time <= LONGEST)
            .ok_or("is not such a time")
    })
}

/// A number of bytes from `least` to `most`.
pub(super) fn bytes(node: Node<'_>, sink: &mut Sink, least: u64, most: u64) -> Option<u64> {
    let fix = format!("write a size from {least}B to {most}B, such as 64KiB");
    node.parsed(sink, &fix, |text| {
        units::bytes(text)
            .filter(|bytes| (least..=most).contains(bytes))
            .ok_or("is not such a size")
    })
}

/// A number of bytes, or `unlimited`.
pub(super) fn bytes_or_unlimited(node: Node<'_>, sink: &mut Sink) -> Option<u64> {
    node.parsed(sink, "write a size such as 10MiB, or unlimited", |text| match text {
        "unlimited" => Ok(u64::MAX),
        _ => units::bytes(text).ok_or("is not a size"),
    })
}

/// The name of a header field.
pub(super) fn header_name(node: Node<'_>, sink: &mut Sink) -> Option<HeaderName> {
    node.parsed(sink, "write a field name of letters, digits and hyphens", |text| {
        HeaderName::from_bytes(text.as_bytes())
    })
}

/// The value of a header field.
pub(super) fn header_value(node: Node<'_>, sink: &mut Sink) -> Option<HeaderValue> {
    node.parsed(sink, "write visible characters only", HeaderValue::from_str)
}
