//! `health_checks`.

use sallyport_config::Value;

use crate::fields::Fields;
use crate::output::{self, Map, number, text};

/// `health_check` of an upstream; `None` outside if it cannot be said, within if there is none.
pub(super) fn read(fields: &Fields<'_>) -> Option<Option<Value>> {
    let checks = fields.messages("health_checks");
    let mut read = None;
    for check in &checks {
        if read.is_some() {
            return check.reject("an upstream is probed in one way");
        }
        read = Some(one(check)?);
    }
    Some(read)
}

fn one(check: &Fields<'_>) -> Option<Value> {
    check.ignore_all(
        &[
            "initial_jitter",
            "interval_jitter",
            "interval_jitter_percent",
            "no_traffic_interval",
            "no_traffic_healthy_interval",
            "unhealthy_interval",
            "unhealthy_edge_interval",
            "healthy_edge_interval",
        ],
        "probes come at one interval, spread over the endpoints",
    );
    check.ignore_all(
        &[
            "event_log_path",
            "event_logger",
            "event_service",
            "always_log_health_check_failures",
            "always_log_health_check_success",
        ],
        "what changes is logged and counted",
    );
    check.ignore("reuse_connection", "a probe has its own connection");
    check.ignore("tls_options", "a probe speaks as requests do");
    check.refuse("alt_port", "an endpoint is probed where it serves");
    check.refuse("transport_socket_match_criteria", "a probe speaks as requests do");
    check.refuse("custom_health_check", "probes are HTTP, TCP or gRPC");
    let mut out = Map::new();
    if let Some(http) = check.message("http_health_check") {
        out.put("http", self::http(&http)?);
    } else if let Some(tcp) = check.message("tcp_health_check") {
        for name in ["send", "receive"] {
            tcp.refuse(name, "a TCP probe connects, and says nothing");
        }
        tcp.refuse("proxy_protocol_config", "write the transport socket of the cluster");
        out.put("tcp", Map::new().done());
    } else if let Some(grpc) = check.message("grpc_health_check") {
        grpc.refuse("initial_metadata", "a probe has no fields of its own");
        grpc.ignore("authority", "the probe is for the endpoint's address");
        let service = grpc.text("service_name").map(text);
        out.put("grpc", Map::new().with_some("service", service).done());
    } else {
        return None;
    }
    out.put_some("interval", check.time("interval").and_then(output::time));
    out.put_some("timeout", check.time("timeout").and_then(output::time));
    out.put_some(
        "healthy",
        check.uint("healthy_threshold").map(|times| number(times.clamp(1, 1_000))),
    );
    out.put_some(
        "unhealthy",
        check.uint("unhealthy_threshold").map(|times| number(times.clamp(1, 1_000))),
    );
    Some(out.done())
}

fn http(http: &Fields<'_>) -> Option<Value> {
    http.ignore("codec_client_type", "a probe speaks as requests do");
    http.ignore("response_buffer_size", "the status decides");
    http.ignore("retriable_statuses", "a status is healthy or it is not");
    http.refuse("service_name_matcher", "the status decides");
    for name in ["send", "receive"] {
        http.refuse(name, "the status decides");
    }
    for name in ["request_headers_to_add", "request_headers_to_remove"] {
        http.refuse(name, "a probe has no fields of its own");
    }
    let method = match http.choice("method").as_deref() {
        None | Some("GET") => None,
        Some(method @ ("HEAD" | "OPTIONS")) => Some(text(method)),
        Some(other) => {
            return http.reject(format!("method is {other}, write GET, HEAD or OPTIONS"));
        }
    };
    let mut statuses = Vec::new();
    for range in http.messages("expected_statuses") {
        let (from, to) = (range.uint("start").unwrap_or(0), range.uint("end").unwrap_or(0));
        match to.checked_sub(1) {
            Some(last) if last == from => statuses.push(number(from)),
            Some(last) if last > from => statuses.push(text(format!("{from}-{last}"))),
            _ => return range.reject("holds no status"),
        }
    }
    let status = match statuses.len() {
        0 => number(200),
        1 => statuses.remove(0),
        _ => output::list(statuses),
    };
    let path = http.text("path").unwrap_or_else(|| "/".to_owned());
    let out = Map::new()
        .with("path", text(path))
        .with_some("host", http.text("host").map(text))
        .with_some("method", method)
        .with("status", status);
    Some(out.done())
}
