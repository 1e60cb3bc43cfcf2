//! `/connections`: clients' connections by listener, and what the workers have; `/process`: what
//! all of it takes.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::json::Json;
use super::origins::Counted;
use super::problem::{Parameters, Problem};
use super::{Admin, heavy};
use crate::build;

#[derive(Serialize)]
struct ConnectionsView<'s> {
    listeners: Vec<ListenerView<'s>>,
    workers: Vec<WorkerView>,
}

#[derive(Serialize)]
struct ListenerView<'s> {
    listener: &'s str,
    /// As the configuration has it; the port may be 0.
    address: String,
    protocols: Vec<&'static str>,
    tls: bool,
    /// Connections that are open.
    open: u64,
    open_max: u64,
    /// Connections that were accepted so far.
    total: u64,
    /// Connections that were refused so far.
    refused: Vec<Counted>,
    /// TLS handshakes so far; nothing where there is no TLS.
    handshakes: Vec<HandshakesView>,
}

#[derive(Serialize)]
struct HandshakesView {
    version: &'static str,
    result: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct WorkerView {
    worker: usize,
    /// Clients' connections that it serves.
    connections: usize,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    Ok(heavy(admin, |admin| &admin.views, answer).await)
}

fn answer(admin: &Admin) -> Response {
    let snapshot = admin.reloader.live().current();
    let listeners = snapshot.listeners.iter().enumerate().map(|(index, listener)| {
        let stats = admin.registry.connections(&listener.name);
        let tls = snapshot.tls(index);
        let handshakes = tls.map(|tls| tls.stats.handshakes()).unwrap_or_default();
        ListenerView {
            listener: &listener.name,
            address: listener.address.to_string(),
            protocols: protocols(listener),
            tls: tls.is_some(),
            open: stats.active(),
            open_max: listener.max_connections,
            total: stats.total(),
            refused: Counted::of(stats.refusals().map(|(reason, count)| (reason.label(), count))),
            handshakes: handshakes
                .into_iter()
                .map(|(version, result, count)| HandshakesView { version, result, count })
                .collect(),
        }
    });
    let workers = admin.worker_connections.counts().into_iter().enumerate();
    let workers = workers.map(|(worker, connections)| WorkerView { worker, connections });
    Json(ConnectionsView { listeners: listeners.collect(), workers: workers.collect() })
        .into_response()
}

fn protocols(listener: &crate::config::Listener) -> Vec<&'static str> {
    let http1 = listener.protocols.http1.then_some("http1");
    let http2 = (listener.protocols.http2 || listener.h2c).then_some("http2");
    http1.into_iter().chain(http2).collect()
}

#[derive(Serialize)]
struct ProcessView {
    version: &'static str,
    commit: Option<&'static str>,
    started_unix_s: Option<f64>,
    cpu_s: Option<f64>,
    resident_bytes: Option<u64>,
    descriptors: Option<u64>,
    descriptors_max: Option<u64>,
    threads: Option<u64>,
    /// Whether the gateway has said that nothing new is wanted.
    draining: bool,
}

pub(super) async fn process(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let figures = admin.process.figures();
    Ok(Json(ProcessView {
        version: build::VERSION,
        commit: Some(build::COMMIT).filter(|commit| !commit.is_empty()),
        started_unix_s: figures.started_s,
        cpu_s: figures.cpu.map(|cpu| cpu.as_secs_f64()),
        resident_bytes: figures.resident_bytes,
        descriptors: figures.descriptors,
        descriptors_max: figures.descriptors_max,
        threads: figures.threads,
        draining: admin.drain.is_announced(),
    })
    .into_response())
}
