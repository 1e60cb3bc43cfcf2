#![doc = include_str!("compression/README.md")]

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, response};
use prometheus::IntCounter;

use sallyport_config::schema;

use crate::exchange::Exchange;
use crate::filter::{Body, Filter, Flow, Phases, Stop, body_changes};
use crate::kind::Kind;

mod accept;
mod budget;
mod coder;
mod config;
mod spec;
mod types;

pub use spec::{CodingName, CompressionSpec, LevelsSpec};

use budget::{Budget, Reservation};
use coder::{Coder, Coding};
use types::Types;

/// `compression:` in `filters:`.
pub const KIND: Kind =
    Kind { name: "compression", read: config::read, schema: schema::settings::<CompressionSpec> };

/// Digests of the bytes that were sent, which compression changes: RFC 9530 and what came before it.
const DIGESTS: [&str; 4] = ["content-digest", "content-md5", "digest", "repr-digest"];

/// Compresses responses.
#[derive(Debug)]
struct Compression {
    /// With the level of each; the earlier is preferred.
    codings: Vec<(Coding, u32)>,
    types: Types,
    bytes_min: u64,
    budget: Budget,
    skipped: IntCounter,
}

/// A response being compressed.
#[derive(Debug)]
struct Stream {
    coder: Coder,
    _memory: Reservation,
}

impl Filter for Compression {
    fn phases(&self) -> Phases {
        Phases::RESPONSE_HEADERS | Phases::RESPONSE_BODY
    }

    fn response_headers<'a>(
        &'a self,
        mut x: Exchange<'a>,
        response: &'a mut response::Parts,
    ) -> Flow<'a> {
        if !self.may_compress(response) {
            return Flow::Continue;
        }
        vary(&mut response.headers);
        // What has no body, and a client that cannot be sent one of unknown length.
        if x.request.method == Method::HEAD || x.request.version < Version::HTTP_11 {
            return Flow::Continue;
        }
        let codings = self.codings.iter().map(|(coding, _)| *coding);
        let Some(coding) = accept::choose(&x.request.headers, codings) else {
            return Flow::Continue;
        };
        let level = self.codings.iter().find(|known| known.0 == coding).map_or(1, |known| known.1);
        let Some(memory) = self.budget.reserve(coding.memory_bytes(level)) else {
            self.skipped.inc();
            return Flow::Continue;
        };
        match Coder::new(coding, level) {
            Ok(coder) => {
                encoded(response, coding);
                x.keep(Stream { coder, _memory: memory });
            }
            Err(error) => tracing::warn!(%error, "a response is not compressed"),
        }
        Flow::Continue
    }

    /// Its coder is of the response that is gone: the next one's head says nothing of a coding.
    fn response_dropped(&self, mut x: Exchange<'_>) {
        x.discard();
    }

    fn response_body(&self, mut x: Exchange<'_>, body: Body<'_>) -> Result<(), Stop> {
        let Some(stream) = x.kept::<Stream>() else { return Ok(()) };
        let coded = stream.coder.code(body.data.as_deref().unwrap_or_default(), body.end);
        *body.data = coded.map_err(|_| Stop("the response cannot be compressed"))?;
        Ok(())
    }
}

impl Compression {
    /// Whether a client that wants it gets this response compressed.
    fn may_compress(&self, response: &response::Parts) -> bool {
        let headers = &response.headers;
        has_whole_body(response.status)
            && !headers.contains_key(header::CONTENT_ENCODING)
            && !headers.contains_key(header::CONTENT_RANGE)
            && !forbids(headers)
            && length(headers).is_none_or(|length| length >= self.bytes_min)
            && self.types.have(headers)
    }
}

/// RFC 9110, 6.4.1 and 15.4.5; and a part of a representation is one of its bytes as they are.
fn has_whole_body(status: StatusCode) -> bool {
    let without = [
        StatusCode::NO_CONTENT,
        StatusCode::RESET_CONTENT,
        StatusCode::PARTIAL_CONTENT,
        StatusCode::NOT_MODIFIED,
    ];
    !status.is_informational() && !without.contains(&status)
}

/// RFC 9111, 5.2.2.6.
fn forbids(headers: &HeaderMap) -> bool {
    let fields =
        headers.get_all(header::CACHE_CONTROL).iter().filter_map(|field| field.to_str().ok());
    let mut directives = fields.flat_map(|field| field.split(','));
    directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Caches must know that another client gets other bytes: RFC 9110, 12.5.5.
fn vary(headers: &mut HeaderMap) {
    let fields = headers.get_all(header::VARY).iter().filter_map(|field| field.to_str().ok());
    let mut names = fields.flat_map(|field| field.split(',')).map(str::trim);
    if !names.any(|name| name == "*" || name.eq_ignore_ascii_case("accept-encoding")) {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// Makes the head that of the compressed response.
fn encoded(response: &mut response::Parts, coding: Coding) {
    body_changes(response);
    let headers = &mut response.headers;
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    for digest in DIGESTS {
        headers.remove(digest);
    }
    // RFC 9110, 8.8.3: a strong one is for bytes, and those of the origin are not sent.
    let etag = headers.get(header::ETAG).map(HeaderValue::as_bytes);
    let strong = etag.filter(|etag| !etag.starts_with(b"W/"));
    let weak = strong.map(|strong| HeaderValue::from_bytes(&[b"W/", strong].concat()));
    if let Some(Ok(weak)) = weak {
        headers.insert(header::ETAG, weak);
    }
}

#[cfg(test)]
mod tests;
