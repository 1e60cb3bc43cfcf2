//! From totals to what was added: reads what is counted for ever and records what came since the
//! last reading.
//!
//! For statistics that are kept anyway, as for a scrape: pushing them costs a reading now and then
//! and nothing where they are counted. A total that is lower than last time began anew and is taken
//! whole. What a series had before is kept by a hash of its name and labels, a few dozen bytes each.
//! A series that a whole reading no longer finds has ended, which receivers of running totals must
//! be told: they would repeat its last value for ever.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::{
    catalog::Catalog,
    metric::{MetricBuilder, RegisterError},
    pipeline::Pipeline,
    recorder::{PushRecorder, Recorder},
    series::SeriesId,
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
    /// Series that were recorded in `catalog`, by the key of their name and labels.
    recorded: HashMap<u128, RecordedSeries>,
    /// Whose series they are.
    catalog: Option<Arc<Catalog>>,
    /// How many of them the reading under way has found.
    found: usize,
}

#[derive(Debug)]
struct RecordedSeries {
    id: SeriesId,
    /// The last reading that found it.
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
        Self {
            hashers,
            totals: HashMap::new(),
            totals_max,
            reading: 0,
            recorded: HashMap::new(),
            catalog: None,
            found: 0,
        }
    }

    /// Begins a reading that is recorded into `pipeline`, or, with `None`, only remembered: what
    /// was counted before it is never recorded.
    pub fn reading<'a>(&'a mut self, pipeline: Option<&'a Pipeline>) -> Reading<'a> {
        if self.totals.len() > self.totals_max {
            let last = self.reading;
            self.totals.retain(|_, total| total.reading == last);
        }
        self.reading += 1;
        self.found = 0;
        let catalog = pipeline.map(Pipeline::catalog);
        let same = match (&self.catalog, catalog) {
            (Some(known), Some(now)) => Arc::ptr_eq(known, now),
            (_, now) => now.is_none(),
        };
        if !same {
            self.recorded.clear();
            self.catalog = catalog.cloned();
        }
        let to = pipeline.map(|pipeline| (pipeline, pipeline.recorder()));
        Reading { sampler: self, to, refused: None }
    }

    /// The key of a series. Notes that the reading under way has found it.
    fn find(&mut self, name: &str, labels: &[(&str, &str)]) -> u128 {
        let [one, other] = &self.hashers;
        let series = (name, labels);
        let key = u128::from(one.hash_one(series)) << 64 | u128::from(other.hash_one(series));
        if let Some(series) = self.recorded.get_mut(&key) {
            self.found += usize::from(series.reading != self.reading);
            series.reading = self.reading;
        }
        key
    }

    /// Notes that the series of this key was recorded under `id`.
    fn record(&mut self, key: u128, id: SeriesId) {
        let reading = self.reading;
        self.recorded.entry(key).or_insert_with(|| {
            self.found += 1;
            RecordedSeries { id, reading }
        });
    }

    /// What was added to the total of the series of this key, or to its bucket `part`, since it was
    /// read last.
    fn added(&mut self, key: u128, part: usize, value: f64) -> f64 {
        // An odd factor keeps the parts of one series apart; other series are apart by their hash.
        const APART: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
        let key = key.wrapping_add((part as u128).wrapping_mul(APART));
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

/// A series that the reading has come to.
#[derive(Clone, Copy)]
struct Found<'a> {
    name: &'a str,
    labels: &'a [(&'a str, &'a str)],
    key: u128,
}

impl Reading<'_> {
    /// Reads a family: of counters what was added, of gauges the value, of histograms what was added
    /// to each bucket, as values in its middle. Summaries, which cannot be added up, are left out.
    pub fn family(&mut self, family: &MetricFamily) {
        let name = family.name();
        for metric in family.get_metric() {
            let labels = labels(metric);
            let series = self.find(name, &labels);
            match family.get_field_type() {
                MetricType::COUNTER => self.counter(series, metric.get_counter().get_value()),
                MetricType::GAUGE => self.gauge(series, metric.get_gauge().get_value()),
                MetricType::HISTOGRAM => self.histogram(series, metric),
                _ => {}
            }
        }
    }

    /// Reads durations counted in the buckets of [`histogram`](crate::histogram), as a timing.
    pub fn durations(&mut self, name: &str, labels: &[(&str, &str)], counts: &[u64]) {
        let series = self.find(name, labels);
        for (bucket, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let added = self.sampler.added(series.key, bucket, count as f64);
            self.many(series, histogram::middle(bucket).as_secs_f64(), added as u64);
        }
    }

    /// Ends a reading of everything there is: series recorded before that it has not found have ended.
    pub fn finish(self) {
        let Some((pipeline, _)) = &self.to else { return };
        let Sampler { recorded, found, reading, .. } = self.sampler;
        if *found < recorded.len() {
            let ended = recorded.extract_if(|_, series| series.reading != *reading);
            let mut ended: HashSet<SeriesId> = ended.map(|(_, series)| series.id).collect();
            // Where the catalogue was full, one series stands for several.
            for series in recorded.values() {
                ended.remove(&series.id);
            }
            pipeline.retire(ended);
        }
    }

    /// Why a metric could not be recorded, where one could not.
    pub fn refused(&self) -> Option<RegisterError> {
        self.refused
    }

    fn find<'s>(&mut self, name: &'s str, labels: &'s [(&'s str, &'s str)]) -> Found<'s> {
        Found { name, labels, key: self.sampler.find(name, labels) }
    }

    fn counter(&mut self, series: Found<'_>, value: f64) {
        let added = self.sampler.added(series.key, 0, value);
        if added > 0.0 {
            let unit = unit(series.name.trim_end_matches("_total"), Unit::Count);
            self.record(series, |metric, recorder| {
                let counter = metric.unit(unit).counter()?;
                // What is lost is counted by the buffer.
                recorder.add(counter, added);
                Ok(counter.into())
            });
        }
    }

    fn gauge(&mut self, series: Found<'_>, value: f64) {
        self.record(series, |metric, recorder| {
            let gauge = metric.unit(unit(series.name, Unit::None)).gauge()?;
            recorder.set(gauge, value);
            Ok(gauge.into())
        });
    }

    fn histogram(&mut self, series: Found<'_>, metric: &Metric) {
        let histogram = metric.get_histogram();
        let (mut edge, mut below) = (0.0, 0);
        for (index, bucket) in histogram.get_bucket().iter().enumerate() {
            let (upper, counted) = (bucket.upper_bound(), bucket.cumulative_count());
            let middle = if upper.is_finite() { f64::midpoint(edge, upper) } else { edge };
            self.bucket(series, index, middle, counted.saturating_sub(below));
            (edge, below) = (if upper.is_finite() { upper } else { edge }, counted);
        }
        let above = histogram.get_sample_count().saturating_sub(below);
        self.bucket(series, usize::MAX, edge, above);
    }

    fn bucket(&mut self, series: Found<'_>, index: usize, value: f64, count: u64) {
        if count > 0 {
            let added = self.sampler.added(series.key, index, count as f64);
            self.many(series, value, added as u64);
        }
    }

    /// Records `count` values that are alike.
    fn many(&mut self, series: Found<'_>, value: f64, count: u64) {
        let mut left = count;
        while left > 0 {
            let now = left.min(AT_ONCE_MAX);
            left -= now;
            self.record(series, |metric, recorder| {
                if series.name.ends_with("_seconds") {
                    let duration = Duration::try_from_secs_f64(value).unwrap_or_default();
                    let timing = metric.timing()?;
                    recorder.time_many(timing, duration, now as u32);
                    Ok(timing.into())
                } else {
                    let histogram = metric.unit(unit(series.name, Unit::None)).histogram()?;
                    recorder.observe_many(histogram, value, now as u32);
                    Ok(histogram.into())
                }
            });
        }
    }

    fn record(
        &mut self,
        series: Found<'_>,
        record: impl FnOnce(MetricBuilder<'_>, &PushRecorder) -> Result<SeriesId, RegisterError>,
    ) {
        let Some((pipeline, recorder)) = &self.to else { return };
        if recorder.waiting() >= WAITING_MAX {
            pipeline.gather();
        }
        let attributes = series.labels.iter().copied();
        let metric = pipeline.catalog().metric(series.name).attributes(attributes);
        match record(metric, recorder) {
            Ok(id) => self.sampler.record(series.key, id),
            Err(error) => self.refused = Some(error),
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
