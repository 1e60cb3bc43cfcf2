//! `/certificates`: what listeners show their clients, where each certificate comes from, and how
//! long it holds.

use std::sync::Arc;
use std::time::SystemTime;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::json::Json;
use super::problem::{Parameters, Problem};
use super::query::Rows;
use super::{Admin, heavy, unix_s};
use crate::config::Certificate;

/// Rows that are told, unless a query says how many.
const ROWS: usize = 100;

/// Names of one certificate that are told.
const NAMES_MAX: usize = 100;

#[derive(Serialize)]
struct CertificatesView {
    /// Certificates that match the search.
    found: usize,
    offset: usize,
    certificates: Vec<CertificateView>,
}

#[derive(Serialize)]
struct CertificateView {
    listener: String,
    names: Vec<String>,
    /// Whether it is shown to clients that ask for no name, or for one that no certificate has.
    default: bool,
    /// `file`, `acme` or `self_signed`.
    source: &'static str,
    /// The file, or ACME's account.
    from: Option<String>,
    /// As RFC 4514 writes it.
    issuer: Option<String>,
    serial: String,
    not_before_unix_s: Option<f64>,
    not_after_unix_s: Option<f64>,
    /// Below 0 once it has expired.
    days_left: f64,
    /// Of ACME: `issued`, or `pending` while a self-signed one stands in.
    #[serde(skip_serializing_if = "Option::is_none")]
    acme: Option<&'static str>,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let rows = Rows::only(parameters, ROWS)?;
    let answer = move |admin: &Admin| answer(admin, &rows);
    Ok(heavy(admin, |admin| &admin.views, answer).await)
}

/// Those that expire first come first.
fn answer(admin: &Admin, rows: &Rows) -> Response {
    let Rows { search, offset, limit } = rows;
    let snapshot = admin.reloader.live().current();
    let mut found = Vec::new();
    for (index, listener) in snapshot.listeners.iter().enumerate() {
        let Some(tls) = snapshot.tls(index) else { continue };
        let refuses_others = listener.tls.as_ref().is_some_and(|tls| tls.refuses_others);
        for (at, (certificate, pair)) in tls.certificates().iter().enumerate() {
            let mut names = pair.names.iter();
            if search.is_empty() || names.any(|name| name.to_string().contains(search)) {
                found.push((&listener.name, certificate, pair, at == 0 && !refuses_others));
            }
        }
    }
    found.sort_by_key(|(_, _, pair, _)| pair.not_after);
    let now = SystemTime::now();
    let shown = found.iter().skip(*offset).take(*limit);
    let certificates = shown.map(|(listener, certificate, pair, is_default)| {
        let days = |from: SystemTime, to: SystemTime| {
            to.duration_since(from).map(|left| left.as_secs_f64() / 86_400.0)
        };
        let left = days(now, pair.not_after);
        CertificateView {
            listener: listener.to_string(),
            names: pair.names.iter().take(NAMES_MAX).map(ToString::to_string).collect(),
            default: *is_default,
            source: source(certificate).0,
            from: source(certificate).1,
            issuer: pair.issuer(),
            serial: pair.serial.to_string(),
            not_before_unix_s: unix_s(pair.not_before),
            not_after_unix_s: unix_s(pair.not_after),
            days_left: left.or_else(|_| days(pair.not_after, now).map(|past| -past)).unwrap_or(0.0),
            acme: match certificate {
                Certificate::Acme { pair: Some(_), .. } => Some("issued"),
                Certificate::Acme { pair: None, .. } => Some("pending"),
                _ => None,
            },
        }
    });
    let certificates = certificates.collect();
    Json(CertificatesView { found: found.len(), offset: *offset, certificates }).into_response()
}

fn source(certificate: &Certificate) -> (&'static str, Option<String>) {
    match certificate {
        Certificate::Files { path, .. } => ("file", Some(path.display().to_string())),
        Certificate::Acme { account, .. } => ("acme", Some(account.name.to_string())),
        Certificate::SelfSigned { .. } => ("self_signed", None),
    }
}
