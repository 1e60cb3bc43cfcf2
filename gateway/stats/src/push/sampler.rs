//! From totals to what was added: reads what is counted for ever and records what came since the
//! last reading.
//!
//! For statistics that are kept anyway, as for a scrape: pushing them costs a reading now and then
//! and nothing where they are counted. A total that is lower than last time began anew and is taken
//! whole. What a series had before is kept by a hash of its name and labels, a few dozen bytes each.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::{
    metric::{MetricBuilder, RegisterError},
    pipeline::Pipeline,
    recorder::{PushRecorder, Recorder},
    unit::Unit,
};
use crate::histogram;

/// Samples waiting from which on they are put together first. No shard is smaller than this.
const WAITING_MAX: usize = 64;

/// As many at once as a single float counts exactly.
const AT_ONCE_MAX: u64 = 1 << 24;

/// What every total was at the last reading.
#[derive(Debug)]
pub struct Sampler {
    hashers: [RandomState; 2],
    totals: HashMap<u128, Total>,
    totals_max: usize,
    reading: u64,
}

#[derive(Debug)]
struct Total {
    value: f64,
    /// The last reading that it was in.
    reading: u64,
}

impl Sampler {
    /// Knows nothing yet. Totals that no longer occur are forgotten once there are more than
    /// `totals_max` in all; until then a series may return and go on from where it was.
    pub fn new(totals_max: usize) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        Self { hashers, totals: HashMap::new(), totals_max, reading: 0 }
    }

    /// Begins a reading that is recorded into `pipeline`, or, with `None`, only remembered: what
    /// was counted before it is never recorded.
    pub fn reading<'a>(&'a mut self, pipeline: Option<&'a Pipeline>) -> Reading<'a> {
        if self.totals.len() > self.totals_max {
            let last = self.reading;
            self.totals.retain(|_, total| total.reading == last);
        }
        self.reading += 1;
        let to = pipeline.map(|pipeline| (pipeline, pipeline.recorder()));
        Reading { sampler: self, to, refused: None }
    }

    /// What was added to the total of `what` since it was read last.
    fn added(&mut self, what: impl std::hash::Hash, value: f64) -> f64 {
        let [one, other] = &self.hashers;
        let key = u128::from(one.hash_one(&what)) << 64 | u128::from(other.hash_one(&what));
        let reading = self.reading;
        let before = self.totals.insert(key, Total { value, reading });
        let before = before.map_or(0.0, |total| total.value);
        if value < before { value } else { value - before }
    }
}

/// One reading under way.
#[derive(Debug)]
pub struct Reading<'a> {
    sampler: &'a mut Sampler,
    to: Option<(&'a Pipeline, PushRecorder)>,
    refused: Option<RegisterError>,
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

impl Reading<'_> {
    /// Reads a family: of counters what was added, of gauges the value, of histograms what was added
    /// to each bucket, as values in its middle. Summaries, which cannot be added up, are left out.
    pub fn family(&mut self, family: &MetricFamily) {
        let name = family.name();
        for metric in family.get_metric() {
            let labels = labels(metric);
            match family.get_field_type() {
                MetricType::COUNTER => {
                    self.counter(name, &labels, metric.get_counter().get_value())
                }
                MetricType::GAUGE => self.gauge(name, &labels, metric.get_gauge().get_value()),
                MetricType::HISTOGRAM => self.histogram(name, &labels, metric),
                _ => {}
            }
        }
    }

    /// Reads durations counted in the buckets of [`histogram`](crate::histogram), as a timing.
    pub fn durations(&mut self, name: &str, labels: &[(&str, &str)], counts: &[u64]) {
        for (bucket, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let added = self.sampler.added((name, labels, bucket), count as f64);
            self.many(name, labels, histogram::middle(bucket).as_secs_f64(), added as u64);
        }
    }

    /// Why a metric could not be recorded, where one could not.
    pub fn refused(&self) -> Option<RegisterError> {
        self.refused
    }

    fn counter(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let added = self.sampler.added((name, labels), value);
        if added > 0.0 {
            let unit = unit(name.trim_end_matches("_total"), Unit::Count);
            self.record(name, labels, |metric, recorder| {
                let counter = metric.unit(unit).counter()?;
                // What is lost is counted by the buffer.
                recorder.add(counter, added);
                Ok(())
            });
        }
    }

    fn gauge(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.record(name, labels, |metric, recorder| {
            recorder.set(metric.unit(unit(name, Unit::None)).gauge()?, value);
            Ok(())
        });
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], metric: &Metric) {
        let histogram = metric.get_histogram();
        let (mut edge, mut below) = (0.0, 0);
        for (index, bucket) in histogram.get_bucket().iter().enumerate() {
            let (upper, counted) = (bucket.upper_bound(), bucket.cumulative_count());
            let middle = if upper.is_finite() { f64::midpoint(edge, upper) } else { edge };
            self.bucket(name, labels, index, middle, counted.saturating_sub(below));
            (edge, below) = (if upper.is_finite() { upper } else { edge }, counted);
        }
        let above = histogram.get_sample_count().saturating_sub(below);
        self.bucket(name, labels, usize::MAX, edge, above);
    }

    fn bucket(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        index: usize,
        value: f64,
        count: u64,
    ) {
        if count > 0 {
            let added = self.sampler.added((name, labels, index), count as f64);
            self.many(name, labels, value, added as u64);
        }
    }

    /// Records `n` values that are alike.
    fn many(&mut self, name: &str, labels: &[(&str, &str)], value: f64, n: u64) {
        let mut left = n;
        while left > 0 {
            let now = left.min(AT_ONCE_MAX);
            left -= now;
            self.record(name, labels, |metric, recorder| {
                if name.ends_with("_seconds") {
                    let duration = Duration::try_from_secs_f64(value).unwrap_or_default();
                    recorder.time_many(metric.timing()?, duration, now as u32);
                } else {
                    let histogram = metric.unit(unit(name, Unit::None)).histogram()?;
                    recorder.observe_many(histogram, value, now as u32);
                }
                Ok(())
            });
        }
    }

    fn record(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        record: impl FnOnce(MetricBuilder<'_>, &PushRecorder) -> Result<(), RegisterError>,
    ) {
        let Some((pipeline, recorder)) = &self.to else { return };
        if recorder.waiting() >= WAITING_MAX {
            pipeline.gather();
        }
        let metric = pipeline.catalog().metric(name).attributes(labels.iter().copied());
        if let Err(error) = record(metric, recorder) {
            self.refused = Some(error);
        }
    }
}

fn labels(metric: &Metric) -> Labels<'_> {
    metric.get_label().iter().map(|label| (label.name(), label.value())).collect()
}

/// The unit that a name ends with, as Prometheus has it.
fn unit(name: &str, otherwise: Unit) -> Unit {
    match name.rsplit('_').next() {
        Some("seconds") => Unit::Seconds,
        Some("bytes") => Unit::Bytes,
        _ => otherwise,
    }
}

#[cfg(test)]
mod tests;
