//! A dropped packet in one line.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use classifier_abi::{Reason, Sample};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// The letters of TCP's flags, as tcpdump has them, from the lowest bit.
const FLAGS: [char; 8] = ['F', 'S', 'R', 'P', '.', 'U', 'E', 'W'];

/// The time in seconds, the reason, the interface's index, and what is known of the packet.
pub(super) fn line(time_ns: u64, sample: &Sample, data: &[u8]) -> String {
    let reason = Reason::ALL.iter().find(|reason| reason.counter(true) == sample.counter);
    let (seconds, us) = (time_ns / 1_000_000_000, time_ns / 1_000 % 1_000_000);
    format!(
        "{seconds}.{us:06} {} if={} {} {} bytes",
        reason.map_or("?", |reason| reason.label()),
        sample.ifindex,
        packet(data).unwrap_or_else(|| "cut off".into()),
        sample.bytes
    )
}

fn packet(data: &[u8]) -> Option<String> {
    let mut at = 12;
    let mut vlan = String::new();
    let kind = loop {
        match u16_at(data, at)? {
            0x8100 | 0x88a8 => {
                // Writing to a string cannot fail.
                write!(vlan, "vlan {} ", u16_at(data, at + 2)? & 0xfff).ok();
                at += 4;
            }
            kind => break kind,
        }
    };
    let ip = data.get(at + 2..)?;
    let said = match kind {
        0x0800 => ipv4(ip)?,
        0x86dd => ipv6(ip)?,
        kind => format!("ethertype {kind:#06x}"),
    };
    Some(vlan + &said)
}

fn ipv4(ip: &[u8]) -> Option<String> {
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 4] = ip.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    let header_bytes = usize::from(*ip.first()? & 15) * 4;
    let is_later = u16_at(ip, 6)? & 0x1fff != 0;
    let rest = if is_later { None } else { ip.get(header_bytes..) };
    Some(between(address(12)?, address(16)?, *ip.get(9)?, rest, is_later))
}

fn ipv6(ip: &[u8]) -> Option<String> {
    let address = |at: usize| -> Option<IpAddr> {
        let octets: [u8; 16] = ip.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    Some(between(address(8)?, address(24)?, *ip.get(6)?, ip.get(40..), false))
}

/// Addresses with ports where they are known. Extension headers are not walked over.
fn between(
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    rest: Option<&[u8]>,
    is_later: bool,
) -> String {
    let name = match protocol {
        1 => "icmp".to_owned(),
        TCP => "tcp".to_owned(),
        UDP => "udp".to_owned(),
        58 => "icmp6".to_owned(),
        other => format!("protocol {other}"),
    };
    let part = if is_later { " fragment" } else { "" };
    let ports = rest.filter(|_| matches!(protocol, TCP | UDP));
    let ports = ports.and_then(|rest| Some((u16_at(rest, 0)?, u16_at(rest, 2)?)));
    let Some((from, to)) = ports else { return format!("{source} > {destination} {name}{part}") };
    let (source, destination) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
    let flags = rest.filter(|_| protocol == TCP).and_then(|rest| rest.get(13));
    let flags = flags.map(|flags| {
        let set = FLAGS.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
        format!(" [{}]", set.map(|(_, letter)| letter).collect::<String>())
    });
    format!("{source} > {destination} {name}{part}{}", flags.unwrap_or_default())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_said_and_no_byte_is_trusted() {
        let mut frame = vec![0; 12];
        frame.extend([0x81, 0, 0, 7, 0x08, 0]);
        frame.extend([0x45, 0, 0, 40, 0, 1, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2]);
        frame.extend([0x9c, 0x40, 1, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 3, 0, 0]);
        assert_eq!(packet(&frame).unwrap(), "vlan 7 192.0.2.1:40000 > 192.0.2.2:443 tcp [FS]");
        for end in 0..frame.len() {
            drop(packet(&frame[..end]));
        }
        frame[18] = 0x4f;
        assert_eq!(packet(&frame).unwrap(), "vlan 7 192.0.2.1 > 192.0.2.2 tcp");
        frame[25] = 9;
        assert_eq!(packet(&frame).unwrap(), "vlan 7 192.0.2.1 > 192.0.2.2 tcp fragment");
        let mut six = vec![0; 12];
        six.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 58, 64]);
        six.extend([0; 15].iter().chain(&[1]).chain(&[0; 15]).chain(&[2]));
        assert_eq!(packet(&six).unwrap(), "::1 > ::2 icmp6");
        assert_eq!(packet(&[0xff; 128]).unwrap(), "ethertype 0xffff");
        let tags = [0x81, 0].repeat(64);
        assert_eq!(packet(&tags), None);
    }
}
