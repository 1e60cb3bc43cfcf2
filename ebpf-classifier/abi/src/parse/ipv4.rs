//! IPv4 (RFC 791).

use core::hint::black_box;

use super::transport::{self, Place};
use super::{Fault, Fragment, Result, read};
use crate::packet::Packet;
use crate::scratch::Scratch;

/// Loose and strict source route.
const OPTION_LSRR: u8 = 131;
const OPTION_SSRR: u8 = 137;

/// Options that are walked.
const OPTIONS_MAX: usize = 10;

#[inline(always)]
pub(super) fn parse<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
    scratch: &mut Scratch,
) -> Result<()> {
    // Field by field: a register each instead of twenty bytes on a stack of 512.
    let [first, _] = read(packet, at)?;
    let header_bytes = (first & 15) as usize * 4;
    let total_bytes = u16::from_be_bytes(read(packet, at + 2)?) as usize;
    if first >> 4 != 4 || header_bytes < 20 || total_bytes < header_bytes {
        return Err(Fault::Malformed);
    }
    if at + total_bytes > packet.bytes() {
        return Err(Fault::Malformed);
    }
    let options_bytes = header_bytes - 20;
    let source_routed =
        options_bytes > 0 && has_source_route(packet, at + 20, options_bytes, &mut scratch.number)?;
    let [ttl, protocol] = read(packet, at + 8)?;
    let flags = u16::from_be_bytes(read(packet, at + 6)?);
    let (offset, more) = ((flags & 0x1fff) as u32 * 8, flags & 0x2000 != 0);
    let fragment = Fragment {
        id: u16::from_be_bytes(read(packet, at + 4)?) as u32,
        offset,
        bytes: (total_bytes - header_bytes) as u32,
        more,
        protocol,
    };
    if fragment.is_part() {
        scratch.headers.fragment = fragment;
    }
    scratch.headers.ttl = ttl;
    scratch.headers.source_routed = source_routed;
    let place = Place { at: at + header_bytes, bytes: total_bytes - header_bytes, protocol };
    transport::parse(packet, place, offset > 0, &mut scratch.headers.transport)
}

/// Walks the options; one that does not fit is malformed (RFC 791, 3.1). With more options than any
/// sender has a use for, the rest counts as what it may hide.
#[inline(always)]
fn has_source_route<P: Packet + ?Sized>(
    packet: &P,
    at: usize,
    bytes: usize,
    passed: &mut usize,
) -> Result<bool> {
    *passed = 0;
    for _ in 0..OPTIONS_MAX {
        let passed = black_box(&mut *passed);
        if *passed >= bytes {
            return Ok(false);
        }
        // Behind the options there is a payload, so a lone last byte is a packet cut off.
        let [kind, length] = read(packet, at + *passed)?;
        match kind {
            0 => return Ok(false),
            1 => *passed += 1,
            OPTION_LSRR | OPTION_SSRR => return Ok(true),
            _ if length < 2 || length as usize > bytes - *passed => return Err(Fault::Malformed),
            _ => *passed += length as usize,
        }
    }
    Ok(*black_box(passed) < bytes)
}
