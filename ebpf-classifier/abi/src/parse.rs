//! From bytes to the few facts that classification asks for.
//!
//! Nothing is trusted: every length is compared with the frame and with the lengths around it, every
//! loop has a fixed bound, and what does not fit together is a [`Fault`], not guessed. Trailing
//! bytes after the IP packet are Ethernet padding and are not looked at.
//!
//! In two steps, so that the source is known whatever becomes of the rest: [`locate`] finds the
//! addresses, which stand at fixed places, and [`parse`] reads what lies behind.

mod ipv4;
mod ipv6;
mod transport;

use core::hint::black_box;

use crate::layout::{Address, FlowKey};
use crate::packet::Packet;
use crate::rate::Rate;
use crate::scratch::Scratch;

pub(crate) use ipv6::Chain;
pub(crate) use transport::flag;
pub use transport::{Kind, Transport};

/// What an IP packet's headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// The outermost VLAN that is not 0; 0 for none. Tags of VLAN 0 only carry a priority, and Linux
    /// takes them off before it looks for the VLAN.
    pub vlan: u16,
    /// Whether it is IPv6.
    pub v6: bool,
    /// Where in the frame IP begins.
    pub at: usize,
    /// The addresses and, of TCP and UDP, the ports, as flows are looked up.
    pub key: FlowKey,
    /// TTL or hop limit.
    pub ttl: u8,
    /// Whether the source chose the way: IPv4 options LSRR and SSRR, IPv6 routing header type 0.
    pub source_routed: bool,
    /// Which part of its datagram this is.
    pub fragment: Fragment,
    /// The transport header.
    pub transport: Transport,
}

/// A part of a datagram. Of a whole one only [`Fragment::is_part`] means something.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The datagram's identification.
    pub id: u32,
    /// Where in the datagram it begins, in bytes.
    pub offset: u32,
    /// Its length in bytes.
    pub bytes: u32,
    /// Whether more follow.
    pub more: bool,
    /// The protocol that is in the datagram.
    pub protocol: u8,
}

impl Fragment {
    /// Makes it that of a whole datagram. What a whole one is not asked for stays as it was: to set all
    /// of it to zeros is a call of a function that does it byte by byte, and whoever reads a word of
    /// those bytes waits until they are written.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.offset = 0;
        self.more = false;
    }

    /// Whether this is only a part.
    #[inline(always)]
    #[must_use]
    pub const fn is_part(&self) -> bool {
        self.more || self.offset > 0
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Located {
    /// Neither IPv4 nor IPv6.
    #[default]
    NotIp,
    /// It ends before its addresses do.
    Cut,
    /// Its addresses cannot be read: more tags than are passed over, or bytes that the program is not
    /// lent.
    Hidden,
    /// IPv4; the addresses are in the scratch.
    V4,
    /// IPv6; the addresses are in the scratch.
    V6,
}

/// Why a packet was not read to its transport header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It was.
    #[default]
    None,
    /// Truncated, or contradicting itself: Linux discards it as well.
    Malformed,
    /// Linux would put it together with other packets, or walk further, and read what is not read here.
    Unparsable,
}

pub(crate) type Result<T> = core::result::Result<T, Fault>;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad tags.
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];

/// VLAN identifiers are the low 12 bits of a tag.
const VLAN_ID: u16 = 0x0fff;

/// Tags that are passed over. Linux takes any number off whose VLAN is 0.
const TAGS_MAX: usize = 4;

/// Where IP begins at most.
const IP_AT_MAX: usize = 14 + 4 * TAGS_MAX;

/// Finds the addresses of a frame: Ethernet, up to four VLAN tags, IPv4 or IPv6. Where IP begins is
/// left in `scratch.number`.
#[inline(always)]
pub(crate) fn locate<P: Packet + ?Sized>(packet: &P, scratch: &mut Scratch) -> Located {
    let Some(ethertype) = untag(packet, scratch) else { return cut(packet, IP_AT_MAX) };
    let at = *black_box(&mut scratch.number);
    if at > IP_AT_MAX {
        return Located::Cut;
    }
    let key = &mut scratch.headers.key;
    match ethertype {
        ETHERTYPE_IPV4 => match (packet.read(at + 12), packet.read(at + 16)) {
            (Some(source), Some(destination)) => {
                key.source = Address::v4(source);
                key.destination = Address::v4(destination);
                Located::V4
            }
            _ => cut(packet, at + 20),
        },
        ETHERTYPE_IPV6 => {
            let (Some(a), Some(b)) = (packet.read(at + 8), packet.read(at + 16)) else {
                return cut(packet, at + 40);
            };
            let (Some(c), Some(d)) = (packet.read(at + 24), packet.read(at + 32)) else {
                return cut(packet, at + 40);
            };
            key.source = Address::v6(a, b);
            key.destination = Address::v6(c, d);
            Located::V6
        }
        tag if is_vlan(tag) => Located::Hidden,
        _ => Located::NotIp,
    }
}

/// What a frame is that could not be read up to `end`.
#[inline(always)]
fn cut<P: Packet + ?Sized>(packet: &P, end: usize) -> Located {
    if packet.bytes() < end { Located::Cut } else { Located::Hidden }
}

/// Passes the tags over; returns the type behind them. The VLAN is left in the headers.
#[inline(always)]
fn untag<P: Packet + ?Sized>(packet: &P, scratch: &mut Scratch) -> Option<u16> {
    let mut ethertype = u16::from_be_bytes(packet.read(12)?);
    let mut at = 14;
    let mut vlan = 0;
    for _ in 0..TAGS_MAX {
        if !is_vlan(ethertype) {
            break;
        }
        let tag = u16::from_be_bytes(packet.read(at)?) & VLAN_ID;
        ethertype = u16::from_be_bytes(packet.read(at + 2)?);
        at += 4;
        if vlan == 0 {
            vlan = tag;
        }
    }
    scratch.number = at;
    scratch.headers.vlan = vlan;
    Some(ethertype)
}

/// Reads what lies behind the addresses that [`locate`] found. With a fault, the headers say what was
/// known by then: the transport's kind, and its ports where they were there.
#[inline(always)]
pub(crate) fn parse<P: Packet + ?Sized>(packet: &P, v6: bool, scratch: &mut Scratch) -> Fault {
    let at = *black_box(&mut scratch.number);
    scratch.headers.fragment.clear();
    scratch.headers.source_routed = false;
    scratch.headers.v6 = v6;
    scratch.headers.at = at;
    scratch.headers.key.protocol = 6;
    scratch.headers.transport.begin(Kind::Unread, Rate::Other, 0);
    let parsed =
        if v6 { ipv6::parse(packet, at, scratch) } else { ipv4::parse(packet, at, scratch) };
    match parsed {
        Ok(()) => {
            scratch.headers.key.ports = scratch.headers.transport.ports;
            Fault::None
        }
        Err(fault) => {
            // What stands behind the reassembled first part is read by Linux, whatever it looks like.
            let fragment = black_box(&mut scratch.headers).fragment;
            scratch.headers.key.ports = scratch.headers.transport.ports;
            if fragment.is_part() { Fault::Unparsable } else { fault }
        }
    }
}

/// The headers of a frame, if it is IP.
///
/// # Errors
/// As classification has it.
#[cfg(not(target_arch = "bpf"))]
pub fn headers(packet: &[u8]) -> core::result::Result<Option<Headers>, Fault> {
    let mut scratch = Scratch::default();
    let v6 = match locate(packet, &mut scratch) {
        Located::NotIp => return Ok(None),
        Located::Cut => return Err(Fault::Malformed),
        Located::Hidden => return Err(Fault::Unparsable),
        Located::V4 => false,
        Located::V6 => true,
    };
    match parse(packet, v6, &mut scratch) {
        Fault::None => Ok(Some(scratch.headers)),
        fault => Err(fault),
    }
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    let [q, ad] = ETHERTYPE_VLAN;
    ethertype == q || ethertype == ad
}

/// Reads `N` bytes. Bytes that the frame has but the program is not lent are unparsable: Linux reads
/// them.
#[inline(always)]
fn read<P: Packet + ?Sized, const N: usize>(packet: &P, at: usize) -> Result<[u8; N]> {
    let fault = if at + N > packet.bytes() { Fault::Malformed } else { Fault::Unparsable };
    packet.read(at).ok_or(fault)
}
