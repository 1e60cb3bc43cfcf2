//! `/origins`: upstreams with their endpoints, as health checks and requests find them.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use sallyport_stats::{EjectionReason, ErrorKind};
use serde::Serialize;

use super::json::Json;
use super::problem::{Parameters, Problem};
use super::query::Rows;
use super::{Admin, heavy};
use crate::upstream::{Member, Upstream};

/// Rows that are told, unless a query says how many.
const ROWS: usize = 100;

/// Endpoints of one upstream that are told; an upstream may have thousands.
const ENDPOINTS_MAX: usize = 500;

#[derive(Serialize)]
struct OriginsView<'s> {
    /// Upstreams that match the search.
    found: usize,
    /// Endpoints of all upstreams.
    endpoints: usize,
    /// Those among them that get no requests.
    out: usize,
    offset: usize,
    upstreams: Vec<UpstreamView<'s>>,
}

#[derive(Serialize)]
struct UpstreamView<'s> {
    upstream: &'s str,
    policy: String,
    /// Whether so few endpoints are healthy that all are used.
    panicking: bool,
    /// Whether its endpoints are probed.
    probed: bool,
    /// Endpoints that probes find healthy.
    healthy: usize,
    /// Attempts made again, by what became of the one before.
    retries: Vec<Counted>,
    /// Requests that a limit turned away.
    limited: Vec<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue: Option<QueueView>,
    endpoints: Vec<EndpointView>,
    more_endpoints: usize,
}

#[derive(Serialize)]
pub(super) struct Counted {
    reason: String,
    count: u64,
}

impl Counted {
    /// Those that there were.
    pub(super) fn of<L: ToString>(counts: impl IntoIterator<Item = (L, u64)>) -> Vec<Self> {
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts.map(|(reason, count)| Self { reason: reason.to_string(), count }).collect()
    }
}

#[derive(Serialize)]
struct QueueView {
    length: u64,
    rejected: Vec<Counted>,
}

#[derive(Serialize)]
struct EndpointView {
    address: String,
    weight: u16,
    priority: u8,
    /// `healthy`, `unhealthy` by its probes, `ejected` by its requests, or `unknown` before any of
    /// both.
    state: &'static str,
    /// Why the latest probe failed, or why requests have ejected it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Its share of its weight while it starts slowly.
    share: f64,
    in_flight: u32,
    requests: u64,
    errors: u64,
    connect_failures: u64,
    ejections: Vec<Counted>,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let rows = Rows::only(parameters, ROWS)?;
    let answer = move |admin: &Admin| answer(admin, &rows);
    Ok(heavy(admin, |admin| &admin.views, answer).await)
}

fn answer(admin: &Admin, rows: &Rows) -> Response {
    let Rows { search, offset, limit } = rows;
    let snapshot = admin.reloader.live().current();
    let (mut found, mut endpoints, mut out) = (Vec::new(), 0, 0);
    for upstream in &snapshot.upstreams {
        let set = upstream.endpoints();
        let is_out = |it: &&Member| !matches!(state(upstream, it), "healthy" | "unknown");
        endpoints += set.members().len();
        out += set.members().iter().filter(is_out).count();
        let mut members = set.members().iter();
        let matches = search.is_empty()
            || upstream.spec.name.to_lowercase().contains(search)
            || members.any(|it| it.endpoint.address.to_string().contains(search));
        if matches {
            found.push(upstream);
        }
    }
    let shown = found.iter().skip(*offset).take(*limit);
    let upstreams = shown.map(|upstream| upstream_view(upstream)).collect();
    Json(OriginsView { found: found.len(), endpoints, out, offset: *offset, upstreams })
        .into_response()
}

fn upstream_view(upstream: &Upstream) -> UpstreamView<'_> {
    let set = upstream.endpoints();
    let account = &upstream.account;
    let members = set.members();
    UpstreamView {
        upstream: &upstream.spec.name,
        policy: super::policy(upstream.spec.policy),
        panicking: set.panics(),
        probed: upstream.spec.health_check.is_some(),
        healthy: set.healthy(),
        retries: Counted::of(account.stats.retries()),
        limited: Counted::of(account.stats.turned_away()),
        queue: account.queue().map(|queue| QueueView {
            length: queue.length(),
            rejected: Counted::of(queue.rejections()),
        }),
        endpoints: members
            .iter()
            .take(ENDPOINTS_MAX)
            .map(|it| endpoint_view(upstream, it))
            .collect(),
        more_endpoints: members.len().saturating_sub(ENDPOINTS_MAX),
    }
}

fn state(upstream: &Upstream, member: &Member) -> &'static str {
    let is_probed = upstream.spec.health_check.is_some() && member.health.is_probed();
    match () {
        () if member.endpoint.is_set_aside() => "ejected",
        () if !member.health.is_healthy() => "unhealthy",
        () if is_probed || member.endpoint.is_observed() => "healthy",
        () => "unknown",
    }
}

fn endpoint_view(upstream: &Upstream, member: &Member) -> EndpointView {
    let endpoint = &member.endpoint;
    let counted = endpoint.stats.snapshot();
    let kinds = ErrorKind::ALL.iter().filter(|kind| **kind != ErrorKind::ClientError);
    let ejected_for = endpoint.ejected_for().map(|reason| reason.label().replace('_', " "));
    let slow_start = upstream.spec.resilience.slow_start;
    EndpointView {
        address: endpoint.address.to_string(),
        weight: member.weight,
        priority: member.priority,
        state: state(upstream, member),
        reason: ejected_for.or_else(|| member.health.reason().map(|reason| reason.to_string())),
        share: slow_start.map_or(1.0, |window| endpoint.share(window)),
        in_flight: endpoint.in_flight(),
        requests: counted.requests(),
        errors: kinds.map(|kind| counted.errors(*kind)).sum(),
        connect_failures: counted.connect_failures(),
        ejections: Counted::of(
            EjectionReason::ALL.map(|reason| (reason.label(), counted.ejections(reason))),
        ),
    }
}
