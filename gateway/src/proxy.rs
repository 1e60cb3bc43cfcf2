//! The life of a request, one file a phase.
//!
//! In the order in which Pingora calls them: `request_filter` (admit, route, answer what the
//! gateway answers itself), `upstream_peer` (choose an endpoint), `fail_to_connect`,
//! `connected_to_upstream`, `upstream_request_filter` (what the origin is told),
//! `error_while_proxy` (is it sent again), `upstream_response_filter` (deadlines), `response_filter` (what the client is told),
//! `fail_to_proxy` and `logging` (counters, offences, the access record). The implementation of `ProxyHttp` below only
//! delegates. `hints` is what the classifier says of the connection; `context` is what travels with the request; `cause` is the one place that turns
//! failures into a status, a header and a metric label.

mod cause;
mod conformance;
mod connected_to_upstream;
mod context;
mod cookies;
mod error_page;
mod error_while_proxy;
mod fail_to_connect;
mod fail_to_proxy;
mod fields;
mod filters;
mod forwarded;
mod grpc;
mod hedge;
mod hints;
mod lent;
mod logging;
mod mirror;
mod origin_framing;
mod pace;
mod reply;
mod request_filter;
mod request_id;
mod response_filter;
mod sticky;
mod target;
mod upstream_peer;
mod upstream_request_filter;
mod upstream_response_filter;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::Digest;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use sallyport_stats::Registry;

pub(crate) use self::cause::Cause;
use self::context::RequestContext;
pub(crate) use self::forwarded::scheme as forwarded_scheme;
pub(crate) use self::target::hash_key;
use crate::classifier::Classifier;
use crate::drain::Drain;
use crate::filters::UpstreamCalls;
use crate::live::Live;
use crate::turns;
use crate::verdicts::Verdicts;

/// What all listeners' proxies share.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The configuration in force.
    pub live: Arc<Live>,
    /// Where hints come from, if a classifier is configured.
    pub classifier: Option<Arc<Classifier>>,
    /// The sources that are shut out.
    pub verdicts: Arc<Verdicts>,
    /// Where what happens is counted.
    pub registry: Arc<Registry>,
    /// Whether new work is wanted.
    pub drain: Arc<Drain>,
    /// What copies of requests go by.
    pub calls: UpstreamCalls,
}

/// The proxy of one worker.
#[derive(Debug)]
pub struct Proxy {
    shared: Shared,
}

impl Proxy {
    /// A proxy for the requests of all listeners.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { shared }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(self.shared.live.pin())
    }

    /// Leaves out Pingora's compression module: it costs every request and compresses none.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<bool> {
        request_filter::run(&self.shared, session, ctx).await
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        turns::moved(body.as_ref().map_or(0, Bytes::len));
        request_filter::body(body.as_ref(), ctx)?;
        pace::body_came(session, end_of_stream, ctx)?;
        filters::request_body(session, body, end_of_stream, ctx).await?;
        mirror::body(&self.shared, body.as_ref(), end_of_stream, ctx);
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            // pingora#935: an empty piece at the end would be a last chunk, and the end itself another.
            *body = None;
        }
        Ok(())
    }

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        upstream_peer::run(ctx).await
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestContext,
        error: Box<Error>,
    ) -> Box<Error> {
        fail_to_connect::run(session, ctx, error)
    }

    async fn connected_to_upstream(
        &self,
        session: &mut Session,
        reused: bool,
        peer: &HttpPeer,
        fd: std::os::unix::io::RawFd,
        digest: Option<&Digest>,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        filters::connected(ctx, digest);
        connected_to_upstream::run(session, reused, peer, fd, ctx)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        filters::asked(ctx);
        upstream_request_filter::run(session, request, ctx);
        mirror::begin(&self.shared, session, request, ctx);
        hedge::begin(&self.shared, session, request, ctx);
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        ctx.answered(response.status.as_u16());
        upstream_response_filter::check(session, response, ctx)?;
        pace::response_came(session, response, ctx);
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        upstream_response_filter::run(session, ctx)?;
        pace::limit_write(session, ctx);
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        filters::answered(ctx);
        response_filter::run(session, response, ctx).await
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        turns::moved(body.as_ref().map_or(0, Bytes::len));
        filters::answered(ctx);
        filters::response_body(session, body, end_of_stream, ctx)?;
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut RequestContext,
    ) -> Result<Option<Bytes>> {
        filters::response_trailers(session, trailers, ctx)?;
        Ok(None)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        error_while_proxy::run(session, error, ctx, client_reused)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut RequestContext,
    ) -> FailToProxy {
        fail_to_proxy::run(session, error, ctx).await
    }

    async fn logging(
        &self,
        session: &mut Session,
        _error: Option<&Error>,
        ctx: &mut RequestContext,
    ) {
        pace::unwatch(ctx);
        logging::run(&self.shared.verdicts, session, ctx);
    }

    /// `fail_to_proxy` logs what is worth a line, once and with its cause.
    fn suppress_error_log(
        &self,
        _session: &Session,
        _ctx: &RequestContext,
        _error: &Error,
    ) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &RequestContext,
        _error: &Error,
        _context: ProxyWarnLogContext,
    ) -> bool {
        true
    }
}
