//! The families of TLS.

use prometheus::proto::{Histogram, MetricFamily};

use super::{
    Built,
    family::{counter, gauge, histogram, label},
    figures::bucket,
};
use crate::tls::{EDGES_US, ListenerTls, TlsFigures};

pub(super) const TLS: &[Built<TlsFigures>] = &[
    ("sallyport_tls_handshakes_total", handshakes),
    ("sallyport_tls_resumptions_total", resumptions),
    ("sallyport_tls_handshakes_active", under_way),
    ("sallyport_tls_handshake_duration_seconds", durations),
    ("sallyport_tls_certificate_expiry_seconds", expiries),
];

fn handshakes(name: &str, tls: &TlsFigures) -> MetricFamily {
    let samples = tls.listeners.iter().flat_map(|it| {
        it.handshakes.iter().map(|(version, result, count)| {
            let labels = vec![
                label("listener", &it.listener),
                label("version", version),
                label("result", result),
            ];
            (labels, *count)
        })
    });
    counter(name, "TLS handshakes with clients, by version and result.", samples)
}

fn resumptions(name: &str, tls: &TlsFigures) -> MetricFamily {
    let samples =
        tls.listeners.iter().map(|it| (vec![label("listener", &it.listener)], it.resumed));
    counter(name, "TLS handshakes that resumed an earlier session.", samples)
}

fn under_way(name: &str, tls: &TlsFigures) -> MetricFamily {
    let samples = tls.listeners.iter();
    let samples = samples.map(|it| (vec![label("listener", &it.listener)], it.under_way as f64));
    gauge(name, "TLS handshakes begun and not finished.", samples)
}

fn durations(name: &str, tls: &TlsFigures) -> MetricFamily {
    let samples = tls.listeners.iter();
    let samples = samples.map(|it| (vec![label("listener", &it.listener)], cumulative(it)));
    histogram(name, "Time that finished TLS handshakes took.", samples)
}

fn expiries(name: &str, tls: &TlsFigures) -> MetricFamily {
    let samples = tls.certificates.iter().map(|it| {
        (vec![label("listener", &it.listener), label("name", &it.name)], it.unix_s as f64)
    });
    gauge(name, "When a certificate expires, in seconds since 1970.", samples)
}

fn cumulative(listener: &ListenerTls) -> Histogram {
    let edges = EDGES_US.iter().map(|edge_us| *edge_us as f64 / 1e6).zip(listener.durations);
    let buckets = edges.scan(0, |below, (edge_s, count)| {
        *below += count;
        Some(bucket(&(edge_s, *below)))
    });
    let mut histogram = Histogram::default();
    histogram.set_sample_count(listener.durations.iter().sum());
    histogram.set_sample_sum(listener.duration.as_secs_f64());
    histogram.set_bucket(buckets.collect());
    histogram
}
