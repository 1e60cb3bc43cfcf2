//! The first phase: is the request sound, where does it belong, and does the gateway answer it
//! itself?

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora_error::Result;

use super::cause::Cause;
use super::client::Client;
use super::context::{RequestContext, Upgrade};
use super::grpc::{Grpc, NotBase64};
use super::target::{asked_host, hash_key};
use super::{
    Shared, cookies, filters, forwarded, hints, place, redirect, reply, shaping, sticky, tenants,
    trace,
};
use crate::config::{Action, Redirect};
use crate::decide;

/// What became of a request before anything was counted or any filter has run.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Admission {
    /// Its connection is not served any more.
    CutOff,
    /// It is refused for this cause.
    Refused(Cause),
    /// It goes on.
    Admitted,
}

/// Finds where the request comes from and belongs.
pub(super) fn admit(
    shared: &Shared,
    client: &mut impl Client,
    ctx: &mut RequestContext,
) -> Admission {
    let connection = client.connection().cloned();
    let arrived = connection.is_some_and(|connection| ctx.arrive(connection, &shared.live));
    if !arrived || ctx.peer().is_some_and(|peer| shared.verdicts.holds(peer.ip())) {
        return Admission::CutOff;
    }
    set_up_connection(client, ctx);
    cookies::join(client);
    let head = client.request();
    ctx.grpc = Grpc::of(head.version, &head.headers);
    hints::find(shared.classifier.as_ref(), ctx);
    let routed = route(client, ctx);
    if ctx.attempt.upgrade != Upgrade::No && !client.is_body_empty() {
        // RFC 9110, 7.8 lets us ignore it: what of the body is the tunnel's would be for each hop to guess.
        ctx.attempt.upgrade = Upgrade::No;
    }
    routed.err().map_or(Admission::Admitted, Admission::Refused)
}

/// Runs the filters of the request's head and answers what the gateway answers itself. `true` means that a response
/// was written.
pub(super) async fn proceed(
    shared: &Shared,
    client: &mut impl Client,
    ctx: &mut RequestContext,
    admission: Admission,
) -> Result<bool> {
    let admitted = match admission {
        Admission::CutOff => {
            Box::pin(cut_off(shared, client, ctx)).await;
            return Ok(true);
        }
        Admission::Refused(cause) => Err(cause),
        Admission::Admitted => Ok(()),
    };
    hints::count(shared.classifier.as_deref(), ctx);
    ctx.enter();
    trace::begin(&shared.spans, client, ctx);
    if let Some(answer) = challenge_answer(client, ctx) {
        Box::pin(reply::answer(client, ctx, StatusCode::OK, &[], answer)).await?;
        return Ok(true);
    }
    if admitted.is_ok() && place::asks_for_the_server(client.request()) {
        Box::pin(reply::answer(client, ctx, StatusCode::OK, &[], Bytes::new())).await?;
        return Ok(true);
    }
    if admitted.is_ok() && ctx.chain().is_some() {
        let answer = Box::pin(filters::request(&shared.verdicts, client, ctx)).await?;
        if let Some(answer) = answer {
            ctx.cause = Some(Cause::Answered(answer.reason));
            Box::pin(reply::from_filter(client, ctx, *answer)).await?;
            return Ok(true);
        }
        aim(client, ctx);
    }
    if admitted.is_ok() && ctx.forward().is_some() {
        return Ok(false);
    }
    // Apart and boxed, so that forwarded requests do not carry the state of writing a response:
    // Pingora allocates this phase's future anew for each of them.
    Box::pin(answer(client, ctx, admitted)).await?;
    Ok(true)
}

/// Closes the connection of a source that came under a verdict after it was accepted.
async fn cut_off(shared: &Shared, client: &mut impl Client, ctx: &mut RequestContext) {
    shared.verdicts.refuse_connection();
    ctx.enter();
    client.keep_alive(None);
    client.cut_off().await;
}

/// Writes what the gateway itself has to say: a refusal, a redirect or a configured answer.
async fn answer(
    client: &mut impl Client,
    ctx: &mut RequestContext,
    admitted: std::result::Result<(), Cause>,
) -> Result<()> {
    if let Err(cause) = admitted {
        return refuse(client, ctx, cause).await;
    }
    let redirect = match ctx.route().map(|(_, route)| &route.action) {
        Some(Action::Redirect(redirect)) => Some(redirect),
        _ => ctx.listener().redirect.as_ref().filter(|_| ctx.is_redirected),
    };
    if let Some(redirect) = redirect {
        let (status, location) = (redirect.status, location(client, ctx, redirect));
        return match location {
            Ok(location) => {
                let fields = [(header::LOCATION, location)];
                reply::answer(client, ctx, status, &fields, Bytes::new()).await
            }
            Err(cause) => refuse(client, ctx, cause).await,
        };
    }
    let (status, fields, body) = match ctx.route().map(|(_, route)| &route.action) {
        Some(Action::Respond(respond)) => {
            (respond.status, respond.headers.clone(), respond.body.clone())
        }
        Some(Action::Forward(_) | Action::Redirect(_)) | None => return Ok(()),
    };
    reply::answer(client, ctx, status, &fields, body).await
}

/// Answers what cannot be served, and says why.
async fn refuse(client: &mut impl Client, ctx: &mut RequestContext, cause: Cause) -> Result<()> {
    ctx.cause = Some(cause);
    if !cause.keeps_connection() {
        client.keep_alive(None);
    }
    reply::error(client, ctx, cause).await
}

/// Counts the body as it streams; beyond the limit the request ends.
pub(super) fn body(body: Option<&Bytes>, ctx: &mut RequestContext) -> Result<()> {
    ctx.body_bytes += body.map_or(0, |body| body.len() as u64);
    if ctx.body_bytes > ctx.limits().request_body_bytes && !ctx.tunnelled {
        ctx.cause = Some(Cause::BodyTooLarge);
        return Err(Cause::BodyTooLarge.into_error());
    }
    Ok(())
}

/// Makes a part of a body of gRPC-web one of gRPC.
pub(super) fn decode(body: &mut Option<Bytes>, end: bool, ctx: &mut RequestContext) -> Result<()> {
    let Some(web) = ctx.grpc_web() else { return Ok(()) };
    web.read(body, end, &mut ctx.grpc_decoder).map_err(|NotBase64| {
        let cause = Cause::BadRequest("the body is no base64");
        ctx.cause = Some(cause);
        cause.into_error()
    })
}

/// Bounds the waits between two requests and for a client that does not read.
fn set_up_connection(client: &mut impl Client, ctx: &RequestContext) {
    let timeouts = &ctx.listener().timeouts;
    let (idle, read, write) = (timeouts.idle, timeouts.read, timeouts.write);
    client.set_read_timeout(Some(read));
    client.set_write_timeout(Some(write));
    // Only shortened where the client wants to keep the connection at all.
    if client.is_kept() {
        client.keep_alive(Some(idle));
    }
    set_up_interim_responses(client);
}

/// What a client is told before its answer. RFC 9110, 10.1.1 and 15.2: HTTP/1.0 knows no interim responses, and
/// asks for none.
fn set_up_interim_responses(client: &mut impl Client) {
    let head = client.request();
    if head.version < Version::HTTP_11 {
        client.request_mut().remove_header(&header::EXPECT);
        client.ignore_interim();
        return;
    }
    let waits = !matches!(head.method, Method::GET | Method::HEAD)
        && head.headers.get(header::EXPECT).is_some_and(asks_to_continue);
    client.allow_interim(waits);
}

fn asks_to_continue(expectation: &HeaderValue) -> bool {
    expectation.as_bytes().eq_ignore_ascii_case(b"100-continue")
}

/// Everything that is decided before an endpoint is chosen.
fn route(client: &mut impl Client, ctx: &mut RequestContext) -> std::result::Result<(), Cause> {
    let peer = ctx.peer().map(|peer| peer.ip());
    let trusted = &ctx.listener().trusted_proxies;
    ctx.origin = forwarded::Origin::of(peer, &client.request().headers, trusted);
    if let Some(refusal) = client.refusal() {
        return Err(refusal.into());
    }
    if place::find(client.request_mut(), ctx)? {
        client.keep_alive(None);
    }
    if place::asks_for_the_server(client.request()) {
        return Ok(());
    }
    if is_misdirected(ctx) {
        return Err(Cause::Misdirected);
    }
    if ctx.route().is_none() && !ctx.is_redirected {
        return Err(Cause::NoRoute);
    }
    if ctx.chain().is_none() {
        aim(client, ctx);
    }
    Ok(())
}

/// What an authority is answered that asks in clear text whether a name is ours (RFC 8555, 8.3),
/// whatever routes say of the path.
fn challenge_answer(client: &impl Client, ctx: &RequestContext) -> Option<Bytes> {
    let storages = &ctx.snapshot().challenges.http;
    if storages.is_empty() || ctx.connection()?.tls.is_some() {
        return None;
    }
    if client.refusal().is_some() {
        return None;
    }
    let head = client.request();
    let token = head.uri.path().strip_prefix("/.well-known/acme-challenge/")?;
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let answer = |storage: &std::path::PathBuf| sallyport_tls::http_answer(storage, token);
    storages.iter().filter(|_| is_read).find_map(answer).map(Bytes::from)
}

/// Whether the connection's client was not judged by the rules of the host that the request is for
/// (RFC 9110, 7.4): another name was asked for in the handshake, or there was none.
fn is_misdirected(ctx: &RequestContext) -> bool {
    let Some(connection) = ctx.connection() else { return false };
    let (snapshot, listener) = (ctx.snapshot(), ctx.listener_index());
    let host = ctx.host_index();
    let (Some(facts), Some(tls)) = (&connection.tls, snapshot.tls(listener)) else {
        return host.is_some_and(|host| snapshot.hosts[host].needs_client_certificate);
    };
    let rules = tls.rules_of(host);
    if tls.needs_certificate(rules) && facts.client.is_none() {
        return true;
    }
    if !tls.has_mixed_rules() {
        return false;
    }
    let asked = facts.sni.as_deref().and_then(|name| snapshot.host(listener, name));
    tls.rules_of(asked) != rules
}

/// Chooses the upstream and what its balancer goes by.
fn aim(client: &impl Client, ctx: &mut RequestContext) {
    let head = client.request();
    let (path, query, headers) = (head.uri.path(), head.uri.query(), &head.headers);
    let Some(forward) = ctx.forward() else { return };
    let upstreams = &ctx.snapshot().upstreams;
    let is_available = |index: usize| upstreams[index].is_available();
    let variant = sticky::variant(forward, headers);
    let kept = variant.and_then(|token| sticky::kept_upstream(ctx, forward, token));
    let upstream = kept
        .unwrap_or_else(|| decide::upstream(forward, is_available, |total| fastrand::u32(..total)));
    let hash_on = &ctx.snapshot().upstreams[upstream].spec.hash_on;
    let key = hash_key(hash_on, ctx.origin.client, path, query, headers, ctx.all_hints());
    ctx.attempt.tenant = tenants::of_queue(ctx, upstream, headers);
    ctx.attempt.tries.sticky = sticky::endpoint(ctx, upstream, headers);
    let shares = shaping::shares(ctx, upstream, headers);
    ctx.attempt.variant = variant;
    ctx.attempt.upstream = upstream;
    ctx.attempt.aimed = true;
    ctx.attempt.tries.key = key;
    ctx.shares = shares;
}

/// RFC 9110, 10.2.2: where the client is to go instead.
fn location(
    client: &impl Client,
    ctx: &RequestContext,
    redirect: &Redirect,
) -> std::result::Result<HeaderValue, Cause> {
    let head = client.request();
    let asked_host = ctx.asked_host.clone().or_else(|| asked_host(head));
    // HTTP/1.0 may name no host; then the address that it came to is all there is to return to.
    let local = || place::local_authority(ctx).unwrap_or_default();
    let authority = asked_host.as_ref().and_then(|host| host.to_str().ok());
    let authority = authority.map_or_else(|| Cow::Owned(local()), Cow::Borrowed);
    let path_and_query = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let matched = ctx.filters.as_ref().and_then(|run| run.marks.client_path.as_deref());
    let matched = matched.unwrap_or(path_and_query);
    let variables = redirect::variables(redirect, head, ctx);
    let asked = decide::Asked {
        scheme: ctx.scheme().as_str(),
        authority: &authority,
        path: matched.split_once('?').map_or(matched, |(path, _)| path),
        path_and_query,
        regex: ctx.path_regex(),
        domains: ctx.domains(),
        variables: &variables,
    };
    let location = decide::location(redirect, &asked)
        .ok_or(Cause::BadRequest("the path makes no host to redirect to"))?;
    HeaderValue::try_from(location).map_err(|_| Cause::BadRequest("the path cannot be sent back"))
}
