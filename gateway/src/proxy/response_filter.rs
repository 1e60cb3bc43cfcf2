//! What the client is told: the origin's response without the fields that were between the origin
//! and the gateway (RFC 9110, 7.6.1). Pingora writes `Connection` anew and owns the framing.

use http::{HeaderName, HeaderValue, StatusCode, Version, header};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use sallyport_plugin::Phases;

use super::client::Client;
use super::context::RequestContext;
use super::{filters, lent, pace, sticky};

const HOP_BY_HOP: [&str; 4] = ["keep-alive", "proxy-connection", "proxy-authenticate", "upgrade"];

/// Makes the head of gRPC's answer one that a client of gRPC-web reads.
pub(super) fn translate(response: &mut ResponseHeader, ctx: &mut RequestContext) {
    let Some(web) = ctx.grpc_web() else { return };
    if response.status.is_informational() {
        return;
    }
    let mut parts = lent::take_response(response);
    ctx.grpc_answer = web.respond(&mut parts.headers).then_some(web);
    lent::give_back_response(response, parts);
}

/// Removes hop-by-hop fields and lets filters have the response.
pub(super) async fn run(
    client: &mut impl Client,
    response: &mut ResponseHeader,
    ctx: &mut RequestContext,
) -> Result<()> {
    let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
    strip(response)?;
    let interim = response.status.is_informational() && !switches;
    // An interim response says nothing of the connection. Pingora would close it for the body that is still to
    // come, and a request behind that would be lost.
    client.close_if_request_unfinished(!interim);
    if interim {
        if let Some(tunnel) = &ctx.tunnel {
            tunnel.expect_head();
        }
        return Ok(());
    }
    announce_end(client);
    sticky::keep(response, ctx)?;
    if filters::takes_part(ctx, Phases::RESPONSE_HEADERS) {
        // Apart and boxed: few responses pass filters, and all carry this phase's state.
        Box::pin(filters::response(client, response, ctx)).await?;
    }
    if switches {
        switch(client, response, ctx);
    } else {
        settle_framing(client, response);
        if let Some(tunnel) = &ctx.tunnel {
            tunnel.decline();
        }
    }
    Ok(())
}

/// A response says that the connection will not be kept when the server shuts down.
pub(super) fn announce_end(client: &mut impl Client) {
    if client.is_ending() {
        client.keep_alive(None);
    }
}

/// RFC 9112, 6.1: an HTTP/1.0 client knows no chunks; a body without length ends with the connection.
fn settle_framing(client: &mut impl Client, response: &mut ResponseHeader) {
    if client.request().version < Version::HTTP_11
        && response.remove_header(&header::TRANSFER_ENCODING).is_some()
    {
        client.keep_alive(None);
    }
}

/// The connections become a tunnel as soon as this head is out.
fn switch(client: &mut impl Client, response: &mut ResponseHeader, ctx: &mut RequestContext) {
    // Whatever a filter has made of it, what follows has no length.
    response.remove_header(&header::CONTENT_LENGTH);
    response.remove_header(&header::TRANSFER_ENCODING);
    ctx.tunnelled = true;
    client.begin_tunnel();
    pace::tunnel_began(client, ctx);
    if let Some(tunnel) = &ctx.tunnel {
        // Silence ends a tunnel by its own timeout, and never the client's read.
        client.set_read_timeout(None);
        tunnel.switch();
        client.switch(tunnel.clone());
    } else {
        let idle = ctx.upstream().spec.timeouts.upgraded;
        client.set_read_timeout(Some(idle));
    }
}

/// Removes what was said to this hop, but for what a client must know of other protocols (RFC 9110, 7.8): the
/// one that is switched to, and those that a 426 asks for.
fn strip(response: &mut ResponseHeader) -> Result<()> {
    let switches = response.status == StatusCode::SWITCHING_PROTOCOLS;
    let keeps_upgrade = switches || response.status == StatusCode::UPGRADE_REQUIRED;
    let mut connection = response.headers.get_all(header::CONNECTION).iter();
    if !connection.all(is_about_this_hop_only) {
        for name in nominated(response) {
            if name != header::UPGRADE || !keeps_upgrade {
                response.remove_header(&name);
            }
        }
    }
    // One pass over the names, instead of hashing each that hardly anybody sends.
    if response.headers.keys().any(|name| HOP_BY_HOP.contains(&name.as_str())) {
        for name in HOP_BY_HOP {
            if name != "upgrade" || !keeps_upgrade {
                response.remove_header(name);
            }
        }
    }
    if switches {
        // Of all others, Pingora writes it anew.
        response.insert_header(header::CONNECTION, "upgrade")?;
    }
    Ok(())
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
