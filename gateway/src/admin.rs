//! The admin listener: what the gateway is doing, read-only, on a thread and runtime of its own so
//! that it answers whatever the workers are busy with.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum::{Router, serve};
use sallyport_stats::Registry;
use serde::{Deserialize, Serialize};

use crate::config::Action;
use crate::explain::{Explanation, Question, explain};
use crate::reload::Reloader;
use crate::snapshot::Snapshot;
use crate::upstream::Endpoint;

/// What the admin listener may look at.
#[derive(Debug)]
pub struct Admin {
    /// The configuration in force and the latest attempt.
    pub reloader: Arc<Reloader>,
    /// The counters.
    pub registry: Arc<Registry>,
    /// Whether the process was told to end.
    pub draining: AtomicBool,
}

/// Serves on `socket` until the runtime ends.
///
/// # Errors
/// If the socket cannot be used.
pub async fn run(socket: TcpListener, admin: Arc<Admin>) -> std::io::Result<()> {
    let socket = tokio::net::TcpListener::from_std(socket)?;
    serve(socket, router(admin)).await
}

fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/config", get(config))
        .route("/routes", get(routes))
        .route("/upstreams", get(upstreams))
        .route("/explain", get(explain_one))
        .with_state(admin)
}

async fn index() -> &'static str {
    "/metrics\n/healthz\n/readyz\n/config\n/routes\n/upstreams\n\
     /explain?host=HOST&path=PATH[&method=M][&header=k: v][&client=IP][&listener=NAME]\n"
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    let text = admin.registry.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, &'static str) {
    if admin.draining.load(Ordering::Relaxed) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

#[derive(Serialize)]
struct ConfigView {
    version: u64,
    sha256: String,
    applied_at_unix_s: Option<f64>,
    files: Vec<String>,
    refused: Option<RefusalView>,
    limits: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct RefusalView {
    at_unix_s: Option<f64>,
    problems: Vec<String>,
}

async fn config(State(admin): State<Arc<Admin>>) -> Json<ConfigView> {
    let snapshot = admin.reloader.live().current();
    let status = admin.reloader.status();
    Json(ConfigView {
        version: snapshot.version,
        sha256: snapshot.sha256.clone(),
        applied_at_unix_s: status.applied_at.and_then(unix_s),
        files: status.files.iter().map(|file| file.display().to_string()).collect(),
        refused: status.refused.map(|refusal| RefusalView {
            at_unix_s: unix_s(refusal.at),
            problems: refusal.problems.iter().map(ToString::to_string).collect(),
        }),
        limits: snapshot
            .limits
            .entries()
            .map(|(key, value)| (key.to_owned(), value.into()))
            .into_iter()
            .collect(),
    })
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
    endpoints: Vec<EndpointView>,
}

#[derive(Serialize)]
struct EndpointView {
    address: String,
    weight: u16,
    healthy: bool,
    set_aside: bool,
    in_flight: u32,
}

async fn upstreams(State(admin): State<Arc<Admin>>) -> Response {
    let snapshot = admin.reloader.live().current();
    let upstreams: Vec<_> = snapshot
        .upstreams
        .iter()
        .map(|upstream| UpstreamView {
            upstream: &upstream.spec.name,
            policy: format!("{:?}", upstream.spec.policy),
            table_bytes: upstream.table_bytes(),
            endpoints: upstream
                .endpoints
                .iter()
                .zip(&upstream.spec.endpoints)
                .map(|(endpoint, spec)| endpoint_view(endpoint, spec.weight))
                .collect(),
        })
        .collect();
    Json(upstreams).into_response()
}

fn endpoint_view(endpoint: &Endpoint, weight: u16) -> EndpointView {
    EndpointView {
        address: endpoint.address.to_string(),
        weight,
        healthy: endpoint.probed_healthy(),
        set_aside: endpoint.set_aside(),
        in_flight: endpoint.in_flight(),
    }
}

#[derive(Deserialize)]
struct ExplainQuery {
    host: String,
    path: String,
    method: Option<String>,
    header: Option<String>,
    client: Option<String>,
    listener: Option<String>,
}

async fn explain_one(
    State(admin): State<Arc<Admin>>,
    Query(query): Query<ExplainQuery>,
) -> Response {
    let snapshot = admin.reloader.live().current();
    match question(&snapshot, query) {
        Ok(question) => Json::<Explanation>(explain(&snapshot, &question)).into_response(),
        Err(what) => (StatusCode::BAD_REQUEST, format!("{what}\n")).into_response(),
    }
}

fn question(snapshot: &Snapshot, query: ExplainQuery) -> Result<Question, String> {
    let method = query.method.as_deref().unwrap_or("GET");
    let method = Method::from_bytes(method.as_bytes()).map_err(|error| error.to_string())?;
    let headers =
        query.header.iter().map(|header| parse_header(header)).collect::<Result<HeaderMap, _>>()?;
    let client = query.client.as_deref().map(parse_client).transpose()?;
    let listener = snapshot.listener(query.listener.as_deref())?;
    Ok(Question { host: query.host, path: query.path, method, headers, client, listener })
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
