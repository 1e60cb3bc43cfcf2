//! The admin listener: what the gateway is doing, on a thread and runtime of its own so that it
//! answers whatever the workers are busy with.
//!
//! GET changes nothing. Who is answered at all is in `admin/guard.rs`; what there is, method by
//! method, in `admin/openapi.rs`.

mod certificates;
mod config;
mod connections;
mod door;
mod drain;
mod guard;
mod history;
mod json;
mod listen;
mod log;
mod metrics;
mod now;
mod openapi;
mod origins;
mod page;
mod problem;
mod query;
mod readings;
mod secured;
mod upgrade;
mod verdicts;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use sallyport_config::process::Log;
use sallyport_plugin::Metrics;
use sallyport_stats::{EjectionReason, Registry};
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

pub use self::config::Effective;
pub use self::door::LastDoor;
use self::json::Json;
pub use self::listen::{AdminSocket, SocketFile};
use self::problem::{Parameters, Problem};
pub use self::readings::Readings;
pub use self::upgrade::Upgrades;
use crate::accept::WorkerConnections;
use crate::acme::Issuances;
use crate::classifier::Classifier;
use crate::config::{Action, parse_hints};
use crate::drain::Drain;
use crate::explain::{Question, explain};
use crate::process::Process;
use crate::push::Pushing;
use crate::reload::Reloader;
use crate::snapshot::Snapshot;
use crate::trace::Tracing;
use crate::upstream::{Member, Upstream};
use crate::verdicts::Verdicts;

/// What the admin listener may look at.
#[derive(Debug)]
pub struct Admin {
    /// The configuration in force and the latest attempt.
    pub reloader: Arc<Reloader>,
    /// The counters.
    pub registry: Arc<Registry>,
    /// The counters of filters.
    pub filter_metrics: Metrics,
    /// What the process takes.
    pub process: Process,
    /// The pushing of statistics.
    pub pushing: Arc<Pushing>,
    /// The sending of traces.
    pub tracing: Arc<Tracing>,
    /// The sources that are shut out.
    pub verdicts: Arc<Verdicts>,
    /// The outer door, where the configuration has one.
    pub classifier: Option<Arc<Classifier>>,
    /// How many connections each worker has.
    pub worker_connections: WorkerConnections,
    /// What the page shows of requests.
    pub readings: Readings,
    /// What it shows of the outer door.
    pub door: LastDoor,
    /// What became of certificates that authorities issue.
    pub issuances: Arc<Issuances>,
    /// Whether new work is wanted.
    pub drain: Arc<Drain>,
    /// Where an upgrade is asked for.
    pub upgrades: Upgrades,
    /// The effective configuration that was asked for last.
    pub effective: Effective,
    /// What is logged.
    pub log: Log,
    /// What scrapes go through one after the other.
    pub scrapes: Semaphore,
    /// What other answers that take much CPU and memory go through: they do not wait for scrapes.
    pub views: Semaphore,
}

/// What [`Admin::scrapes`] and [`Admin::views`] are to be.
#[must_use]
pub fn one_at_a_time() -> Semaphore {
    Semaphore::new(1)
}

/// Makes an answer that takes long on a thread of its own, so that `/healthz` does not wait for it,
/// and one at a time, so that together they take the memory of one.
async fn heavy(
    admin: Arc<Admin>,
    queue: impl FnOnce(&Admin) -> &Semaphore,
    answer: impl FnOnce(&Admin) -> Response + Send + 'static,
) -> Response {
    let lent = admin.clone();
    let Ok(_permit) = queue(&lent).acquire().await else {
        let what = "the admin listener is ending";
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, what).into_response();
    };
    let made = tokio::task::spawn_blocking(move || answer(&admin)).await;
    made.unwrap_or_else(|error| {
        tracing::error!(%error, "an answer of the admin listener could not be made");
        Problem::internal("the answer could not be made: see the log").into_response()
    })
}

/// Serves on `socket` until it is told to `stop` or the runtime ends.
///
/// # Errors
/// If the socket cannot be used.
pub async fn run(
    socket: AdminSocket,
    admin: Arc<Admin>,
    stop: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let live = admin.reloader.live().clone();
    let tls = move || secured::Terms::of(&live.current());
    listen::serve(socket, router(admin), tls, stop).await
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/page/{*name}", get(page::asset))
        .route("/now", get(now::now))
        .route("/now/history", get(now::history))
        .route("/live", get(now::live))
        .route("/origins", get(origins::list))
        .route("/connections", get(connections::list))
        .route("/process", get(connections::process))
        .route("/certificates", get(certificates::list))
        .route("/door", get(door::show))
        .route("/rights", get(guard::rights))
        .route("/metrics", get(metrics::scrape))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(drain::readyz))
        .route("/drain", post(drain::drain))
        .route("/undrain", post(drain::undrain))
        .route("/upgrade", post(upgrade::upgrade))
        .route("/config", get(config::show))
        .route("/config/history", get(history::list))
        .route("/routes", get(routes))
        .route("/upstreams", get(upstreams))
        .route("/explain", get(explain_one))
        .route("/verdicts", get(verdicts::list))
        .route("/verdicts/{address}", delete(verdicts::lift))
        .route("/log", get(log::show).put(log::set))
        .route("/openapi.json", get(openapi::document))
        .fallback(nothing_here)
        .method_not_allowed_fallback(no_such_method)
        .layer(axum::middleware::from_fn_with_state(admin.clone(), guard::guard))
        .with_state(admin)
}

async fn nothing_here() -> Problem {
    Problem::not_found("there is nothing here: / lists what there is")
}

async fn no_such_method() -> Problem {
    let what = "this cannot be done here: /openapi.json lists what can be done where";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, what)
}

fn unix_s(time: SystemTime) -> Option<f64> {
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

#[derive(Serialize)]
struct HostView<'s> {
    virtual_host: &'s str,
    domains: Vec<String>,
    routes: Vec<RouteView<'s>>,
}

#[derive(Serialize)]
struct RouteView<'s> {
    route: &'s str,
    matches: String,
    action: &'static str,
    upstreams: Vec<(&'s str, u32)>,
    requests: u64,
    active: u64,
}

async fn routes(State(admin): State<Arc<Admin>>) -> Response {
    heavy(admin, |admin| &admin.views, all_routes).await
}

fn all_routes(admin: &Admin) -> Response {
    let snapshot = admin.reloader.live().current();
    let hosts: Vec<_> = snapshot
        .hosts
        .iter()
        .map(|host| HostView {
            virtual_host: &host.name,
            domains: host.domains.iter().map(ToString::to_string).collect(),
            routes: host
                .routes
                .iter()
                .zip(host.table.matches())
                .map(|(route, matches)| route_view(&snapshot, route, matches))
                .collect(),
        })
        .collect();
    Json(hosts).into_response()
}

fn route_view<'s>(
    snapshot: &'s Snapshot,
    route: &'s crate::snapshot::Route,
    matches: &sallyport_route::Match,
) -> RouteView<'s> {
    let counts = route.stats.snapshot();
    let (action, upstreams) = match &route.action {
        Action::Forward(forward) => {
            let targets = forward.targets.iter();
            let name = |index: usize| &*snapshot.upstreams[index].spec.name;
            ("forward", targets.map(|target| (name(target.upstream), target.weight)).collect())
        }
        Action::Redirect(_) => ("redirect", Vec::new()),
        Action::Respond(_) => ("respond", Vec::new()),
    };
    RouteView {
        route: &route.name,
        matches: matches.to_string(),
        action,
        upstreams,
        requests: counts.count(),
        active: counts.active(),
    }
}

#[derive(Serialize)]
struct UpstreamView<'s> {
    upstream: &'s str,
    policy: String,
    table_bytes: usize,
    /// How many endpoints probes find healthy.
    healthy: usize,
    /// Whether so few are healthy that all are used.
    panicking: bool,
    endpoints: Vec<EndpointView>,
}

#[derive(Serialize)]
struct EndpointView {
    address: String,
    weight: u16,
    priority: u8,
    healthy: bool,
    /// Why the latest probe failed, if it did.
    reason: Option<String>,
    set_aside: bool,
    /// Why requests have it set aside, if they have.
    ejected_for: Option<&'static str>,
    /// Its share of its weight, below 1 while it starts slowly.
    share: f64,
    in_flight: u32,
}

async fn upstreams(State(admin): State<Arc<Admin>>) -> Response {
    let snapshot = admin.reloader.live().current();
    let upstreams: Vec<_> =
        snapshot.upstreams.iter().map(|upstream| upstream_view(upstream)).collect();
    Json(upstreams).into_response()
}

/// The name of a policy, as the configuration has it.
fn policy(policy: sallyport_balance::Policy) -> String {
    let text = format!("{policy:?}");
    let name = text.split([' ', '(']).next().unwrap_or_default();
    let mut words = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push('_');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn upstream_view(upstream: &Upstream) -> UpstreamView<'_> {
    let endpoints = upstream.endpoints();
    let slow_start = upstream.spec.resilience.slow_start;
    UpstreamView {
        upstream: &upstream.spec.name,
        policy: format!("{:?}", upstream.spec.policy),
        table_bytes: endpoints.table_bytes(),
        healthy: endpoints.healthy(),
        panicking: endpoints.panics(),
        endpoints: endpoints.members().iter().map(|it| endpoint_view(it, slow_start)).collect(),
    }
}

fn endpoint_view(member: &Member, slow_start: Option<Duration>) -> EndpointView {
    let endpoint = &member.endpoint;
    EndpointView {
        address: endpoint.address.to_string(),
        weight: member.weight,
        priority: member.priority,
        healthy: member.health.is_healthy(),
        reason: member.health.reason().map(|reason| reason.to_string()),
        set_aside: endpoint.is_set_aside(),
        ejected_for: endpoint.ejected_for().map(EjectionReason::label),
        share: slow_start.map_or(1.0, |window| endpoint.share(window)),
        in_flight: endpoint.in_flight(),
    }
}

async fn explain_one(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    const KNOWN: [&str; 8] =
        ["host", "path", "method", "header", "client", "listener", "hint", "sni"];
    let parameters = parameters.only(&KNOWN)?;
    let snapshot = admin.reloader.live().current();
    let question = question(&snapshot, &parameters)?;
    Ok(Json(explain(&snapshot, &question)).into_response())
}

fn question(snapshot: &Snapshot, parameters: &Parameters) -> Result<Question, Problem> {
    let method = parameters.one("method")?.unwrap_or("GET");
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| Problem::bad_request(format!("{method:?} is no method")))?;
    let hints = parse_hints(parameters.all("hint")).map_err(Problem::bad_request)?;
    let headers = parameters.all("header").map(parse_header).collect::<Result<HeaderMap, _>>();
    let client = parameters.one("client")?.map(parse_client).transpose();
    let listener = snapshot.listener(parameters.one("listener")?);
    Ok(Question {
        host: parameters.required("host")?.to_owned(),
        path: parameters.required("path")?.to_owned(),
        method,
        headers: headers.map_err(Problem::bad_request)?,
        client: client.map_err(Problem::bad_request)?,
        hints: parameters.all("hint").next().map(|_| hints),
        sni: parameters.one("sni")?.map(str::to_owned),
        listener: listener.map_err(Problem::bad_request)?,
    })
}

/// Reads `name: value`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) =
        text.split_once(':').ok_or_else(|| format!("{text:?} is not `name: value`"))?;
    let name = HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|error| format!("{text:?}: {error}"))?;
    let value =
        HeaderValue::from_str(value.trim()).map_err(|error| format!("{text:?}: {error}"))?;
    Ok((name, value))
}

/// Reads `IP` or `IP:PORT`.
///
/// # Errors
/// If it is neither.
pub fn parse_client(text: &str) -> Result<std::net::IpAddr, String> {
    let with_port = text.parse::<std::net::SocketAddr>().map(|address| address.ip());
    with_port.or_else(|_| text.parse()).map_err(|_| format!("{text:?} is not IP or IP:PORT"))
}
