//! TCP (RFC 9293), UDP and ICMP, as far as they are asked about.

use super::{Malformed, Result, read};
use crate::packet::Packet;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// The TCP header's flags byte.
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const ACK: u8 = 16;
    pub(crate) const URG: u8 = 32;
}

/// What an IP packet carries.
///
/// One structure for all protocols, with zeros where a protocol has nothing: a field without a value
/// would be whatever a register holds, and the kernel's verifier does not let that be kept.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Which protocol this is.
    pub kind: Kind,
    /// The ports of TCP and UDP as they are in a flow's key: the source's in the low half.
    pub ports: u32,
    /// The flags of TCP, FIN being the lowest bit.
    pub flags: u8,
    /// Where in the frame TCP's payload begins.
    pub payload_at: usize,
    /// How long that is, up to the end of the IP packet.
    pub payload_bytes: usize,
}

/// A transport protocol, as far as it is told apart.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP, with its whole header.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP or ICMPv6.
    Icmp,
    /// A fragment after the first, which has no transport header.
    Later,
    /// Another protocol.
    #[default]
    Other,
}

impl Transport {
    /// A protocol of which nothing but its kind is known.
    #[inline(always)]
    #[must_use]
    pub const fn bare(kind: Kind) -> Self {
        Self { kind, ports: 0, flags: 0, payload_at: 0, payload_bytes: 0 }
    }
}

/// Where a header stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    /// Offset in the frame.
    pub(super) at: usize,
    /// Bytes from there to the end of the IP packet.
    pub(super) bytes: usize,
    /// What begins there.
    pub(super) protocol: u8,
}

#[inline(always)]
pub(super) fn parse<P: Packet + ?Sized>(
    packet: &P,
    place: Place,
    later: bool,
) -> Result<Transport> {
    if later {
        return Ok(Transport::bare(Kind::Later));
    }
    match place.protocol {
        TCP => tcp(packet, place),
        UDP => udp(packet, place),
        ICMP | ICMPV6 if place.bytes < 8 => Err(Malformed),
        ICMP | ICMPV6 => Ok(Transport::bare(Kind::Icmp)),
        _ => Ok(Transport::bare(Kind::Other)),
    }
}

#[inline(always)]
fn tcp<P: Packet + ?Sized>(packet: &P, place: Place) -> Result<Transport> {
    if place.bytes < 20 {
        return Err(Malformed);
    }
    // In one read, as with extension headers.
    let head: [u8; 16] = read(packet, place.at)?;
    let [s1, s2, d1, d2, _, _, _, _, _, _, _, _, offset, flags, _, _] = head;
    let header_bytes = (offset >> 4) as usize * 4;
    // RFC 9293, 3.1.
    if header_bytes < 20 || header_bytes > place.bytes {
        return Err(Malformed);
    }
    Ok(Transport {
        kind: Kind::Tcp,
        ports: ports([s1, s2], [d1, d2]),
        flags,
        payload_at: place.at + header_bytes,
        payload_bytes: place.bytes - header_bytes,
    })
}

#[inline(always)]
fn udp<P: Packet + ?Sized>(packet: &P, place: Place) -> Result<Transport> {
    if place.bytes < 8 {
        return Err(Malformed);
    }
    let [s1, s2, d1, d2] = read(packet, place.at)?;
    Ok(Transport { ports: ports([s1, s2], [d1, d2]), ..Transport::bare(Kind::Udp) })
}

#[inline(always)]
fn ports(source: [u8; 2], destination: [u8; 2]) -> u32 {
    u16::from_be_bytes(source) as u32 | (u16::from_be_bytes(destination) as u32) << 16
}
