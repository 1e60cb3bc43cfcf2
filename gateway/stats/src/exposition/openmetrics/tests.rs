use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use super::super::family::{counter, gauge, label};
use super::{END, append};
use crate::{
    Registry,
    exemplar::{Exemplar, Exemplars},
    exposition::Format,
};

fn text(family: &prometheus::proto::MetricFamily) -> String {
    let mut text = String::new();
    append(&mut text, family, &Exemplars::default());
    text
}

#[test]
fn a_counter_is_named_without_its_suffix_and_its_samples_with_it() {
    let family = counter("a_total", "Says \"a\"\nand \\.", [(vec![label("b", "c\"\\\n")], 3)]);
    assert_eq!(
        text(&family),
        "# HELP a Says \\\"a\\\"\\nand \\\\.\n# TYPE a counter\na_total{b=\"c\\\"\\\\\\n\"} 3\n"
    );
    let odd = counter("guests", "Odd.", [(Vec::new(), 1)]);
    assert_eq!(text(&odd), "# HELP guests Odd.\n# TYPE guests unknown\nguests 1\n");
    let level = gauge("l", "Level.", [(Vec::new(), f64::INFINITY)]);
    assert_eq!(text(&level), "# HELP l Level.\n# TYPE l gauge\nl +Inf\n");
}

#[test]
fn a_bucket_names_the_trace_of_its_latest_request() {
    let registry = Registry::new(1);
    let (host, route): (Arc<str>, Arc<str>) = ("shop".into(), "cart".into());
    let stats = registry.routes(&[(host.clone(), route.clone())]);
    let exemplar = |trace_id, ms| Exemplar {
        trace_id,
        duration: Duration::from_millis(ms),
        at: UNIX_EPOCH + Duration::from_millis(1_500),
    };
    for ms in [1, 3, 200_000] {
        stats[0].begin();
        stats[0].finish(200, None, Duration::from_millis(ms));
    }
    for (trace_id, ms) in [(1, 1), (2, 1), (3, 3), (4, 200_000)] {
        registry.exemplars().note(&host, &route, exemplar(trace_id, ms));
    }
    let text = registry.render_as(Format::OpenMetrics, Vec::new(), |_| true);
    assert!(text.ends_with(END));
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(" # {")).collect();
    let series =
        "sallyport_route_request_duration_seconds_bucket{virtual_host=\"shop\",route=\"cart\"";
    let expected = [(0.001024, 1, 2, 0.001), (0.004096, 2, 3, 0.003), (f64::INFINITY, 3, 4, 200.0)];
    let expected = expected.map(|(edge, count, id, seconds)| {
        let edge = if edge == f64::INFINITY { "+Inf".to_owned() } else { edge.to_string() };
        format!("{series},le=\"{edge}\"}} {count} # {{trace_id=\"{id:032x}\"}} {seconds} 1.500")
    });
    assert_eq!(lines, expected);

    // A route that is gone takes its exemplars along, and the older format has none.
    assert!(!registry.render().contains("trace_id"));
    registry.routes(&[(host.clone(), "other".into())]);
    registry.routes(&[(host, route)]);
    let text = registry.render_as(Format::OpenMetrics, Vec::new(), |_| true);
    assert!(!text.contains("trace_id"));
}
