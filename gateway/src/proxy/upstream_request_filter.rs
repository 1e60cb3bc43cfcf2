//! What the origin is told: the target that was matched, where the request comes from, what the
//! classifier says of it, and its id.
//!
//! Pingora has removed the hop-by-hop fields by now, except from upgrades other than WebSocket.

use std::sync::LazyLock;

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use pingora_error::Result;
use pingora_http::RequestHeader;

use super::context::{RequestContext, Upgrade};
use super::{forwarded, hints};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is kept: a UUID has 36 characters, trace ids are no longer than 64.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What `X-Forwarded-*` and the id add at most.
const FIELDS_ADDED_MAX: usize = 4;

/// Stands in for the request while its fields are rewritten; building one costs more than a copy.
static PLACEHOLDER: LazyLock<RequestHeader> =
    LazyLock::new(|| Request::new(()).into_parts().0.into());

/// Fields that end with this hop (RFC 9110, 7.6.1), for upgrades that Pingora passes on whole.
const HOP_BY_HOP: [HeaderName; 5] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
    header::TE,
    header::PROXY_AUTHORIZATION,
];

/// Rewrites `request` as the origin is to see it.
///
/// The fields are changed in a plain map. Pingora keeps a second map with each name as the client
/// wrote it, and every field that is added pays for both: names go upstream in lower case instead.
pub(super) fn run(request: &mut RequestHeader, ctx: &RequestContext) -> Result<()> {
    let mut parts = Parts::from(std::mem::replace(request, RequestHeader::clone(&PLACEHOLDER)));
    // Once for all that may be added, instead of growing step by step.
    parts.headers.reserve(FIELDS_ADDED_MAX + ctx.snapshot().upstream_hints.len());
    rewrite_fields(&mut parts.headers, ctx);
    *request = parts.into();
    if let Some(target) = &ctx.target {
        request.set_raw_path(target.as_bytes())?;
    }
    Ok(())
}

fn rewrite_fields(headers: &mut HeaderMap, ctx: &RequestContext) {
    if ctx.attempt.upgrade == Upgrade::Other {
        for field in HOP_BY_HOP {
            headers.remove(field);
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    forwarded::write(headers, &ctx.origin, "http");
    if let Some(known) = ctx.hints() {
        hints::write(headers, known, &ctx.snapshot().upstream_hints);
    }
    if !headers.get(REQUEST_ID).is_some_and(is_valid_id) {
        headers.insert(REQUEST_ID, new_id());
    }
}

/// Kept ids go into logs and queries of other systems: characters that mean something there do not
/// pass.
fn is_valid_id(id: &HeaderValue) -> bool {
    let id = id.as_bytes();
    (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~+/=:".contains(byte))
}

/// 128 random bits: unique enough to join logs, and not a secret.
fn new_id() -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut id = [0; 32];
    for (digits, byte) in id.chunks_exact_mut(2).zip(fastrand::u128(..).to_le_bytes()) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
    HeaderValue::from_bytes(&id).expect("hexadecimal digits are a field value")
}

#[cfg(test)]
mod tests {
    use super::{HeaderValue, is_valid_id, new_id};

    #[test]
    fn ids_are_kept_only_if_harmless() {
        let long = "a".repeat(129);
        for (id, kept) in [
            ("0af7651916cd43dd8448eb211c80319c", true),
            ("550e8400-e29b-41d4-a716-446655440000", true),
            ("1-5759e988-bd862e3fe1be46a994272793", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            ("${jndi:x}", false),
            (long.as_str(), false),
        ] {
            assert_eq!(is_valid_id(&HeaderValue::from_str(id).unwrap()), kept, "{id}");
        }
    }

    #[test]
    fn new_ids_are_valid_and_differ() {
        let (a, b) = (new_id(), new_id());
        assert_ne!(a, b);
        assert_eq!(a.len(), 32);
        assert!(is_valid_id(&a));
    }
}
