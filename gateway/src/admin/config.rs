//! `/config`: the configuration in force, as it was meant and with what it left out.
//!
//! The effective configuration is made of the text that is in force, by the types that declare every
//! key: what a file leaves out has its default, times and sizes are as one writes them, and files that
//! are included are part of the whole. Secrets are left out, and references are shown as they are written.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use sallyport_config::File;
use serde::Serialize;
use serde_json::{Map, Value};

use super::problem::{Parameters, Problem};
use super::{Admin, heavy, unix_s};
use crate::acme::Issued;
use crate::reload::history::{SECRET, holds_secret};
use crate::sources::SourceView;

#[derive(Serialize)]
struct ConfigView<'v> {
    version: u64,
    sha256: String,
    applied_at_unix_s: Option<f64>,
    files: Vec<String>,
    refused: Option<RefusalView>,
    /// Sources besides the files.
    sources: Vec<SourceReport>,
    limits: Map<String, Value>,
    acme: Vec<IssuedView>,
    effective: Option<&'v Value>,
}

#[derive(Serialize)]
struct SourceReport {
    name: &'static str,
    version: Option<String>,
    /// When the source said what is in force of it.
    since_unix_s: Option<f64>,
    /// How long ago that was.
    age_s: Option<f64>,
    /// Whether it was read from disk: the source has said nothing yet.
    restored: bool,
    in_touch: bool,
    away_since_unix_s: Option<f64>,
    away_because: Option<String>,
    problems: Vec<String>,
}

impl From<SourceView> for SourceReport {
    fn from(view: SourceView) -> Self {
        let age = view.since.and_then(|since| since.elapsed().ok());
        let (away_since, away_because) = view.away.unzip();
        Self {
            name: view.name,
            version: view.version,
            since_unix_s: view.since.and_then(unix_s),
            age_s: age.map(|age| age.as_secs_f64()),
            restored: view.is_restored,
            in_touch: away_since.is_none(),
            away_since_unix_s: away_since.and_then(unix_s),
            away_because,
            problems: view.problems,
        }
    }
}

#[derive(Serialize)]
struct RefusalView {
    at_unix_s: Option<f64>,
    problems: Vec<String>,
}

/// A certificate that an authority issues.
#[derive(Serialize)]
struct IssuedView {
    account: Box<str>,
    domains: Vec<String>,
    /// `issued`, or what stands in its place: `self_signed`.
    serves: &'static str,
    not_after_unix_s: Option<f64>,
    renewal_unix_s: Option<f64>,
    failures: u32,
    error: Option<String>,
    next_try_in_s: u64,
}

impl From<Issued> for IssuedView {
    fn from(issued: Issued) -> Self {
        let Issued { account, domains, not_after, renewal, failures, error, next_try } = issued;
        Self {
            account,
            domains,
            serves: if not_after.is_some() { "issued" } else { "self_signed" },
            not_after_unix_s: not_after.and_then(unix_s),
            renewal_unix_s: renewal.and_then(unix_s),
            failures,
            error,
            next_try_in_s: next_try.as_secs(),
        }
    }
}

/// The effective configuration that was asked for last, by its version: making one of 10,000 routes
/// takes a tenth of a second.
#[derive(Debug, Default)]
pub struct Effective(Mutex<Option<(u64, Arc<Value>)>>);

impl Effective {
    /// That of the configuration in force; `None` if its text is not known any more.
    fn of(&self, admin: &Admin, version: u64) -> Option<Arc<Value>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, value)) = kept.as_ref()
            && *of == version
        {
            return Some(value.clone());
        }
        let files = admin.reloader.latest().files_of(version)?;
        let value = Arc::new(effective(&files)?);
        *kept = Some((version, value.clone()));
        Some(value)
    }
}

/// `?format=yaml` is the effective configuration alone, as a file.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let parameters = parameters.only(&["format"])?;
    match parameters.one("format")? {
        None | Some("json") => Ok(heavy(admin, |admin| &admin.views, json).await),
        Some("yaml") => Ok(heavy(admin, |admin| &admin.views, yaml).await),
        Some(other) => {
            Err(Problem::bad_request(format!("there is no format {other:?}: write json or yaml")))
        }
    }
}

fn json(admin: &Admin) -> Response {
    let snapshot = admin.reloader.live().current();
    let status = admin.reloader.status();
    let limits = snapshot.limits.entries().map(|(key, value)| (key.to_owned(), limit_view(value)));
    let effective = admin.effective.of(admin, snapshot.version);
    let names = ("header_names".to_owned(), snapshot.limits.header_names.text().into());
    super::json::Json(ConfigView {
        version: snapshot.version,
        sha256: snapshot.sha256.clone(),
        applied_at_unix_s: status.applied_at.and_then(unix_s),
        files: status.files.iter().map(|file| file.display().to_string()).collect(),
        refused: status.refused.map(|refusal| RefusalView {
            at_unix_s: unix_s(refusal.at),
            problems: refusal.problems.iter().map(ToString::to_string).collect(),
        }),
        sources: admin.reloader.sources().views().into_iter().map(Into::into).collect(),
        limits: limits.into_iter().chain([names]).collect(),
        acme: admin.issuances.all().into_iter().map(IssuedView::from).collect(),
        effective: effective.as_deref(),
    })
    .into_response()
}

fn yaml(admin: &Admin) -> Response {
    let version = admin.reloader.live().current().version;
    let Some(effective) = admin.effective.of(admin, version) else {
        return Problem::internal("the text in force is not known any more").into_response();
    };
    match sallyport_config::to_yaml(&*effective) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/yaml")], text).into_response(),
        Err(error) => Problem::internal(error).into_response(),
    }
}

/// A limit as the file has it.
fn limit_view(value: u64) -> Value {
    if value == u64::MAX { "unlimited".into() } else { value.into() }
}

/// The files of one configuration as one, with every default and without secrets.
fn effective(files: &[File]) -> Option<Value> {
    let mut value = crate::config::effective(files)?;
    tidy(&mut value);
    Some(value)
}

/// Leaves out what is not there, and secrets.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (key, value) in fields.iter_mut() {
                match holds_secret(key, value.is_object()) {
                    true => hide(value),
                    false => tidy(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// Puts a mark in the place of every text in `value`.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(hide),
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::String(text) => SECRET.clone_into(text),
        _ => {}
    }
}
