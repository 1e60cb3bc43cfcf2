//! The phases in their order, for whatever drives a request.
//!
//! Pingora calls them by [`ProxyHttp`](pingora_proxy::ProxyHttp), the engine by itself. Both come
//! by here, so that nothing about a request depends on which of them serves it.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{Error, Result};
use pingora_http::ResponseHeader;
use sallyport_stats::Direction;

use super::cause::Cause;
use super::client::Client;
use super::connected_to_upstream::Origin;
use super::context::RequestContext;
use super::request_filter::Admission;
use super::upstream_peer::Approach;
use super::{
    Shared, connected_to_upstream, error_while_proxy, fail_to_connect, fail_to_proxy, filters,
    hedge, logging, mirror, pace, peer, request_filter, response_filter, shaping, trailers,
    upstream_peer, upstream_request_filter, upstream_response_filter,
};
use crate::turns;
use crate::upstream::Destination;

/// The phases of all listeners' requests.
#[derive(Clone, Debug)]
pub(crate) struct Phases {
    pub(crate) shared: Shared,
}

impl Phases {
    /// The state of a request whose head has come.
    pub(crate) fn begin(&self) -> RequestContext {
        RequestContext::new(self.shared.live.pin())
    }

    /// Admits and routes the request. Nothing is counted and no filter runs before
    /// [`proceed`](Self::proceed), so that whoever drives the request may leave it to another.
    pub(crate) fn admit(&self, client: &mut impl Client, ctx: &mut RequestContext) -> Admission {
        request_filter::admit(&self.shared, client, ctx)
    }

    /// Runs the filters of a request's head and answers what the gateway answers itself. `true`
    /// means that a response was written.
    pub(crate) async fn proceed(
        &self,
        client: &mut impl Client,
        ctx: &mut RequestContext,
        admission: Admission,
    ) -> Result<bool> {
        request_filter::proceed(&self.shared, client, ctx, admission).await
    }

    /// Chooses the endpoint of an attempt.
    pub(crate) async fn choose(&self, ctx: &mut RequestContext) -> Result<Approach> {
        upstream_peer::run(ctx).await
    }

    /// What Pingora's connector connects to for an attempt.
    pub(crate) fn peer(
        &self,
        approach: &Approach,
        ctx: &mut RequestContext,
    ) -> Result<Box<HttpPeer>> {
        peer::of(ctx, approach).ok_or_else(|| Cause::NoEndpoint.into_error())
    }

    /// How the engine connects for an attempt.
    pub(crate) fn destination(&self, ctx: &RequestContext) -> Result<Arc<Destination>> {
        ctx.attempt.tries.destination().ok_or_else(|| Cause::NoEndpoint.into_error())
    }

    /// No connection could be made: returns the error with the word whether to try again.
    pub(crate) fn fail_to_connect(
        &self,
        client: &impl Client,
        error: Box<Error>,
        ctx: &mut RequestContext,
    ) -> Box<Error> {
        fail_to_connect::run(client, ctx, error)
    }

    /// There is a connection; `local` says which end of it is ours.
    pub(crate) fn connected(
        &self,
        client: &mut impl Client,
        origin: Origin,
        local: impl FnOnce() -> Option<SocketAddr>,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        filters::connected(ctx, local);
        connected_to_upstream::run(client, origin, ctx)
    }

    /// Makes `request`, without what is about the client's connection only, what the origin is
    /// told.
    pub(crate) fn ask(
        &self,
        client: &mut impl Client,
        request: &mut Parts,
        ctx: &mut RequestContext,
    ) {
        filters::asked(ctx);
        upstream_request_filter::run(client, request, ctx);
        mirror::begin(&self.shared, client, request, ctx);
        hedge::begin(&self.shared, client, request, ctx);
    }

    /// A part of the request's body passes to the origin.
    pub(crate) async fn request_body(
        &self,
        client: &mut impl Client,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        turns::moved(body.as_ref().map_or(0, Bytes::len));
        request_filter::body(body.as_ref(), ctx)?;
        pace::body_came(client, end, ctx)?;
        filters::request_body(client, body, end, ctx).await?;
        request_filter::decode(body, end, ctx)?;
        mirror::body(&self.shared, body.as_ref(), end, ctx);
        if !ctx.shares.is_empty() {
            // Boxed: few bodies share a bandwidth, and all carry this phase's state.
            Box::pin(shaping::request(body.as_ref().map_or(0, Bytes::len), ctx)).await;
        }
        Ok(())
    }

    /// The head of a response came from the origin.
    pub(crate) fn answered(
        &self,
        client: &mut impl Client,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        ctx.answered(response.status.as_u16());
        upstream_response_filter::check(client, response, ctx)?;
        pace::response_came(client, response, ctx);
        Ok(())
    }

    /// A part of a response's body came from the origin.
    pub(crate) fn answer_goes_on(
        &self,
        client: &mut impl Client,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        upstream_response_filter::run(client, ctx)?;
        pace::limit_write(client, ctx);
        Ok(())
    }

    /// Makes the head of a response what the client is told.
    pub(crate) async fn respond(
        &self,
        client: &mut impl Client,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        filters::answered(ctx);
        response_filter::translate(response, ctx);
        response_filter::run(client, response, ctx).await
    }

    /// Whether filters have made the head of a response anew.
    pub(crate) fn rewrites_response(&self, ctx: &RequestContext) -> bool {
        filters::takes_part(ctx, sallyport_plugin::Phases::RESPONSE_HEADERS)
    }

    /// A part of a response's body passes to the client.
    pub(crate) fn response_body(
        &self,
        client: &mut impl Client,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        turns::moved(body.as_ref().map_or(0, Bytes::len));
        filters::answered(ctx);
        if let Some(web) = ctx.grpc_answer {
            web.write(body);
        }
        filters::response_body(client, body, end, ctx)?;
        shaping::response(body.as_ref().map_or(0, Bytes::len), ctx);
        Ok(())
    }

    /// Whether nothing looks at the bytes of this response's body, nor holds them back.
    pub(crate) fn passes_response_body(&self, ctx: &RequestContext) -> bool {
        !filters::takes_part(ctx, sallyport_plugin::Phases::RESPONSE_BODY)
            && ctx.grpc_answer.is_none()
            && ctx.piece_bytes().is_none()
    }

    /// So many bytes of a response's body have passed to the client unseen.
    pub(crate) fn response_body_passed(
        &self,
        client: &mut impl Client,
        bytes: usize,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        turns::moved(bytes);
        filters::answered(ctx);
        self.answer_goes_on(client, ctx)
    }

    /// Counts trailers that go no further.
    pub(crate) fn drop_trailers(&self, direction: Direction) {
        self.shared.registry.count_dropped_trailers(direction);
    }

    /// Makes the trailers of the request what the origin is told.
    pub(crate) fn request_trailers(
        &self,
        client: &impl Client,
        request_trailers: &mut HeaderMap,
        ctx: &RequestContext,
    ) {
        let names = ctx.limits().header_names;
        trailers::admit_request(request_trailers, &client.request().headers, names);
    }

    /// Makes the trailers of a response what the client is told.
    pub(crate) fn response_trailers(
        &self,
        client: &mut impl Client,
        response_trailers: &mut HeaderMap,
        ctx: &mut RequestContext,
    ) -> Result<()> {
        trailers::admit_response(response_trailers);
        filters::response_trailers(client, response_trailers, ctx)
    }

    /// What a response's trailers become in its body, for a client that sees no trailers.
    pub(crate) fn trailers_in_body(
        &self,
        trailers: &HeaderMap,
        ctx: &RequestContext,
    ) -> Option<Bytes> {
        Some(ctx.grpc_answer?.trailers(trailers))
    }

    /// The exchange broke: returns the error with the word whether to try again.
    pub(crate) fn error_while_proxy(
        &self,
        client: &impl Client,
        error: Box<Error>,
        reused: bool,
        ctx: &mut RequestContext,
    ) -> Box<Error> {
        error_while_proxy::run(client, error, ctx, reused)
    }

    /// The request failed for good. Returns the status that was answered, 0 if none was.
    pub(crate) async fn fail(
        &self,
        client: &mut impl Client,
        error: &Error,
        ctx: &mut RequestContext,
    ) -> u16 {
        fail_to_proxy::run(client, error, ctx).await
    }

    /// The exchange with the origin is over: its connection is no longer the request's own.
    pub(crate) fn leave_origin(&self, ctx: &mut RequestContext) {
        pace::unwatch(ctx);
    }

    /// The request is over: counts it.
    pub(crate) fn finish(&self, client: &mut impl Client, ctx: &mut RequestContext) {
        pace::unwatch(ctx);
        logging::run(&self.shared.verdicts, client, ctx);
    }
}
