//! The client's hello as it is on the wire.
//!
//! Read here until it is whole, before rustls sees any of it: so its size and the records that it
//! comes in are bounded once, a client that speaks something else is told in its own language, and
//! a fingerprint can be taken of what rustls would not show.

mod ja4;

use crate::name::DnsPattern;

pub(crate) use ja4::ja4;

/// The content type of a handshake record (RFC 8446, 5.1).
const HANDSHAKE: u8 = 22;
/// The type of a hello among handshake messages (RFC 8446, 4).
const CLIENT_HELLO: u8 = 1;
const RECORD_HEADER_BYTES: usize = 5;
const MESSAGE_HEADER_BYTES: usize = 4;

/// A hello with post-quantum key shares has less than 2 KiB, and one with every extension there is
/// less than 16; rustls takes no more than this either.
const HELLO_BYTES_MAX: usize = 0xffff;
/// The records of a hello. Clients use one, or two where something in between chokes on large ones.
const RECORDS_MAX: usize = 1024;
/// RFC 8446, 5.1.
const RECORD_BYTES_MAX: usize = 1 << 14;

/// What a TLS connection begins with: its client's hello, as it came.
#[derive(Debug, Default)]
pub struct Beginning {
    /// As it came.
    pub(crate) wire: Vec<u8>,
    /// The message without its records.
    message: Vec<u8>,
    /// Where in `wire` the next record begins.
    next: usize,
    records: usize,
}

/// Why a connection does not begin with a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHello {
    /// It begins as a request of HTTP does.
    Http,
    /// It begins as something else.
    Foreign,
    /// It is TLS, but no hello that anybody would send.
    Malformed,
}

impl Beginning {
    /// Takes what was added to `wire` into account. Returns whether the hello is whole.
    pub(crate) fn advance(&mut self) -> Result<bool, NoHello> {
        loop {
            let rest = &self.wire[self.next..];
            match rest {
                [] => return Ok(false),
                [HANDSHAKE, 3, ..] | [HANDSHAKE] => {}
                [HANDSHAKE, ..] => return Err(NoHello::Malformed),
                _ if self.records > 0 => return Err(NoHello::Malformed),
                _ => return Err(if is_http(rest) { NoHello::Http } else { NoHello::Foreign }),
            }
            let [_, _, _, high, low, body @ ..] = rest else { return Ok(false) };
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if length == 0 || length > RECORD_BYTES_MAX || self.records == RECORDS_MAX {
                return Err(NoHello::Malformed);
            }
            let Some(body) = body.get(..length) else { return Ok(false) };
            self.message.extend_from_slice(body);
            self.records += 1;
            self.next += RECORD_HEADER_BYTES + length;
            if self.is_whole()? {
                return Ok(true);
            }
        }
    }

    fn is_whole(&self) -> Result<bool, NoHello> {
        match *self.message {
            [CLIENT_HELLO, high, middle, low, ref body @ ..] => {
                let length = u32::from_be_bytes([0, high, middle, low]) as usize;
                if length > HELLO_BYTES_MAX - MESSAGE_HEADER_BYTES {
                    return Err(NoHello::Malformed);
                }
                Ok(body.len() >= length)
            }
            [] | [CLIENT_HELLO, ..] => Ok(false),
            _ => Err(NoHello::Malformed),
        }
    }

    /// The name that the client asks for, in lower case and without a dot at its end; `None` where it
    /// asks for none, or for what is no host name.
    ///
    /// With an encrypted hello (ECH) this is the name of the outer one.
    #[must_use]
    pub fn server_name(&self) -> Option<Box<str>> {
        match DnsPattern::parse(server_name(self.hello())?)? {
            DnsPattern::Exact(host) => Some(host),
            DnsPattern::Wildcard(_) => None,
        }
    }

    /// The JA4 fingerprint of the client.
    #[must_use]
    pub fn ja4(&self) -> std::sync::Arc<str> {
        ja4(self.hello()).into()
    }

    /// Everything that has come, the hello first.
    #[must_use]
    pub fn into_wire(self) -> Vec<u8> {
        self.wire
    }

    /// The hello without the header of its message; empty until it is whole.
    pub(crate) fn hello(&self) -> &[u8] {
        let [CLIENT_HELLO, high, middle, low, body @ ..] = &*self.message else { return &[] };
        let length = u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        body.get(..length).unwrap_or_default()
    }
}

/// Whether `bytes` begin as a method of HTTP does: letters, then a space if there are any more.
fn is_http(bytes: &[u8]) -> bool {
    let letters = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    letters > 0 && (letters == bytes.len() || bytes[letters] == b' ') && letters <= 20
}

/// Reads a hello's fields in order; `None` at its end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(crate) fn number16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// What has its length in one byte before it.
    pub(crate) fn vector8(&mut self) -> Option<Self> {
        let length = usize::from(*self.take(1)?.first()?);
        self.take(length).map(Self)
    }

    /// What has its length in two bytes before it.
    pub(crate) fn vector16(&mut self) -> Option<Self> {
        let length = usize::from(self.number16()?);
        self.take(length).map(Self)
    }

    /// Numbers of two bytes, to the end.
    pub(crate) fn numbers16(self) -> impl Iterator<Item = u16> + 'a {
        self.0.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
    }
}

/// The extensions of a hello, each with its type.
pub(crate) fn extensions(hello: &[u8]) -> Vec<(u16, Fields<'_>)> {
    let mut found = Vec::new();
    let mut read = || {
        let mut fields = after_ciphers(hello)?;
        fields.vector8()?;
        let mut extensions = fields.vector16()?;
        while let Some(kind) = extensions.number16() {
            found.push((kind, extensions.vector16()?));
        }
        Some(())
    };
    read();
    found
}

/// The name that `hello` asks for, as it stands there (RFC 6066, 3).
fn server_name(hello: &[u8]) -> Option<&str> {
    let (_, mut fields) = extensions(hello).into_iter().find(|(kind, _)| *kind == SERVER_NAME)?;
    let mut names = fields.vector16()?;
    loop {
        let kind = *names.take(1)?.first()?;
        let Fields(name) = names.vector16()?;
        if kind == HOST_NAME {
            return std::str::from_utf8(name).ok();
        }
    }
}

/// The cipher suites that `hello` offers.
pub(crate) fn ciphers(hello: &[u8]) -> Vec<u16> {
    let mut fields = Fields(hello);
    let read = before_ciphers(&mut fields).and_then(|()| fields.vector16());
    read.map_or_else(Vec::new, |ciphers| ciphers.numbers16().collect())
}

/// The version, the random number and the session's id.
fn before_ciphers(fields: &mut Fields<'_>) -> Option<()> {
    fields.take(2 + 32)?;
    fields.vector8().map(drop)
}

fn after_ciphers(hello: &[u8]) -> Option<Fields<'_>> {
    let mut fields = Fields(hello);
    before_ciphers(&mut fields)?;
    fields.vector16()?;
    Some(fields)
}

/// The versions that `hello` offers, the highest first. GREASE (RFC 8701) is left out.
pub(crate) fn versions(hello: &[u8]) -> Vec<u16> {
    let supported = extensions(hello).into_iter().find(|(kind, _)| *kind == SUPPORTED_VERSIONS);
    let mut versions: Vec<u16> = match supported {
        Some((_, mut fields)) => {
            let listed = fields.vector8().unwrap_or(Fields(&[]));
            listed.numbers16().filter(|version| !is_grease(*version)).collect()
        }
        None => Fields(hello).number16().into_iter().collect(),
    };
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions
}

/// RFC 8446, 4.2.
const SUPPORTED_VERSIONS: u16 = 43;

/// RFC 6066, 3: the extension, and the type of its names.
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// Whether `value` is one of those that clients send to keep servers tolerant (RFC 8701).
pub(crate) fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

#[cfg(test)]
mod tests;
