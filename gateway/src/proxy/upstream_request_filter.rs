//! What the origin is told: where the request comes from, what the classifier says of it, and its id.
//!
//! Pingora has removed the hop-by-hop fields by now, except from upgrades other than WebSocket.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::client::Client;
use super::context::{RequestContext, Upgrade};
use super::{fields, forwarded, hints, request_id, trace, upstream_response_filter};
use crate::config::{HeaderNames, Protocol};

/// What `X-Forwarded-*`, the id and the trace add at most.
pub(crate) const FIELDS_ADDED_MAX: usize = 5;

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
pub(super) fn run(client: &impl Client, request: &mut Parts, ctx: &RequestContext) {
    upstream_response_filter::limit_wait(client, ctx);
    // Once for all that may be added, instead of growing step by step.
    request.headers.reserve(FIELDS_ADDED_MAX + ctx.snapshot().upstream_hints.len());
    rewrite_fields(&mut request.headers, ctx);
    if ctx.request_body_changes() {
        // Its length is not known before its end; the framing of what has none is written later.
        request.headers.remove(header::CONTENT_LENGTH);
    }
}

fn rewrite_fields(headers: &mut HeaderMap, ctx: &RequestContext) {
    if ctx.attempt.upgrade == Upgrade::Other {
        for field in HOP_BY_HOP {
            headers.remove(field);
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if ctx.attempt.upgrade == Upgrade::No && headers.remove(header::UPGRADE).is_some() {
        // Pingora lets WebSockets pass whether they are an upgrade to us or not.
        headers.remove(header::CONNECTION);
    }
    forwarded::write(headers, &ctx.origin, ctx.scheme().as_str(), ctx.asked_host.as_ref());
    if let Some(known) = ctx.hints() {
        hints::write(headers, known, &ctx.snapshot().upstream_hints);
    }
    if let Some(field) = ctx.client_certificate()
        && let Ok(value) = HeaderValue::from_str(field)
    {
        headers.insert(HeaderName::from_static("client-cert"), value);
    }
    request_id::ensure(headers);
    trace::write(headers, ctx);
    if ctx.grpc.is_some() && ctx.upstream().spec.transport.protocol != Protocol::Http1 {
        // Pingora removes it with what is this hop's only; gRPC servers insist on it.
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(web) = ctx.grpc_web() {
        web.ask(headers);
    }
    if ctx.limits().header_names == HeaderNames::Any {
        fields::remove_imitations(headers);
    }
}
