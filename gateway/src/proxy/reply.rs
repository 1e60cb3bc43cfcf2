//! Responses that the gateway writes itself: errors, redirects, configured answers.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use pingora_error::Result;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;

use super::cause::Cause;

/// The field that names the cause of an error response.
const ERROR_FIELD: &str = "x-sallyport-error";

/// Writes the short plain-text response for `cause`, with a request id if there is one to quote.
pub(super) async fn error(session: &mut Session, cause: Cause) -> Result<()> {
    let Some(status) = cause.status() else { return Ok(()) };
    let mut response = ResponseHeader::build(status, Some(6))?;
    response.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
    response.insert_header(header::CACHE_CONTROL, "no-store")?;
    response.insert_header(ERROR_FIELD, cause.label())?;
    let body = format!("{}: {}\n", cause.label(), cause.text());
    send(session, response, body.into()).await
}

/// Writes `status` with these fields and `body`.
pub(super) async fn answer(
    session: &mut Session,
    status: StatusCode,
    fields: &[(HeaderName, HeaderValue)],
    body: Bytes,
) -> Result<()> {
    let mut response = ResponseHeader::build(status, Some(fields.len() + 2))?;
    if !body.is_empty() {
        response.insert_header(header::CONTENT_TYPE, "text/plain; charset=utf-8")?;
    }
    for (name, value) in fields {
        response.insert_header(name.clone(), value.clone())?;
    }
    send(session, response, body).await
}

async fn send(session: &mut Session, mut response: ResponseHeader, body: Bytes) -> Result<()> {
    // RFC 9110, 8.6: no Content-Length with 204, and none is needed with 304.
    if !matches!(response.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        response.insert_header(header::CONTENT_LENGTH, body.len())?;
    }
    let bodiless = body.is_empty() || session.req_header().method == Method::HEAD;
    session.write_response_header(Box::new(response), bodiless).await?;
    if !bodiless {
        session.write_response_body(Some(body), true).await?;
    }
    Ok(())
}
