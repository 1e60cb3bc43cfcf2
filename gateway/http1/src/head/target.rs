//! The request-target of HTTP/1 (RFC 9112, 3.2) and the version that follows it.

use std::ops::Range;

use sallyport_route::normalise_host;

use super::Refusal;
use super::bytes::{self, Spelling};

/// The longest target that goes on, in normal form: as much as the type that carries it through the gateway
/// holds.
pub const TARGET_BYTES_MAX: usize = u16::MAX as usize - 1;

/// The version of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    pub(super) fn read(text: &[u8]) -> Result<Self, Refusal> {
        match text {
            b"HTTP/1.1" => Ok(Self::Http11),
            b"HTTP/1.0" => Ok(Self::Http10),
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                Err(Refusal::Version)
            }
            _ => Err(Refusal::Malformed("the request line is malformed")),
        }
    }

    fn text(self) -> &'static [u8] {
        match self {
            Self::Http10 => b"HTTP/1.0",
            Self::Http11 => b"HTTP/1.1",
        }
    }
}

/// A request-target, by where its parts stand in the request line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    form: Form,
    /// Path and query, or the asterisk.
    rest: Range<usize>,
    spelling: Spelling,
}

#[derive(Debug, PartialEq, Eq)]
enum Form {
    Origin,
    Asterisk,
    /// The port is what its scheme has where it names none.
    Absolute {
        authority: Range<usize>,
        default_port: u16,
    },
}

impl Target {
    /// Reads `target`, which stands at `start` of its line.
    pub(super) fn read(method: &[u8], target: &[u8], start: usize) -> Result<Self, Refusal> {
        if target.len() > TARGET_BYTES_MAX {
            return Err(Refusal::TargetTooLong);
        }
        let spelling = bytes::spelling(target);
        if spelling == Spelling::Refused || target.is_empty() {
            return Err(Refusal::Malformed("the request-target is malformed"));
        }
        if method == b"CONNECT" {
            return Err(Refusal::Connect);
        }
        let whole = start..start + target.len();
        match target {
            [b'/', ..] => Ok(Self { form: Form::Origin, rest: whole, spelling }),
            b"*" if method == b"OPTIONS" => {
                Ok(Self { form: Form::Asterisk, rest: whole, spelling })
            }
            _ => {
                let (scheme, default_port) =
                    scheme(target).ok_or(Refusal::Malformed("the request-target is malformed"))?;
                let authority = &target[scheme..];
                let length = memchr::memchr2(b'/', b'?', authority).unwrap_or(authority.len());
                let authority = start + scheme..start + scheme + length;
                let rest = authority.end..whole.end;
                Ok(Self { form: Form::Absolute { authority, default_port }, rest, spelling })
            }
        }
    }

    /// The path and query as they came in `line`, if they can be shown as they are.
    pub(super) fn shown<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let plain = self.form == Form::Origin && self.spelling == Spelling::Plain;
        plain.then(|| &line[self.rest.clone()])
    }

    /// The request line in the form that goes on (and `Host`, where only the target names it), if it is not
    /// the one that came.
    ///
    /// # Errors
    /// The target names another host than `Host` does, or grows too long.
    pub(super) fn normal(
        &self,
        line: &[u8],
        method: &[u8],
        host: Option<&[u8]>,
        version: Version,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let rest = &line[self.rest.clone()];
        let mut added = None;
        if let Form::Absolute { authority, default_port } = &self.form {
            let authority = &line[authority.clone()];
            let named = Authority::read(authority, *default_port)?;
            match host {
                Some(host) if Authority::read(host, *default_port)? != named => {
                    return Err(Refusal::Malformed("the request-target and Host disagree"));
                }
                Some(_) => {}
                None => added = Some(authority),
            }
        } else if self.spelling == Spelling::Plain {
            return Ok(None);
        }
        let mut normal = Vec::with_capacity(line.len() + 32);
        normal.extend_from_slice(method);
        normal.push(b' ');
        let target = normal.len();
        match rest {
            // RFC 9112, 3.2.4: the last proxy turns OPTIONS for a bare authority into this.
            b"" if method == b"OPTIONS" => normal.push(b'*'),
            b"" => normal.push(b'/'),
            [b'?', ..] => {
                normal.push(b'/');
                bytes::escape(rest, &mut normal);
            }
            _ => bytes::escape(rest, &mut normal),
        }
        if normal.len() - target > TARGET_BYTES_MAX {
            return Err(Refusal::TargetTooLong);
        }
        normal.push(b' ');
        normal.extend_from_slice(version.text());
        if let Some(host) = added {
            normal.extend_from_slice(b"\r\nHost: ");
            normal.extend_from_slice(host);
        }
        Ok(Some(normal))
    }
}

/// The length of `http://` or `https://`, and the scheme's port.
fn scheme(target: &[u8]) -> Option<(usize, u16)> {
    [(&b"http://"[..], 80), (b"https://", 443)].into_iter().find_map(|(scheme, port)| {
        let begins = target.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
        begins.then_some((scheme.len(), port))
    })
}

/// A host and port that compare equal where they are the same (RFC 3986, 6.2.2.1 and 6.2.3).
#[derive(PartialEq, Eq)]
struct Authority<'a> {
    host: std::borrow::Cow<'a, str>,
    port: u16,
}

impl<'a> Authority<'a> {
    fn read(text: &'a [u8], default_port: u16) -> Result<Self, Refusal> {
        let malformed = Refusal::Malformed("the host is malformed");
        let text = std::str::from_utf8(text).map_err(|_| malformed)?;
        let host = normalise_host(text).map_err(|_| malformed)?;
        let port = match text.rsplit_once(':') {
            Some((_, port)) if !port.is_empty() && !port.ends_with(']') => {
                port.parse().map_err(|_| malformed)?
            }
            _ => default_port,
        };
        Ok(Self { host, port })
    }
}

/// Whether two hosts, each with a port or without, are the same where the scheme's port is `default_port`.
///
/// # Errors
/// One of them is no host.
pub fn is_same_authority(one: &[u8], other: &[u8], default_port: u16) -> Result<bool, Refusal> {
    Ok(Authority::read(one, default_port)? == Authority::read(other, default_port)?)
}

/// `query` in the form that goes upstream, if that is not the one it has.
pub fn escaped_query(query: &str) -> Option<String> {
    if bytes::is_plain_query(query.as_bytes()) {
        return None;
    }
    let mut escaped = Vec::with_capacity(query.len() + 16);
    bytes::escape_query(query.as_bytes(), &mut escaped);
    String::from_utf8(escaped).ok()
}

/// Whether `target` has bytes that no target has.
pub fn is_refused(target: &[u8]) -> bool {
    bytes::spelling(target) == Spelling::Refused
}
