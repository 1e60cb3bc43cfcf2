//! `/drain` and `/undrain`: whether new work is wanted.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::Admin;
use super::problem::{Parameters, Problem};

/// Answers close their connections and `/readyz` is 503, until that is taken back; whoever comes is
/// served all the same.
pub(super) async fn drain(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    parameters.only(&[])?;
    admin.drain.announce();
    tracing::info!("draining, as the admin listener was asked to");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn undrain(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    parameters.only(&[])?;
    let what = "the process was told to end";
    admin.drain.withdraw().map_err(|_| Problem::new(StatusCode::CONFLICT, what))?;
    tracing::info!("no longer draining, as the admin listener was asked to");
    Ok(StatusCode::NO_CONTENT)
}

/// For load balancers.
pub(super) async fn readyz(State(admin): State<Arc<Admin>>) -> (StatusCode, &'static str) {
    if admin.drain.is_announced() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    let snapshot = admin.reloader.live().current();
    match snapshot.upstreams.iter().all(|upstream| upstream.is_settled()) {
        true => (StatusCode::OK, "ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "looking endpoints up\n"),
    }
}
