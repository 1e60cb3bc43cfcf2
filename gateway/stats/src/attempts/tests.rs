use super::*;
use crate::Registry;

fn one(registry: &Registry) -> AttemptStats {
    registry.attempts(&[Arc::from("api")]).remove(0)
}

fn retries(stats: &AttemptStats) -> Vec<(String, u64)> {
    AttemptSnapshot::of(&stats.0).retries
}

#[test]
fn retries_are_counted_by_reason_and_status() {
    let registry = Registry::new(2);
    let stats = one(&registry);
    stats.expect(503);
    stats.expect(429);
    stats.retried(RetryReason::RefusedStream);
    stats.retried(RetryReason::Status(503));
    stats.retried(RetryReason::Status(503));
    stats.retried(RetryReason::Status(599));
    stats.retried(RetryReason::Status(200));
    let expected = [
        ("connect", 0),
        ("reset", 0),
        ("timeout", 0),
        ("refused_stream", 1),
        ("hedge", 0),
        ("429", 0),
        ("503", 2),
    ];
    let mut expected = expected.map(|(reason, count)| (reason.to_owned(), count)).to_vec();
    expected.push(("599".to_owned(), 1));
    assert_eq!(retries(&stats), expected);
}

#[test]
fn an_upstream_shows_from_the_start() {
    let registry = Registry::new(1);
    registry.expose_idle(1);
    let _stats = one(&registry);
    let text = registry.render();
    for expected in [
        r#"sallyport_retries_total{upstream="api",reason="connect"} 0"#,
        r#"sallyport_upstream_limited_total{upstream="api",reason="requests"} 0"#,
        r#"sallyport_upstream_request_duration_seconds_count{upstream="api"} 0"#,
    ] {
        assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
    }
}

#[test]
fn durations_are_exposed_whole() {
    let registry = Registry::new(2);
    let stats = one(&registry);
    stats.finish(Duration::from_millis(3));
    stats.finish(Duration::from_millis(5));
    stats.limited(Limited::Connections);
    let text = registry.render();
    for expected in [
        r#"sallyport_upstream_request_duration_seconds_bucket{upstream="api",le="0.004096"} 1"#,
        r#"sallyport_upstream_request_duration_seconds_count{upstream="api"} 2"#,
        r#"sallyport_upstream_request_duration_seconds_sum{upstream="api"} 0.008"#,
        r#"sallyport_upstream_limited_total{upstream="api",reason="connections"} 1"#,
    ] {
        assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
    }
}
