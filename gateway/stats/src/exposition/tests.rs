use std::{sync::Arc, time::Duration};

use prometheus::proto::{Metric, MetricType};

use super::*;

fn visited(virtual_host: &str, route: &str) -> Registry {
    let registry = Registry::new(2);
    let routes = registry.routes(&[(Arc::from(virtual_host), Arc::from(route))]);
    routes[0].begin();
    routes[0].finish(200, None, Duration::from_millis(3));
    registry
}

fn line<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().find(|line| line.starts_with(start))
}

#[test]
fn an_empty_registry_exposes_what_has_no_names_only() {
    let text = Registry::new(1).render();
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(
        samples,
        [
            r#"sallyport_config_reloads_total{result="success"} 0"#,
            r#"sallyport_config_reloads_total{result="failure"} 0"#,
            r#"sallyport_engine_requests_total{engine="http1"} 0"#,
            r#"sallyport_engine_requests_total{engine="http2"} 0"#,
            r#"sallyport_engine_requests_total{engine="pingora"} 0"#,
            r#"sallyport_trailers_dropped_total{direction="request"} 0"#,
            r#"sallyport_trailers_dropped_total{direction="response"} 0"#,
        ]
    );
}

#[test]
fn a_visited_route_is_exposed_whole() {
    let text = visited("shop", "checkout").render();
    let route = r#"virtual_host="shop",route="checkout""#;
    for expected in [
        format!(r#"sallyport_route_requests_total{{{route},code_class="2xx"}} 1"#),
        format!(r#"sallyport_route_requests_total{{{route},code_class="none"}} 0"#),
        format!("sallyport_route_requests_active{{{route}}} 0"),
        format!(r#"sallyport_route_request_duration_seconds_bucket{{{route},le="0.002048"}} 0"#),
        format!(r#"sallyport_route_request_duration_seconds_bucket{{{route},le="0.004096"}} 1"#),
        format!(r#"sallyport_route_request_duration_seconds_bucket{{{route},le="+Inf"}} 1"#),
        format!("sallyport_route_request_duration_seconds_sum{{{route}}} 0.003"),
        format!("sallyport_route_request_duration_seconds_count{{{route}}} 1"),
        format!(r#"sallyport_route_errors_total{{{route},kind="no_endpoint"}} 0"#),
        format!(r#"sallyport_route_quantile_seconds{{{route},quantile="0.999"}} 0.003008"#),
    ] {
        assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
    }
}

#[test]
fn an_unvisited_route_is_left_out() {
    let registry = Registry::new(1);
    registry.routes(&[(Arc::from("shop"), Arc::from("idle"))]);
    assert!(!registry.render().contains("idle"));
}

#[test]
fn a_route_with_only_active_requests_has_no_quantile() {
    let registry = Registry::new(1);
    let routes = registry.routes(&[(Arc::from("shop"), Arc::from("slow"))]);
    routes[0].begin();
    let text = registry.render();
    assert!(line(&text, "sallyport_route_requests_active{").unwrap().ends_with(" 1"));
    assert_eq!(line(&text, "sallyport_route_quantile_seconds"), None);
}

#[test]
fn endpoints_and_reuse_are_exposed() {
    let registry = Registry::new(1);
    let endpoints = registry.endpoints(&[(Arc::from("api"), Arc::from("[2001:db8::1]:80"))]);
    endpoints[0].begin();
    endpoints[0].connected(true);
    endpoints[0].finish(Some(ErrorKind::Timeout));
    endpoints[0].connect_failed();
    let text = registry.render();
    let endpoint = r#"upstream="api",endpoint="[2001:db8::1]:80""#;
    for expected in [
        format!("sallyport_upstream_requests_total{{{endpoint}}} 1"),
        format!("sallyport_upstream_requests_active{{{endpoint}}} 0"),
        format!(r#"sallyport_upstream_errors_total{{{endpoint},kind="timeout"}} 1"#),
        format!(r#"sallyport_upstream_errors_total{{{endpoint},kind="reset"}} 0"#),
        format!("sallyport_upstream_connect_failures_total{{{endpoint}}} 1"),
        r#"sallyport_connection_reuse_total{upstream="api",reused="true"} 1"#.to_owned(),
        r#"sallyport_connection_reuse_total{upstream="api",reused="false"} 0"#.to_owned(),
    ] {
        assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
    }
}

#[test]
fn the_configuration_is_exposed_once_loaded() {
    let registry = Registry::new(1);
    registry.config_loaded(1, "00ff");
    registry.config_applied(2, "11ee");
    registry.config_rejected();
    let text = registry.render();
    for expected in [
        "sallyport_config_version 2",
        r#"sallyport_config_reloads_total{result="success"} 1"#,
        r#"sallyport_config_reloads_total{result="failure"} 1"#,
        r#"sallyport_config_info{sha256="11ee"} 1"#,
    ] {
        assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
    }
    assert!(!text.contains("00ff"));
}

#[test]
fn label_values_cannot_break_out() {
    let text = visited("a\"} 1\nforged 2", r"back\slash").render();
    let expected = r#"{virtual_host="a\"} 1\nforged 2",route="back\\slash"} 0"#;
    assert!(line(&text, "sallyport_route_requests_active").unwrap().ends_with(expected));
    assert_eq!(line(&text, "forged"), None);
}

#[test]
fn every_family_says_what_it_is_once() {
    let text = visited("shop", "checkout").render();
    let mut families: Vec<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let helped = text.lines().filter(|line| line.starts_with("# HELP ")).count();
    assert_eq!(helped, families.len());
    families.sort_unstable();
    families.dedup();
    assert_eq!(helped, families.len());
}

#[test]
fn extra_families_follow_and_bad_ones_are_left_out() {
    let registry = Registry::new(1);
    let named = |name: &str, kind, metrics| {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_field_type(kind);
        family.set_metric(metrics);
        family
    };
    let text = registry.render_with(vec![
        gauge("sallyport_endpoint_healthy", "Whether.", [(Vec::new(), 1.0)]),
        named("empty", MetricType::GAUGE, vec![]),
        named("", MetricType::GAUGE, vec![Metric::default()]),
        named("untyped", MetricType::UNTYPED, vec![Metric::default()]),
    ]);
    assert!(text.ends_with("\nsallyport_endpoint_healthy 1\n"));
    assert!(!text.contains("empty") && !text.contains("untyped"));
}
