//! `/verdicts`: who is shut out, and letting them in again.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use serde::Serialize;

use super::Admin;
use super::json::Json;
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

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Response {
    match admin.verdicts.list() {
        Ok(listed) => {
            let views: Vec<VerdictView> = listed.into_iter().map(VerdictView::from).collect();
            Json(views).into_response()
        }
        Err(error) => failed(&error),
    }
}

pub(super) async fn lift(State(admin): State<Arc<Admin>>, Path(address): Path<String>) -> Response {
    let parsed = address.parse::<IpAddr>().map(IpNet::from).or_else(|_| address.parse::<IpNet>());
    let Ok(address) = parsed else {
        let said = format!("{address:?} is no IP address and no prefix such as 2001:db8::/64\n");
        return (StatusCode::BAD_REQUEST, said).into_response();
    };
    match admin.verdicts.lift(address) {
        Ok(true) => {
            tracing::info!(%address, "verdict lifted");
            StatusCode::NO_CONTENT.into_response()
        }
        Ok(false) => {
            (StatusCode::NOT_FOUND, format!("{address} is under no verdict\n")).into_response()
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &std::io::Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, format!("the classifier's map: {error}\n")).into_response()
}
