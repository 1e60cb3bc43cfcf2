//! The families of TLS.

use prometheus::proto::{Histogram, LabelPair, MetricFamily};

use super::{
    Built,
    family::{counter, gauge, histogram, label},
    figures::bucket,
};
use crate::tls::{EDGES_US, Issuance, ListenerTls, TlsFigures};

pub(super) const TLS: &[Built<TlsFigures>] = &[
    ("sallyport_tls_handshakes_total", handshakes),
    ("sallyport_tls_resumptions_total", resumptions),
    ("sallyport_tls_handshakes_active", under_way),
    ("sallyport_tls_handshake_duration_seconds", durations),
    ("sallyport_tls_certificate_expiry_seconds", expiries),
    ("sallyport_acme_issues_total", issues),
    ("sallyport_acme_failures", failing),
    ("sallyport_acme_renewal_timestamp_seconds", renewals),
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

fn issues(name: &str, tls: &TlsFigures) -> MetricFamily {
    let samples = tls.issuances.iter().flat_map(|it| {
        [("issued", it.issued), ("failed", it.failed)].map(|(result, count)| {
            let labels = [of_issuance(it), vec![label("result", result)]].concat();
            (labels, count)
        })
    });
    counter(name, "Certificates that an authority was asked for, by result.", samples)
}

fn failing(name: &str, tls: &TlsFigures) -> MetricFamily {
    let samples = tls.issuances.iter().map(|it| (of_issuance(it), f64::from(it.failing)));
    gauge(name, "How often in a row a certificate was not issued.", samples)
}

fn renewals(name: &str, tls: &TlsFigures) -> MetricFamily {
    let samples = tls.issuances.iter();
    let samples = samples.filter_map(|it| Some((of_issuance(it), it.renewal_unix_s? as f64)));
    gauge(name, "When a certificate is going to be renewed, in seconds since 1970.", samples)
}

fn of_issuance(issuance: &Issuance) -> Vec<LabelPair> {
    vec![label("account", &issuance.account), label("domain", &issuance.domain)]
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
