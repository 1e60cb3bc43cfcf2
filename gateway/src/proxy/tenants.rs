//! Whose a request is, where requests are served or bodies pass in turns.

use std::num::NonZeroU16;

use http::HeaderMap;

use super::context::RequestContext;
use super::target;
use crate::config::{TenantBy, TenantWeights};
use crate::upstream::Tenant;

/// Whose turn the request waits for, where its upstream has a queue.
pub(super) fn of_queue(ctx: &RequestContext, upstream: usize, headers: &HeaderMap) -> Tenant {
    match &ctx.snapshot().upstreams[upstream].spec.resilience.queue {
        Some(queue) => of(ctx, &queue.by, &queue.weights, headers),
        None => Tenant::default(),
    }
}

/// The tenant that a request belongs to. Requests that lack what tells tenants apart are one tenant.
pub(super) fn of(
    ctx: &RequestContext,
    by: &TenantBy,
    weights: &TenantWeights,
    headers: &HeaderMap,
) -> Tenant {
    let of = |text: &str| Tenant::named(text, weights);
    match by {
        TenantBy::Source => {
            let client = ctx.origin.client.map(|client| client.to_string());
            of(client.as_deref().unwrap_or(""))
        }
        TenantBy::Route => ctx.route().map_or_else(Tenant::default, |(host, route)| {
            let place = format!("{}/{}", host.name, route.name);
            let weight = weights.get(&*route.name).or_else(|| weights.get(&*place));
            Tenant { weight: weight.copied().unwrap_or(NonZeroU16::MIN), ..of(&place) }
        }),
        TenantBy::Header(name) => {
            of(headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or(""))
        }
        TenantBy::Tls => of(ctx.server_name().unwrap_or("")),
        TenantBy::Hint(field) => {
            of(ctx.hints().and_then(|hints| target::hint(hints, *field)).unwrap_or(""))
        }
    }
}
