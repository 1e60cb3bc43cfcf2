//! The last phase, reached however the request ended: its counters, what it earned its source, and
//! the access record.

use sallyport_route::Hints;

use super::cause::Cause;
use super::client::Client;
use super::context::RequestContext;
use super::filters;
use crate::config::Offence;
use crate::snapshot::NONE;
use crate::tunnel::End;
use crate::verdicts::{OffenceSet, Verdicts};

/// Counts the request under its route and its endpoint, and against its source.
pub(super) fn run(verdicts: &Verdicts, client: &mut impl Client, ctx: &mut RequestContext) {
    note_tunnel(ctx);
    let status = client.response().map_or(0, |response| response.status.as_u16());
    note_offences(verdicts, ctx, status);
    record(client, ctx, status);
    filters::log(client, ctx, ctx.elapsed());
    let (received, sent) = filters::body_bytes(client, ctx);
    ctx.record_body_bytes(received, sent);
    ctx.finish(status);
}

/// How a tunnel ended, if the request became one: silence is nobody's failure.
fn note_tunnel(ctx: &mut RequestContext) {
    match ctx.relayed().map(|relayed| relayed.end) {
        Some(End::OriginReset) => ctx.cause = Some(Cause::Reset),
        Some(End::ClientReset) => ctx.cause = Some(Cause::ClientGone),
        Some(End::Closed | End::Idle) | None => {}
    }
}

/// Trusted proxies are never counted: what they pass on is not their doing.
fn note_offences(verdicts: &Verdicts, ctx: &RequestContext, status: u16) {
    let did = offences(status, ctx.cause);
    if did.is_empty() {
        return;
    }
    let Some(rules) = &ctx.snapshot().verdicts else { return };
    let Some(peer) = ctx.peer().map(|peer| peer.ip().to_canonical()) else { return };
    let trusted = &ctx.listener().trusted_proxies;
    if !trusted.iter().any(|network| network.contains(&peer)) {
        verdicts.note(peer, did, rules);
    }
}

fn offences(status: u16, cause: Option<Cause>) -> OffenceSet {
    let refused = matches!(
        cause,
        Some(Cause::BadRequest(_) | Cause::Version | Cause::Method | Cause::ClientTimeout)
    );
    let limited =
        matches!(cause, Some(Cause::HeadTooLarge | Cause::TargetTooLong | Cause::BodyTooLarge));
    OffenceSet::default()
        .with(Offence::ClientError, (400..500).contains(&status))
        .with(Offence::Refused, refused)
        .with(Offence::Limit, limited || status == 429)
}

/// One event a request, for whoever turns it on with `SALLYPORT_LOG=info,access=debug`.
fn record(client: &impl Client, ctx: &RequestContext, status: u16) {
    if !tracing::enabled!(target: "access", tracing::Level::DEBUG) {
        return;
    }
    let (virtual_host, route) =
        ctx.route().map_or((NONE, NONE), |(host, route)| (&*host.name, &*route.name));
    let head = client.request();
    let proxied = ctx.connection().and_then(|connection| connection.proxied.as_deref());
    let none = Hints::default();
    let hints = ctx.hints().unwrap_or(&none);
    tracing::debug!(
        target: "access",
        virtual_host,
        route,
        method = %head.method,
        path = head.uri.path(),
        status,
        duration_ms = ctx.elapsed().as_secs_f64() * 1e3,
        client = ctx.origin.client.map(tracing::field::display),
        proxy_authority = proxied.and_then(|header| header.authority.as_deref()),
        proxy_alpn = proxied.and_then(|header| shown(header.alpn.as_deref())),
        proxy_unique_id = proxied.and_then(|header| shown(header.unique_id.as_deref())),
        network = hints.network.as_deref(),
        zone = hints.zone.as_deref(),
        protocol = hints.protocol,
        screens = hints.screens.join(","),
        syn_rate = ctx.known.is_some().then_some(hints.syn_rate),
        "request"
    );
}

/// Bytes as a log may show them.
fn shown(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| bytes.escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::{Cause, Offence, offences};

    #[test]
    fn every_offence_is_told_by_status_and_cause() {
        for (status, cause, did) in [
            (200, None, [false, false, false]),
            (503, Some(Cause::NoEndpoint), [false, false, false]),
            (404, Some(Cause::NoRoute), [true, false, false]),
            (404, None, [true, false, false]),
            (400, Some(Cause::BadRequest("")), [true, true, false]),
            (408, Some(Cause::ClientTimeout), [true, true, false]),
            (431, Some(Cause::HeadTooLarge), [true, false, true]),
            (429, None, [true, false, true]),
            (200, Some(Cause::BodyTooLarge), [false, false, true]),
            (0, Some(Cause::ClientGone), [false, false, false]),
        ] {
            let found = offences(status, cause);
            assert_eq!(Offence::ALL.map(|offence| found.has(offence)), did, "{status} {cause:?}");
        }
    }
}
