use std::time::Duration;

use super::*;
use crate::push::{
    batch::Value, clock::ManualClock, recorder::PushRecorder, recorder::Recorder, series::Counter,
    window::Distributions,
};

struct Fixture {
    core: Arc<Core>,
    recorder: PushRecorder,
    clock: ManualClock,
}

fn fixture(config: &PipelineConfig) -> Fixture {
    let clock = ManualClock::at(1_000_000);
    let catalog = Arc::new(Catalog::default());
    let core = Arc::new(Core::new(config, catalog, Arc::new(clock.clone())));
    let recorder = PushRecorder(Arc::clone(&core));
    Fixture { core, recorder, clock }
}

impl Fixture {
    fn counter(&self, name: &str) -> Counter {
        self.core.catalog.metric(name).counter().unwrap()
    }
}

#[test]
fn a_flush_holds_all_that_was_recorded_before() {
    let fixture = fixture(&PipelineConfig::default());
    let (b, a) = (fixture.counter("b"), fixture.counter("a"));
    fixture.recorder.count(a, 2);
    fixture.recorder.count(b, 1);
    fixture.clock.advance(Duration::from_secs(1));
    let batch = fixture.core.flush();
    let points: Vec<_> =
        batch.points().iter().map(|point| (point.series.name(), point.value.clone())).collect();
    assert_eq!(points, [("b", Value::Count(1.0)), ("a", Value::Count(2.0))]);
    assert_eq!((batch.start_ms(), batch.end_ms(), batch.samples()), (1_000_000, 1_001_000, 2));
    assert!(batch.bytes() > 0);
    assert!(fixture.core.flush().points().is_empty(), "what was flushed is gone");
}

#[test]
fn a_wall_clock_that_jumps_leaves_the_windows_in_order() {
    let fixture = fixture(&PipelineConfig::default());
    let mut last = 0;
    for wall_ms in [1_000_000, 5, 9_000_000_000, 7, 9_000_000_001] {
        fixture.clock.set_wall(wall_ms);
        let batch = fixture.core.flush();
        assert!(batch.start_ms() <= batch.end_ms() && batch.end_ms() > last);
        last = batch.end_ms();
    }
}

#[test]
fn a_gauge_set_by_one_thread_ends_as_it_was_set_last() {
    let config = PipelineConfig { shards: 4, workers: 2, ..PipelineConfig::default() };
    let fixture = fixture(&config);
    let gauge = fixture.core.catalog.metric("g").gauge().unwrap();
    for value in 0..1_000 {
        fixture.recorder.set(gauge, f64::from(value));
        if value % 100 == 0 {
            fixture.core.drain(0, 64);
            fixture.core.drain(1, 64);
        }
    }
    assert_eq!(fixture.core.flush().points()[0].value, Value::Gauge(999.0));
}

#[test]
fn events_are_bounded_and_cut() {
    let fixture = fixture(&PipelineConfig::default());
    let event = Event { title: "t".repeat(500), text: "ü".repeat(5_000), ..Event::default() };
    let kept = (0..100).filter(|_| fixture.recorder.event(event.clone())).count();
    assert_eq!(kept, EVENTS_MAX);
    let batch = fixture.core.flush();
    assert_eq!(batch.events().len(), EVENTS_MAX);
    assert!(batch.events()[0].text.len() <= Event::TEXT_BYTES_MAX);
    assert_eq!(fixture.core.counts().events_lost, 36);
}

#[test]
fn memory_at_the_defaults_stays_below_five_megabytes() {
    let fixture = fixture(&PipelineConfig::default());
    let names: Vec<String> = (0..20_000).map(|i| format!("value-{i:0>40}")).collect();
    for (index, name) in names.iter().enumerate() {
        let metric = fixture.core.catalog.metric("latency").attribute("route", name);
        let timing = metric.attribute("virtual_host", "shop.example.com").timing().unwrap();
        for spread in [1, 1_000, 1_000_000] {
            fixture.recorder.time(timing, Duration::from_micros(spread));
        }
        if index % 1_000 == 0 {
            fixture.core.drain(0, usize::MAX);
            fixture.core.drain(1, usize::MAX);
        }
    }
    let counts = fixture.core.counts();
    let windows = counts.window_bytes;
    let batch = fixture.core.flush();
    let total = fixture.core.ring.bytes() + fixture.core.catalog.bytes() + windows + batch.bytes();
    assert!(total < 5_000_000, "{total}");
    assert!(counts.window.full > 0, "the bound was reached");
}

#[test]
fn raw_values_keep_what_was_recorded() {
    let distributions = Distributions::Raw { values_max: 100 };
    let fixture = fixture(&PipelineConfig { distributions, ..PipelineConfig::default() });
    let histogram = fixture.core.catalog.metric("h").histogram().unwrap();
    for value in [3.0, 1.0, 2.0] {
        fixture.recorder.observe(histogram, value);
    }
    let batch = fixture.core.flush();
    assert_eq!(batch.points()[0].value, Value::Raw(vec![(3.0, 1.0), (1.0, 1.0), (2.0, 1.0)]));
}

#[test]
fn a_handle_of_another_catalogue_is_counted_as_unknown() {
    let fixture = fixture(&PipelineConfig::default());
    let foreign = Catalog::default().metric("x").counter().unwrap();
    fixture.recorder.count(foreign, 1);
    assert!(fixture.core.flush().points().is_empty());
    assert_eq!(fixture.core.counts().window.unknown, 1);
}
