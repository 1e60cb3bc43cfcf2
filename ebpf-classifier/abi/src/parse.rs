//! From bytes to the few facts that classification asks for.
//!
//! Nothing is trusted: every length is compared with the frame and with the lengths around it, every
//! loop has a fixed bound, and what does not fit together is [`Malformed`], not guessed. Trailing
//! bytes after the IP packet are Ethernet padding and are not looked at.

mod ipv4;
mod ipv6;
mod transport;

use crate::layout::FlowKey;
use crate::packet::Packet;
use crate::scratch::{Scratch, forget};

pub(crate) use ipv6::Chain;
pub(crate) use transport::flag;
pub use transport::{Kind, Transport};

/// What an IP packet's headers say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// The outer VLAN; 0 for none.
    pub vlan: u16,
    /// Whether it is IPv6.
    pub v6: bool,
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

/// A part of a datagram; all zeros for a whole one.
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
    /// What a whole datagram has.
    pub const WHOLE: Self = Self { id: 0, offset: 0, bytes: 0, more: false, protocol: 0 };

    /// Whether this is only a part.
    #[inline(always)]
    #[must_use]
    pub const fn is_part(&self) -> bool {
        self.more || self.offset > 0
    }
}

/// A frame that was understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// Neither IPv4 nor IPv6.
    NotIp,
    /// IP; its headers are in the scratch.
    Ip,
}

/// Truncated, or contradicting itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

pub(crate) type Result<T> = core::result::Result<T, Malformed>;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// IEEE 802.1Q and 802.1ad tags.
const ETHERTYPE_VLAN: [u16; 2] = [0x8100, 0x88a8];

/// VLAN identifiers are the low 12 bits of a tag.
const VLAN_ID: u16 = 0x0fff;

/// Parses a frame: Ethernet, up to two VLAN tags, IPv4 or IPv6, TCP, UDP or ICMP.
///
/// # Errors
/// If a header is cut off, or lengths contradict each other. A third VLAN tag is not IP.
#[inline(always)]
pub(crate) fn parse<P: Packet + ?Sized>(packet: &P, scratch: &mut Scratch) -> Result<Parsed> {
    let mut ethertype = u16::from_be_bytes(read(packet, 12)?);
    let mut at = 14;
    let mut vlan = 0;
    if is_vlan(ethertype) {
        vlan = u16::from_be_bytes(read(packet, at)?) & VLAN_ID;
        ethertype = u16::from_be_bytes(read(packet, at + 2)?);
        at += 4;
        if is_vlan(ethertype) {
            ethertype = u16::from_be_bytes(read(packet, at + 2)?);
            at += 4;
        }
    }
    let at = forget(&mut scratch.number, at);
    let vlan = forget(&mut scratch.headers.vlan, vlan);
    match ethertype {
        ETHERTYPE_IPV4 => ipv4::parse(packet, at, vlan, scratch)?,
        ETHERTYPE_IPV6 => ipv6::parse(packet, at, vlan, scratch)?,
        _ => return Ok(Parsed::NotIp),
    }
    Ok(Parsed::Ip)
}

/// The headers of a frame, if it is IP.
///
/// # Errors
/// As classification has it: [`Malformed`].
#[cfg(not(target_arch = "bpf"))]
pub fn headers(packet: &[u8]) -> core::result::Result<Option<Headers>, Malformed> {
    let mut scratch = Scratch::default();
    Ok(match parse(packet, &mut scratch)? {
        Parsed::Ip => Some(scratch.headers),
        Parsed::NotIp => None,
    })
}

#[inline(always)]
fn is_vlan(ethertype: u16) -> bool {
    let [q, ad] = ETHERTYPE_VLAN;
    ethertype == q || ethertype == ad
}

#[inline(always)]
fn read<P: Packet + ?Sized, const N: usize>(packet: &P, at: usize) -> Result<[u8; N]> {
    packet.read(at).ok_or(Malformed)
}

#[cfg(test)]
mod tests;
