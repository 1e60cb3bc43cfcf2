//! The push pipeline's own figures, under the names promised for them.

use prometheus::proto::MetricFamily;

use super::family::{Labels, counter, gauge, label};
use crate::push::{BreakerState, ExporterSnapshot, PushSnapshot};

/// Every figure of a snapshot, as families.
pub(crate) fn push_families(push: &PushSnapshot) -> Vec<MetricFamily> {
    let mut families = buffer(push);
    families.extend(counters(&push.exporters));
    families.push(drops(&push.exporters));
    families.push(breakers(&push.exporters));
    families.extend(queues(&push.exporters));
    families
}

fn buffer(push: &PushSnapshot) -> Vec<MetricFamily> {
    let alone = |value: u64| [(Labels::new(), value)];
    let level = |value: usize| [(Labels::new(), value as f64)];
    let dropped =
        push.dropped.iter().map(|(reason, count)| (vec![label("reason", reason)], *count));
    let bytes = [
        ("buffer", push.buffer_bytes),
        ("windows", push.window_bytes),
        ("catalog", push.catalog_bytes),
    ];
    let bytes = bytes.map(|(part, bytes)| (vec![label("part", part)], bytes as f64));
    vec![
        counter("sallyport_push_samples_total", "Samples recorded and kept.", alone(push.kept)),
        counter(
            "sallyport_push_samples_dropped_total",
            "Samples lost before any exporter, by reason.",
            dropped,
        ),
        gauge("sallyport_push_samples_waiting", "Samples in the buffer.", level(push.waiting)),
        gauge("sallyport_push_bytes", "Memory of the pipeline, queues not counted.", bytes),
        gauge("sallyport_push_series", "Series that can be recorded.", level(push.series)),
        counter(
            "sallyport_push_series_overflow_total",
            "Requests for a series beyond the bound.",
            alone(push.overflowed),
        ),
        counter("sallyport_push_flushes_total", "Batches made.", alone(push.batches)),
    ]
}

type Figure = fn(&ExporterSnapshot) -> u64;

fn counters(exporters: &[ExporterSnapshot]) -> Vec<MetricFamily> {
    let figures: [(&str, &str, Figure); 6] = [
        ("sallyport_push_points_total", "Points sent.", |exporter| exporter.points),
        ("sallyport_push_batches_total", "Batches sent.", |exporter| exporter.batches),
        ("sallyport_push_sent_bytes_total", "Bytes sent.", |exporter| exporter.bytes),
        ("sallyport_push_sends_total", "Datagrams, records or requests sent.", |exporter| {
            exporter.sends
        }),
        ("sallyport_push_errors_total", "Attempts that failed.", |exporter| exporter.errors),
        ("sallyport_push_panics_total", "Panics caught.", |exporter| exporter.panics),
    ];
    let family = |(name, help, figure): (&str, &str, Figure)| {
        let samples = exporters.iter().map(|exporter| (labels(exporter), figure(exporter)));
        counter(name, help, samples)
    };
    figures.into_iter().map(family).collect()
}

fn drops(exporters: &[ExporterSnapshot]) -> MetricFamily {
    let samples = exporters.iter().flat_map(|exporter| {
        exporter.dropped.iter().map(|(reason, count)| {
            let mut labels = labels(exporter);
            labels.push(label("reason", reason.label()));
            (labels, *count)
        })
    });
    counter("sallyport_push_points_dropped_total", "Points lost, by reason.", samples)
}

fn breakers(exporters: &[ExporterSnapshot]) -> MetricFamily {
    let samples = exporters.iter().flat_map(|exporter| {
        BreakerState::ALL.map(|state| {
            let mut labels = labels(exporter);
            labels.push(label("state", state.label()));
            (labels, f64::from(u8::from(exporter.breaker == state)))
        })
    });
    gauge("sallyport_push_breaker_state", "1 for the state the breaker is in.", samples)
}

fn queues(exporters: &[ExporterSnapshot]) -> [MetricFamily; 2] {
    let each = |figure: fn(&ExporterSnapshot) -> usize| {
        exporters.iter().map(move |exporter| (labels(exporter), figure(exporter) as f64))
    };
    [
        gauge(
            "sallyport_push_queued_batches",
            "Batches waiting for an exporter.",
            each(|exporter| exporter.queued_batches),
        ),
        gauge(
            "sallyport_push_queued_bytes",
            "What they take; exporters share batches.",
            each(|exporter| exporter.queued_bytes),
        ),
    ]
}

fn labels(exporter: &ExporterSnapshot) -> Labels {
    vec![label("exporter", &exporter.name)]
}
