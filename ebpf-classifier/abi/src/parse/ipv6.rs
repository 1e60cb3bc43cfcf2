//! IPv6 (RFC 8200) and its extension headers.

use core::hint::black_box;

use super::transport::{self, Place};
use super::{Fragment, Headers, Malformed, Result, read};
use crate::layout::{Address, FlowKey};
use crate::packet::Packet;
use crate::scratch::Scratch;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const DESTINATION_OPTIONS: u8 = 60;
const MOBILITY: u8 = 135;
const HIP: u8 = 139;
const SHIM6: u8 = 140;

/// Extension headers that are followed; a packet with more is malformed here.
const EXTENSIONS_MAX: usize = 8;

#[inline(always)]
pub(super) fn parse<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
    vlan: u16,
    scratch: &mut Scratch,
) -> Result<()> {
    let [first, _] = read(packet, at)?;
    let payload_bytes = u16::from_be_bytes(read(packet, at + 4)?) as usize;
    let [next, ttl] = read(packet, at + 6)?;
    if first >> 4 != 6 || at + 40 + payload_bytes > packet.bytes() {
        return Err(Malformed);
    }
    let source = Address::v6(read(packet, at + 8)?, read(packet, at + 16)?);
    let destination = Address::v6(read(packet, at + 24)?, read(packet, at + 32)?);
    let place = Place { at: at + 40, bytes: payload_bytes, protocol: next };
    scratch.chain = Chain { place, source_routed: false, fragment: Fragment::WHOLE };
    if is_extension(next) {
        follow(packet, &mut scratch.chain)?;
    }
    let Chain { place, source_routed, fragment } = *black_box(&mut scratch.chain);
    let transport = transport::parse(packet, place, fragment.offset > 0)?;
    let key = FlowKey { source, destination, ports: transport.ports, protocol: 6 };
    scratch.headers = Headers { vlan, v6: true, key, ttl, source_routed, fragment, transport };
    Ok(())
}

/// How far the extension headers were followed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chain {
    place: Place,
    source_routed: bool,
    fragment: Fragment,
}

#[inline(always)]
fn follow<P: Packet + ?Sized>(packet: &P, chain: &mut Chain) -> Result<()> {
    for _ in 0..EXTENSIONS_MAX {
        let known = *black_box(&mut *chain);
        if !is_extension(known.place.protocol) || known.fragment.offset > 0 {
            return Ok(());
        }
        *chain = step(packet, known)?;
    }
    let last = *black_box(chain);
    let ended = !is_extension(last.place.protocol) || last.fragment.offset > 0;
    if ended { Ok(()) } else { Err(Malformed) }
}

/// Passes one extension header. All of them take at least 8 bytes.
#[inline(always)]
fn step<P: Packet + ?Sized>(packet: &P, mut chain: Chain) -> Result<Chain> {
    let Place { at, bytes, protocol } = chain.place;
    // In one read: a second one would be through a pointer that the verifier has not seen checked.
    let word = u64::from_be_bytes(read(packet, at)?);
    let (next, length) = ((word >> 56) as u8, (word >> 48) as usize & 0xff);
    let header_bytes = match protocol {
        FRAGMENT => 8,
        AUTHENTICATION => (length + 2) * 4,
        _ => (length + 1) * 8,
    };
    if header_bytes > bytes {
        return Err(Malformed);
    }
    if protocol == ROUTING {
        chain.source_routed |= word >> 40 & 0xff == 0;
    }
    if protocol == FRAGMENT {
        let (offset, more) = ((word >> 32) as u32 & 0xfff8, word >> 32 & 1 != 0);
        // An atomic fragment (RFC 6946) is a whole datagram.
        if more || offset > 0 {
            let bytes = (bytes - header_bytes) as u32;
            chain.fragment = Fragment { id: word as u32, offset, bytes, more, protocol: next };
        }
    }
    chain.place = Place { at: at + header_bytes, bytes: bytes - header_bytes, protocol: next };
    Ok(chain)
}

#[inline(always)]
fn is_extension(protocol: u8) -> bool {
    matches!(
        protocol,
        HOP_BY_HOP
            | ROUTING
            | FRAGMENT
            | AUTHENTICATION
            | DESTINATION_OPTIONS
            | MOBILITY
            | HIP
            | SHIM6
    )
}
