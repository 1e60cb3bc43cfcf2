//! Families as the encoder takes them: a name, a help text, a type and labelled samples.
//!
//! It is apart so that the list of what is exposed reads as a list.

use prometheus::proto::{
    Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType, Summary,
};

/// The labels of one sample.
pub(super) type Labels = Vec<LabelPair>;

pub(super) fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

pub(super) fn counter(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, u64)>,
) -> MetricFamily {
    let samples = samples.into_iter().map(|(labels, count)| (labels, count as f64));
    seconds_total(name, help, samples)
}

/// As [`counter`], of what is no whole number.
pub(super) fn seconds_total(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, f64)>,
) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, total)| {
        let mut counter = Counter::default();
        counter.set_value(total);
        let mut metric = Metric::from_label(labels);
        metric.set_counter(counter);
        metric
    });
    family(name, help, MetricType::COUNTER, metrics.collect())
}

pub(super) fn gauge(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, f64)>,
) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, value)| {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(labels);
        metric.set_gauge(gauge);
        metric
    });
    family(name, help, MetricType::GAUGE, metrics.collect())
}

pub(super) fn histogram(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, Histogram)>,
) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, histogram)| {
        let mut metric = Metric::from_label(labels);
        metric.set_histogram(histogram);
        metric
    });
    family(name, help, MetricType::HISTOGRAM, metrics.collect())
}

pub(super) fn summary(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Labels, Summary)>,
) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, summary)| {
        let mut metric = Metric::from_label(labels);
        metric.set_summary(summary);
        metric
    });
    family(name, help, MetricType::SUMMARY, metrics.collect())
}

/// The encoder refuses a family without a name or metrics, and panics at an untyped one.
pub(super) fn is_encodable(family: &MetricFamily) -> bool {
    !family.name().is_empty()
        && !family.get_metric().is_empty()
        && family.get_field_type() != MetricType::UNTYPED
}

/// A family as the list of one that the encoder takes.
pub(super) fn alone(family: &MetricFamily) -> &[MetricFamily] {
    std::slice::from_ref(family)
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}
