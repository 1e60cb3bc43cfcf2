//! What is pushed, against receivers that others wrote: each figure sent is found there, and equal.
//!
//! - StatsD's own server, from npm, installed into the target folder on first use;
//! - statsdproxy, from crates.io, which reads DogStatsD;
//! - Prometheus, from Debian, scraping and taking remote write;
//! - an OTLP collector made from `opentelemetry-proto`'s service and tonic.
//!
//! Where a tool is missing its test says so and passes, or fails if `SALLYPORT_REQUIRE_TOOLS` is set.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod dogstatsd;
mod otlp;
mod prometheus;
mod statsd;
mod tools;

use std::{sync::Arc, time::Duration};

use sallyport_stats::push::{
    Catalog, Distributions, ExporterSpec, Pipeline, PipelineConfig, Recorder, Unit,
};

/// Requests of two routes, of which the second had so many.
const REQUESTS: [u64; 2] = [3, 70_000];
const OPEN: f64 = -4.5;
const LATENCIES_MS: [u64; 5] = [1, 2, 250, 250, 4_000];

/// Records the same for every receiver, through a whole pipeline, and shuts it down.
fn push(spec: ExporterSpec, distributions: Distributions) {
    let config = PipelineConfig {
        distributions,
        flush_interval: Duration::from_secs(3_600),
        ..PipelineConfig::default()
    };
    let catalog = Arc::new(Catalog::default());
    let pipeline = Pipeline::start(&config, Arc::clone(&catalog), vec![spec]).unwrap();
    let recorder = pipeline.recorder();
    for (route, count) in ["a", "b|c:1\nevil:1|c"].into_iter().zip(REQUESTS) {
        let metric = catalog.metric("requests").unit(Unit::Count).attribute("route", route);
        let counter = metric.counter().unwrap();
        // In several samples and two flushes, to be added up on both sides.
        assert!(recorder.count(counter, 1));
        pipeline.flush();
        assert!(recorder.count(counter, count - 1));
    }
    let open = catalog.metric("connections").gauge().unwrap();
    assert!(recorder.set(open, 7.0) && recorder.set(open, OPEN));
    let latency = catalog.metric("latency").timing().unwrap();
    for ms in LATENCIES_MS {
        assert!(recorder.time(latency, Duration::from_millis(ms)));
    }
    let lost = pipeline.shutdown(Duration::from_secs(20));
    assert!(lost.is_nothing(), "{lost:?}");
}
