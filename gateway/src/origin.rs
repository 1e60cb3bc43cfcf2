//! A small HTTP origin for demos and tests: it says who it is and what it was asked.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::{Router, serve};
use bytes::Bytes;
use tokio::net::TcpListener;

/// An origin with a name, a delay and, if asked for, a body of a given size.
#[derive(Clone, Debug)]
pub struct Origin {
    name: Arc<str>,
    latency: Duration,
    body: Option<Bytes>,
    /// Since when it fails now and then, if it does.
    fails_since: Option<Instant>,
}

/// An origin that fails now and then does so at the end of every such period.
const PERIOD: Duration = Duration::from_secs(30);

/// For how long it fails then.
const FAILING: Duration = Duration::from_secs(6);

impl Origin {
    /// An origin that answers as `name` after `latency`, with a description of the request or with
    /// `body_bytes` bytes.
    #[must_use]
    pub fn new(name: String, latency: Duration, body_bytes: Option<usize>) -> Self {
        let body = body_bytes.map(|bytes| vec![b'x'; bytes].into());
        Self { name: name.into(), latency, body, fails_since: None }
    }

    /// As this origin, but for some seconds of every half minute it answers half of the requests with
    /// 503.
    #[must_use]
    pub fn failing_now_and_then(self) -> Self {
        Self { fails_since: Some(Instant::now()), ..self }
    }

    /// Listens on `address`.
    ///
    /// # Errors
    /// If that is not possible.
    pub async fn bind(&self, address: SocketAddr) -> anyhow::Result<TcpListener> {
        TcpListener::bind(address)
            .await
            .with_context(|| format!("origin {:?} cannot listen on {address}", self.name))
    }

    /// Answers every request on `socket`.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn serve(&self, socket: TcpListener) -> anyhow::Result<()> {
        let router = Router::new().fallback(answer).with_state(self.clone());
        Ok(serve(socket, router).await?)
    }
}

async fn answer(State(origin): State<Origin>, request: Request) -> Response {
    if !origin.latency.is_zero() {
        tokio::time::sleep(origin.latency).await;
    }
    let body = match &origin.body {
        Some(body) => Body::from(body.clone()),
        None => Body::from(description(&origin.name, &request)),
    };
    let mut response = Response::new(body);
    if origin.fails_since.is_some_and(|since| fails(since.elapsed()) && fastrand::bool()) {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(name) = HeaderValue::from_str(&origin.name) {
        headers.insert("x-origin", name);
    }
    response
}

/// Whether this is one of the times at which an origin fails.
fn fails(elapsed: Duration) -> bool {
    let into_s = elapsed.as_secs() % PERIOD.as_secs();
    into_s >= (PERIOD - FAILING).as_secs()
}

fn description(name: &str, request: &Request) -> String {
    let mut text = format!("origin: {name}\n{} {}\n", request.method(), request.uri());
    for (field, value) in request.headers() {
        let value = String::from_utf8_lossy(value.as_bytes());
        // Writing to a string cannot fail.
        writeln!(text, "{field}: {value}").ok();
    }
    text
}
