//! `/upgrade`: the binary now on disk takes over.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::Admin;
use super::json::Json;
use super::problem::{Parameters, Problem};
use crate::upgrade::Failed;

/// Where an upgrade is asked for; what became of it is the answer.
pub type Upgrades = mpsc::Sender<oneshot::Sender<Result<u32, Failed>>>;

#[derive(Serialize)]
struct Upgraded {
    /// The number of the process that serves now.
    process: u32,
}

/// Answers once the new process serves, or once it is known that it does not.
pub(super) async fn upgrade(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    let busy = || {
        let what = "an upgrade is under way, or this process is about to end";
        Problem::new(StatusCode::CONFLICT, what)
    };
    let (reply, replied) = oneshot::channel();
    admin.upgrades.try_send(reply).map_err(|_| busy())?;
    match replied.await {
        Ok(Ok(process)) => Ok(Json(Upgraded { process }).into_response()),
        Ok(Err(failed)) => Err(Problem::internal(failed.to_string())),
        Err(_) => Err(busy()),
    }
}
