//! What the client is told: the origin's response without the fields that were between the origin
//! and the gateway (RFC 9110, 7.6.1). Pingora writes `Connection` anew and owns the framing.

use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use sallyport_plugin::Phases;

use super::context::{RequestContext, Upgrade};
use super::{filters, pace};
use crate::connection;

const HOP_BY_HOP: [HeaderName; 4] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::UPGRADE,
];

/// Removes hop-by-hop fields and lets filters have the response.
pub(super) async fn run(
    session: &mut Session,
    response: &mut ResponseHeader,
    ctx: &mut RequestContext,
) -> Result<()> {
    // An interim response says nothing of the connection. Pingora would close it for the body that is still to
    // come, and a request behind that would be lost.
    let interim =
        response.status.is_informational() && response.status != StatusCode::SWITCHING_PROTOCOLS;
    session.as_downstream_mut().set_close_on_response_before_downstream_finish(!interim);
    if response.status == StatusCode::SWITCHING_PROTOCOLS && ctx.attempt.upgrade != Upgrade::No {
        ctx.tunnelled = true;
        connection::begin_tunnel(session.as_downstream());
        pace::tunnel_began(session, ctx);
    }
    strip(response);
    if response.status.is_informational() || !filters::takes_part(ctx, Phases::RESPONSE_HEADERS) {
        return Ok(());
    }
    // Apart and boxed: few responses pass filters, and all carry this phase's state.
    Box::pin(filters::response(session, response, ctx)).await
}

/// Except from the response that changes protocols.
fn strip(response: &mut ResponseHeader) {
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let mut connection = response.headers.get_all(header::CONNECTION).iter();
    if !connection.all(is_about_this_hop_only) {
        for name in nominated(response) {
            response.remove_header(&name);
        }
    }
    // One pass over the names, instead of hashing each that hardly anybody sends.
    if response.headers.keys().any(|name| HOP_BY_HOP.contains(name)) {
        for name in HOP_BY_HOP {
            response.remove_header(&name);
        }
    }
}

/// What nearly every origin sends.
fn is_about_this_hop_only(value: &HeaderValue) -> bool {
    matches!(value.as_bytes(), b"keep-alive" | b"close")
}

/// Fields that `Connection` names, other than those that frame the message.
fn nominated(response: &ResponseHeader) -> Vec<HeaderName> {
    let fields = response.headers.get_all(header::CONNECTION);
    let tokens = fields
        .iter()
        .filter_map(|value: &HeaderValue| value.to_str().ok())
        .flat_map(|v| v.split(','));
    tokens
        .map(str::trim)
        .filter(|token| {
            !token.eq_ignore_ascii_case("close") && !token.eq_ignore_ascii_case("keep-alive")
        })
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::nominated;
    use pingora_http::ResponseHeader;

    #[test]
    fn nominated_fields_are_found_and_framing_is_left_alone() {
        let mut response = ResponseHeader::build(200, None).unwrap();
        response.append_header("connection", "keep-alive, X-Hop , transfer-encoding").unwrap();
        response.append_header("connection", "x-other").unwrap();
        let names: Vec<_> =
            nominated(&response).iter().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["x-hop", "x-other"]);
    }
}
