//! The life of a request, one file a phase.
//!
//! In the order in which Pingora calls them: `request_filter` (admit, route, answer what the
//! gateway answers itself), `upstream_peer` (choose an endpoint), `fail_to_connect`,
//! `connected_to_upstream`, `upstream_request_filter` (what the origin is told),
//! `error_while_proxy` (is it sent again), `upstream_response_filter` (deadlines), `response_filter` (what the client is told),
//! `fail_to_proxy` and `logging` (counters, offences, the access record). The implementation of `ProxyHttp` below only
//! delegates to them by `phases`. `hints` is what the classifier says of the connection; `context` is what travels with the request; `cause` is the one place that turns
//! failures into a status, a header and a metric label.

mod cause;
mod client;
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
mod peer;
mod phases;
mod place;
mod redirect;
mod reply;
mod request_filter;
mod request_id;
mod response_filter;
mod shaping;
mod sticky;
mod target;
mod tenants;
mod trace;
mod trailers;
mod upstream_peer;
mod upstream_request_filter;
mod upstream_response_filter;
mod words;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Version};
use pingora_core::modules::http::HttpModules;
use pingora_core::protocols::{ALPN, Digest};
use pingora_core::upstreams::peer::{HttpPeer, Peer as _};
use pingora_error::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use sallyport_stats::{Direction, Registry, ServedBy};

pub(crate) use self::cause::Cause;
pub(crate) use self::client::Client;
pub(crate) use self::connected_to_upstream::Origin;
pub(crate) use self::context::RequestContext;
pub(crate) use self::fields::{members, write_field};
pub(crate) use self::phases::Phases;
pub(crate) use self::place::{Hypothetical, Sender};
pub(crate) use self::request_filter::Admission;
pub(crate) use self::target::hash_key;
pub(crate) use self::trace::CallSpan;
pub(crate) use self::upstream_peer::Approach;
pub(crate) use self::upstream_request_filter::FIELDS_ADDED_MAX;
use crate::classifier::Classifier;
use crate::connection;
use crate::drain::Drain;
use crate::filters::UpstreamCalls;
use crate::live::Live;
use crate::trace::SpanQueue;
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
    /// Where spans of requests are put.
    pub spans: Arc<SpanQueue>,
}

/// The proxy of one worker.
#[derive(Debug)]
pub struct Proxy {
    phases: Phases,
}

impl Proxy {
    /// A proxy for the requests of all listeners.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { phases: Phases { shared } }
    }
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        self.phases.begin()
    }

    /// Leaves out Pingora's compression module: it costs every request and compresses none.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> Result<bool> {
        self.phases.shared.registry.count_engine(ServedBy::Pingora);
        let admission = self.phases.admit(session, ctx);
        self.phases.proceed(session, ctx, admission).await
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        let passed = self.phases.request_body(session, body, end_of_stream, ctx).await;
        // Whatever refuses a body, the request ends: with another source, Pingora would go on to wait for what an
        // origin of HTTP/2 answers to a part of it.
        passed.map_err(|error| error.into_down())?;
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
        let approach = self.phases.choose(ctx).await?;
        self.phases.peer(&approach, ctx)
    }

    fn fail_to_connect(
        &self,
        session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestContext,
        error: Box<Error>,
    ) -> Box<Error> {
        self.phases.fail_to_connect(session, error, ctx)
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
        let is_http1 = matches!(peer.get_alpn(), None | Some(ALPN::H1));
        let origin = Origin { socket: fd, reused, is_http1, is_tls: peer.tls() };
        let local = || {
            let socket = digest?.socket_digest.as_ref()?;
            socket.local_addr()?.as_inet().copied()
        };
        self.phases.connected(session, origin, local, ctx)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        let mut parts = lent::take(request);
        self.phases.ask(session, &mut parts, ctx);
        lent::give_back(request, parts);
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        self.phases.answered(session, response, ctx)
    }

    fn upstream_response_body_filter(
        &self,
        session: &mut Session,
        _body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        self.phases.answer_goes_on(session, ctx)?;
        Ok(None)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        self.phases.respond(session, response, ctx).await
    }

    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut RequestContext,
    ) -> Result<Option<Duration>> {
        self.phases.response_body(session, body, end_of_stream, ctx)?;
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut RequestContext,
    ) -> Result<Option<Bytes>> {
        self.phases.response_trailers(session, trailers, ctx)?;
        let in_body = self.phases.trailers_in_body(trailers, ctx);
        if in_body.is_none() && session.req_header().version < Version::HTTP_2 {
            self.phases.drop_trailers(Direction::Response);
        }
        Ok(in_body)
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut RequestContext,
        client_reused: bool,
    ) -> Box<Error> {
        self.phases.error_while_proxy(session, error, client_reused, ctx)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut RequestContext,
    ) -> FailToProxy {
        let error_code = self.phases.fail(session, error, ctx).await;
        // Where the connection is kept, that is not Pingora's doing.
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(
        &self,
        session: &mut Session,
        _error: Option<&Error>,
        ctx: &mut RequestContext,
    ) {
        if connection::has_trailers(session.as_downstream()) {
            // Pingora has no way to send them.
            self.phases.drop_trailers(Direction::Request);
        }
        self.phases.finish(session, ctx);
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
