//! `/config/history`: the latest configurations, and what became of each.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::json::Json;
use super::problem::{Parameters, Problem};
use super::{Admin, heavy, unix_s};
use crate::reload::history::{Difference, Differences, Entry, Outcome};

/// Problems told of one configuration: all of them are in the log.
const PROBLEMS_MAX: usize = 100;

#[derive(Serialize)]
struct EntryView {
    /// `applied` or `refused`.
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    at_unix_s: Option<f64>,
    /// What made the gateway read its files: `start`, `edit`, or `asked` by SIGHUP.
    reason: &'static str,
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    differences: Option<Vec<Difference>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    more_differences: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problems: Option<Vec<String>>,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    Ok(heavy(admin, |admin| &admin.views, answer).await)
}

/// The latest first.
fn answer(admin: &Admin) -> Response {
    let history = admin.reloader.latest();
    let mut views: Vec<_> =
        history.entries().map(|(entry, differs)| view(entry, differs)).collect();
    views.reverse();
    Json(views).into_response()
}

fn view(entry: &Entry, differences: Option<&Differences>) -> EntryView {
    let (result, version, problems) = match &entry.outcome {
        Outcome::Applied { version } => ("applied", Some(*version), None),
        Outcome::Refused(problems) => {
            let told = problems.iter().take(PROBLEMS_MAX).map(ToString::to_string);
            ("refused", None, Some(told.collect()))
        }
    };
    EntryView {
        result,
        version,
        at_unix_s: unix_s(entry.at),
        reason: entry.reason.label(),
        sha256: entry.sha256.clone(),
        differences: differences.map(|found| found.places.clone()),
        more_differences: differences.map(|found| found.more).filter(|more| *more > 0),
        problems,
    }
}
