use std::sync::{Condvar, atomic::AtomicU64};

use super::*;
use crate::push::{
    batch::Value,
    breaker::{BreakerConfig, BreakerState},
    clock::ManualClock,
    exporter::{ExportError, Exporter, Tally},
    recorder::Recorder,
};

const LONG: Duration = Duration::from_secs(20);

/// Collects batches, and does to each what it was told.
#[derive(Clone, Default)]
struct Sink(Arc<Inner>);

#[derive(Default)]
struct Inner {
    counted: Mutex<f64>,
    changed: Condvar,
    made: AtomicU64,
    attempts: AtomicU64,
    behaviour: Mutex<Behaviour>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Behaviour {
    #[default]
    Takes,
    Panics,
    Fails,
    Busy,
    Hangs,
}

impl Sink {
    fn spec(&self, name: &str) -> ExporterSpec {
        let sink = self.clone();
        ExporterSpec::new(name, move || {
            sink.0.made.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(sink.clone()))
        })
    }

    fn behave(&self, behaviour: Behaviour) {
        *self.0.behaviour.lock().unwrap() = behaviour;
        self.0.changed.notify_all();
    }

    fn counted(&self) -> f64 {
        *self.0.counted.lock().unwrap()
    }

    fn wait_until_counted(&self, count: f64) {
        let counted = self.0.counted.lock().unwrap();
        let waited = self.0.changed.wait_timeout_while(counted, LONG, |counted| *counted < count);
        assert!(!waited.unwrap().1.timed_out(), "{} of {count}", self.counted());
    }
}

impl Exporter for Sink {
    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        self.0.attempts.fetch_add(1, Ordering::SeqCst);
        let mut behaviour = self.0.behaviour.lock().unwrap();
        while *behaviour == Behaviour::Hangs {
            behaviour = self.0.changed.wait(behaviour).unwrap();
        }
        match *behaviour {
            Behaviour::Panics => {
                drop(behaviour);
                panic!("as it was told");
            }
            Behaviour::Fails => return Err(ExportError::Send(io::ErrorKind::TimedOut.into())),
            Behaviour::Busy => return Err(ExportError::Busy { status: 503, retry_after: None }),
            _ => {}
        }
        for point in batch.points() {
            if let Value::Count(count) = point.value {
                *self.0.counted.lock().unwrap() += count;
            }
            tally.points += 1;
        }
        self.0.changed.notify_all();
        Ok(())
    }
}

/// Only an explicit flush flushes.
fn by_hand() -> PipelineConfig {
    PipelineConfig { flush_interval: Duration::from_secs(3_600), ..PipelineConfig::default() }
}

fn start(config: &PipelineConfig, specs: Vec<ExporterSpec>, clock: &ManualClock) -> Pipeline {
    let catalog = Arc::new(Catalog::default());
    Pipeline::start_with_clock(config, catalog, specs, Arc::new(clock.clone())).unwrap()
}

/// Waits for a condition that another thread brings about.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < LONG, "in vain for: {what}");
        thread::yield_now();
    }
}

#[test]
fn every_exporter_is_given_everything() {
    let sinks = [Sink::default(), Sink::default()];
    let specs = vec![sinks[0].spec("a"), sinks[1].spec("b")];
    let pipeline = start(&by_hand(), specs, &ManualClock::default());
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    let recorder = pipeline.recorder();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| assert!(recorder.count(counter, 1))));
        }
    });
    pipeline.flush();
    sinks.iter().for_each(|sink| sink.wait_until_counted(2_000.0));
    let snapshot = pipeline.snapshot();
    assert_eq!((snapshot.kept, snapshot.dropped_total()), (2_000, 0));
    assert!(pipeline.shutdown(LONG).is_nothing());
}

#[test]
fn a_flush_comes_when_its_time_has_come() {
    let (sink, clock) = (Sink::default(), ManualClock::default());
    let config = PipelineConfig { flush_interval: Duration::from_secs(10), ..by_hand() };
    let pipeline = start(&config, vec![sink.spec("a")], &clock);
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    pipeline.recorder().count(counter, 1);
    eventually("a flush", || {
        // The pipeline may look at the clock only now, to wait from there.
        clock.advance(Duration::from_secs(10));
        sink.counted() == 1.0
    });
    let flushes = pipeline.snapshot().batches;
    clock.advance(Duration::from_secs(36_000));
    pipeline.recorder().count(counter, 1);
    eventually("one more flush", || pipeline.snapshot().batches > flushes);
    let after = pipeline.snapshot().batches;
    assert!(after <= flushes + 2, "hours at once are one flush: {after}");
}

#[test]
fn a_panic_is_caught_counted_and_the_exporter_made_anew() {
    let (wild, calm, clock) = (Sink::default(), Sink::default(), ManualClock::default());
    wild.behave(Behaviour::Panics);
    let pipeline = start(&by_hand(), vec![wild.spec("wild"), calm.spec("calm")], &clock);
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    pipeline.recorder().count(counter, 1);
    pipeline.flush();
    calm.wait_until_counted(1.0);
    let read = || pipeline.snapshot().exporter("wild").unwrap().clone();
    eventually("the panic", || {
        let read = read();
        let told = read.last_error.as_deref() == Some("as it was told");
        told && (read.panics, read.lost(LossReason::Panicked)) == (1, 1)
    });

    pipeline.recorder().count(counter, 1);
    pipeline.flush();
    eventually("nothing to send with", || read().lost(LossReason::Down) == 1);
    wild.behave(Behaviour::Takes);
    clock.advance(Duration::from_secs(1));
    pipeline.recorder().count(counter, 5);
    pipeline.flush();
    wild.wait_until_counted(5.0);
    assert_eq!(wild.0.made.load(Ordering::SeqCst), 2);
    calm.wait_until_counted(7.0);
}

#[test]
fn one_that_cannot_be_made_is_tried_again() {
    let (sink, clock) = (Sink::default(), ManualClock::default());
    let tries = Arc::new(AtomicU64::new(0));
    let (made, counted) = (sink.clone(), Arc::clone(&tries));
    let spec = ExporterSpec::new("late", move || match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Err(ExportError::SetUp("no luck".into())),
        1 => panic!("worse"),
        _ => Ok(Box::new(made.clone())),
    });
    let pipeline = start(&by_hand(), vec![spec], &clock);
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    for tried in 1..=3 {
        pipeline.recorder().count(counter, 1);
        pipeline.flush();
        eventually("a try", || tries.load(Ordering::SeqCst) == tried);
        let handled = || {
            let exporter = pipeline.snapshot().exporters[0].clone();
            exporter.lost(LossReason::Down) + exporter.points == tried
        };
        eventually("its end", handled);
        clock.advance(Duration::from_secs(60));
    }
    sink.wait_until_counted(1.0);
}

#[test]
fn a_slow_exporter_delays_no_other_and_loses_its_oldest() {
    let (slow, fast) = (Sink::default(), Sink::default());
    slow.behave(Behaviour::Hangs);
    let specs = vec![slow.spec("slow").queue(2, usize::MAX), fast.spec("fast")];
    let pipeline = start(&by_hand(), specs, &ManualClock::default());
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    for flushed in 1..=10 {
        pipeline.recorder().count(counter, 1);
        pipeline.flush();
        fast.wait_until_counted(f64::from(flushed));
        eventually("the first being under way", || slow.0.attempts.load(Ordering::SeqCst) == 1);
    }
    let exporter = pipeline.snapshot().exporter("slow").unwrap().clone();
    assert_eq!((exporter.queued_batches, exporter.lost(LossReason::QueueFull)), (2, 7));
    slow.behave(Behaviour::Takes);
    slow.wait_until_counted(3.0);
}

#[test]
fn the_breaker_opens_and_one_trial_closes_it() {
    let (sink, clock) = (Sink::default(), ManualClock::default());
    sink.behave(Behaviour::Fails);
    let breaker = BreakerConfig { failures: 2, open_for: Duration::from_secs(10) };
    let pipeline = start(&by_hand(), vec![sink.spec("a").breaker(breaker)], &clock);
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    let read = || pipeline.snapshot().exporters[0].clone();
    let lost = |reason| read().lost(reason);
    for (failed, open) in [(1, 0), (2, 0), (2, 1), (2, 2)] {
        pipeline.recorder().count(counter, 1);
        pipeline.flush();
        eventually("the loss", || {
            (lost(LossReason::SendFailed), lost(LossReason::BreakerOpen)) == (failed, open)
        });
    }
    eventually("an open breaker", || read().breaker == BreakerState::Open);
    assert_eq!(sink.0.attempts.load(Ordering::SeqCst), 2, "open is not tried");
    sink.behave(Behaviour::Takes);
    clock.advance(Duration::from_secs(10));
    pipeline.recorder().count(counter, 1);
    pipeline.flush();
    sink.wait_until_counted(1.0);
    eventually("a closed breaker", || read().breaker == BreakerState::Closed);
}

#[test]
fn what_can_be_sent_again_is() {
    let (sink, clock) = (Sink::default(), ManualClock::default());
    sink.behave(Behaviour::Busy);
    let pipeline = start(&by_hand(), vec![sink.spec("a").attempts(3)], &clock);
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    pipeline.recorder().count(counter, 4);
    pipeline.flush();
    eventually("a first attempt", || pipeline.snapshot().exporters[0].errors == 1);
    sink.behave(Behaviour::Takes);
    eventually("the batch", || {
        // The exporter may look at the clock only now, to wait from there.
        clock.advance(Duration::from_secs(1));
        sink.counted() == 4.0
    });
    assert!(pipeline.shutdown(LONG).is_nothing());
}

#[test]
fn exporters_that_changed_in_anything_are_replaced() {
    let sink = Sink::default();
    let pipeline = start(&by_hand(), vec![sink.spec("a")], &ManualClock::default());
    let breaker = BreakerConfig { failures: 1, ..BreakerConfig::default() };
    let changed: [&dyn Fn(ExporterSpec) -> ExporterSpec; 5] = [
        &|spec| spec,
        &|spec| spec.identity("another"),
        &|spec| spec.breaker(breaker),
        &|spec| spec.attempts(1),
        &|spec| spec.queue(1, 1),
    ];
    for (made, change) in changed.into_iter().enumerate() {
        pipeline.set_exporters(vec![change(sink.spec("a"))]).unwrap();
        pipeline.flush();
        let made = made as u64 + 1;
        eventually("an exporter of its own", || sink.0.made.load(Ordering::SeqCst) == made);
    }
    assert!(!format!("{:?}", sink.spec("a").identity("secret")).contains("secret"));
}

#[test]
fn a_monitor_outlives_its_pipeline() {
    let pipeline = start(&by_hand(), vec![Sink::default().spec("a")], &ManualClock::default());
    let monitor = pipeline.monitor();
    assert_eq!(monitor.snapshot().exporters.len(), 1);
    pipeline.flush();
    assert!(pipeline.shutdown(LONG).is_nothing());
    assert_eq!((monitor.snapshot().exporters.len(), monitor.snapshot().batches), (0, 2));
}

#[test]
fn shutdown_sends_what_there_is() {
    let sink = Sink::default();
    let pipeline = start(&by_hand(), vec![sink.spec("a")], &ManualClock::default());
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    let recorder = pipeline.recorder();
    // As many as the shard of one thread holds if no worker has looked yet.
    (0..4_096).for_each(|_| assert!(recorder.count(counter, 1)));
    assert_eq!(pipeline.shutdown(LONG), Lost::default());
    assert_eq!(sink.counted(), 4_096.0);
    assert!(!recorder.count(counter, 1), "nothing is kept that nobody will send");
}

#[test]
fn shutdown_does_not_wait_for_ever_and_says_what_is_lost() {
    let sink = Sink::default();
    sink.behave(Behaviour::Hangs);
    let pipeline = start(&by_hand(), vec![sink.spec("stuck")], &ManualClock::default());
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    for flushed in 1..=3 {
        pipeline.recorder().count(counter, 1);
        pipeline.flush();
        eventually("the first being under way", || sink.0.attempts.load(Ordering::SeqCst) > 0);
        assert!(flushed > 0);
    }
    let lost = pipeline.shutdown(Duration::from_millis(20));
    assert_eq!(lost.points, [(Arc::from("stuck"), 3)]);
    sink.behave(Behaviour::Takes);
}

#[test]
fn exporters_are_replaced_and_the_buffer_stays() {
    let [old, kept, new] = [Sink::default(), Sink::default(), Sink::default()];
    let specs = vec![old.spec("old"), kept.spec("kept").identity("1")];
    let pipeline = start(&by_hand(), specs, &ManualClock::default());
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    pipeline.recorder().count(counter, 1);
    pipeline.flush();
    [&old, &kept].iter().for_each(|sink| sink.wait_until_counted(1.0));
    pipeline.recorder().count(counter, 2);
    let specs = vec![kept.spec("kept").identity("1"), new.spec("new"), old.spec("new")];
    pipeline.set_exporters(specs).unwrap();
    pipeline.flush();
    kept.wait_until_counted(3.0);
    new.wait_until_counted(2.0);
    assert_eq!(old.counted(), 1.0);
    assert_eq!(kept.0.made.load(Ordering::SeqCst), 1, "the same one goes on");
    let names: Vec<_> = pipeline.snapshot().exporters.iter().map(|e| e.name.to_string()).collect();
    assert_eq!(names, ["kept", "new"]);
}

#[test]
fn the_figures_are_exposed() {
    let sink = Sink::default();
    let pipeline = start(&by_hand(), vec![sink.spec("dog")], &ManualClock::default());
    let counter = pipeline.catalog().metric("c").counter().unwrap();
    pipeline.recorder().count(counter, 1);
    pipeline.flush();
    sink.wait_until_counted(1.0);
    eventually("the figures", || pipeline.snapshot().exporters[0].batches == 1);
    let text = crate::Registry::new(1).render_with(pipeline.snapshot().families());
    for line in [
        "sallyport_push_samples_total 1",
        "sallyport_push_points_total{exporter=\"dog\"} 1",
        "sallyport_push_points_dropped_total{exporter=\"dog\",reason=\"queue_full\"} 0",
        "sallyport_push_breaker_state{exporter=\"dog\",state=\"closed\"} 1",
        "sallyport_push_samples_dropped_total{reason=\"buffer_full\"} 0",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
}
