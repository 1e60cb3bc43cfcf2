//! `/log`: what the process logs, and how much of it from now on.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use sallyport_config::process::LogFormat;
use serde::Serialize;

use super::Admin;
use super::json::Json;
use super::problem::{Parameters, Problem};

#[derive(Serialize)]
struct LogView {
    level: String,
    format: &'static str,
}

pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Response {
    let format = match admin.log.format() {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    Json(LogView { level: admin.log.level(), format }).into_response()
}

/// `?level=debug`, or a list such as `info,sallyport=trace`. It holds until the process ends or an edit
/// of `log.level` is in force.
pub(super) async fn set(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let parameters = parameters.only(&["level"])?;
    let level = parameters.required("level")?;
    if level.is_empty() {
        return Err(Problem::bad_request("level is empty: write one such as info or debug"));
    }
    admin.log.set_level(level).map_err(|error| {
        let known = "write off, error, warn, info, debug or trace, or a list such as \
                     info,sallyport=debug";
        Problem::bad_request(format!("{error}: {known}"))
    })?;
    tracing::info!(level, "what is logged was changed on the admin listener");
    Ok(show(State(admin)).await)
}
