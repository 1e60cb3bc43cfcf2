//! TCP (RFC 9293), UDP and ICMP, as far as they are asked about.

use super::{Fault, Result, read};
use crate::packet::Packet;
use crate::rate::Rate;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// The TCP header's flags byte.
pub(crate) mod flag {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const ACK: u8 = 16;
    pub(crate) const URG: u8 = 32;
}

/// What an IP packet carries.
///
/// One structure for all protocols. What a protocol does not have is 0, or of a packet before.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// Which protocol this is.
    pub kind: Kind,
    /// What it is metered as.
    pub rate: Rate,
    /// The ports of TCP and UDP as they are in a flow's key: the source's in the low half.
    pub ports: u32,
    /// The flags of TCP, FIN being the lowest bit.
    pub flags: u8,
    /// Where in the frame TCP's header begins.
    pub at: usize,
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
    Other,
    /// TCP, without its whole header.
    Segment,
    /// Unknown: it was not read so far.
    #[default]
    Unread,
}

impl Transport {
    /// Says what is known of any protocol. The places of TCP's header and payload stay as they were:
    /// nobody asks for them of another protocol, and to set everything to zeros is a call of a function
    /// that does it byte by byte.
    #[inline(always)]
    pub(crate) fn begin(&mut self, kind: Kind, rate: Rate, ports: u32) {
        self.kind = kind;
        self.rate = rate;
        self.ports = ports;
        self.flags = 0;
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
    transport: &mut Transport,
) -> Result<()> {
    if later {
        transport.begin(Kind::Later, Rate::Fragment, 0);
        return Ok(());
    }
    match place.protocol {
        TCP => {
            // The first eight bytes are in any fragment that Linux takes.
            let ports = match packet.read(place.at) {
                Some([s1, s2, d1, d2]) if place.bytes >= 4 => ports([s1, s2], [d1, d2]),
                _ => 0,
            };
            transport.begin(Kind::Segment, Rate::Other, ports);
            tcp(packet, place, transport)?;
        }
        UDP => {
            transport.kind = Kind::Other;
            let ports = udp(packet, place)?;
            transport.begin(Kind::Udp, Rate::Udp, ports);
        }
        ICMP | ICMPV6 => {
            transport.kind = Kind::Other;
            let rate = icmp(packet, place)?;
            transport.begin(Kind::Icmp, rate, 0);
        }
        _ => transport.kind = Kind::Other,
    }
    Ok(())
}

/// Errors, and what IPv6 does not work without, apart from what anybody may ask for.
#[inline(always)]
fn icmp<P: Packet + ?Sized>(packet: &P, place: Place) -> Result<Rate> {
    if place.bytes < 8 {
        return Err(Fault::Malformed);
    }
    let [kind, _] = read(packet, place.at)?;
    let needed = if place.protocol == ICMP {
        // Destination unreachable, source quench, time exceeded, parameter problem (RFC 792).
        kind == 3 || kind == 4 || kind == 11 || kind == 12
    } else {
        // Errors are below 128 (RFC 4443); listener discovery and its second version (RFC 2710, 3810),
        // neighbour discovery (RFC 4861).
        kind < 128 || (130..=137).contains(&kind) || kind == 143
    };
    Ok(if needed { Rate::IcmpError } else { Rate::Icmp })
}

#[inline(always)]
fn tcp<P: Packet + ?Sized>(packet: &P, place: Place, transport: &mut Transport) -> Result<()> {
    if place.bytes < 20 {
        return Err(Fault::Malformed);
    }
    // In one read, as with extension headers.
    let head: [u8; 16] = read(packet, place.at)?;
    let [_, _, _, _, _, _, _, _, _, _, _, _, offset, flags, _, _] = head;
    let header_bytes = (offset >> 4) as usize * 4;
    // RFC 9293, 3.1.
    if header_bytes < 20 || header_bytes > place.bytes {
        return Err(Fault::Malformed);
    }
    let rate = if flags & flag::RST != 0 {
        Rate::Rst
    } else if flags & flag::SYN == 0 {
        Rate::Ack
    } else if flags & flag::ACK == 0 {
        Rate::Syn
    } else {
        Rate::SynAck
    };
    transport.kind = Kind::Tcp;
    transport.rate = rate;
    transport.flags = flags;
    transport.at = place.at;
    transport.payload_at = place.at + header_bytes;
    transport.payload_bytes = place.bytes - header_bytes;
    Ok(())
}

#[inline(always)]
fn udp<P: Packet + ?Sized>(packet: &P, place: Place) -> Result<u32> {
    if place.bytes < 8 {
        return Err(Fault::Malformed);
    }
    let [s1, s2, d1, d2] = read(packet, place.at)?;
    Ok(ports([s1, s2], [d1, d2]))
}

#[inline(always)]
fn ports(source: [u8; 2], destination: [u8; 2]) -> u32 {
    u16::from_be_bytes(source) as u32 | (u16::from_be_bytes(destination) as u32) << 16
}
