//! Calls of gRPC that filters make, by the connections that their other calls use.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use h2::SendStream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use percent_encoding::percent_decode;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v2::client::Http2Session;
use pingora_core::protocols::http::v2::write_body;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use sallyport_plugin::{CallError, GrpcCall, GrpcEvent, GrpcStatus};
use sallyport_stats::ErrorKind;
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{sleep, timeout};

use super::{Broken, UpstreamCalls, Visit, What};
use crate::config::Retry;
use crate::proxy::{CallSpan, Cause};
use crate::trace::context::{TRACEPARENT, traceparent};
use crate::upstream::{Resend, Tenant, Time, Upstream};

/// What stands before each message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

impl UpstreamCalls {
    /// Makes the call and says how it ended; `events` is what came before that.
    pub(super) async fn grpc_to(
        &self,
        upstream: &str,
        mut call: GrpcCall,
        events: Sender<GrpcEvent>,
    ) -> GrpcStatus {
        let span = call.trace.take().map(|trace| {
            let span = CallSpan::begin(&self.spans, &trace, &Method::POST, upstream);
            call.metadata.insert(TRACEPARENT, traceparent(span.context()));
            span
        });
        let status = self.grpc_in_time(upstream, call, events).await;
        if let Some(span) = span {
            let is_success = status.is_success();
            span.end(if is_success { Ok(200) } else { Err(status.message.clone()) });
        }
        status
    }

    async fn grpc_in_time(
        &self,
        upstream: &str,
        call: GrpcCall,
        events: Sender<GrpcEvent>,
    ) -> GrpcStatus {
        let upstream = match self.find(upstream) {
            Ok(upstream) => upstream,
            Err(error) => return unavailable(error),
        };
        let mut visit = Visit::new(upstream.clone());
        let Some(within) = call.timeout else {
            return self.grpc(&upstream, call, events, &mut visit).await;
        };
        let ended = timeout(within, self.grpc(&upstream, call, events, &mut visit)).await;
        match ended {
            Ok(status) => status,
            Err(_) => {
                visit.finish(Some(ErrorKind::Timeout));
                GrpcStatus::new(GrpcStatus::DEADLINE_EXCEEDED, "timed out")
            }
        }
    }

    async fn grpc(
        &self,
        upstream: &Upstream,
        call: GrpcCall,
        events: Sender<GrpcEvent>,
        visit: &mut Visit,
    ) -> GrpcStatus {
        let admitted = upstream.admit(Tenant::default(), call.timeout).await;
        let Ok(_admission) = admitted else {
            return GrpcStatus::new(GrpcStatus::UNAVAILABLE, "over a limit");
        };
        let (peer, session) = match self.grpc_session(visit).await {
            Ok(connected) => connected,
            Err(error) => return unavailable(error),
        };
        let HttpSession::H2(mut session) = session else {
            let what = "the upstream speaks HTTP/1: set `protocol: http2`";
            return GrpcStatus::new(GrpcStatus::UNIMPLEMENTED, what);
        };
        let bytes_max = call.message_bytes_max;
        let begun = begin(&mut session, &upstream.spec.name, &call);
        let writer = match begun {
            Ok(writer) => writer,
            Err(error) => return broken(&error, visit),
        };
        let writing = write(writer, call.messages);
        let status = tokio::select! {
            status = read(&mut session, bytes_max, events, visit) => status,
            error = writing => Err(error),
        };
        match status {
            Ok(status) => {
                let session = HttpSession::H2(session);
                let idle = peer.options.idle_timeout;
                self.connector.release_http_session(session, &*peer, idle).await;
                status
            }
            Err(error) => broken(&error, visit),
        }
    }

    /// A connection to an endpoint; another endpoint is tried where there is none.
    async fn grpc_session(
        &self,
        visit: &mut Visit,
    ) -> std::result::Result<(Box<HttpPeer>, HttpSession), CallError> {
        let policy = Retry::default();
        loop {
            let peer = visit.begin().ok_or(CallError::NoEndpoint)?;
            let broken = match self.connector.get_http_session(&*peer).await {
                Ok((session, reused)) => {
                    visit.connected(reused);
                    return Ok((peer, session));
                }
                Err(error) => Broken::connecting(error),
            };
            let What::Failed(failure) = broken.what else { return Err(broken.error) };
            let request = Resend { method: &Method::POST, whole: true };
            let time = Time { left: None, retry_after: None };
            let wait = visit.attempts.retry(&policy, failure, request, time);
            visit.failed(failure, broken.kind);
            sleep(wait.ok_or(broken.error)?).await;
        }
    }
}

fn unavailable(error: CallError) -> GrpcStatus {
    GrpcStatus::new(GrpcStatus::UNAVAILABLE, error.to_string())
}

fn broken(error: &Error, visit: &mut Visit) -> GrpcStatus {
    visit.finish(Cause::of(error).upstream_kind());
    GrpcStatus::new(GrpcStatus::UNAVAILABLE, error.etype().as_str())
}

/// Writes the head. Returns where the messages go.
fn begin(session: &mut Http2Session, upstream: &str, call: &GrpcCall) -> Result<SendStream<Bytes>> {
    let mut head = RequestHeader::build(Method::POST, call.path.as_bytes(), None)?;
    for (name, value) in &call.metadata {
        head.append_header(name, value)?;
    }
    // As Envoy has it, where nothing says another name.
    head.insert_header(header::HOST, upstream)?;
    head.insert_header(header::CONTENT_TYPE, "application/grpc")?;
    head.insert_header(header::TE, "trailers")?;
    if let Some(within) = call.timeout {
        head.insert_header("grpc-timeout", format!("{}m", within.as_millis()))?;
    }
    session.write_request_header(Box::new(head), false).map_err(|error| error.into_up())?;
    let writer = session.take_request_body_writer();
    writer.ok_or_else(|| Error::new_up(ErrorType::InternalError))
}

/// Writes the messages as they come. Returns only if that fails.
async fn write(mut writer: SendStream<Bytes>, mut messages: Receiver<Bytes>) -> Box<Error> {
    while let Some(message) = messages.recv().await {
        let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
        framed.put_u8(0);
        // A message is no longer than `message_bytes_max` of either side.
        framed.put_u32(message.len() as u32);
        framed.extend_from_slice(&message);
        if let Err(error) = write_body(&mut writer, framed.freeze(), false, None).await {
            return error.into_up();
        }
    }
    match writer.send_data(Bytes::new(), true) {
        Ok(()) => std::future::pending().await,
        Err(error) => Error::because(ErrorType::WriteError, "ending a call", error).into_up(),
    }
}

async fn read(
    session: &mut Http2Session,
    bytes_max: usize,
    events: Sender<GrpcEvent>,
    visit: &mut Visit,
) -> Result<GrpcStatus> {
    session.read_response_header().await.map_err(|error| error.into_up())?;
    let Some(head) = session.response_header() else {
        return Ok(GrpcStatus::new(GrpcStatus::UNKNOWN, "no response"));
    };
    let (code, headers) = (head.status, head.headers.clone());
    visit.answered(code.as_u16());
    // Nobody may be left to be told: then the call is cancelled by its task.
    if let Some(status) = status(&headers) {
        events.send(GrpcEvent::Trailing(headers)).await.ok();
        return Ok(status);
    }
    if code != StatusCode::OK {
        return Ok(GrpcStatus::new(of_http(code), format!("HTTP {code}")));
    }
    events.send(GrpcEvent::Initial(headers)).await.ok();
    let mut ahead = BytesMut::new();
    while let Some(piece) = session.read_response_body().await.map_err(|error| error.into_up())? {
        ahead.extend_from_slice(&piece);
        loop {
            match message(&mut ahead, bytes_max) {
                Ok(Some(message)) => events.send(GrpcEvent::Message(message)).await.ok(),
                Ok(None) => break,
                Err(status) => return Ok(status),
            };
        }
    }
    let trailers = session.read_trailers().await.map_err(|error| error.into_up())?;
    let trailers = trailers.unwrap_or_default();
    let status = status(&trailers);
    events.send(GrpcEvent::Trailing(trailers)).await.ok();
    Ok(status.unwrap_or_else(|| GrpcStatus::new(GrpcStatus::UNKNOWN, "no status came")))
}

/// Takes the first message, if all of it has come.
fn message(
    ahead: &mut BytesMut,
    bytes_max: usize,
) -> std::result::Result<Option<Bytes>, GrpcStatus> {
    let Some((prefix, rest)) = ahead.split_at_checked(PREFIX_BYTES) else { return Ok(None) };
    let [compressed, a, b, c, d] = prefix.try_into().unwrap_or_default();
    let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
    if compressed != 0 {
        return Err(GrpcStatus::new(GrpcStatus::INTERNAL, "a message is compressed"));
    }
    if bytes > bytes_max {
        let what = format!("a message is over {bytes_max} bytes");
        return Err(GrpcStatus::new(GrpcStatus::RESOURCE_EXHAUSTED, what));
    }
    if rest.len() < bytes {
        return Ok(None);
    }
    ahead.advance(PREFIX_BYTES);
    Ok(Some(ahead.split_to(bytes).freeze()))
}

/// The status that these fields tell, if they do.
fn status(headers: &HeaderMap) -> Option<GrpcStatus> {
    let code = headers.get("grpc-status")?.to_str().ok().and_then(|code| code.parse().ok());
    let message = headers.get("grpc-message").map_or(&b""[..], HeaderValue::as_bytes);
    let message = percent_decode(message).decode_utf8_lossy().into_owned();
    Some(GrpcStatus::new(code.unwrap_or(GrpcStatus::UNKNOWN), message))
}

/// What gRPC takes a status of HTTP for where there is none of its own.
fn of_http(status: StatusCode) -> u32 {
    match status.as_u16() {
        400 => GrpcStatus::INTERNAL,
        401 => 16,
        403 => 7,
        404 => GrpcStatus::UNIMPLEMENTED,
        429 | 502..=504 => GrpcStatus::UNAVAILABLE,
        _ => GrpcStatus::UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_whole_however_they_come() {
        let sent = [&[0, 0, 0, 0, 2][..], b"hi", &[0, 0, 0, 0, 0], &[0, 0, 0, 0, 1], b"x"].concat();
        for part in 1..=sent.len() {
            let (mut ahead, mut came) = (BytesMut::new(), Vec::new());
            for part in sent.chunks(part) {
                ahead.extend_from_slice(part);
                while let Some(message) = message(&mut ahead, 10).unwrap() {
                    came.push(message);
                }
            }
            assert_eq!((came, ahead.len()), (vec!["hi".into(), Bytes::new(), "x".into()], 0));
        }
        for (sent, code) in [([1, 0, 0, 0, 0], 13), ([0, 255, 255, 255, 255], 8)] {
            assert_eq!(message(&mut BytesMut::from(&sent[..]), 10).unwrap_err().code, code);
        }
    }

    #[test]
    fn a_status_is_read_with_its_message() {
        let told = |code: &str, message: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", code.parse().unwrap());
            headers.insert("grpc-message", message.parse().unwrap());
            status(&headers)
        };
        assert_eq!(told("5", "not%20here %C3%A9"), Some(GrpcStatus::new(5, "not here é")));
        assert_eq!(told("x", ""), Some(GrpcStatus::new(2, "")));
        assert_eq!(status(&HeaderMap::new()), None);
    }
}
