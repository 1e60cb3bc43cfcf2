//! What recording one figure costs, alone and beside other threads, and what the workers' part is.

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
use sallyport_stats::push::{Catalog, NoopRecorder, Overflow, Pipeline, PipelineConfig, Recorder};

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = record, record_beside_others, intern, flush
}
criterion_main!(benches);

fn pipeline(overflow: Overflow) -> Pipeline {
    let config = PipelineConfig { overflow, ..PipelineConfig::default() };
    Pipeline::start(&config, Arc::new(Catalog::default()), Vec::new()).expect("threads are given")
}

fn record(c: &mut Criterion) {
    for (name, overflow) in [("newest", Overflow::DropNewest), ("oldest", Overflow::DropOldest)] {
        let pipeline = pipeline(overflow);
        let counter = pipeline.catalog().metric("requests").counter().expect("it is the first");
        let recorder = pipeline.recorder();
        c.bench_function(&format!("push/count, dropping the {name}"), |b| {
            b.iter(|| recorder.count(black_box(counter), black_box(1)));
        });
    }
    let counter = Catalog::default().metric("requests").counter().expect("it is the first");
    c.bench_function("push/no-op", |b| {
        b.iter(|| NoopRecorder.count(black_box(counter), black_box(1)));
    });
}

fn record_beside_others(c: &mut Criterion) {
    let pipeline = pipeline(Overflow::DropNewest);
    let counter = pipeline.catalog().metric("requests").counter().expect("it is the first");
    let recorder = pipeline.recorder();
    for others in [1, 7] {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..others {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        recorder.count(counter, 1);
                    }
                });
            }
            c.bench_function(&format!("push/count beside {others}"), |b| {
                b.iter(|| recorder.count(black_box(counter), black_box(1)));
            });
            stop.store(true, Ordering::Relaxed);
        });
    }
}

fn intern(c: &mut Criterion) {
    let catalog = Catalog::default();
    c.bench_function("push/handle of a known series", |b| {
        b.iter(|| {
            let metric = catalog.metric("requests").attribute("route", black_box("checkout"));
            metric.attribute("host", "shop").counter()
        });
    });
}

fn flush(c: &mut Criterion) {
    let pipeline = pipeline(Overflow::DropNewest);
    let catalog = pipeline.catalog();
    let names: Vec<String> = (0..1_000).map(|i| format!("route-{i}")).collect();
    let counters: Vec<_> = names
        .iter()
        .map(|name| catalog.metric("requests").attribute("route", name).counter())
        .collect::<Result<_, _>>()
        .expect("there is room");
    let recorder = pipeline.recorder();
    c.bench_function("push/1000 series recorded and flushed", |b| {
        b.iter(|| {
            for &counter in &counters {
                recorder.count(counter, 1);
            }
            pipeline.flush();
        });
    });
}
