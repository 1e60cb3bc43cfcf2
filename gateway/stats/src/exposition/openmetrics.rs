//! The families in OpenMetrics 1.0, which says what the older text format does not: which trace a
//! bucket's latest request belongs to.
//!
//! Names are the same in both. A counter whose name does not end in `_total` would get another one,
//! and is therefore given as `unknown`.

use std::fmt::Write;

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use crate::exemplar::{Exemplar, Exemplars};

/// What ends the text; a scrape that was cut off lacks it.
pub(super) const END: &str = "# EOF\n";

/// The family that has exemplars.
const DURATIONS: &str = "sallyport_route_request_duration_seconds";

/// Appends a family.
pub(super) fn append(text: &mut String, family: &MetricFamily, exemplars: &Exemplars) {
    let name = family.name();
    let (kind, base) = match family.get_field_type() {
        MetricType::COUNTER => match name.strip_suffix("_total") {
            Some(base) => ("counter", base),
            None => ("unknown", name),
        },
        MetricType::GAUGE => ("gauge", name),
        MetricType::HISTOGRAM => ("histogram", name),
        MetricType::SUMMARY => ("summary", name),
        MetricType::UNTYPED => ("unknown", name),
    };
    text.push_str("# HELP ");
    text.push_str(base);
    text.push(' ');
    escape(text, family.help());
    text.push_str("\n# TYPE ");
    text.push_str(base);
    text.push(' ');
    text.push_str(kind);
    text.push('\n');
    for metric in family.get_metric() {
        match family.get_field_type() {
            MetricType::COUNTER => {
                sample(text, name, "", metric, None, metric.get_counter().get_value());
            }
            MetricType::GAUGE => {
                sample(text, name, "", metric, None, metric.get_gauge().get_value())
            }
            MetricType::HISTOGRAM => histogram(text, name, metric, exemplars),
            MetricType::SUMMARY => summary(text, name, metric),
            MetricType::UNTYPED => {}
        }
    }
}

fn histogram(text: &mut String, name: &str, metric: &Metric, exemplars: &Exemplars) {
    let histogram = metric.get_histogram();
    let found = if name == DURATIONS { exemplars_of(metric, exemplars) } else { None };
    let mut is_bounded = false;
    for (index, bucket) in histogram.get_bucket().iter().enumerate() {
        let edge = bucket.upper_bound();
        is_bounded |= edge == f64::INFINITY;
        let count = bucket.cumulative_count() as f64;
        line(text, name, "_bucket", metric, Some(("le", edge)), count);
        end(text, found.as_ref().and_then(|found| found.get(index)?.as_ref()));
    }
    let count = histogram.get_sample_count() as f64;
    if !is_bounded {
        line(text, name, "_bucket", metric, Some(("le", f64::INFINITY)), count);
        end(text, found.as_ref().and_then(|found| found.last()?.as_ref()));
    }
    sample(text, name, "_sum", metric, None, histogram.get_sample_sum());
    sample(text, name, "_count", metric, None, count);
}

fn exemplars_of(metric: &Metric, exemplars: &Exemplars) -> Option<Box<[Option<Exemplar>]>> {
    let value = |name| {
        let label = metric.get_label().iter().find(|label| label.name() == name);
        label.map_or("", LabelPair::value)
    };
    exemplars.of(value("virtual_host"), value("route"))
}

fn summary(text: &mut String, name: &str, metric: &Metric) {
    let summary = metric.get_summary();
    for quantile in summary.get_quantile() {
        let label = Some(("quantile", quantile.quantile()));
        sample(text, name, "", metric, label, quantile.value());
    }
    sample(text, name, "_sum", metric, None, summary.sample_sum());
    sample(text, name, "_count", metric, None, summary.sample_count() as f64);
}

fn sample(
    text: &mut String,
    name: &str,
    suffix: &str,
    metric: &Metric,
    label: Option<(&str, f64)>,
    value: f64,
) {
    line(text, name, suffix, metric, label, value);
    end(text, None);
}

fn end(text: &mut String, exemplar: Option<&Exemplar>) {
    if let Some(exemplar) = exemplar {
        exemplar.append(text);
    }
    text.push('\n');
}

/// A sample without the end of its line.
fn line(
    text: &mut String,
    name: &str,
    suffix: &str,
    metric: &Metric,
    label: Option<(&str, f64)>,
    value: f64,
) {
    text.push_str(name);
    text.push_str(suffix);
    let mut separator = '{';
    for pair in metric.get_label() {
        text.push(separator);
        text.push_str(pair.name());
        text.push_str("=\"");
        escape(text, pair.value());
        text.push('"');
        separator = ',';
    }
    if let Some((name, value)) = label {
        text.push(separator);
        text.push_str(name);
        text.push_str("=\"");
        number(text, value);
        text.push('"');
        separator = ',';
    }
    if separator == ',' {
        text.push('}');
    }
    text.push(' ');
    number(text, value);
}

/// As the format has numbers that no arithmetic knows.
fn number(text: &mut String, value: f64) {
    if value == f64::INFINITY {
        text.push_str("+Inf");
    } else if value == f64::NEG_INFINITY {
        text.push_str("-Inf");
    } else {
        // Writing to a string cannot fail.
        write!(text, "{value}").unwrap_or_default();
    }
}

fn escape(text: &mut String, value: &str) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' => text.push_str("\\\""),
            _ => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests;
