//! IPv6 (RFC 8200) and its extension headers.

use core::hint::black_box;

use super::transport::{self, Place};
use super::{Fault, Fragment, Result, read};
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

/// Headers beyond this are not read: more than any extension headers take in a packet of 9,000 bytes.
const AT_MAX: usize = 0x3000;

/// Extension headers that are followed; Linux follows more.
const EXTENSIONS_MAX: usize = 8;

#[inline(always)]
pub(super) fn parse<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
    scratch: &mut Scratch,
) -> Result<()> {
    let [first, _] = read(packet, at)?;
    let payload_bytes = u16::from_be_bytes(read(packet, at + 4)?) as usize;
    let [next, ttl] = read(packet, at + 6)?;
    if first >> 4 != 6 || at + 40 + payload_bytes > packet.bytes() {
        return Err(Fault::Malformed);
    }
    // Linux takes a length of 0 in front of hop-by-hop options for that of a jumbogram (RFC 2675) and
    // goes by the frame's, whether or not the options say so.
    let payload_bytes = match (payload_bytes, next) {
        (0, HOP_BY_HOP) => packet.bytes() - at - 40,
        _ => payload_bytes,
    };
    let place = Place { at: at + 40, bytes: payload_bytes, protocol: next };
    scratch.chain.place = place;
    scratch.chain.source_routed = false;
    scratch.chain.fragment.clear();
    if is_extension(next) {
        let followed = follow(packet, &mut scratch.chain);
        scratch.headers.fragment = black_box(&mut scratch.chain).fragment;
        followed?;
    }
    let chain = black_box(&mut scratch.chain);
    let (place, source_routed, later) =
        (chain.place, chain.source_routed, chain.fragment.offset > 0);
    scratch.headers.ttl = ttl;
    scratch.headers.source_routed = source_routed;
    transport::parse(packet, place, later, &mut scratch.headers.transport)
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
    if ended { Ok(()) } else { Err(Fault::Unparsable) }
}

/// Passes one extension header. All of them take at least 8 bytes.
#[inline(always)]
fn step<P: Packet + ?Sized>(packet: &P, mut chain: Chain) -> Result<Chain> {
    let Place { at, bytes, protocol } = chain.place;
    if at > AT_MAX {
        return Err(Fault::Unparsable);
    }
    // In one read: a second one would be through a pointer that the verifier has not seen checked.
    let word = u64::from_be_bytes(read(packet, at)?);
    let (next, length) = ((word >> 56) as u8, (word >> 48) as usize & 0xff);
    let header_bytes = match protocol {
        FRAGMENT => 8,
        AUTHENTICATION => (length + 2) * 4,
        _ => (length + 1) * 8,
    };
    if header_bytes > bytes {
        return Err(Fault::Malformed);
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
