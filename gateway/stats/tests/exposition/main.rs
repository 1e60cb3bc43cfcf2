//! The exposition read back by a parser that forgives nothing, and held to what the format and
//! the figures promise, at rest and under load.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    thread,
    time::Duration,
};

use proptest::prelude::*;
use sallyport_stats::{ErrorKind, Registry};

use text::{Family, parse};

mod text;

const DURATION: &str = "sallyport_route_request_duration_seconds";
const REQUESTS: &str = "sallyport_route_requests_total";

type Families = BTreeMap<String, Family>;
type Labels = BTreeMap<String, String>;

/// The sum of a family's samples by the labels left when `dropped` is taken away.
fn sums(family: &Family, name: &str, dropped: &str) -> BTreeMap<Labels, f64> {
    let mut sums = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name == name) {
        let mut labels = sample.labels.clone();
        labels.remove(dropped);
        *sums.entry(labels).or_default() += sample.value;
    }
    sums
}

/// Each histogram's buckets, as (upper edge, cumulative count), in the order given.
fn buckets(family: &Family) -> BTreeMap<Labels, Vec<(f64, f64)>> {
    let mut buckets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for sample in family.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
        let mut labels = sample.labels.clone();
        let edge = labels.remove("le").expect("a bucket has an edge");
        buckets
            .entry(labels)
            .or_default()
            .push((edge.parse().expect("an edge is a number"), sample.value));
    }
    buckets
}

fn assert_consistent(families: &Families) {
    let (Some(durations), Some(requests)) = (families.get(DURATION), families.get(REQUESTS)) else {
        return;
    };
    let counts = sums(durations, &format!("{DURATION}_count"), "");
    assert_eq!(counts, sums(requests, REQUESTS, "code_class"), "count is the sum of the classes");
    for (labels, buckets) in buckets(durations) {
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0), "edges rise: {buckets:?}");
        assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "cumulative: {buckets:?}");
        assert_eq!(buckets.last(), Some(&(f64::INFINITY, counts[&labels])));
    }
}

/// No counter, and nothing a histogram counts, is lower than it was.
fn assert_not_lower(before: &Families, after: &Families) {
    for (name, family) in before.iter() {
        if !["counter", "histogram"].contains(&family.kind.as_str()) {
            continue;
        }
        for sample in &family.samples {
            let now = after[name].value(&sample.name, &sample.labels);
            assert!(now >= Some(sample.value), "{sample:?} became {now:?}");
        }
    }
}

fn busy_registry() -> Registry {
    let registry = Registry::new(3);
    registry.config_loaded(1, "c0ffee");
    let name = |route| (Arc::from("shop"), Arc::from(route));
    let routes = registry.routes(&[name("checkout"), name("idle"), name("search")]);
    let address = |port: u16| Arc::from(format!("10.0.0.1:{port}"));
    let endpoints =
        registry.endpoints(&[(Arc::from("api"), address(80)), (Arc::from("api"), address(81))]);
    for i in 0..5_000_u64 {
        let route = &routes[if i % 3 == 0 { 0 } else { 2 }];
        route.begin();
        endpoints[i as usize % 2].begin();
        endpoints[i as usize % 2].connected(i % 10 != 0);
        endpoints[i as usize % 2].finish((i % 7 == 0).then_some(ErrorKind::Reset));
        route.finish([200, 302, 404, 502, 0][i as usize % 5], None, Duration::from_nanos(i.pow(3)));
    }
    registry
}

#[test]
fn what_is_rendered_parses_and_agrees_with_itself() {
    let families = parse(&busy_registry().render());
    assert_consistent(&families);
    assert_eq!(families[DURATION].kind, "histogram");
    assert_eq!(families[REQUESTS].kind, "counter");
    assert_eq!(families["sallyport_route_quantile_seconds"].kind, "summary");
    assert_eq!(sums(&families[REQUESTS], REQUESTS, "code_class").values().sum::<f64>(), 5_000.0);
}

#[test]
fn every_promised_name_is_there() {
    let families = parse(&busy_registry().render());
    let names: HashSet<_> = families.keys().map(String::as_str).collect();
    let promised = HashSet::from([
        REQUESTS,
        DURATION,
        "sallyport_route_requests_active",
        "sallyport_route_errors_total",
        "sallyport_route_quantile_seconds",
        "sallyport_worker_requests_active",
        "sallyport_upstream_requests_total",
        "sallyport_upstream_requests_active",
        "sallyport_upstream_errors_total",
        "sallyport_upstream_connect_failures_total",
        "sallyport_connection_reuse_total",
        "sallyport_upstream_ejections_total",
        "sallyport_config_version",
        "sallyport_config_reloads_total",
        "sallyport_config_info",
        "sallyport_config_last_reload_successful",
        "sallyport_config_last_reload_timestamp_seconds",
        "sallyport_route_request_bytes_total",
        "sallyport_route_response_bytes_total",
        "sallyport_engine_requests_total",
        "sallyport_trailers_dropped_total",
    ]);
    assert_eq!(names, promised);
}

#[test]
fn scrapes_agree_with_themselves_while_requests_are_recorded() {
    let registry = Registry::new(2);
    let routes = registry.routes(&[(Arc::from("shop"), Arc::from("checkout"))]);
    thread::scope(|scope| {
        let workers = [200, 404, 0].map(|status| {
            let route = &routes[0];
            scope.spawn(move || {
                for i in 0..100_000 {
                    route.begin();
                    route.finish(status, None, Duration::from_micros(i % 5_000));
                }
            })
        });
        let mut before = Families::new();
        while workers.iter().any(|worker| !worker.is_finished()) {
            let after = parse(&registry.render());
            assert_consistent(&after);
            assert_not_lower(&before, &after);
            before = after;
        }
    });
    let families = parse(&registry.render());
    assert_consistent(&families);
    let inf = buckets(&families[DURATION]).values().next().unwrap()[19..].to_vec();
    assert_eq!((inf[0].1, inf[1].1), (300_000.0, 300_000.0), "all found their buckets");
}

#[test]
fn counters_do_not_fall_over_a_reload() {
    let registry = busy_registry();
    let before = parse(&registry.render());
    let name = |route| (Arc::from("shop"), Arc::from(route));
    registry.routes(&[name("search"), name("new"), name("checkout")]);
    registry.config_applied(2, "decade");
    let after = parse(&registry.render());
    assert_not_lower(&before, &after);
}

proptest! {
    #[test]
    fn any_label_value_is_read_back_as_it_was(host in any::<String>(), route in any::<String>()) {
        let registry = Registry::new(1);
        let routes = registry.routes(&[(Arc::from(host.as_str()), Arc::from(route.as_str()))]);
        routes[0].begin();
        let families = parse(&registry.render());
        let sample = &families["sallyport_route_requests_active"].samples[0];
        prop_assert_eq!(&sample.labels["virtual_host"], &host);
        prop_assert_eq!(&sample.labels["route"], &route);
    }
}
