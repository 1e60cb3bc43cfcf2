//! `HTTPRouteWeight`, `HTTPRouteTimeoutRequest`, `HTTPRouteTimeoutBackendRequest`.

use super::table::{Rules, Table, any, get, prefix};

/// Longer than an idle machine needs for an answer, shorter than a test may take.
const TIMEOUT: &str = "2s";

#[test]
fn http_route_weight() {
    let split = "forward: { split: [ { upstream: v1, weight: 70 }, { upstream: v2, weight: 30 }, \
                 { upstream: v3, weight: 0 } ] }";
    let table = Table::new(&Rules::default().rule(&[any()], split).everywhere());
    let [v1, v2, v3] = table.shares(600);
    // Six standard deviations around 420.
    assert!((353..=487).contains(&v1), "{v1} of 600");
    assert_eq!((v1 + v2, v3), (600, 0));
}

#[test]
fn http_route_timeout_request() {
    let timed = format!("forward: {{ upstream: v1, timeout: {TIMEOUT} }}");
    let rules = Rules::default()
        .rule(&[prefix("/request-timeout")], &timed)
        .to(&[prefix("/disable-request-timeout")], "v1");
    Table::new(&rules.everywhere()).check(&[
        get("/request-timeout").by("v1"),
        get("/request-timeout?delay=ever").status(504),
        get("/disable-request-timeout?delay=1s").by("v1"),
    ]);
}

#[test]
fn http_route_timeout_backend_request() {
    let rules = Rules::default()
        .to(&[prefix("/backend-timeout")], "v1")
        .to(&[prefix("/disable-backend-timeout")], "v2");
    let timed = format!("timeouts: {{ read: {TIMEOUT} }},");
    Table::with_upstream(&[("v1", &timed)], &rules.everywhere()).check(&[
        get("/backend-timeout").by("v1"),
        get("/backend-timeout?delay=ever").status(504),
        get("/disable-backend-timeout?delay=1s").by("v2"),
    ]);
}
