//! From points to OTLP's messages.

use std::sync::Arc;

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, DataPointFlags, ExponentialHistogram,
        ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint, Metric,
        NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
        exponential_histogram_data_point::Buckets, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};

use super::{Histograms, OtlpConfig, Temporality};
use crate::push::{
    batch::{Point, Value},
    edges::exponents,
    sketch::Sketch,
    unit::Unit,
};

/// Makes requests, all with the same resource.
#[derive(Debug)]
pub(super) struct Converter {
    resource: Vec<KeyValue>,
    temporality: AggregationTemporality,
    histograms: Histograms,
}

/// A point as it is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataPoint<'a> {
    pub(super) point: &'a Point,
    /// Since when it counts, in milliseconds since 1970.
    pub(super) start_ms: u64,
    /// Whether its series has ended: it then has no value, and says so.
    pub(super) has_ended: bool,
}

/// The flag of a data point without a value: the metrics data model, "Data point flags".
const NO_RECORDED_VALUE: u32 = DataPointFlags::NoRecordedValueMask as u32;

impl DataPoint<'_> {
    fn start(&self) -> u64 {
        self.start_ms * NS_PER_MS
    }

    fn flags(&self) -> u32 {
        if self.has_ended { NO_RECORDED_VALUE } else { 0 }
    }
}

const NS_PER_MS: u64 = 1_000_000;

impl Converter {
    pub(super) fn new(config: &OtlpConfig) -> Self {
        let resource = config.resource.iter().map(|(key, value)| attribute(key, value));
        let temporality = match config.temporality {
            Temporality::Delta => AggregationTemporality::Delta,
            Temporality::Cumulative => AggregationTemporality::Cumulative,
        };
        Self { resource: resource.collect(), temporality, histograms: config.histograms }
    }

    /// Points of one name that follow each other become one metric.
    pub(super) fn request(
        &self,
        points: &[DataPoint<'_>],
        end_ms: u64,
    ) -> ExportMetricsServiceRequest {
        let end = end_ms * NS_PER_MS;
        let mut points = points.to_vec();
        let name = |it: &DataPoint<'_>| Arc::clone(&it.point.series.name);
        points.sort_by_key(name);
        let metrics = points.chunk_by(|one, other| name(one) == name(other));
        let metrics = metrics.map(|points| self.metric(points, end)).collect();
        let scope = InstrumentationScope {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let resource = Resource { attributes: self.resource.clone(), ..Resource::default() };
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(resource),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
    }

    fn metric(&self, points: &[DataPoint<'_>], end: u64) -> Metric {
        let Some(first) = points.first().map(|first| first.point) else { return Metric::default() };
        let temporality = self.temporality as i32;
        let unit = first.series.unit();
        let data = match first.value {
            Value::Count(_) => Data::Sum(Sum {
                data_points: points.iter().map(|point| number(point, end)).collect(),
                aggregation_temporality: temporality,
                is_monotonic: true,
            }),
            Value::Gauge(_) => Data::Gauge(Gauge {
                data_points: points.iter().map(|point| number(point, end)).collect(),
            }),
            Value::Sketch(_) | Value::Raw(_) if self.histograms == Histograms::Explicit => {
                Data::Histogram(Histogram {
                    data_points: points.iter().map(|point| explicit(point, unit, end)).collect(),
                    aggregation_temporality: temporality,
                })
            }
            Value::Sketch(_) | Value::Raw(_) => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: points.iter().map(|point| exponential(point, end)).collect(),
                aggregation_temporality: temporality,
            }),
        };
        Metric {
            name: first.series.name().to_owned(),
            unit: unit.ucum().to_owned(),
            data: Some(data),
            ..Metric::default()
        }
    }
}

fn number(it: &DataPoint<'_>, end: u64) -> NumberDataPoint {
    let (value, start) = match it.point.value {
        Value::Count(value) => (value, it.start()),
        Value::Gauge(value) => (value, 0),
        Value::Sketch(_) | Value::Raw(_) => (0.0, it.start()),
    };
    NumberDataPoint {
        attributes: attributes(it.point),
        start_time_unix_nano: start,
        time_unix_nano: end,
        value: (!it.has_ended).then(|| figure(value)),
        flags: it.flags(),
        ..NumberDataPoint::default()
    }
}

/// Whole numbers as such, where a double holds them exactly.
fn figure(value: f64) -> number_data_point::Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        return number_data_point::Value::AsInt(value as i64);
    }
    number_data_point::Value::AsDouble(value)
}

fn exponential(it: &DataPoint<'_>, end: u64) -> ExponentialHistogramDataPoint {
    let base = ExponentialHistogramDataPoint {
        attributes: attributes(it.point),
        start_time_unix_nano: it.start(),
        time_unix_nano: end,
        flags: it.flags(),
        ..ExponentialHistogramDataPoint::default()
    };
    if it.has_ended {
        return base;
    }
    let sketch = it.point.value.sketch().unwrap_or_default();
    let bucket_counts = sketch.counts().iter().map(|count| u64::from(*count)).collect();
    ExponentialHistogramDataPoint {
        count: sketch.count(),
        sum: Some(sketch.sum()),
        scale: i32::from(sketch.scale()),
        zero_count: sketch.zero_count(),
        positive: Some(Buckets { offset: sketch.offset(), bucket_counts }),
        min: sketch.min(),
        max: sketch.max(),
        zero_threshold: (-64_f64).exp2(),
        ..base
    }
}

fn explicit(it: &DataPoint<'_>, unit: Unit, end: u64) -> HistogramDataPoint {
    let base = HistogramDataPoint {
        attributes: attributes(it.point),
        start_time_unix_nano: it.start(),
        time_unix_nano: end,
        flags: it.flags(),
        ..HistogramDataPoint::default()
    };
    if it.has_ended {
        return base;
    }
    let sketch = it.point.value.sketch().unwrap_or_default();
    let exponents = exponents(unit);
    HistogramDataPoint {
        count: sketch.count(),
        sum: Some(sketch.sum()),
        bucket_counts: between(&sketch, &exponents),
        explicit_bounds: exponents.iter().map(|exponent| f64::from(*exponent).exp2()).collect(),
        min: sketch.min(),
        max: sketch.max(),
        ..base
    }
}

/// Counts below the first edge, between each two, and above the last.
fn between(sketch: &Sketch, exponents: &[i32]) -> Vec<u64> {
    let edges = exponents.iter().map(|exponent| sketch.at_most(*exponent));
    let mut below = 0;
    edges
        .chain([sketch.count()])
        .map(|at_most| at_most.saturating_sub(std::mem::replace(&mut below, at_most)))
        .collect()
}

fn attributes(point: &Point) -> Vec<KeyValue> {
    point.series.attributes().iter().map(|(key, value)| attribute(key, value)).collect()
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = any_value::Value::StringValue(value.to_owned());
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
