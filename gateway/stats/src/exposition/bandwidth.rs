//! What is exposed of bandwidths: those of upstreams by upstream, those of routes by route.

use prometheus::proto::MetricFamily;

use super::Built;
use super::family::{Labels, counter, gauge, seconds_total};
use super::figures::BandwidthFigures;
use crate::bandwidth::{BandwidthOf, DirectionSnapshot};

pub(super) const UPSTREAMS: &[Built<[BandwidthFigures]>] = &[
    ("sallyport_upstream_bandwidth_bytes_total", |name, all| bytes(name, all, is_upstream)),
    ("sallyport_upstream_bandwidth_waiting_bytes", |name, all| waiting(name, all, is_upstream)),
    ("sallyport_upstream_bandwidth_waits_total", |name, all| waits(name, all, is_upstream)),
    ("sallyport_upstream_bandwidth_wait_seconds_total", |name, all| waited(name, all, is_upstream)),
];

pub(super) const ROUTES: &[Built<[BandwidthFigures]>] = &[
    ("sallyport_route_bandwidth_bytes_total", |name, all| bytes(name, all, is_route)),
    ("sallyport_route_bandwidth_waiting_bytes", |name, all| waiting(name, all, is_route)),
    ("sallyport_route_bandwidth_waits_total", |name, all| waits(name, all, is_route)),
    ("sallyport_route_bandwidth_wait_seconds_total", |name, all| waited(name, all, is_route)),
];

/// Which of all bandwidths a family is about.
type Wanted = fn(&BandwidthOf) -> bool;

fn is_upstream(of: &BandwidthOf) -> bool {
    matches!(of, BandwidthOf::Upstream(_))
}

fn is_route(of: &BandwidthOf) -> bool {
    matches!(of, BandwidthOf::Route(..))
}

fn bytes(name: &str, all: &[BandwidthFigures], wanted: Wanted) -> MetricFamily {
    let help = "Bytes of bodies that passed where `bandwidth` bounds them.";
    counter(name, help, samples(all, wanted, |it| it.bytes))
}

fn waiting(name: &str, all: &[BandwidthFigures], wanted: Wanted) -> MetricFamily {
    let help = "Bytes of bodies that wait for their turn.";
    gauge(name, help, samples(all, wanted, |it| it.waiting_bytes as f64))
}

fn waits(name: &str, all: &[BandwidthFigures], wanted: Wanted) -> MetricFamily {
    let help = "Pieces of bodies that waited and then had their turn.";
    counter(name, help, samples(all, wanted, |it| it.waits))
}

fn waited(name: &str, all: &[BandwidthFigures], wanted: Wanted) -> MetricFamily {
    let help = "Time that pieces of bodies waited which then had their turn.";
    seconds_total(name, help, samples(all, wanted, |it| it.waited.as_secs_f64()))
}

fn samples<V>(
    all: &[BandwidthFigures],
    wanted: Wanted,
    value: impl Fn(&DirectionSnapshot) -> V + Copy,
) -> impl Iterator<Item = (Labels, V)> {
    let all = all.iter().filter(move |it| wanted(&it.of));
    all.flat_map(move |it| {
        it.directions.iter().map(move |direction| (it.labels(direction.label), value(direction)))
    })
}
