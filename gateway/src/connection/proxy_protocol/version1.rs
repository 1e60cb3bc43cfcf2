//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Parsed, ProxyHeader, Refusal};

pub(super) const PREFIX: &[u8] = b"PROXY ";

/// The longest line, its end included: two addresses of IPv6 in full (section 2.1).
const LINE_MAX: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Refusal> {
    let line = &bytes[..bytes.len().min(LINE_MAX)];
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else {
        if bytes.len() >= LINE_MAX {
            return Err(Refusal::Malformed("the line of version 1 is longer than 107 bytes"));
        }
        return Ok(Parsed::Partial);
    };
    let line = line[..end].strip_prefix(PREFIX).unwrap_or_default();
    let addresses = if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        // Whatever follows is to be ignored.
        None
    } else {
        let line = std::str::from_utf8(line).ok();
        Some(line.and_then(addresses).ok_or(Refusal::Malformed("the line of version 1"))?)
    };
    Ok(Parsed::Whole(ProxyHeader { addresses, ..ProxyHeader::default() }, end + 2))
}

fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let words: Vec<&str> = line.split(' ').collect();
    let [family, source, destination, source_port, destination_port] = words[..] else {
        return None;
    };
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    let source = SocketAddr::new(address(source)?, port(source_port)?);
    Some((source, SocketAddr::new(address(destination)?, port(destination_port)?)))
}

/// A port without a sign and without zeros in front.
fn port(text: &str) -> Option<u16> {
    let is_canonical = text == "0" || text.starts_with(|first: char| matches!(first, '1'..='9'));
    if is_canonical { text.parse().ok() } else { None }
}
