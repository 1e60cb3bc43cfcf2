#![doc = include_str!("request_id/README.md")]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, HeaderValue, response};
use sallyport_config::{Node, Sink, scalar, schema};

use crate::exchange::Exchange;
use crate::field_name;
use crate::filter::{Filter, Flow, Phases};
use crate::kind::{Kind, Setting};

mod spec;

pub use spec::{FormSpec, KeepSpec, RequestIdSpec};

/// `request_id:` in `filters:`.
pub const KIND: Kind = Kind { name: "request_id", read, schema: schema::settings::<RequestIdSpec> };

/// The longest id that is kept: a UUID has 36 characters, trace ids are no longer than 64.
const ID_BYTES_MAX: usize = 128;

/// Gives requests an id.
#[derive(Debug)]
struct RequestId {
    header: HeaderName,
    keep: Keep,
    form: Form,
    response: bool,
}

/// Whose ids are kept.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Trusted,
    Always,
    Never,
}

/// What a new id looks like.
#[derive(Clone, Copy, Debug)]
enum Form {
    Hex,
    /// RFC 9562, 5.4.
    Uuid,
    /// RFC 9562, 5.7.
    Uuid7,
}

fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let header = fields.optional(sink, "header", |node, sink| {
            field_name::identity(node.text(sink)?, node, sink)
        });
        let keep = fields.optional(sink, "keep", |node, sink| match node.text(sink)? {
            "trusted" => Some(Keep::Trusted),
            "always" => Some(Keep::Always),
            "never" => Some(Keep::Never),
            other => node.refuse(sink, format!("is {other:?}"), "write trusted, always or never"),
        });
        let form = fields.optional(sink, "form", |node, sink| match node.text(sink)? {
            "hex" => Some(Form::Hex),
            "uuid" => Some(Form::Uuid),
            "uuid7" => Some(Form::Uuid7),
            other => node.refuse(sink, format!("is {other:?}"), "write hex, uuid or uuid7"),
        });
        let response = fields.optional(sink, "response", scalar::flag);
        Some(Arc::new(RequestId {
            header: header.unwrap_or(HeaderName::from_static("x-request-id")),
            keep: keep.unwrap_or(Keep::Trusted),
            form: form.unwrap_or(Form::Hex),
            response: response.unwrap_or(true),
        }) as Arc<dyn Filter>)
    })
}

/// Ids go into logs and queries of other systems: characters that mean something there do not pass.
fn is_valid(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=:".contains(byte))
}

impl Form {
    /// A new id: unique enough to join logs, and not a secret.
    fn id(self) -> HeaderValue {
        let random = fastrand::u128(..);
        match self {
            Self::Hex => written(random, false),
            Self::Uuid => written(versioned(random, 4), true),
            Self::Uuid7 => {
                // A clock before 1970 gives ids that sort wrongly, which is all it does.
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let time = now.as_millis() << 80;
                written(versioned(time | random >> 48, 7), true)
            }
        }
    }
}

/// RFC 9562, 4: the version, and the variant `10`.
fn versioned(bits: u128, version: u128) -> u128 {
    bits & !(0xf << 76) & !(0b11 << 62) | version << 76 | 0b10 << 62
}

/// In lower-case hexadecimal digits, 8-4-4-4-12 if `dashes`.
fn written(bits: u128, dashes: bool) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = [0; 36];
    let mut length = 0;
    for (index, byte) in bits.to_be_bytes().into_iter().enumerate() {
        if dashes && matches!(index, 4 | 6 | 8 | 10) {
            id[length] = b'-';
            length += 1;
        }
        id[length] = DIGITS[usize::from(byte >> 4)];
        id[length + 1] = DIGITS[usize::from(byte & 15)];
        length += 2;
    }
    HeaderValue::from_bytes(&id[..length]).expect("digits and dashes are a field value")
}

impl Filter for RequestId {
    fn phases(&self) -> Phases {
        if self.response {
            Phases::REQUEST_HEADERS | Phases::RESPONSE_HEADERS
        } else {
            Phases::REQUEST_HEADERS
        }
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        let may_keep = match self.keep {
            Keep::Trusted => x.about.peer_trusted,
            Keep::Always => true,
            Keep::Never => false,
        };
        let headers = &mut x.request.headers;
        let mut ids = headers.get_all(&self.header).iter();
        let is_kept = may_keep && ids.next().is_some_and(is_valid) && ids.next().is_none();
        if !is_kept {
            headers.insert(&self.header, self.form.id());
        }
        Flow::Continue
    }

    fn response_headers<'a>(
        &'a self,
        x: Exchange<'a>,
        response: &'a mut response::Parts,
    ) -> Flow<'a> {
        // A filter in front may have answered before this one saw the request.
        if let Some(id) = x.request.headers.get(&self.header).filter(|id| is_valid(id)) {
            response.headers.insert(&self.header, id.clone());
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
