//! The whole decision: host normalised and looked up, path normalised and routed.
//!
//! By size, by kind of path and by position, and once with a host and a path drawn at random from
//! all there are, so that neither the caches nor the branch predictor know what comes next.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use sallyport_route::{
    Domain, HostTable, Match, PathMatch, Request, RouteTable, normalise_host, normalise_path,
};

const SIZES: [usize; 3] = [10, 1_000, 10_000];

/// Requests drawn at random in advance; more than there are hosts and paths.
const DRAWN: usize = 1 << 14;

/// How the path of the `n`th route is matched, and what a request for it looks like.
struct Kind {
    name: &'static str,
    route: fn(usize) -> PathMatch,
    path: fn(usize) -> String,
}

const KINDS: [Kind; 5] = [
    Kind { name: "exact", route: exact, path: exact_path },
    Kind { name: "prefix", route: prefix, path: prefix_path },
    Kind { name: "regex", route: regex, path: regex_path },
    Kind { name: "mixed", route: mixed, path: mixed_path },
    // Patterns that begin and end alike: only the sets can tell them apart.
    Kind { name: "regex_inner", route: regex_inner, path: regex_inner_path },
];

struct Gateway {
    hosts: HostTable,
    routes: RouteTable,
    headers: HeaderMap,
}

impl Gateway {
    fn new(size: usize, kind: &Kind) -> Gateway {
        let domains = (0..size).map(|n| (Domain::Exact(host(n).into()), n as u32));
        let route = |n| Match { path: (kind.route)(n), ..Match::default() };
        Gateway {
            hosts: HostTable::new(domains).expect("the hosts differ"),
            routes: RouteTable::new((0..size).map(route).collect()),
            headers: HeaderMap::new(),
        }
    }

    fn decide(&self, host: &str, path: &str) -> (Option<u32>, Option<usize>) {
        let Ok(host) = normalise_host(host) else { return (None, None) };
        let Ok(path) = normalise_path(path.as_bytes()) else { return (None, None) };
        let request = Request {
            method: &Method::GET,
            path: &path,
            query: "",
            headers: &self.headers,
            scheme: sallyport_route::Scheme::Http,
            hints: None,
        };
        (self.hosts.lookup(&host), self.routes.route(&request))
    }
}

fn host(n: usize) -> String {
    format!("tenant-{n}.shop.example.com")
}

fn exact(n: usize) -> PathMatch {
    PathMatch::Exact(exact_path(n).into())
}

fn exact_path(n: usize) -> String {
    format!("/api/v1/service-{n}/orders")
}

fn prefix(n: usize) -> PathMatch {
    PathMatch::Prefix(format!("/api/v1/service-{n}").into())
}

fn prefix_path(n: usize) -> String {
    format!("/api/v1/service-{n}/orders/4711")
}

fn regex(n: usize) -> PathMatch {
    PathMatch::regex(&format!("/api/v1/service-{n}/[a-z]+/[0-9]+")).expect("the pattern is sound")
}

fn regex_path(n: usize) -> String {
    prefix_path(n)
}

fn mixed(n: usize) -> PathMatch {
    [exact, prefix, regex][n % 3](n)
}

fn mixed_path(n: usize) -> String {
    [exact_path, prefix_path, regex_path][n % 3](n)
}

fn regex_inner(n: usize) -> PathMatch {
    PathMatch::regex(&format!("/[a-z]+/service-{n}/[0-9]+")).expect("the pattern is sound")
}

fn regex_inner_path(n: usize) -> String {
    format!("/api/service-{n}/4711")
}

fn decisions(criterion: &mut Criterion) {
    for kind in &KINDS {
        for size in SIZES {
            let gateway = Gateway::new(size, kind);
            by_position(criterion, &gateway, kind, size);
            at_random(criterion, &gateway, kind, size);
        }
    }
}

fn by_position(criterion: &mut Criterion, gateway: &Gateway, kind: &Kind, size: usize) {
    let positions =
        [("first", 0), ("middle", size / 2), ("last", size - 1), ("no_match", size + 1)];
    let mut group = criterion.benchmark_group(format!("decision/{}/{size}", kind.name));
    for (name, n) in positions {
        let (host, path) = (format!("{}:8080", host(n)), (kind.path)(n));
        let expected = (n < size).then_some(n);
        assert_eq!(gateway.decide(&host, &path), (expected.map(|n| n as u32), expected));
        group.bench_function(name, |bencher| {
            bencher.iter(|| gateway.decide(black_box(&host), black_box(&path)));
        });
    }
}

fn at_random(criterion: &mut Criterion, gateway: &Gateway, kind: &Kind, size: usize) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = move || {
        // A linear congruential step: its upper bits are random enough to defeat a cache.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % size
    };
    let requests: Vec<(String, String)> =
        (0..DRAWN).map(|_| (host(draw()), (kind.path)(draw()))).collect();
    let mut next = requests.iter().cycle();
    criterion.bench_function(&format!("decision/{}/{size}/random", kind.name), |bencher| {
        bencher.iter(|| next.next().map(|(host, path)| gateway.decide(host, path)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300));
    targets = decisions
}
criterion_main!(benches);
