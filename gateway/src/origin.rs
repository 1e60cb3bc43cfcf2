//! A small HTTP origin for demos and tests: it says who it is and what it was asked.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
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
}

impl Origin {
    /// An origin that answers as `name` after `latency`, with a description of the request or with
    /// `body_bytes` bytes.
    #[must_use]
    pub fn new(name: String, latency: Duration, body_bytes: Option<usize>) -> Self {
        Self { name: name.into(), latency, body: body_bytes.map(|bytes| vec![b'x'; bytes].into()) }
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
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(name) = HeaderValue::from_str(&origin.name) {
        headers.insert("x-origin", name);
    }
    response
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
