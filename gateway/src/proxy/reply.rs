//! Responses that the gateway writes itself: errors, redirects, configured answers, and those of
//! filters.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header, response};
use pingora_error::Result;
use pingora_proxy::Session;
use sallyport_plugin::Answer;

use super::cause::Cause;
use super::context::RequestContext;
use super::{filters, grpc, response_filter};

/// Writes the short plain-text response for `cause`.
pub(super) async fn error(
    session: &mut Session,
    ctx: &mut RequestContext,
    cause: Cause,
) -> Result<()> {
    let Some(status) = cause.status() else { return Ok(()) };
    from_filter(session, ctx, Answer::error(status, cause.label(), cause.text())).await
}

/// Writes `status` with these fields and `body`.
pub(super) async fn answer(
    session: &mut Session,
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
    send(session, ctx, head, body).await
}

/// Writes what a filter answers, through the response hooks like any response.
pub(super) async fn from_filter(
    session: &mut Session,
    ctx: &mut RequestContext,
    answer: Answer,
) -> Result<()> {
    let (head, body) = filters::into_response(answer, ctx);
    send(session, ctx, head, body).await
}

/// Whether a response has begun, so that nothing more can be said: after its head comes its body, or another
/// protocol. Interim responses do not count.
pub(super) fn has_begun(session: &Session) -> bool {
    session.response_written().is_some_and(|response| {
        !response.status.is_informational() || response.status == StatusCode::SWITCHING_PROTOCOLS
    })
}

async fn send(
    session: &mut Session,
    ctx: &mut RequestContext,
    mut head: response::Parts,
    body: Bytes,
) -> Result<()> {
    if has_begun(session) {
        return Err(Cause::Internal.into_error());
    }
    let mut body = body;
    if ctx.grpc.is_some() {
        grpc::translate(&mut head, &mut body);
    }
    response_filter::announce_end(session);
    if filters::may_have_length(head.status) {
        head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let (mut head, body) = if ctx.chain().is_some() {
        filters::own_response(session, ctx, head, body).await
    } else {
        (head, body)
    };
    head.headers.remove(header::TRANSFER_ENCODING);
    if filters::may_have_length(head.status) && session.req_header().method != Method::HEAD {
        head.headers.insert(header::CONTENT_LENGTH, body.len().into());
    }
    let bodiless = body.is_empty() || session.req_header().method == Method::HEAD;
    if bodiless && let Some(http2) = session.as_downstream_mut().as_custom_mut() {
        // Pingora would write a head that does not end the stream, whatever it is told.
        return http2.write_response_header(Box::new(head.into()), true).await;
    }
    session.write_response_header(Box::new(head.into()), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}
