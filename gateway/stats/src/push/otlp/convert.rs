//! From points to OTLP's messages.

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge,
        Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
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

/// The time a request is of, in nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Span {
    start: u64,
    end: u64,
}

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
        points: &[&Point],
        start_ms: u64,
        end_ms: u64,
    ) -> ExportMetricsServiceRequest {
        let span = Span { start: start_ms * 1_000_000, end: end_ms * 1_000_000 };
        let mut points = points.to_vec();
        points.sort_by(|one, other| one.series.name().cmp(other.series.name()));
        let same = |one: &&Point, other: &&Point| one.series.name() == other.series.name();
        let metrics = points.chunk_by(same).map(|points| self.metric(points, span)).collect();
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

    fn metric(&self, points: &[&Point], span: Span) -> Metric {
        let Some(first) = points.first() else { return Metric::default() };
        let temporality = self.temporality as i32;
        let unit = first.series.unit();
        let data = match first.value {
            Value::Count(_) => Data::Sum(Sum {
                data_points: points.iter().map(|point| number(point, span)).collect(),
                aggregation_temporality: temporality,
                is_monotonic: true,
            }),
            Value::Gauge(_) => Data::Gauge(Gauge {
                data_points: points.iter().map(|point| number(point, span)).collect(),
            }),
            Value::Sketch(_) | Value::Raw(_) if self.histograms == Histograms::Explicit => {
                Data::Histogram(Histogram {
                    data_points: points.iter().map(|point| explicit(point, unit, span)).collect(),
                    aggregation_temporality: temporality,
                })
            }
            Value::Sketch(_) | Value::Raw(_) => Data::ExponentialHistogram(ExponentialHistogram {
                data_points: points.iter().map(|point| exponential(point, span)).collect(),
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

fn number(point: &Point, span: Span) -> NumberDataPoint {
    let (value, start) = match point.value {
        Value::Count(value) => (value, span.start),
        Value::Gauge(value) => (value, 0),
        Value::Sketch(_) | Value::Raw(_) => (0.0, span.start),
    };
    NumberDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: start,
        time_unix_nano: span.end,
        value: Some(figure(value)),
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

fn exponential(point: &Point, span: Span) -> ExponentialHistogramDataPoint {
    let sketch = point.value.sketch().unwrap_or_default();
    let bucket_counts = sketch.counts().iter().map(|count| u64::from(*count)).collect();
    ExponentialHistogramDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: span.start,
        time_unix_nano: span.end,
        count: sketch.count(),
        sum: Some(sketch.sum()),
        scale: i32::from(sketch.scale()),
        zero_count: sketch.zero_count(),
        positive: Some(Buckets { offset: sketch.offset(), bucket_counts }),
        min: sketch.min(),
        max: sketch.max(),
        zero_threshold: (-64_f64).exp2(),
        ..ExponentialHistogramDataPoint::default()
    }
}

fn explicit(point: &Point, unit: Unit, span: Span) -> HistogramDataPoint {
    let sketch = point.value.sketch().unwrap_or_default();
    let exponents = exponents(unit);
    HistogramDataPoint {
        attributes: attributes(point),
        start_time_unix_nano: span.start,
        time_unix_nano: span.end,
        count: sketch.count(),
        sum: Some(sketch.sum()),
        bucket_counts: between(&sketch, &exponents),
        explicit_bounds: exponents.iter().map(|exponent| f64::from(*exponent).exp2()).collect(),
        min: sketch.min(),
        max: sketch.max(),
        ..HistogramDataPoint::default()
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
