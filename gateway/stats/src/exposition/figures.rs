//! The figures of one scrape, read out of the cells and made small.
//!
//! A route's cells are kilobytes, what is exposed of them a few hundred bytes; with thousands of
//! routes it matters which of the two a scrape holds.

use std::{sync::Arc, time::Duration};

use prometheus::proto::{Bucket, Histogram, Quantile, Summary};

use super::family::{Labels, label};
use crate::{
    attempts::AttemptSnapshot,
    bandwidth::{self, BandwidthOf, DirectionSnapshot},
    classifier::{ClassifierFigures, EDGES_US, Waits},
    config::ConfigFigures,
    connection::ConnectionFigures,
    discovery::UpstreamLookups,
    engine::ServedBy,
    http2::Http2Closed,
    outcome::{CodeClass, ErrorKind},
    passthrough::PassthroughFigures,
    queue::QueueSnapshot,
    registry::Registry,
    route::{self, RouteName, RouteSnapshot},
    status_codes,
    table::{Row, Table},
    tls::TlsFigures,
    upstream::{EndpointName, EndpointSnapshot, Reuse},
    verdict::VerdictFigures,
};

/// The shares of requests whose longest duration is exposed.
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// Everything there is to expose.
pub(super) struct Figures {
    pub(super) routes: Vec<RouteFigures>,
    /// Requests under way, by worker.
    pub(super) workers: Vec<i64>,
    pub(super) endpoints: Vec<EndpointFigures>,
    pub(super) upstreams: Vec<UpstreamFigures>,
    pub(super) attempts: Vec<AttemptFigures>,
    pub(super) queues: Vec<QueueFigures>,
    pub(super) bandwidths: Vec<BandwidthFigures>,
    pub(super) passthroughs: Vec<PassthroughFigures>,
    pub(super) config: ConfigFigures,
    pub(super) classifier: ClassifierFigures,
    pub(super) verdicts: VerdictFigures,
    pub(super) dropped_trailers: [(&'static str, u64); 2],
    pub(super) engine: [(ServedBy, u64); ServedBy::ALL.len()],
    pub(super) http2: [(Http2Closed, u64); Http2Closed::ALL.len()],
    pub(super) connections: Vec<ConnectionFigures>,
    pub(super) tls: TlsFigures,
    pub(super) discovery: Vec<UpstreamLookups>,
}

/// What of it is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Whether routes are.
    pub(super) routes: bool,
    /// Whether endpoints are.
    pub(super) endpoints: bool,
    /// How many rows there may be for those without traffic to be wanted.
    pub(super) idle_max: usize,
}

impl Figures {
    /// Reads everything but routes and endpoints, and those if they are asked for: with thousands of
    /// them, they are what a scrape costs.
    pub(super) fn read(registry: &Registry, asked: Asked) -> Self {
        let Asked { routes, endpoints, idle_max } = asked;
        let installed = registry.routes.installed();
        let only = |asked, count| if asked { count } else { 0 };
        let shown = &installed[..only(routes, installed.len())];
        let departing = if routes { registry.routes.departing() } else { Vec::new() };
        let mut of_routes = exposed(shown, idle_max, RouteFigures::of);
        of_routes.extend(departing.iter().map(|(name, row)| RouteFigures::of(name, row)));
        if routes && !registry.status_codes.installed().is_empty() {
            of_routes.iter_mut().for_each(|it| it.read_codes(&registry.status_codes));
        }
        Self {
            routes: of_routes,
            workers: route::active_by_worker(installed.iter().map(|(_, row)| row)),
            endpoints: {
                let installed = registry.endpoints.installed();
                let shown = &installed[..only(endpoints, installed.len())];
                exposed(shown, idle_max, EndpointFigures::of)
            },
            attempts: exposed(&registry.attempts.installed(), idle_max, AttemptFigures::of),
            queues: exposed(&registry.queues.installed(), idle_max, QueueFigures::of),
            bandwidths: exposed(&registry.bandwidths.installed(), idle_max, BandwidthFigures::of),
            passthroughs: {
                let (installed, departing) =
                    (registry.passthroughs.installed(), registry.passthroughs.departing());
                let all = installed.iter().chain(&departing);
                all.map(|(name, row)| PassthroughFigures::of(name, row)).collect()
            },
            upstreams: exposed(&registry.upstreams.installed(), idle_max, UpstreamFigures::of),
            config: registry.config.figures(),
            classifier: registry.classifier.figures(),
            verdicts: registry.verdicts.figures(),
            dropped_trailers: registry.trailers.figures(),
            engine: registry.engine.figures(),
            http2: registry.http2.figures(),
            connections: registry.connections.figures(),
            tls: registry.tls.figures(),
            discovery: registry.discovery.figures(),
        }
    }
}

/// Those with traffic, and all where there are no more than `idle_max`.
fn exposed<N, F>(installed: &[(N, Row)], idle_max: usize, read: impl Fn(&N, &Row) -> F) -> Vec<F> {
    let are_few = installed.len() <= idle_max;
    let exposed = installed.iter().filter(|(_, row)| are_few || row.is_visited());
    exposed.map(|(name, row)| read(name, row)).collect()
}

/// What is exposed of one route.
pub(super) struct RouteFigures {
    name: RouteName,
    pub(super) requests: [u64; CodeClass::ALL.len()],
    pub(super) errors: [u64; ErrorKind::ALL.len()],
    pub(super) active: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
    /// Status codes and responses with them; none unless they are counted singly.
    pub(super) codes: Vec<(String, u64)>,
    count: u64,
    sum: Duration,
    cumulative: Box<[(f64, u64)]>,
    /// `None` until a request was finished.
    quantiles: Option<[Duration; QUANTILES.len()]>,
}

impl RouteFigures {
    fn of(name: &RouteName, row: &Row) -> Self {
        let snapshot = RouteSnapshot::of(row);
        Self {
            name: name.clone(),
            requests: CodeClass::ALL.map(|class| snapshot.requests(class)),
            errors: ErrorKind::ALL.map(|kind| snapshot.errors(kind)),
            active: snapshot.active(),
            request_bytes: snapshot.request_bytes(),
            response_bytes: snapshot.response_bytes(),
            codes: Vec::new(),
            count: snapshot.count(),
            sum: snapshot.sum(),
            cumulative: snapshot.cumulative().collect(),
            quantiles: quantiles(&snapshot),
        }
    }

    fn read_codes(&mut self, table: &Table<RouteName>) {
        let row = table.row_of(&self.name);
        self.codes = row.map(|row| status_codes::counts(&row)).unwrap_or_default();
    }

    pub(super) fn labels(&self, more: Option<(&str, &str)>) -> Labels {
        labels([("virtual_host", &self.name.0), ("route", &self.name.1)], more)
    }

    pub(super) fn histogram(&self) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.set_sample_count(self.count);
        histogram.set_sample_sum(self.sum.as_secs_f64());
        histogram.set_bucket(self.cumulative.iter().map(bucket).collect());
        histogram
    }

    /// The quantiles, if there are any.
    pub(super) fn summary(&self) -> Option<Summary> {
        let quantiles = QUANTILES.into_iter().zip(self.quantiles?);
        let mut summary = Summary::default();
        summary.set_sample_count(self.count);
        summary.set_sample_sum(self.sum.as_secs_f64());
        summary.set_quantile(quantiles.map(quantile).collect());
        Some(summary)
    }
}

/// What is exposed of one endpoint.
pub(super) struct EndpointFigures {
    upstream: Arc<str>,
    address: String,
    pub(super) snapshot: EndpointSnapshot,
}

impl EndpointFigures {
    fn of((upstream, address): &EndpointName, row: &Row) -> Self {
        Self {
            upstream: Arc::clone(upstream),
            address: address.to_string(),
            snapshot: EndpointSnapshot::of(row),
        }
    }

    pub(super) fn labels(&self, more: Option<(&str, &str)>) -> Labels {
        labels([("upstream", &self.upstream), ("endpoint", &self.address)], more)
    }
}

/// What is exposed of one upstream.
pub(super) struct UpstreamFigures {
    upstream: Arc<str>,
    pub(super) reuse: Reuse,
}

impl UpstreamFigures {
    fn of(upstream: &Arc<str>, row: &Row) -> Self {
        Self { upstream: Arc::clone(upstream), reuse: Reuse::of(row) }
    }

    pub(super) fn labels(&self, reused: &str) -> Labels {
        vec![label("upstream", &self.upstream), label("reused", reused)]
    }
}

/// What is exposed of one upstream's attempts.
pub(super) struct AttemptFigures {
    upstream: Arc<str>,
    pub(super) snapshot: AttemptSnapshot,
}

impl AttemptFigures {
    fn of(upstream: &Arc<str>, row: &Row) -> Self {
        Self { upstream: Arc::clone(upstream), snapshot: AttemptSnapshot::of(row) }
    }

    pub(super) fn labels(&self, more: Option<(&str, &str)>) -> Labels {
        upstream_labels(&self.upstream, more)
    }

    pub(super) fn histogram(&self) -> Histogram {
        durations(&self.snapshot.buckets, self.snapshot.sum)
    }
}

/// What is exposed of one upstream's queue.
pub(super) struct QueueFigures {
    upstream: Arc<str>,
    pub(super) snapshot: QueueSnapshot,
}

impl QueueFigures {
    fn of(upstream: &Arc<str>, row: &Row) -> Self {
        Self { upstream: Arc::clone(upstream), snapshot: QueueSnapshot::of(row) }
    }

    pub(super) fn labels(&self, more: Option<(&str, &str)>) -> Labels {
        upstream_labels(&self.upstream, more)
    }

    pub(super) fn histogram(&self) -> Histogram {
        durations(&self.snapshot.buckets, self.snapshot.sum)
    }
}

/// What is exposed of one bandwidth.
pub(super) struct BandwidthFigures {
    pub(super) of: BandwidthOf,
    pub(super) directions: [DirectionSnapshot; 2],
}

impl BandwidthFigures {
    fn of(of: &BandwidthOf, row: &Row) -> Self {
        Self { of: of.clone(), directions: bandwidth::directions(row) }
    }

    pub(super) fn labels(&self, direction: &str) -> Labels {
        let more = Some(("direction", direction));
        match &self.of {
            BandwidthOf::Upstream(name) => upstream_labels(name, more),
            BandwidthOf::Route(host, route) => {
                labels([("virtual_host", host), ("route", route)], more)
            }
        }
    }
}

fn upstream_labels(upstream: &str, more: Option<(&str, &str)>) -> Labels {
    let name = [("upstream", upstream)];
    name.into_iter().chain(more).map(|(name, value)| label(name, value)).collect()
}

fn durations(buckets: &[u64], sum: Duration) -> Histogram {
    let edges = crate::histogram::cumulative(buckets);
    let mut histogram = Histogram::default();
    histogram.set_sample_count(buckets.iter().sum());
    histogram.set_sample_sum(sum.as_secs_f64());
    histogram.set_bucket(edges.map(|edge| bucket(&edge)).collect());
    histogram
}

/// Buckets as a cumulative histogram.
pub(super) fn cumulative(waits: &Waits) -> Histogram {
    let edges = EDGES_US.iter().map(|edge_us| *edge_us as f64 / 1e6).zip(waits.counts);
    let buckets = edges.scan(0, |below, (edge_s, count)| {
        *below += count;
        Some(bucket(&(edge_s, *below)))
    });
    let mut histogram = Histogram::default();
    histogram.set_sample_count(waits.counts.iter().sum());
    histogram.set_sample_sum(waits.sum.as_secs_f64());
    histogram.set_bucket(buckets.collect());
    histogram
}

fn labels(pairs: [(&str, &str); 2], more: Option<(&str, &str)>) -> Labels {
    pairs.into_iter().chain(more).map(|(name, value)| label(name, value)).collect()
}

pub(super) fn bucket(&(edge_s, count): &(f64, u64)) -> Bucket {
    let mut bucket = Bucket::default();
    bucket.set_upper_bound(edge_s);
    bucket.set_cumulative_count(count);
    bucket
}

fn quantiles(snapshot: &RouteSnapshot) -> Option<[Duration; QUANTILES.len()]> {
    let mut quantiles = [Duration::ZERO; QUANTILES.len()];
    for (quantile, share) in quantiles.iter_mut().zip(QUANTILES) {
        *quantile = snapshot.quantile(share)?;
    }
    Some(quantiles)
}

fn quantile((share, duration): (f64, Duration)) -> Quantile {
    let mut quantile = Quantile::default();
    quantile.set_quantile(share);
    quantile.set_value(duration.as_secs_f64());
    quantile
}
