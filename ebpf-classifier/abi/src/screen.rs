//! The screens that one packet alone decides.

use crate::parse::{Headers, Kind, flag};
use crate::reason::{Reason, Screens};

/// The NetBIOS session service, which Windows 95 crashed on.
const NETBIOS_SESSION: u16 = 139;

/// What an IP datagram can have in all.
const DATAGRAM_BYTES_MAX: u32 = 65_535;

/// The screens that `headers` trip.
#[inline(always)]
pub(crate) fn stateless(headers: &Headers) -> Screens {
    if headers.transport.kind == Kind::Unread {
        return Screens::NONE;
    }
    let land = Screens::of(Reason::Land).when(headers.key.source == headers.key.destination);
    let routed = Screens::of(Reason::SourceRoute).when(headers.source_routed);
    land.with(routed).with(fragment(headers)).with(tcp(headers))
}

#[inline(always)]
fn fragment(headers: &Headers) -> Screens {
    let fragment = &headers.fragment;
    if !fragment.is_part() {
        return Screens::NONE;
    }
    let end = fragment.offset + fragment.bytes;
    let oversized = Screens::of(Reason::PingOfDeath).when(end > DATAGRAM_BYTES_MAX);
    let icmp = Screens::of(Reason::IcmpFragment).when(matches!(fragment.protocol, 1 | 58));
    oversized.with(icmp)
}

/// Fragments after the first have no flags and trip nothing here.
#[inline(always)]
fn tcp(headers: &Headers) -> Screens {
    if headers.transport.kind != Kind::Tcp {
        return Screens::NONE;
    }
    let flags = headers.transport.flags;
    // What nearly every segment is: a SYN alone, or an ACK without SYN and URG.
    let sound =
        flags & 0x3f == flag::SYN || flags & (flag::ACK | flag::SYN | flag::URG) == flag::ACK;
    if sound && !headers.fragment.is_part() {
        return Screens::NONE;
    }
    let port = headers.key.destination_port();
    let has = |flag: u8| flags & flag != 0;
    let syn = has(flag::SYN);
    Screens::of(Reason::SynFin)
        .when(syn && has(flag::FIN))
        .with(Screens::of(Reason::NoFlags).when(flags & 0x3f == 0))
        .with(Screens::of(Reason::FinNoAck).when(has(flag::FIN) && !has(flag::ACK)))
        .with(Screens::of(Reason::WinNuke).when(has(flag::URG) && port == NETBIOS_SESSION))
        .with(Screens::of(Reason::SynFragment).when(syn && headers.fragment.is_part()))
}
