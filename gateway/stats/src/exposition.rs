//! What a scrape is answered with: every figure under the name that is promised for it.
//!
//! The names, labels and help texts live here and nowhere else. The figures of all rows are read
//! first and briefly; then one family after the other is built from them and encoded, so that no
//! more than one is in memory at a time beside the text.
//!
//! A row that was never written is left out where there are many, and a figure that cannot be had
//! with it. A row that was written is given whole: a counter that appears with its first error has no zero before it,
//! and `increase` would not see that error.

mod bandwidth;
mod family;
mod figures;
mod openmetrics;
mod passthrough;
mod process;
#[cfg(feature = "push")]
mod push;
mod tls;
mod tracing;

use prometheus::{TextEncoder, proto::MetricFamily};

use self::{
    family::{counter, gauge, histogram, summary},
    figures::{
        Asked, AttemptFigures, EndpointFigures, Figures, QueueFigures, RouteFigures,
        UpstreamFigures, cumulative,
    },
};
use crate::{
    classifier::ClassifierFigures,
    config::ConfigFigures,
    connection::ConnectionFigures,
    discovery::{DiscoveryFailure, UpstreamLookups},
    engine::ServedBy,
    http2::Http2Closed,
    outcome::{CodeClass, ErrorKind},
    registry::{EndpointHealth, Registry},
    upstream::EjectionReason,
    verdict::VerdictFigures,
};

pub use self::process::build_info;
pub(crate) use self::process::process_families;
#[cfg(feature = "push")]
pub(crate) use self::push::push_families;
pub(crate) use self::tracing::tracing_families;

/// A form that a scrape may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    #[default]
    Text,
    /// OpenMetrics 1.0, with exemplars.
    OpenMetrics,
}

impl Format {
    /// Its `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// A family's name, and how it is built of the figures that it is about.
type Built<F> = (&'static str, fn(&str, &F) -> MetricFamily);

const ROUTES: &[Built<[RouteFigures]>] = &[
    ("sallyport_route_requests_total", route_requests),
    ("sallyport_route_requests_active", route_active),
    ("sallyport_route_request_duration_seconds", route_durations),
    ("sallyport_route_errors_total", route_errors),
    ("sallyport_route_quantile_seconds", route_quantiles),
    ("sallyport_route_request_bytes_total", route_request_bytes),
    ("sallyport_route_response_bytes_total", route_response_bytes),
    ("sallyport_route_responses_total", route_responses),
];

const WORKERS: &[Built<[i64]>] = &[("sallyport_worker_requests_active", worker_active)];

const ENDPOINTS: &[Built<[EndpointFigures]>] = &[
    ("sallyport_upstream_requests_total", upstream_requests),
    ("sallyport_upstream_requests_active", upstream_active),
    ("sallyport_upstream_errors_total", upstream_errors),
    ("sallyport_upstream_connect_failures_total", upstream_connect_failures),
    ("sallyport_upstream_ejections_total", upstream_ejections),
];

const UPSTREAMS: &[Built<[UpstreamFigures]>] =
    &[("sallyport_connection_reuse_total", connection_reuse)];

const ATTEMPTS: &[Built<[AttemptFigures]>] = &[
    ("sallyport_upstream_request_duration_seconds", attempt_durations),
    ("sallyport_retries_total", retries),
    ("sallyport_upstream_limited_total", limited),
    ("sallyport_mirrored_requests_total", mirrored),
];

const QUEUES: &[Built<[QueueFigures]>] = &[
    ("sallyport_queue_length", queue_length),
    ("sallyport_queue_wait_seconds", queue_waits),
    ("sallyport_queue_rejected_total", queue_rejected),
];

const HEALTH: &[Built<[EndpointHealth]>] = &[("sallyport_upstream_healthy", upstream_healthy)];

const CONFIG: &[Built<ConfigFigures>] = &[
    ("sallyport_config_version", config_version),
    ("sallyport_config_reloads_total", config_reloads),
    ("sallyport_config_info", config_info),
    ("sallyport_config_last_reload_successful", config_last_reload_successful),
    ("sallyport_config_last_reload_timestamp_seconds", config_last_reload_timestamp),
];

const CLASSIFIER: &[Built<ClassifierFigures>] = &[
    ("sallyport_classifier_up", classifier_up),
    ("sallyport_classifier_requests_total", classifier_requests),
    ("sallyport_classifier_syn_to_request_seconds", classifier_waits),
];

const VERDICTS: &[Built<VerdictFigures>] = &[
    ("sallyport_verdicts_total", verdicts),
    ("sallyport_verdicts_refused_total", verdicts_refused),
    ("sallyport_verdicts_active", verdicts_active),
    ("sallyport_verdict_connections_refused_total", verdict_connections),
];

const ENGINE: &[Built<[(ServedBy, u64)]>] = &[("sallyport_engine_requests_total", engine_requests)];

const TRAILERS: &[Built<[(&'static str, u64)]>] =
    &[("sallyport_trailers_dropped_total", dropped_trailers)];

const HTTP2: &[Built<[(Http2Closed, u64)]>] =
    &[("sallyport_http2_connections_closed_total", http2_closed)];

const CONNECTIONS: &[Built<[ConnectionFigures]>] = &[
    ("sallyport_connections_total", connections),
    ("sallyport_connections_active", connections_active),
    ("sallyport_connections_refused_total", connections_refused),
];

const DISCOVERY: &[Built<[UpstreamLookups]>] = &[
    ("sallyport_discovery_failures_total", discovery_failures),
    ("sallyport_discovery_updates_total", discovery_updates),
];

pub(crate) fn render(
    registry: &Registry,
    format: Format,
    extra: Vec<MetricFamily>,
    wanted: impl Fn(&str) -> bool,
) -> String {
    let mut text = String::new();
    let mut append = |family: &MetricFamily| match format {
        _ if !family::is_encodable(family) => {}
        Format::Text => append(&mut text, family),
        Format::OpenMetrics => openmetrics::append(&mut text, family, registry.exemplars()),
    };
    each(registry, &wanted, registry.idle_max(), |family| append(&family));
    extra.iter().filter(|family| wanted(family.name())).for_each(append);
    if format == Format::OpenMetrics {
        text.push_str(openmetrics::END);
    }
    text
}

/// Every wanted family that is rendered, before it is text. What nobody wants is not read either.
pub(crate) fn each(
    registry: &Registry,
    wanted: impl Fn(&str) -> bool,
    idle_max: usize,
    mut take: impl FnMut(MetricFamily),
) {
    let asked = Asked {
        routes: any_wanted(ROUTES, &wanted),
        endpoints: any_wanted(ENDPOINTS, &wanted),
        idle_max,
    };
    let figures = Figures::read(registry, asked);
    build(ROUTES, &*figures.routes, &wanted, &mut take);
    build(WORKERS, &*figures.workers, &wanted, &mut take);
    build(ENDPOINTS, &*figures.endpoints, &wanted, &mut take);
    build(UPSTREAMS, &*figures.upstreams, &wanted, &mut take);
    build(ATTEMPTS, &*figures.attempts, &wanted, &mut take);
    build(QUEUES, &*figures.queues, &wanted, &mut take);
    build(bandwidth::UPSTREAMS, &*figures.bandwidths, &wanted, &mut take);
    build(bandwidth::ROUTES, &*figures.bandwidths, &wanted, &mut take);
    build(passthrough::PASSTHROUGH, &*figures.passthroughs, &wanted, &mut take);
    if any_wanted(HEALTH, &wanted) {
        build(HEALTH, &*registry.health(), &wanted, &mut take);
    }
    build(CONFIG, &figures.config, &wanted, &mut take);
    build(CLASSIFIER, &figures.classifier, &wanted, &mut take);
    build(VERDICTS, &figures.verdicts, &wanted, &mut take);
    build(ENGINE, &figures.engine[..], &wanted, &mut take);
    build(TRAILERS, &figures.dropped_trailers[..], &wanted, &mut take);
    build(HTTP2, &figures.http2[..], &wanted, &mut take);
    build(CONNECTIONS, &*figures.connections, &wanted, &mut take);
    build(tls::TLS, &figures.tls, &wanted, &mut take);
    build(DISCOVERY, &*figures.discovery, &wanted, &mut take);
}

fn any_wanted<F: ?Sized>(families: &[Built<F>], wanted: impl Fn(&str) -> bool) -> bool {
    families.iter().any(|(name, _)| wanted(name))
}

fn build<F: ?Sized>(
    families: &[Built<F>],
    figures: &F,
    wanted: impl Fn(&str) -> bool,
    take: &mut impl FnMut(MetricFamily),
) {
    for (name, build) in families.iter().filter(|(name, _)| wanted(name)) {
        take(build(name, figures));
    }
}

/// Appends a family of which the encoder has something to say.
fn append(text: &mut String, family: &MetricFamily) {
    TextEncoder::new()
        .encode_utf8(family::alone(family), text)
        .expect("a family with a name and metrics encodes into memory");
}

fn route_requests(name: &str, routes: &[RouteFigures]) -> MetricFamily {
    let samples = routes.iter().flat_map(|route| {
        CodeClass::ALL.map(|class| {
            (route.labels(Some(("code_class", class.label()))), route.requests[class as usize])
        })
    });
    counter(
        name,
        "Requests finished, by class of status code; none where no response went out.",
        samples,
    )
}

fn route_active(name: &str, routes: &[RouteFigures]) -> MetricFamily {
    let samples = routes.iter().map(|route| (route.labels(None), route.active as f64));
    gauge(name, "Requests begun and not finished.", samples)
}

/// How evenly long requests lie on the workers: without work stealing, one stays where it began.
fn worker_active(name: &str, workers: &[i64]) -> MetricFamily {
    let samples = workers.iter().enumerate().map(|(worker, active)| {
        (vec![family::label("worker", &worker.to_string())], *active as f64)
    });
    gauge(
        name,
        "Requests begun and not finished, by worker thread in the order of their first request.",
        samples,
    )
}

fn route_durations(name: &str, routes: &[RouteFigures]) -> MetricFamily {
    let samples = routes.iter().map(|route| (route.labels(None), route.histogram()));
    histogram(name, "Time from the head of a request to the end of its response.", samples)
}

fn route_errors(name: &str, routes: &[RouteFigures]) -> MetricFamily {
    let samples = routes.iter().flat_map(|route| {
        ErrorKind::ALL
            .map(|kind| (route.labels(Some(("kind", kind.label()))), route.errors[kind as usize]))
    });
    counter(name, "Requests that ended in an error, by the most specific kind known.", samples)
}

fn route_request_bytes(name: &str, routes: &[RouteFigures]) -> MetricFamily {
    let samples = routes.iter().map(|route| (route.labels(None), route.request_bytes));
    counter(name, "Bytes of the bodies of finished requests, as clients sent them.", samples)
}

fn route_response_bytes(name: &str, routes: &[RouteFigures]) -> MetricFamily {
    let samples = routes.iter().map(|route| (route.labels(None), route.response_bytes));
    counter(name, "Bytes of the bodies of responses, as clients were sent them.", samples)
}

/// Nothing before the first of a code: there are five hundred.
fn route_responses(name: &str, routes: &[RouteFigures]) -> MetricFamily {
    let samples = routes.iter().flat_map(|route| {
        let codes = route.codes.iter();
        codes.map(|(code, count)| (route.labels(Some(("code", code))), *count))
    });
    counter(name, "Responses by exact status code, where `statistics.exact_status` is on.", samples)
}

/// A summary, since `quantile` is the label of summaries and of nothing else.
fn route_quantiles(name: &str, routes: &[RouteFigures]) -> MetricFamily {
    let samples = routes.iter().filter_map(|route| Some((route.labels(None), route.summary()?)));
    summary(
        name,
        "Quantiles of the request durations since counting began, within 1/32 of the true value.",
        samples,
    )
}

fn upstream_requests(name: &str, endpoints: &[EndpointFigures]) -> MetricFamily {
    let samples = endpoints.iter().map(|it| (it.labels(None), it.snapshot.requests()));
    counter(name, "Requests to an endpoint finished, retries counted singly.", samples)
}

fn upstream_active(name: &str, endpoints: &[EndpointFigures]) -> MetricFamily {
    let samples = endpoints.iter().map(|it| (it.labels(None), it.snapshot.active() as f64));
    gauge(name, "Requests to an endpoint begun and not finished.", samples)
}

fn upstream_errors(name: &str, endpoints: &[EndpointFigures]) -> MetricFamily {
    let samples = endpoints.iter().flat_map(|it| {
        ErrorKind::ALL
            .map(|kind| (it.labels(Some(("kind", kind.label()))), it.snapshot.errors(kind)))
    });
    counter(name, "Requests to an endpoint that ended in an error, by kind.", samples)
}

fn upstream_connect_failures(name: &str, endpoints: &[EndpointFigures]) -> MetricFamily {
    let samples = endpoints.iter().map(|it| (it.labels(None), it.snapshot.connect_failures()));
    counter(name, "Connections to an endpoint that could not be made.", samples)
}

fn upstream_ejections(name: &str, endpoints: &[EndpointFigures]) -> MetricFamily {
    let samples = endpoints.iter().flat_map(|it| {
        EjectionReason::ALL.map(|reason| {
            (it.labels(Some(("reason", reason.label()))), it.snapshot.ejections(reason))
        })
    });
    counter(name, "Times that an endpoint was ejected for what requests found, by reason.", samples)
}

fn attempt_durations(name: &str, upstreams: &[AttemptFigures]) -> MetricFamily {
    let samples = upstreams.iter().map(|it| (it.labels(None), it.histogram()));
    histogram(
        name,
        "Time from the choice of an endpoint to the end of its response, retries counted singly.",
        samples,
    )
}

fn retries(name: &str, upstreams: &[AttemptFigures]) -> MetricFamily {
    let samples = upstreams.iter().flat_map(|it| {
        let retries = it.snapshot.retries.iter();
        retries.map(|(reason, count)| (it.labels(Some(("reason", reason))), *count))
    });
    counter(name, "Attempts made again, by what became of the attempt before.", samples)
}

/// Nothing before the first: few upstreams are sent copies.
fn mirrored(name: &str, upstreams: &[AttemptFigures]) -> MetricFamily {
    let samples = upstreams.iter().flat_map(|it| {
        let results = it.snapshot.mirrored.iter().flatten();
        results.map(|(result, count)| (it.labels(Some(("result", result))), *count))
    });
    counter(name, "Copies of requests that were meant for the upstream, by result.", samples)
}

fn limited(name: &str, upstreams: &[AttemptFigures]) -> MetricFamily {
    let samples = upstreams.iter().flat_map(|it| {
        it.snapshot.limited.map(|(reason, count)| (it.labels(Some(("reason", reason))), count))
    });
    counter(name, "Requests that a limit of the upstream turned away, by limit.", samples)
}

fn upstream_healthy(name: &str, endpoints: &[EndpointHealth]) -> MetricFamily {
    let samples = endpoints.iter().map(|(upstream, endpoint, healthy)| {
        let labels = vec![family::label("upstream", upstream), family::label("endpoint", endpoint)];
        (labels, f64::from(u8::from(*healthy)))
    });
    gauge(
        name,
        "Whether probes find an endpoint healthy and requests have not ejected it.",
        samples,
    )
}

fn queue_length(name: &str, queues: &[QueueFigures]) -> MetricFamily {
    let samples = queues.iter().map(|it| (it.labels(None), it.snapshot.length as f64));
    gauge(name, "Requests that wait for their turn at an upstream.", samples)
}

fn queue_waits(name: &str, queues: &[QueueFigures]) -> MetricFamily {
    let samples = queues.iter().map(|it| (it.labels(None), it.histogram()));
    histogram(name, "Time that requests waited which then had their turn.", samples)
}

fn queue_rejected(name: &str, queues: &[QueueFigures]) -> MetricFamily {
    let samples = queues.iter().flat_map(|it| {
        it.snapshot.rejected.map(|(reason, count)| (it.labels(Some(("reason", reason))), count))
    });
    counter(
        name,
        "Requests that had no turn: the queue was full, or they waited too long.",
        samples,
    )
}

fn connection_reuse(name: &str, upstreams: &[UpstreamFigures]) -> MetricFamily {
    let samples = upstreams.iter().flat_map(|it| {
        [("true", it.reuse.reused), ("false", it.reuse.fresh)]
            .map(|(reused, count)| (it.labels(reused), count))
    });
    counter(name, "Requests sent on a connection kept from before, and on a new one.", samples)
}

fn config_version(name: &str, config: &ConfigFigures) -> MetricFamily {
    let samples = config.serving.iter().map(|it| (Vec::new(), it.version as f64));
    gauge(name, "Version of the configuration that serves.", samples)
}

fn config_reloads(name: &str, config: &ConfigFigures) -> MetricFamily {
    let samples = [("success", config.applied), ("failure", config.rejected)]
        .map(|(result, count)| (vec![family::label("result", result)], count));
    counter(
        name,
        "Attempts to replace the configuration, by result; the first load is none.",
        samples,
    )
}

fn config_info(name: &str, config: &ConfigFigures) -> MetricFamily {
    let samples = config.serving.iter().map(|it| (vec![family::label("sha256", &it.sha256)], 1.0));
    gauge(name, "The configuration that serves, by digest; always 1.", samples)
}

fn config_last_reload_successful(name: &str, config: &ConfigFigures) -> MetricFamily {
    let samples =
        config.latest.iter().map(|latest| (Vec::new(), f64::from(u8::from(latest.is_successful))));
    gauge(name, "Whether the files on disk are in force: 0 once they were refused.", samples)
}

fn config_last_reload_timestamp(name: &str, config: &ConfigFigures) -> MetricFamily {
    let samples = config.latest.iter().filter_map(|latest| {
        let since = latest.at.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some((Vec::new(), since.as_secs_f64()))
    });
    gauge(name, "When a configuration was last put in force or refused, since 1970.", samples)
}

fn classifier_up(name: &str, classifier: &ClassifierFigures) -> MetricFamily {
    let samples = classifier.up.iter().map(|up| (Vec::new(), f64::from(u8::from(*up))));
    gauge(name, "Whether the classifier's hints are in use.", samples)
}

fn classifier_requests(name: &str, classifier: &ClassifierFigures) -> MetricFamily {
    let samples = classifier.requests.iter().map(|((network, zone, protocol), count)| {
        let pairs = [("network", &**network), ("zone", &**zone), ("protocol", *protocol)];
        (pairs.into_iter().map(|(name, value)| family::label(name, value)).collect(), *count)
    });
    counter(name, "Requests begun, by what the classifier said of their client.", samples)
}

fn classifier_waits(name: &str, classifier: &ClassifierFigures) -> MetricFamily {
    let samples = classifier.waits.iter().map(|waits| (Vec::new(), cumulative(waits)));
    histogram(
        name,
        "Time from the SYN that the classifier saw to the connection's first request.",
        samples,
    )
}

fn verdicts(name: &str, verdicts: &VerdictFigures) -> MetricFamily {
    let samples = verdicts
        .given
        .iter()
        .map(|(reason, count)| (vec![family::label("reason", reason)], *count));
    counter(name, "Verdicts given, by reason.", samples)
}

fn verdicts_refused(name: &str, verdicts: &VerdictFigures) -> MetricFamily {
    let samples =
        verdicts.refused.iter().map(|(why, count)| (vec![family::label("why", why)], *count));
    counter(name, "Verdicts asked for and not given.", samples)
}

fn verdicts_active(name: &str, verdicts: &VerdictFigures) -> MetricFamily {
    let samples = verdicts.active.iter().map(|active| (Vec::new(), *active as f64));
    gauge(name, "Verdicts in force.", samples)
}

fn verdict_connections(name: &str, verdicts: &VerdictFigures) -> MetricFamily {
    let samples = verdicts.active.iter().map(|_| (Vec::new(), verdicts.connections_refused));
    counter(
        name,
        "Connections of sources under a verdict that were turned away or closed.",
        samples,
    )
}

/// Nothing before the first: most gateways have no listener for HTTP/2.
fn discovery_failures(name: &str, lookups: &[UpstreamLookups]) -> MetricFamily {
    let samples = lookups.iter().flat_map(|(upstream, lookups)| {
        DiscoveryFailure::ALL.map(|reason| {
            let labels =
                vec![family::label("upstream", upstream), family::label("reason", reason.label())];
            (labels, lookups.failures[reason as usize])
        })
    });
    counter(name, "Lookups of an upstream's endpoints that failed, by reason.", samples)
}

fn discovery_updates(name: &str, lookups: &[UpstreamLookups]) -> MetricFamily {
    let samples = lookups
        .iter()
        .map(|(upstream, lookups)| (vec![family::label("upstream", upstream)], lookups.updates));
    counter(name, "Times that lookups changed the endpoints of an upstream.", samples)
}

fn dropped_trailers(name: &str, dropped: &[(&'static str, u64)]) -> MetricFamily {
    let samples = dropped.iter().map(|(it, count)| (vec![family::label("direction", it)], *count));
    counter(name, "Messages whose trailers went no further: the other side takes none.", samples)
}

fn engine_requests(name: &str, requests: &[(ServedBy, u64)]) -> MetricFamily {
    counter(
        name,
        "Requests of clients, by what served them.",
        requests.iter().map(|(it, count)| (vec![family::label("engine", it.label())], *count)),
    )
}

fn http2_closed(name: &str, closed: &[(Http2Closed, u64)]) -> MetricFamily {
    let any = closed.iter().any(|(_, count)| *count > 0);
    let samples = closed.iter().filter(|_| any);
    counter(
        name,
        "HTTP/2 connections of clients that the gateway ended, by reason.",
        samples.map(|(reason, count)| (vec![family::label("reason", reason.label())], *count)),
    )
}

fn connections(name: &str, listeners: &[ConnectionFigures]) -> MetricFamily {
    let samples =
        listeners.iter().map(|it| (vec![family::label("listener", &it.listener)], it.total));
    counter(name, "Connections of clients that were accepted.", samples)
}

fn connections_active(name: &str, listeners: &[ConnectionFigures]) -> MetricFamily {
    let samples = listeners
        .iter()
        .map(|it| (vec![family::label("listener", &it.listener)], it.active as f64));
    gauge(name, "Connections of clients that are open.", samples)
}

fn connections_refused(name: &str, listeners: &[ConnectionFigures]) -> MetricFamily {
    let samples = listeners.iter().flat_map(|it| {
        it.refused.iter().map(|(reason, count)| {
            let labels = vec![
                family::label("listener", &it.listener),
                family::label("reason", reason.label()),
            ];
            (labels, *count)
        })
    });
    counter(name, "Connections that were closed before they were served, by reason.", samples)
}

/// A counter with one label, for tests of what reads families.
#[cfg(all(test, feature = "push"))]
pub(crate) fn counter_family(name: &str, label: &str, totals: &[(&str, f64)]) -> MetricFamily {
    let samples = totals.iter().map(|(value, total)| (vec![family::label(label, value)], *total));
    family::seconds_total(name, "", samples)
}

/// A histogram of cumulative counts by edge, for tests of what reads families.
#[cfg(all(test, feature = "push"))]
pub(crate) fn histogram_family(name: &str, edges: &[(f64, u64)], count: u64) -> MetricFamily {
    let mut found = prometheus::proto::Histogram::default();
    found.set_sample_count(count);
    found.set_bucket(edges.iter().map(figures::bucket).collect());
    histogram(name, "", [(Vec::new(), found)])
}

#[cfg(test)]
mod tests;
