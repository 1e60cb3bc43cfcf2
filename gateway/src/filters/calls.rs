//! HTTP calls of filters to the configuration's upstreams, balanced and pooled as requests are.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::Error;
use pingora_http::RequestHeader;
use sallyport_plugin::{BoxFuture, Call, CallError, Calls, Reply};
use sallyport_stats::ErrorKind;

use super::LiveLater;
use crate::upstream::Endpoint;

/// Calls by name of upstream, in whatever configuration is in force when they are made.
#[derive(Clone)]
pub(super) struct UpstreamCalls {
    live: LiveLater,
    connector: Arc<Connector>,
}

impl UpstreamCalls {
    pub(super) fn new(live: LiveLater) -> Self {
        Self { live, connector: Arc::new(Connector::new(None)) }
    }

    async fn send(&self, upstream: &str, call: &Call) -> Result<Reply, CallError> {
        let snapshot = self.live.get().ok_or(CallError::NoEndpoint)?.current();
        let mut upstreams = snapshot.upstreams.iter();
        let upstream = upstreams
            .find(|found| *found.spec.name == *upstream)
            .ok_or_else(|| CallError::UnknownUpstream(upstream.to_owned()))?;
        let index = upstream.select(fastrand::u64(..), &[]).ok_or(CallError::NoEndpoint)?;
        let mut visit = Visit::begin(upstream.endpoints[index].clone());
        let peer = upstream.peer(index);
        let mut result = self.exchange(&peer, call, &visit.endpoint).await;
        // A pooled connection may have been closed by the other end just now.
        if matches!(result, Err(Broken { reused: true, .. })) && call.method.is_idempotent() {
            result = self.exchange(&peer, call, &visit.endpoint).await;
        }
        result.map_err(|broken| {
            visit.error = Some(ErrorKind::Reset);
            broken.error
        })
    }

    async fn exchange(
        &self,
        peer: &HttpPeer,
        call: &Call,
        endpoint: &Endpoint,
    ) -> Result<Reply, Broken> {
        let connected = self.connector.get_http_session(peer).await;
        let (mut session, reused) = connected.map_err(|error| {
            endpoint.connect_failed();
            Broken { error: failed(&error), reused: false }
        })?;
        endpoint.connected(reused);
        let (reply, keep) =
            talk(&mut session, call).await.map_err(|error| Broken { error, reused })?;
        if keep {
            let idle = peer.options.idle_timeout;
            self.connector.release_http_session(session, peer, idle).await;
        } else {
            session.shutdown().await;
        }
        Ok(reply)
    }
}

/// A call that failed on a connection.
struct Broken {
    error: CallError,
    /// Whether the connection had served before.
    reused: bool,
}

impl std::fmt::Debug for UpstreamCalls {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("UpstreamCalls").finish_non_exhaustive()
    }
}

impl Calls for UpstreamCalls {
    fn call(&self, upstream: &str, call: Call) -> BoxFuture<'static, Result<Reply, CallError>> {
        let (calls, upstream) = (self.clone(), upstream.to_owned());
        Box::pin(async move {
            let sent = tokio::time::timeout(call.timeout, calls.send(&upstream, &call)).await;
            sent.unwrap_or(Err(CallError::Timeout))
        })
    }
}

/// A call at an endpoint, counted out however it ends.
struct Visit {
    endpoint: Arc<Endpoint>,
    error: Option<ErrorKind>,
}

impl Visit {
    fn begin(endpoint: Arc<Endpoint>) -> Self {
        endpoint.begin();
        Self { endpoint, error: None }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.endpoint.finish(self.error);
    }
}

/// Sends the request and reads the response; also says whether the connection can be used again.
async fn talk(session: &mut HttpSession, call: &Call) -> Result<(Reply, bool), CallError> {
    let head = head(call).map_err(|error| failed(&error))?;
    session.write_request_header(Box::new(head)).await.map_err(|error| failed(&error))?;
    if !call.body.is_empty() {
        let sent = session.write_request_body(call.body.clone(), true).await;
        sent.map_err(|error| failed(&error))?;
    }
    session.finish_request_body().await.map_err(|error| failed(&error))?;
    loop {
        session.read_response_header().await.map_err(|error| failed(&error))?;
        let status = session.response_header().map(|head| head.status);
        if status.is_none_or(|status| !status.is_informational()) {
            break;
        }
    }
    let head = session.response_header().ok_or(CallError::Failed("no response".into()))?;
    let (status, headers): (_, HeaderMap) = (head.status, head.headers.clone());
    let body = body(session, call.reply_bytes_max).await?;
    let keep = session.response_done();
    Ok((Reply { status, headers, body }, keep))
}

async fn body(session: &mut HttpSession, bytes_max: usize) -> Result<Bytes, CallError> {
    let mut body = BytesMut::new();
    while let Some(piece) = session.read_response_body().await.map_err(|error| failed(&error))? {
        if body.len() + piece.len() > bytes_max {
            return Err(CallError::TooLarge(bytes_max));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn head(call: &Call) -> pingora_error::Result<RequestHeader> {
    let mut head = RequestHeader::build_no_case(call.method.clone(), call.path.as_bytes(), None)?;
    for (name, value) in &call.headers {
        head.append_header(name, value)?;
    }
    for name in [header::TRANSFER_ENCODING, header::CONNECTION, header::UPGRADE] {
        head.remove_header(&name);
    }
    head.insert_header(header::HOST, call.authority.as_str())?;
    if call.body.is_empty() {
        head.remove_header(&header::CONTENT_LENGTH);
    } else {
        head.insert_header(header::CONTENT_LENGTH, call.body.len())?;
    }
    Ok(head)
}

fn failed(error: &Error) -> CallError {
    CallError::Failed(error.etype().as_str().to_owned())
}
