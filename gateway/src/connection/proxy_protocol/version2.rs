//! Version 2: binary, with extensions (TLVs).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{BYTES_MAX, Parsed, ProxyHeader, Refusal};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// Types of extensions (section 2.2).
const ALPN: u8 = 0x01;
const AUTHORITY: u8 = 0x02;
const CRC32C: u8 = 0x03;
const UNIQUE_ID: u8 = 0x05;
const SSL: u8 = 0x20;

/// The longest unique id that the specification allows.
const UNIQUE_ID_MAX: usize = 128;

/// The longest name that DNS allows.
const AUTHORITY_MAX: usize = 255;

/// Of the first byte of [`SSL`]: the client came by TLS.
const CLIENT_SSL: u8 = 0x01;

const fn malformed<T>(what: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Malformed(what))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, Refusal> {
    let Some((fixed, rest)) = bytes.split_at_checked(FIXED_BYTES) else {
        return Ok(Parsed::Partial);
    };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED_BYTES + length > BYTES_MAX {
        return malformed("the header is longer than 4 KiB");
    }
    let is_local = match command {
        0x20 => true,
        0x21 => false,
        _ => return malformed("the version or the command is unknown"),
    };
    let Some(content) = rest.get(..length) else { return Ok(Parsed::Partial) };
    let whole = &bytes[..FIXED_BYTES + length];
    let (addresses, extensions) = if is_local {
        // A check of the proxy's own: the family and the addresses are to be ignored.
        (None, skip_addresses(family, content))
    } else {
        split(family, content)?
    };
    let mut header = ProxyHeader { addresses, ..ProxyHeader::default() };
    if !is_local {
        extend(&mut header, whole, extensions)?;
    }
    Ok(Parsed::Whole(header, whole.len()))
}

type Addresses = Option<(SocketAddr, SocketAddr)>;

/// The addresses, and what follows them.
fn split(family: u8, content: &[u8]) -> Result<(Addresses, &[u8]), Refusal> {
    let too_short = Refusal::Malformed("the header is too short for its addresses");
    match family {
        // Unspecified, and Unix sockets: the client is at the proxy.
        0x00 | 0x31 => {
            let extensions = content.get(length_of(family)..).ok_or(too_short)?;
            Ok((None, extensions))
        }
        0x11 => {
            let (addresses, rest) = content.split_first_chunk::<12>().ok_or(too_short)?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *addresses;
            let [source, destination] = ports_of(ports);
            let source = SocketAddr::from((Ipv4Addr::new(a, b, c, d), source));
            let destination = SocketAddr::from((Ipv4Addr::new(e, f, g, h), destination));
            Ok((Some((source, destination)), rest))
        }
        0x21 => {
            let (source_ip, rest) = content.split_first_chunk::<16>().ok_or(too_short)?;
            let (destination_ip, rest) = rest.split_first_chunk::<16>().ok_or(too_short)?;
            let (ports, rest) = rest.split_first_chunk::<4>().ok_or(too_short)?;
            let [source, destination] = ports_of(*ports);
            let source = SocketAddr::from((Ipv6Addr::from(*source_ip), source));
            let destination = SocketAddr::from((Ipv6Addr::from(*destination_ip), destination));
            Ok((Some((source, destination)), rest))
        }
        _ => malformed("the family is unknown, or none of TCP"),
    }
}

fn ports_of([a, b, c, d]: [u8; 4]) -> [u16; 2] {
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

/// The bytes of addresses of a family; none of one that is unknown.
fn length_of(family: u8) -> usize {
    match family >> 4 {
        1 => 12,
        2 => 36,
        3 => 216,
        _ => 0,
    }
}

fn skip_addresses(family: u8, content: &[u8]) -> &[u8] {
    content.get(length_of(family)..).unwrap_or_default()
}

/// Takes what is known of `extensions`, the end of the header `whole`.
fn extend(header: &mut ProxyHeader, whole: &[u8], extensions: &[u8]) -> Result<(), Refusal> {
    let mut rest = extensions;
    while !rest.is_empty() {
        let (kind, value, following) =
            next(rest).ok_or(Refusal::Malformed("an extension is cut off"))?;
        match kind {
            ALPN => header.alpn = Some(value.into()),
            AUTHORITY => header.authority = Some(authority(value)?),
            UNIQUE_ID if value.len() > UNIQUE_ID_MAX => {
                return malformed("the unique id is longer than 128 bytes");
            }
            UNIQUE_ID => header.unique_id = Some(value.into()),
            SSL => header.is_tls = value.first().is_some_and(|client| client & CLIENT_SSL != 0),
            CRC32C => {
                let at = whole.len() - following.len() - value.len();
                check(whole, at, value)?;
            }
            // RFC-like extensibility: others are to be ignored.
            _ => {}
        }
        rest = following;
    }
    Ok(())
}

/// The type and the value of the first extension, and those that follow.
fn next(extensions: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let ([kind, high, low], rest) = extensions.split_first_chunk::<3>()?;
    let (value, following) =
        rest.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
    Some((*kind, value, following))
}

fn authority(value: &[u8]) -> Result<Box<str>, Refusal> {
    match std::str::from_utf8(value) {
        Ok(name) if name.len() <= AUTHORITY_MAX => Ok(name.into()),
        _ => malformed("the authority is no host name"),
    }
}

/// Checks the sum over the header, of which the sum itself, `at` its place, counts as zeros.
fn check(whole: &[u8], at: usize, value: &[u8]) -> Result<(), Refusal> {
    let Ok(expected) = <[u8; 4]>::try_from(value) else {
        return malformed("the checksum has not four bytes");
    };
    let bytes = whole.iter().enumerate();
    let bytes = bytes.map(|(index, byte)| if (at..at + 4).contains(&index) { 0 } else { *byte });
    if crc32c(bytes) == u32::from_be_bytes(expected) {
        Ok(())
    } else {
        malformed("the checksum is wrong")
    }
}

/// RFC 4960, appendix B. Bit by bit: a header is short, and there is one a connection.
pub(super) fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let sum = bytes.fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| {
            if sum & 1 == 1 { (sum >> 1) ^ POLYNOMIAL } else { sum >> 1 }
        })
    });
    !sum
}
