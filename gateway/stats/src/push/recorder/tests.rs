use super::*;
use crate::push::{
    catalog::Catalog, clock::ManualClock, config::PipelineConfig, core::Core, series::Kind,
};

fn recorder() -> (PushRecorder, Arc<Catalog>) {
    let catalog = Arc::new(Catalog::default());
    let clock = Arc::new(ManualClock::default());
    let config = PipelineConfig { shards: 1, workers: 1, ..PipelineConfig::default() };
    let core = Core::new(&config, Arc::clone(&catalog), clock);
    (PushRecorder(Arc::new(core)), catalog)
}

#[test]
fn handles_carry_their_kind() {
    let (recorder, catalog) = recorder();
    let counter = catalog.metric("c").counter().unwrap();
    let timing = catalog.metric("t").timing().unwrap();
    assert!(recorder.count(counter, 3));
    assert!(recorder.time(timing, Duration::from_millis(1_500)));
    let first = recorder.0.ring.pop(0).unwrap();
    assert_eq!((first.id.kind(), first.value), (Kind::Counter, 3.0));
    let second = recorder.0.ring.pop(0).unwrap();
    assert_eq!((second.id.kind(), second.value), (Kind::Timing, 1.5));
}

#[test]
fn what_is_no_figure_is_refused_and_counted() {
    let (recorder, catalog) = recorder();
    let gauge = catalog.metric("g").gauge().unwrap();
    let histogram = catalog.metric("h").histogram().unwrap();
    assert!(!recorder.set(gauge, f64::NAN));
    assert!(!recorder.set(gauge, f64::INFINITY));
    assert!(recorder.set(gauge, -1.0));
    assert!(!recorder.observe(histogram, -1.0));
    assert!(!recorder.observe(histogram, f64::NAN));
    assert_eq!(recorder.0.ring.losses().invalid, 4);
}

#[test]
fn what_a_rate_leaves_out_counts_as_kept() {
    let (recorder, catalog) = recorder();
    let counter = catalog.metric("c").counter().unwrap();
    let rate = Rate::new(0.5);
    assert!((0..1_000).all(|_| recorder.count_at(counter, 1, rate)));
    let recorded = recorder.0.ring.len();
    assert!((300..700).contains(&recorded), "{recorded}");
}

#[test]
fn the_others_are_interchangeable() {
    let catalog = Catalog::default();
    let counter = catalog.metric("c").counter().unwrap();
    let memory = MemoryRecorder::default();
    let recorders: [&dyn Recorder; 2] = [&NoopRecorder, &memory];
    let kept = recorders.map(|recorder| recorder.count(counter, 2));
    assert_eq!(kept, [false, true]);
    memory.count(counter, 3);
    assert_eq!(memory.total(counter), 5);
    assert_eq!(memory.recorded()[0], Recorded::Count(counter, 2, Rate::ALL));
}
