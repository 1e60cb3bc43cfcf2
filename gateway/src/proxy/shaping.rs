//! Where the pieces of bodies meet the bandwidths of their route and their upstream.
//!
//! A piece of a request is waited for where it passes, so that no more of the request is read meanwhile. A piece
//! of a response passes its hook, which cannot wait in Pingora, and is held on its way to the client by the
//! request's turns ([`turns::hold`]): both engines and all protocols of clients meet it there.

use std::time::Instant;

use http::HeaderMap;
use sallyport_stats::Direction;

use super::context::RequestContext;
use super::{pace, tenants};
use crate::config::{Bandwidth, ClassBy};
use crate::shaping::Share;
use crate::turns;
use crate::upstream::Tenant;

/// What the bodies of a request to this upstream share with others.
pub(super) fn shares(ctx: &RequestContext, upstream: usize, headers: &HeaderMap) -> Box<[Share]> {
    let of_route = ctx.route().and_then(|(_, route)| route.bandwidth.as_ref());
    let upstream_at = &ctx.snapshot().upstreams[upstream];
    let of_upstream = upstream_at.spec.resilience.bandwidth.as_ref();
    if of_route.is_none() && of_upstream.is_none() {
        return Box::default();
    }
    let version = ctx.snapshot().version;
    let class = |spec: &Bandwidth| class(ctx, spec, upstream, headers);
    let of_route = of_route.map(|bandwidth| bandwidth.share(class(&bandwidth.spec), version));
    let of_upstream = of_upstream.and_then(|spec| {
        let shaped = upstream_at.account.bandwidth()?.clone();
        Some(Share { shaped, rate: spec.rate(), version, class: class(spec) })
    });
    of_route.into_iter().chain(of_upstream).collect()
}

fn class(ctx: &RequestContext, spec: &Bandwidth, upstream: usize, headers: &HeaderMap) -> Tenant {
    match &spec.by {
        ClassBy::Own(by) => tenants::of(ctx, by, &spec.weights, headers),
        ClassBy::Tenant => tenants::of_queue(ctx, upstream, headers),
    }
}

/// A piece of the request's body passes once it has its turns.
pub(super) async fn request(bytes: usize, ctx: &mut RequestContext) {
    let since = Instant::now();
    let mut has_waited = false;
    for share in &ctx.shares {
        if let Some(turn) = share.pass(Direction::Request, bytes) {
            turn.await;
            has_waited = true;
        }
    }
    if has_waited {
        pace::waited(since.elapsed(), ctx);
    }
}

/// A piece of the response's body goes to the client once it has its turns.
pub(super) fn response(bytes: usize, ctx: &RequestContext) {
    for share in &ctx.shares {
        if let Some(turn) = share.pass(Direction::Response, bytes) {
            turns::hold(turn);
        }
    }
}
