//! What counting costs: a request recorded alone and against another worker, and a scrape of
//! many visited routes.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use criterion::{Criterion, criterion_group, criterion_main};
use sallyport_stats::{Registry, RouteStats};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = record_alone, record_beside_another, render
}
criterion_main!(benches);

fn routes(registry: &Registry, count: usize) -> Vec<RouteStats> {
    let names: Vec<_> = (0..count)
        .map(|i| (Arc::from(format!("host-{}.example.com", i % 100)), Arc::from(format!("r{i}"))))
        .collect();
    registry.routes(&names)
}

fn request(route: &RouteStats, duration: Duration) {
    route.begin();
    route.finish(200, None, duration);
}

fn record_alone(c: &mut Criterion) {
    let registry = Registry::new(3);
    let route = &routes(&registry, 1)[0];
    c.bench_function("record/alone", |b| {
        b.iter(|| request(black_box(route), black_box(Duration::from_micros(420))));
    });
    let many = routes(&registry, 1_000);
    let mut next = many.iter().cycle();
    c.bench_function("record/alone over 1000 routes", |b| {
        b.iter(|| next.next().map(|route| request(route, black_box(Duration::from_micros(420)))));
    });
}

/// The same route on two workers at once, first with a shard for each, then sharing one: the
/// difference is what sharding is for.
fn record_beside_another(c: &mut Criterion) {
    for shards in [3, 1] {
        let registry = Registry::new(shards);
        let route = &routes(&registry, 1)[0];
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    request(route, Duration::from_micros(420));
                }
            });
            c.bench_function(&format!("record/two workers, shards: {shards}"), |b| {
                b.iter(|| request(black_box(route), black_box(Duration::from_micros(420))));
            });
            stop.store(true, Ordering::Relaxed);
        });
    }
}

fn render(c: &mut Criterion) {
    for count in [1_000, 10_000] {
        let registry = Registry::new(3);
        for route in routes(&registry, count) {
            request(&route, Duration::from_micros(420));
        }
        c.bench_function(&format!("render/{count} visited routes"), |b| {
            b.iter(|| black_box(registry.render()).len());
        });
    }
}
