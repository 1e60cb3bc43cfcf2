use std::sync::{Arc, Mutex};

use super::*;
use crate::{
    Registry,
    exposition::{counter_family, histogram_family},
    push::{
        Batch, Catalog, ExportError, Exporter, ExporterSpec, PipelineConfig, Tally, Value,
        sketch::Sketch,
    },
};

const LONG: Duration = Duration::from_secs(20);

/// What arrived, by name and labels.
type Arrived = Vec<(String, String, Value)>;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Arrived>>);

impl Exporter for Sink {
    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        for point in batch.points() {
            let labels = point.series.attributes().iter();
            let labels: Vec<_> = labels.map(|(key, value)| format!("{key}={value}")).collect();
            let name = point.series.name().to_owned();
            self.0.lock().unwrap().push((name, labels.join(","), point.value.clone()));
            tally.points += 1;
        }
        Ok(())
    }
}

/// What `read` has pushed, whatever of it in one window.
fn pushed(config: PipelineConfig, read: impl FnOnce(&Pipeline)) -> Arrived {
    let sink = Sink::default();
    let exporter = sink.clone();
    let spec = ExporterSpec::new("sink", move || Ok(Box::new(exporter.clone())));
    let config = PipelineConfig { flush_interval: Duration::from_secs(3_600), ..config };
    let pipeline = Pipeline::start(&config, Arc::new(Catalog::default()), vec![spec]).unwrap();
    read(&pipeline);
    let lost = pipeline.shutdown(LONG);
    assert!(lost.is_nothing(), "{lost:?}");
    sink.0.lock().unwrap().clone()
}

fn requests(totals: &[(&str, f64)]) -> MetricFamily {
    counter_family("requests_total", "route", totals)
}

fn counts(arrived: &Arrived) -> Vec<(&str, f64)> {
    let count = |value: &Value| match value {
        Value::Count(count) => *count,
        other => panic!("no count: {other:?}"),
    };
    arrived.iter().map(|(_, labels, value)| (&**labels, count(value))).collect()
}

#[test]
fn what_was_added_is_recorded_and_what_was_before_is_not() {
    let arrived = pushed(PipelineConfig::default(), |pipeline| {
        let mut sampler = Sampler::new(100);
        sampler.reading(None).family(&requests(&[("a", 10.0)]));
        for totals in [[("a", 13.0), ("b", 2.0)], [("a", 13.0), ("b", 2.5)]] {
            sampler.reading(Some(pipeline)).family(&requests(&totals));
            pipeline.flush();
        }
    });
    assert_eq!(counts(&arrived), [("route=a", 3.0), ("route=b", 2.0), ("route=b", 0.5)]);
}

#[test]
fn a_total_that_went_down_began_anew() {
    let arrived = pushed(PipelineConfig::default(), |pipeline| {
        let mut sampler = Sampler::new(100);
        for total in [10.0, 4.0] {
            sampler.reading(Some(pipeline)).family(&requests(&[("a", total)]));
            pipeline.flush();
        }
    });
    assert_eq!(counts(&arrived), [("route=a", 10.0), ("route=a", 4.0)]);
}

#[test]
fn a_series_that_returns_goes_on_from_where_it_was() {
    let arrived = pushed(PipelineConfig::default(), |pipeline| {
        let mut sampler = Sampler::new(100);
        for totals in [&[("a", 10.0)][..], &[("b", 1.0)], &[("a", 12.0)]] {
            sampler.reading(Some(pipeline)).family(&requests(totals));
        }
    });
    assert_eq!(counts(&arrived), [("route=a", 12.0), ("route=b", 1.0)]);
}

#[test]
fn totals_that_are_gone_are_forgotten_when_there_are_many() {
    let mut sampler = Sampler::new(2);
    sampler.reading(None).family(&requests(&[("a", 1.0), ("b", 1.0), ("c", 1.0)]));
    sampler.reading(None).family(&requests(&[("d", 1.0)]));
    assert_eq!(sampler.totals.len(), 4, "those of the reading before are kept");
    sampler.reading(None).family(&requests(&[("d", 2.0)]));
    assert_eq!(sampler.totals.len(), 1);
}

#[test]
fn more_than_the_buffer_holds_is_recorded_without_loss() {
    let series: usize = if cfg!(miri) { 50 } else { 5_000 };
    let names: Vec<String> = (0..series).map(|index| index.to_string()).collect();
    let totals: Vec<(&str, f64)> = names.iter().map(|name| (&**name, 1.0)).collect();
    let config = PipelineConfig { capacity: 1, shards: 1, workers: 1, ..PipelineConfig::default() };
    let arrived = pushed(config, |pipeline| {
        Sampler::new(10_000).reading(Some(pipeline)).family(&requests(&totals));
        assert_eq!(pipeline.snapshot().dropped_total(), 0);
    });
    assert_eq!(arrived.len(), series);
}

fn sketch(arrived: &Arrived) -> &Sketch {
    match &arrived[..] {
        [(_, _, Value::Sketch(sketch))] => sketch,
        other => panic!("no distribution: {other:?}"),
    }
}

#[test]
fn buckets_become_values_in_their_middle() {
    let arrived = pushed(PipelineConfig::default(), |pipeline| {
        let mut sampler = Sampler::new(100);
        let edges = [(1.0, 5), (3.0, 9)];
        sampler.reading(Some(pipeline)).family(&histogram_family("wait_seconds", &edges, 10));
        let edges = [(1.0, 5), (3.0, 11)];
        sampler.reading(Some(pipeline)).family(&histogram_family("wait_seconds", &edges, 12));
    });
    let sketch = sketch(&arrived);
    assert_eq!((sketch.count(), sketch.min(), sketch.max()), (12, Some(0.5), Some(3.0)));
    assert!((sketch.sum() - (5.0 * 0.5 + 6.0 * 2.0 + 3.0)).abs() < 1e-9, "{}", sketch.sum());
}

#[test]
fn a_registrys_durations_arrive_with_their_counts() {
    let registry = Registry::new(1);
    let routes = registry.routes(&[(Arc::from("shop"), Arc::from("checkout"))]);
    let arrived = pushed(PipelineConfig::default(), |pipeline| {
        let mut sampler = Sampler::new(1_000);
        for ms in [3, 3, 40] {
            routes[0].begin();
            routes[0].finish(200, None, Duration::from_millis(ms));
            let mut reading = sampler.reading(Some(pipeline));
            registry.durations(|_, route, counts| {
                reading.durations("took_seconds", &[("route", route)], counts);
            });
            assert_eq!(reading.refused(), None);
        }
    });
    assert_eq!(arrived[0].1, "route=checkout");
    let sketch = sketch(&arrived);
    assert_eq!(sketch.count(), 3);
    assert!((sketch.sum() - 0.046).abs() < 0.046 / 32.0, "{}", sketch.sum());
}

#[test]
fn a_name_of_two_kinds_is_told() {
    pushed(PipelineConfig::default(), |pipeline| {
        pipeline.catalog().metric("requests_total").gauge().unwrap();
        let mut sampler = Sampler::new(100);
        let mut reading = sampler.reading(Some(pipeline));
        reading.family(&requests(&[("a", 1.0)]));
        assert_eq!(reading.refused(), Some(RegisterError::Conflict));
    });
}

/// The names and labels of the series that ended, by reading.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Vec<Vec<String>>>>);

impl Exporter for Ended {
    fn export(&mut self, batch: &Batch, tally: &mut Tally) -> Result<(), ExportError> {
        let text = |series: &Arc<crate::push::Series>| {
            let labels = series.attributes().iter().map(|(key, value)| format!("{key}={value}"));
            format!("{} {}", series.name(), labels.collect::<Vec<_>>().join(","))
        };
        let mut ended: Vec<_> = batch.retired().iter().map(text).collect();
        ended.sort();
        self.0.lock().unwrap().push(ended);
        tally.points += batch.points().len() as u64;
        Ok(())
    }
}

#[test]
fn a_series_that_a_whole_reading_does_not_find_has_ended() {
    let ended = Ended::default();
    let exporter = ended.clone();
    let spec = ExporterSpec::new("ended", move || Ok(Box::new(exporter.clone())));
    let config = PipelineConfig { flush_interval: LONG * 100, ..PipelineConfig::default() };
    let pipeline = Pipeline::start(&config, Arc::new(Catalog::default()), vec![spec]).unwrap();
    let mut sampler = Sampler::new(100);
    let edges = [(1.0, 5)];
    let mut read = |totals: &[(&str, f64)], waits: bool, finish: bool| {
        let mut reading = sampler.reading(Some(&pipeline));
        reading.family(&requests(totals));
        if waits {
            reading.family(&histogram_family("wait_seconds", &edges, 10));
        }
        if finish {
            reading.finish();
        }
        pipeline.flush();
    };
    // Totals that do not move are found all the same, and a zero is no series yet.
    read(&[("a", 1.0), ("b", 1.0), ("zero", 0.0)], true, true);
    read(&[("a", 1.0), ("b", 1.0)], true, true);
    read(&[("a", 2.0)], true, false);
    read(&[("a", 2.0)], false, true);
    read(&[("b", 3.0)], false, true);
    assert!(pipeline.shutdown(LONG).is_nothing());
    let expected: [&[&str]; 6] = [
        &[],
        &[],
        &[],
        &["requests_total route=b", "wait_seconds "],
        &["requests_total route=a"],
        &[],
    ];
    assert_eq!(*ended.0.lock().unwrap(), expected);
}
