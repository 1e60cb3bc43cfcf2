//! The name and password of a request.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};

/// The longest field that is decoded: a name and a passphrase of some hundred characters each.
const FIELD_BYTES_MAX: usize = 2 << 10;

/// What a client says who it is. RFC 7617.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) name: Box<str>,
    pub(super) password: Box<str>,
}

impl Credentials {
    /// Those of a request; `None` where there are none, several, or they are malformed.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(field), None) = (fields.next(), fields.next()) else { return None };
        if field.len() > FIELD_BYTES_MAX {
            return None;
        }
        let (scheme, encoded) = field.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = STANDARD.decode(encoded.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        // RFC 7617, 2: neither part has control characters.
        if decoded.contains(char::is_control) {
            return None;
        }
        let (name, password) = decoded.split_once(':')?;
        Some(Self { name: name.into(), password: password.into() })
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}
