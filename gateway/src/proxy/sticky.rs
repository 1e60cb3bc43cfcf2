//! Cookies that keep a client at its endpoint, and at its upstream of a split.

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};
use pingora_error::{ErrorType, OrErr as _, Result};
use pingora_http::ResponseHeader;
use sallyport_route::cookie_values;

use super::context::RequestContext;
use crate::config::{Forward, Sticky};
use crate::upstream::{Signer, Token};
use sallyport_route::Scheme;

/// Cookies of one name that are looked at: a client has one for each path and domain at most.
const VALUES_MAX: usize = 4;

/// What the client's cookie says of the upstream of a split, if it has one.
pub(super) fn variant(forward: &Forward, headers: &HeaderMap) -> Option<Token> {
    let sticky = forward.sticky.as_ref()?;
    open(&signer(sticky), &sticky.cookie, headers)
}

/// The upstream of a split that `token` stands for, if it may have requests.
pub(super) fn kept_upstream(
    ctx: &RequestContext,
    forward: &Forward,
    token: Token,
) -> Option<usize> {
    let signer = signer(forward.sticky.as_ref()?);
    let upstreams = &ctx.snapshot().upstreams;
    let is_it = |upstream: usize| signer.id(&upstreams[upstream].spec.name) == token.id;
    let target = forward.targets.iter().find(|target| is_it(target.upstream))?;
    let fit = !forward.failover || upstreams[target.upstream].is_available();
    (target.weight > 0 && fit).then_some(target.upstream)
}

/// What the client's cookie says of the endpoint of this upstream, if it has one.
pub(super) fn endpoint(
    ctx: &RequestContext,
    upstream: usize,
    headers: &HeaderMap,
) -> Option<Token> {
    let upstream = &ctx.snapshot().upstreams[upstream];
    let sticky = upstream.spec.resilience.sticky.as_ref()?;
    open(upstream.pin().signer()?, &sticky.cookie, headers)
}

/// Tells the client where it is, unless it knows.
pub(super) fn keep(response: &mut ResponseHeader, ctx: &RequestContext) -> Result<()> {
    let Some(forward) = ctx.forward() else { return Ok(()) };
    let spec = &ctx.upstream().spec;
    if let Some(sticky) = &forward.sticky {
        let signer = signer(sticky);
        set(response, ctx, sticky, &signer, signer.id(&spec.name), ctx.attempt.variant)?;
    }
    let tries = &ctx.attempt.tries;
    if let (Some(sticky), Some(id)) = (&spec.resilience.sticky, tries.sticky_id())
        && let Some(signer) = tries.set().and_then(|set| set.signer())
    {
        set(response, ctx, sticky, signer, id, tries.sticky)?;
    }
    Ok(())
}

fn set(
    response: &mut ResponseHeader,
    ctx: &RequestContext,
    sticky: &Sticky,
    signer: &Signer,
    id: u64,
    known: Option<Token>,
) -> Result<()> {
    let now = SystemTime::now();
    if known.is_some_and(|token| token.id == id && !token.is_old(sticky.ttl, now)) {
        return Ok(());
    }
    let value = signer.seal(id, sticky.ttl, now);
    let mut cookie = format!("{}={value}; Path=/; HttpOnly; SameSite=Lax", sticky.cookie);
    if let Some(ttl) = sticky.ttl {
        cookie.push_str(&format!("; Max-Age={}", ttl.as_secs().max(1)));
    }
    if ctx.scheme() == Scheme::Https {
        cookie.push_str("; Secure");
    }
    let cookie = HeaderValue::try_from(cookie)
        .or_err(ErrorType::InternalError, "a name of a cookie is a token")?;
    response.append_header(header::SET_COOKIE, cookie)?;
    Ok(())
}

/// Of splits: the cookie means the same on every route that names it.
fn signer(sticky: &Sticky) -> Signer {
    Signer::new(sticky.secret.bytes(), &format!("split {}", sticky.cookie))
}

fn open(signer: &Signer, cookie: &str, headers: &HeaderMap) -> Option<Token> {
    let now = SystemTime::now();
    cookie_values(headers, cookie).take(VALUES_MAX).find_map(|value| signer.open(value, now))
}
