#![doc = include_str!("body_limit/README.md")]

use std::sync::Arc;

use http::{HeaderMap, StatusCode, header};
use sallyport_config::{Node, Sink, scalar, schema};

use crate::exchange::Exchange;
use crate::filter::{Answer, Body, Filter, Flow, Phases};
use crate::kind::{Kind, Setting};

mod spec;

pub use spec::BodyLimitSpec;

/// `body_limit:` in `filters:`.
pub const KIND: Kind = Kind { name: "body_limit", read, schema: schema::settings::<BodyLimitSpec> };

/// Sizes are read exactly up to here; what is larger needs no limit.
const BYTES_MAX: u64 = 1 << 40;

/// Refuses requests with long bodies.
#[derive(Debug)]
struct BodyLimit {
    bytes: u64,
}

/// Body bytes that have come.
#[derive(Debug, Default)]
struct Came(u64);

fn read(node: Node<'_>, sink: &mut Sink, _: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let size = |node: Node<'_>, sink: &mut Sink| scalar::bytes(node, sink, 0, BYTES_MAX);
        let bytes = fields.required(sink, "bytes", size)?;
        Some(Arc::new(BodyLimit { bytes }) as Arc<dyn Filter>)
    })
}

impl BodyLimit {
    fn judge(&self, bytes: u64) -> Flow<'static> {
        if bytes <= self.bytes {
            return Flow::Continue;
        }
        let text = format!("the body is over {} bytes", self.bytes);
        Flow::answer(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", &text))
    }
}

/// A length that is no number is one beyond all numbers: the gateway has refused all others.
fn content_length(headers: &HeaderMap) -> u64 {
    headers.get(header::CONTENT_LENGTH).map_or(0, |length| {
        length.to_str().ok().and_then(|length| length.parse().ok()).unwrap_or(u64::MAX)
    })
}

impl Filter for BodyLimit {
    fn phases(&self) -> Phases {
        Phases::REQUEST_HEADERS | Phases::REQUEST_BODY
    }

    fn request_headers<'a>(&'a self, x: Exchange<'a>) -> Flow<'a> {
        self.judge(content_length(&x.request.headers))
    }

    fn request_body<'a>(&'a self, mut x: Exchange<'a>, body: Body<'a>) -> Flow<'a> {
        let piece = body.data.as_ref().map_or(0, |data| data.len() as u64);
        let came: &mut Came = x.state();
        came.0 = came.0.saturating_add(piece);
        self.judge(came.0)
    }
}

#[cfg(test)]
mod tests;
