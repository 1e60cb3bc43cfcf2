//! Frames, built layer by layer from the inside out.

/// Addresses that the rows use: IPv4 in the networks of RFC 5737, IPv6 in that of RFC 3849.
pub(crate) const CLIENT: [u8; 4] = [192, 0, 2, 10];
pub(crate) const SERVER: [u8; 4] = [198, 51, 100, 1];
pub(crate) const CLIENT6: [u8; 16] = v6(0x10);
pub(crate) const SERVER6: [u8; 16] = v6(0x1);

const fn v6(last: u8) -> [u8; 16] {
    [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const URG: u8 = 32;

/// An Ethernet frame with these VLAN tags, outermost first.
pub(crate) fn ethernet(vlans: &[u16], ethertype: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for (index, vlan) in vlans.iter().enumerate() {
        let tag: u16 = if index + 1 < vlans.len() { 0x88a8 } else { 0x8100 };
        frame.extend(tag.to_be_bytes());
        // With a priority, which is not part of the identifier.
        frame.extend((vlan | 0x6000).to_be_bytes());
    }
    frame.extend(ethertype.to_be_bytes());
    frame.extend(payload);
    frame
}

/// What an IPv4 header says beyond addresses and protocol.
#[derive(Clone, Copy, Default)]
pub(crate) struct V4<'a> {
    pub(crate) options: &'a [u8],
    pub(crate) id: u16,
    pub(crate) more: bool,
    /// In bytes, a multiple of 8.
    pub(crate) offset: u16,
}

pub(crate) fn ipv4_with(
    v4: V4<'_>,
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    assert!(v4.options.len().is_multiple_of(4) && v4.options.len() <= 40);
    let header_bytes = 20 + v4.options.len();
    let total = (header_bytes + payload.len()) as u16;
    let flags = (u16::from(v4.more) << 13) | (v4.offset / 8);
    let mut packet = vec![0x40 | (header_bytes / 4) as u8, 0];
    packet.extend(total.to_be_bytes());
    packet.extend(v4.id.to_be_bytes());
    packet.extend(flags.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(v4.options);
    packet.extend(payload);
    packet
}

pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with(V4::default(), CLIENT, SERVER, protocol, payload)
}

/// An IPv6 packet with these extension headers, each its number and its content without the first byte.
pub(crate) fn ipv6_with(
    source: [u8; 16],
    destination: [u8; 16],
    extensions: &[(u8, Vec<u8>)],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut inner = Vec::new();
    for (index, (_, content)) in extensions.iter().enumerate() {
        inner.push(extensions.get(index + 1).map_or(protocol, |(number, _)| *number));
        inner.extend(content);
    }
    inner.extend(payload);
    let first = extensions.first().map_or(protocol, |(number, _)| *number);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((inner.len() as u16).to_be_bytes());
    packet.extend([first, 64]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(inner);
    packet
}

pub(crate) fn ipv6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv6_with(CLIENT6, SERVER6, &[], protocol, payload)
}

/// An extension header of 8 bytes.
pub(crate) fn extension(number: u8) -> (u8, Vec<u8>) {
    (number, vec![0, 1, 4, 0, 0, 0, 0])
}

/// An IPv6 fragment header.
pub(crate) fn fragment6(id: u32, offset: u16, more: bool) -> (u8, Vec<u8>) {
    let mut content = vec![0];
    content.extend(((offset & 0xfff8) | u16::from(more)).to_be_bytes());
    content.extend(id.to_be_bytes());
    (44, content)
}

pub(crate) fn tcp(source_port: u16, destination_port: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(source_port.to_be_bytes());
    segment.extend(destination_port.to_be_bytes());
    segment.extend([0, 0, 0, 1, 0, 0, 0, 0, 5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    segment
}

pub(crate) fn udp(source_port: u16, destination_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    datagram.extend(source_port.to_be_bytes());
    datagram.extend(destination_port.to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    datagram
}

pub(crate) fn echo() -> Vec<u8> {
    vec![8, 0, 0, 0, 0, 1, 0, 1]
}

pub(crate) fn echo6() -> Vec<u8> {
    vec![128, 0, 0, 0, 0, 1, 0, 1]
}

/// IPv4 in an untagged frame.
pub(crate) fn frame4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(&[], 0x0800, &ipv4(protocol, payload))
}

/// IPv6 in an untagged frame.
pub(crate) fn frame6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(&[], 0x86dd, &ipv6(protocol, payload))
}

/// IPv4 from and to other addresses.
pub(crate) fn between(
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let packet = ipv4_with(V4::default(), source, destination, protocol, payload);
    ethernet(&[], 0x0800, &packet)
}
