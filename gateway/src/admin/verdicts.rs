//! `/verdicts`: who is shut out, and letting them in again.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use serde::Serialize;

use super::json::Json;
use super::problem::{Parameters, Problem};
use super::{Admin, heavy};
use crate::verdicts::Listed;

#[derive(Serialize)]
struct VerdictView {
    address: String,
    reason: &'static str,
    seconds_left: f64,
}

impl From<Listed> for VerdictView {
    fn from(listed: Listed) -> Self {
        Self {
            address: match listed.address {
                // A single address is written as one.
                net if net.prefix_len() == net.max_prefix_len() => net.addr().to_string(),
                net => net.to_string(),
            },
            reason: listed.reason,
            seconds_left: listed.left.as_secs_f64(),
        }
    }
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    parameters: Parameters,
) -> Result<Response, Problem> {
    parameters.only(&[])?;
    Ok(heavy(admin, |admin| &admin.views, all).await)
}

fn all(admin: &Admin) -> Response {
    match admin.verdicts.list() {
        Ok(listed) => {
            let views: Vec<VerdictView> = listed.into_iter().map(VerdictView::from).collect();
            Json(views).into_response()
        }
        Err(error) => failed(&error).into_response(),
    }
}

pub(super) async fn lift(
    State(admin): State<Arc<Admin>>,
    address: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(address) = address?;
    let parsed = address.parse::<IpAddr>().map(IpNet::from).or_else(|_| address.parse::<IpNet>());
    let address = parsed.map_err(|_| {
        let what = format!("{address:?} is no IP address and no prefix such as 2001:db8::/64");
        Problem::bad_request(what)
    })?;
    match admin.verdicts.lift(address) {
        Ok(true) => {
            tracing::info!(%address, "verdict lifted");
            Ok(StatusCode::NO_CONTENT)
        }
        Ok(false) => Err(Problem::not_found(format!("{address} is under no verdict"))),
        Err(error) => Err(failed(&error)),
    }
}

fn failed(error: &std::io::Error) -> Problem {
    Problem::internal(format!("the classifier's map: {error}"))
}
