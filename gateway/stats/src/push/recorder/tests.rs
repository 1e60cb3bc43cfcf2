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
    let events = if cfg!(miri) { 100 } else { 1_000 };
    assert!((0..events).all(|_| recorder.count_at(counter, 1, rate)));
    let recorded = recorder.0.ring.len();
    assert!((events * 3 / 10..events * 7 / 10).contains(&recorded), "{recorded}");
}

#[test]
fn one_sample_may_stand_for_many() {
    let (recorder, catalog) = recorder();
    let timing = catalog.metric("t").timing().unwrap();
    let histogram = catalog.metric("h").histogram().unwrap();
    let most = 1 << 24;
    assert!(recorder.time_many(timing, Duration::from_secs(2), most));
    assert!(recorder.observe_many(histogram, 3.0, 49));
    assert!(recorder.observe_many(histogram, 3.0, 0), "none is nothing to lose");
    assert!(!recorder.observe_many(histogram, -1.0, 1));
    assert_eq!(recorder.waiting(), 2);
    let weights = [0, 0].map(|shard| recorder.0.ring.pop(shard).unwrap().rate.weight());
    assert_eq!(weights, [f64::from(most), 49.0]);
    assert_eq!(recorder.waiting(), 0);
}

#[test]
fn amounts_may_have_fractions_and_no_sign() {
    let (recorder, catalog) = recorder();
    let counter = catalog.metric("c").counter().unwrap();
    assert!(recorder.add(counter, 0.25));
    assert!(!recorder.add(counter, -0.25) && !recorder.add(counter, f64::NAN));
    assert_eq!(recorder.0.ring.pop(0).unwrap().value, 0.25);
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
    let timing = catalog.metric("t").timing().unwrap();
    assert!(memory.add(counter, 0.5) && memory.time_many(timing, Duration::from_secs(1), 4));
    assert_eq!(memory.recorded()[2], Recorded::Add(counter, 0.5));
    let Recorded::Time(_, _, rate) = memory.recorded()[3] else { panic!("no time") };
    assert_eq!(rate.weight(), 4.0);
    assert!(!NoopRecorder.add(counter, 0.5));
    assert_eq!(memory.recorded()[0], Recorded::Count(counter, 2, Rate::ALL));
}
