//! The host of a request in one spelling.
//!
//! Owns what a `Host` header or an `:authority` may look like, and in [`table`] which virtual
//! host claims it. It is apart from path matching because a host is found first and decides which
//! routes are looked at at all. It deliberately resolves nothing and encodes nothing: an
//! internationalised name is accepted as the A-labels that arrive on the wire (RFC 5890), never as
//! Unicode.

mod domain;
mod table;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::Ipv6Addr;

use thiserror::Error;

pub use domain::{Domain, DomainError};
pub use table::{DuplicateDomain, HostTable};

/// The longest name DNS can carry in text form (RFC 1035 section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// The longest label DNS can carry (RFC 1035 section 2.3.4).
const LABEL_BYTES_MAX: usize = 63;

/// Why a host was refused. All of these are the client's fault and deserve a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostError {
    /// There is nothing before the port or the trailing dot.
    #[error("host is empty")]
    Empty,
    /// The name is longer than DNS allows.
    #[error("host is longer than {NAME_BYTES_MAX} bytes")]
    TooLong,
    /// Two dots touch, or the name begins with one.
    #[error("host has an empty label")]
    EmptyLabel,
    /// One label is longer than DNS allows.
    #[error("host has a label longer than {LABEL_BYTES_MAX} bytes")]
    LabelTooLong,
    /// A byte other than a letter, a digit, `-`, `_` or `.`.
    #[error("host contains {:?}", char::from(*.0))]
    Character(u8),
    /// What follows the colon is no number up to 65535.
    #[error("host has a bad port")]
    Port,
    /// What stands between brackets is no IPv6 address.
    #[error("host has a bad IPv6 address")]
    Address,
}

/// Brings a `Host` or `:authority` to the spelling that [`HostTable::lookup`] expects.
///
/// The port is dropped, also an empty one (RFC 3986 section 3.2.3) and that of a bracketed
/// address; then one trailing dot, the root of a fully qualified name. Letters become lower-case.
/// An IPv6 literal keeps its brackets and takes the form of RFC 5952, so that its spellings compare
/// equal. The result may be given in again and comes back unchanged.
///
/// Borrows when nothing changes or only the end is dropped; one pass over the name.
///
/// # Errors
///
/// [`HostError`] for whatever could not be a DNS name of ASCII letters, digits, `-` and `_`, or an
/// IPv6 literal. This is narrower than the `reg-name` of RFC 3986: percent-encoding, `@` and
/// sub-delimiters have no use in a host that is served here, and two parsers that read them
/// differently are how a request reaches the wrong virtual host.
///
/// ```
/// # use sallyport_route::normalise_host;
/// assert_eq!(normalise_host("Shop.Example.com.:8080")?, "shop.example.com");
/// assert_eq!(normalise_host("[2001:DB8:0::1]:443")?, "[2001:db8::1]");
/// assert!(normalise_host("user@example.com").is_err());
/// # Ok::<(), sallyport_route::HostError>(())
/// ```
pub fn normalise_host(host: &str) -> Result<Cow<'_, str>, HostError> {
    if host.starts_with('[') {
        return normalise_address(host);
    }
    let name = match memchr::memchr(b':', host.as_bytes()) {
        None => host,
        Some(colon) => {
            check_port(&host[colon + 1..])?;
            &host[..colon]
        }
    };
    normalise_name(name.strip_suffix('.').unwrap_or(name))
}

fn normalise_address(host: &str) -> Result<Cow<'_, str>, HostError> {
    let (address, rest) = host[1..].split_once(']').ok_or(HostError::Address)?;
    match rest.strip_prefix(':') {
        Some(port) => check_port(port)?,
        None if rest.is_empty() => {}
        None => return Err(HostError::Port),
    }
    let parsed: Ipv6Addr = address.parse().map_err(|_| HostError::Address)?;
    let literal = &host[..address.len() + 2];
    let canonical = format!("[{parsed}]");
    Ok(if canonical == literal { Cow::Borrowed(literal) } else { Cow::Owned(canonical) })
}

fn check_port(port: &str) -> Result<(), HostError> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    if digits && (port.is_empty() || port.parse::<u16>().is_ok()) {
        Ok(())
    } else {
        Err(HostError::Port)
    }
}

fn normalise_name(name: &str) -> Result<Cow<'_, str>, HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(HostError::TooLong);
    }
    let classes = classes_of(name);
    if classes & REFUSED != 0 {
        return Err(HostError::Character(first_refused(name)));
    }
    if classes & EMPTY_LABEL != 0 {
        return Err(HostError::EmptyLabel);
    }
    if name.len() > LABEL_BYTES_MAX && name.split('.').any(|label| label.len() > LABEL_BYTES_MAX) {
        return Err(HostError::LabelTooLong);
    }
    let upper = classes & UPPER != 0;
    Ok(if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) })
}

/// All classes met in a name, and [`EMPTY_LABEL`]. Without a branch per byte, as hosts come in too
/// many shapes for one to be foreseen: a dot, shifted, meets the dot that follows it.
fn classes_of(name: &str) -> u8 {
    let (mut seen, mut previous) = (0, DOT);
    for byte in name.bytes() {
        let class = CLASSES[usize::from(byte)];
        seen |= class | ((previous & class) << 1);
        previous = class;
    }
    seen | ((previous & DOT) << 1)
}

fn first_refused(name: &str) -> u8 {
    name.bytes().find(|&byte| CLASSES[usize::from(byte)] & REFUSED != 0).unwrap_or_default()
}

const DOT: u8 = 1;
const EMPTY_LABEL: u8 = DOT << 1;
const UPPER: u8 = 1 << 3;
const REFUSED: u8 = 1 << 6;

/// What each byte of a name means for it.
const CLASSES: [u8; 256] = {
    let mut classes = [REFUSED; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'.' => DOT,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => 0,
            b'A'..=b'Z' => UPPER,
            _ => REFUSED,
        };
        byte += 1;
    }
    classes
};
