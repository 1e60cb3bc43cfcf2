//! What is said of the sending of traces, under the names that are promised for it.

use prometheus::proto::MetricFamily;

use super::family::{Labels, counter, gauge, label};
use crate::tracing::{SpanLoss, TracingFigures};

pub(crate) fn tracing_families(figures: &TracingFigures) -> Vec<MetricFamily> {
    let alone = |value: u64| [(Labels::new(), value)];
    let dropped = SpanLoss::ALL
        .map(|loss| (vec![label("reason", loss.label())], figures.dropped[loss as usize]));
    vec![
        counter(
            "sallyport_tracing_spans_exported_total",
            "Spans that the receiver took.",
            alone(figures.exported),
        ),
        counter("sallyport_tracing_spans_dropped_total", "Spans lost, by reason.", dropped),
        counter(
            "sallyport_tracing_export_failures_total",
            "Requests to the receiver of traces that failed.",
            alone(figures.failures),
        ),
        gauge(
            "sallyport_tracing_spans_waiting",
            "Spans that wait to be sent.",
            [(Labels::new(), figures.waiting as f64)],
        ),
    ]
}
