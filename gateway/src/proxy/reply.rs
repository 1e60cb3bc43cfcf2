//! Responses that the gateway writes itself: errors, redirects, configured answers, and those of
//! filters.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header, response};
use pingora_error::Result;
use sallyport_plugin::Answer;

use super::cause::Cause;
use super::client::Client;
use super::context::RequestContext;
use super::{filters, grpc, response_filter};

/// Writes the short plain-text response for `cause`.
pub(super) async fn error(
    client: &mut impl Client,
    ctx: &mut RequestContext,
    cause: Cause,
) -> Result<()> {
    let Some(status) = cause.status() else { return Ok(()) };
    from_filter(client, ctx, Answer::error(status, cause.label(), cause.text())).await
}

/// Writes `status` with these fields and `body`.
pub(super) async fn answer(
    client: &mut impl Client,
    ctx: &mut RequestContext,
    status: StatusCode,
    fields: &[(HeaderName, HeaderValue)],
    body: Bytes,
) -> Result<()> {
    let mut head = http::Response::new(()).into_parts().0;
    head.status = status;
    if !body.is_empty() {
        head.headers
            .insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    }
    for (name, value) in fields {
        head.headers.insert(name, value.clone());
    }
    send(client, ctx, head, body).await
}

/// Writes what a filter answers, through the response hooks like any response.
pub(super) async fn from_filter(
    client: &mut impl Client,
    ctx: &mut RequestContext,
    answer: Answer,
) -> Result<()> {
    let (head, body) = filters::into_response(answer, ctx);
    send(client, ctx, head, body).await
}

/// Whether a response has begun, so that nothing more can be said: after its head comes its body, or another
/// protocol. Interim responses do not count.
pub(super) fn has_begun(client: &impl Client) -> bool {
    client.response().is_some_and(|response| {
        !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS
    })
}

async fn send(
    client: &mut impl Client,
    ctx: &mut RequestContext,
    mut head: response::Parts,
    body: Bytes,
) -> Result<()> {
    if has_begun(client) {
        return Err(Cause::Internal.into_error());
    }
    let mut body = body;
    if let Some(grpc) = ctx.grpc {
        grpc::translate(grpc, &mut head, &mut body);
    }
    response_filter::announce_end(client);
    if filters::may_have_length(head.status) {
        head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let (mut head, body) = if ctx.chain().is_some() {
        filters::own_response(client, ctx, head, body).await
    } else {
        (head, body)
    };
    head.headers.remove(header::TRANSFER_ENCODING);
    if filters::may_have_length(head.status) && client.request().method != Method::HEAD {
        head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let bodiless = body.is_empty() || client.request().method == Method::HEAD;
    client.answer(Box::new(head.into()), (!bodiless).then_some(body)).await
}
