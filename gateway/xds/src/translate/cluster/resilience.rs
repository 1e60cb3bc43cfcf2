//! `circuit_breakers` and `outlier_detection`.

use sallyport_config::Value;

use crate::fields::Fields;
use crate::output::{self, Map, number, text};

/// The most that a limit may be. Whoever writes more means that there is none.
const LIMIT_MAX: u64 = 1_000_000;

/// `limits` of an upstream.
pub(super) fn limits(fields: &Fields<'_>) -> Option<Value> {
    let breakers = fields.message("circuit_breakers")?;
    breakers.refuse("per_host_thresholds", "limits are an upstream's, for all of its endpoints");
    let mut out = Map::new();
    for thresholds in breakers.messages("thresholds") {
        if thresholds.choice("priority").is_some() {
            thresholds.leave("an upstream has one set of limits, that of the priority DEFAULT");
            continue;
        }
        thresholds.ignore("track_remaining", "what is in use is counted");
        thresholds.ignore("max_connection_pools", "a worker has one pool");
        thresholds.ignore_all(
            &["max_retries", "retry_budget"],
            "`retry.budget` of a route bounds retries",
        );
        let bounded = |name: &str, least: u64| {
            let limit = thresholds.uint(name)?.max(least);
            (limit <= LIMIT_MAX).then(|| number(limit))
        };
        let (connections, requests) = (bounded("max_connections", 1), bounded("max_requests", 1));
        let pending = bounded("max_pending_requests", u64::from(connections.is_none()));
        out = Map::new()
            .with_some("connections", connections)
            .with_some("requests", requests)
            .with_some("pending", pending);
    }
    out.filled()
}

/// `outlier_detection` of an upstream.
pub(super) fn outlier_detection(
    fields: &Fields<'_>,
    panic_below: Option<Value>,
    has_health_check: bool,
) -> Option<Value> {
    let Some(detection) = fields.message("outlier_detection") else {
        let panic_below = panic_below.filter(|_| has_health_check)?;
        return Some(Map::new().with("panic_below", panic_below).done());
    };
    detection.ignore("interval", "every response is looked at when it comes");
    detection.ignore_all(
        &[
            "enforcing_success_rate",
            "success_rate_minimum_hosts",
            "success_rate_request_volume",
            "success_rate_stdev_factor",
            "enforcing_local_origin_success_rate",
            "enforcing_failure_percentage",
            "enforcing_failure_percentage_local_origin",
            "failure_percentage_minimum_hosts",
            "failure_percentage_request_volume",
        ],
        "an endpoint's share of successes is compared with a bound, not with the others'",
    );
    detection.ignore_all(
        &[
            "consecutive_gateway_failure",
            "enforcing_consecutive_gateway_failure",
            "split_external_local_origin_errors",
            "consecutive_local_origin_failure",
            "enforcing_consecutive_local_origin_failure",
        ],
        "failures of all kinds count as one row",
    );
    detection.ignore_all(
        &[
            "max_ejection_time",
            "max_ejection_time_jitter",
            "successful_active_health_check_uneject_host",
            "always_eject_one_host",
            "detect_degraded_hosts",
        ],
        "an endpoint comes back when its time is over, and one may always be set aside",
    );
    detection.refuse("monitors", "failures are errors and statuses from 500 on");
    let enforced = detection.uint("enforcing_consecutive_5xx").unwrap_or(100);
    let errors = detection.uint("consecutive_5xx").unwrap_or(5);
    let failing = detection.uint("failure_percentage_threshold");
    let base = detection.time("base_ejection_time").and_then(output::time);
    let most = detection.uint("max_ejection_percent").unwrap_or(10).min(100);
    let errors = if enforced == 0 { 1_000 } else { errors.clamp(1, 1_000) };
    let out = Map::new()
        .with("consecutive_errors", number(errors))
        .with_some(
            "success_rate",
            failing.map(|percent| text(format!("{}%", 100_u64.saturating_sub(percent)))),
        )
        .with_some("base_ejection", base)
        .with("max_ejected", text(format!("{most}%")))
        .with_some("panic_below", panic_below);
    Some(out.done())
}
