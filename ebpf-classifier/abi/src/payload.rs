//! What a connection speaks, by the first bytes that the client sends.

use crate::packet::Packet;

/// A protocol, told by the first payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Protocol {
    /// A TLS record with a ClientHello (RFC 8446, 4.1.2 and 5.1).
    Tls = 1,
    /// An HTTP/1 method and a space.
    Http1 = 2,
    /// The HTTP/2 preface (RFC 9113, 3.4).
    Http2 = 3,
    /// Anything else, also a first segment too short to tell.
    Other = 4,
}

impl Protocol {
    /// Its name in configuration, headers and metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Tls => "tls",
            Self::Http1 => "http1",
            Self::Http2 => "http2",
            Self::Other => "other",
        }
    }

    /// From its byte in a map; 0 means that there was no payload yet.
    #[must_use]
    #[inline(always)]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Tls),
            2 => Some(Self::Http1),
            3 => Some(Self::Http2),
            4 => Some(Self::Other),
            _ => None,
        }
    }
}

/// Tells the protocol of a payload of `bytes` bytes at `at`.
#[inline(always)]
pub(crate) fn protocol<P: Packet + ?Sized>(packet: &P, at: usize, bytes: usize) -> Protocol {
    if bytes < 8 {
        return Protocol::Other;
    }
    let Some(first) = packet.read::<8>(at) else { return Protocol::Other };
    let word = u64::from_be_bytes(first);
    let begins = |text: &[u8]| {
        let (mut prefix, mut mask) = (0_u64, 0_u64);
        for byte in text {
            prefix = prefix << 8 | *byte as u64;
            mask = mask << 8 | 0xff;
        }
        let shift = 64 - 8 * text.len() as u32;
        word & mask << shift == prefix << shift
    };
    // Content type handshake, version 3.x, and after the length: handshake type ClientHello.
    if word & 0xffff_0000_00ff_0000 == 0x1603_0000_0001_0000 {
        return Protocol::Tls;
    }
    if begins(b"PRI * HT") {
        return Protocol::Http2;
    }
    let method = begins(b"GET ")
        || begins(b"POST ")
        || begins(b"HEAD ")
        || begins(b"PUT ")
        || begins(b"DELETE ")
        || begins(b"OPTIONS ")
        || begins(b"PATCH ")
        || begins(b"TRACE ")
        || begins(b"CONNECT ");
    if method { Protocol::Http1 } else { Protocol::Other }
}
