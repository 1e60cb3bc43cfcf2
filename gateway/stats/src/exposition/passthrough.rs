//! What is exposed of connections that are passed on.

use prometheus::proto::MetricFamily;

use super::Built;
use super::family::{Labels, counter, gauge, label};
use crate::passthrough::PassthroughFigures;

pub(super) const PASSTHROUGH: &[Built<[PassthroughFigures]>] = &[
    ("sallyport_passthrough_connections_total", connections),
    ("sallyport_passthrough_connections_active", active),
    ("sallyport_passthrough_bytes_total", bytes),
];

fn connections(name: &str, all: &[PassthroughFigures]) -> MetricFamily {
    let samples = all.iter().flat_map(|it| {
        it.results.map(|(result, count)| (labels(it, Some(("result", result.label()))), count))
    });
    counter(name, "Connections passed on without being terminated that have ended.", samples)
}

fn active(name: &str, all: &[PassthroughFigures]) -> MetricFamily {
    let samples = all.iter().map(|it| (labels(it, None), it.active as f64));
    gauge(name, "Connections that are being passed on.", samples)
}

fn bytes(name: &str, all: &[PassthroughFigures]) -> MetricFamily {
    let samples = all.iter().flat_map(|it| {
        it.bytes.map(|(direction, count)| (labels(it, Some(("direction", direction))), count))
    });
    counter(name, "Bytes of connections that are passed on, to the origin and back.", samples)
}

fn labels(figures: &PassthroughFigures, more: Option<(&str, &str)>) -> Labels {
    let (listener, upstream) = &figures.name;
    let names = [("listener", &**listener), ("upstream", &**upstream)];
    names.into_iter().chain(more).map(|(name, value)| label(name, value)).collect()
}
