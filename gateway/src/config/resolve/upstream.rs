//! An entry of `upstreams:`, but for what all of them must be together.

use http::uri::Authority;
use http::{HeaderName, Method};
use sallyport_balance::{BuildError, MAGLEV_TABLE_SIZE, Policy};
use sallyport_config::spec;
use sallyport_config::spec::scalar::Duration;
use sallyport_config::{Place, Sink};
use sallyport_plugin::Reader;

use super::{origins, resilience};
use crate::config::model::{
    CertificatePart, HashOn, HealthCheck, HintField, HttpProbe, Probe, StatusRange, Upstream,
    UpstreamTimeouts,
};
use crate::config::origins::Protocol;

/// Which keys of an upstream hold what was written.
pub(super) struct Whole {
    pub(super) balancing: bool,
    pub(super) protocol: bool,
}

pub(super) fn upstream(
    spec: &spec::Upstream,
    place: &Place<'_>,
    whole: &Whole,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Upstream {
    let at = |key| Place::Key(place, key);
    let balancing = at("load_balancing");
    let (policy, hash_on) = load_balancing(&spec.load_balancing, &balancing, whole.balancing, sink);
    let endpoints = spec.endpoints.as_deref().unwrap_or_default();
    match (&spec.endpoints, &spec.discovery) {
        (None, None) => drop(place.refuse::<()>(sink, "has no `endpoints`", "add `endpoints:`")),
        (Some(written), _) if written.is_empty() => {
            let fix = "an upstream needs at least one endpoint";
            at("endpoints").refuse::<()>(sink, "is empty", fix);
        }
        _ => {}
    }
    if let Err(error) = policy.check(endpoints.len())
        && whole.balancing
    {
        let fix = match error {
            BuildError::TableSizeNotPrime(_) => "use a prime, such as 65537 or 655373",
            _ => "use a larger table",
        };
        Place::Key(&balancing, "table_size").refuse::<()>(sink, error.to_string(), fix);
    }
    let list = at("endpoints");
    let endpoints = endpoints.iter().enumerate();
    let endpoints = endpoints
        .filter_map(|(index, spec)| origins::endpoint(spec, &Place::Item(&list, index), sink))
        .collect();
    let discovery = spec.discovery.as_ref();
    let discovery =
        discovery.and_then(|spec| origins::discovery(spec, &at("discovery"), files, sink));
    let transport = origins::transport(spec, place, whole.protocol, files, sink);
    let resilience = resilience::resilience(spec, place, files, sink);
    let panic_below =
        spec.outlier_detection.as_ref().and_then(|spec| spec.panic_below).map(|share| share.0);
    let decides = spec.health_check.is_some() || resilience.outlier_detection.is_some();
    if panic_below.is_some() && !decides {
        place.refuse::<()>(
            sink,
            "`outlier_detection.panic_below` has no effect without `health_check`",
            "add a `health_check` or remove it",
        );
    }
    let health_check = spec.health_check.as_ref();
    let health_check = health_check.map(|spec| self::health_check(spec, &at("health_check"), sink));
    if let Some(HealthCheck { probe: Probe::Grpc { .. }, .. }) = &health_check
        && transport.protocol == Protocol::Http1
        && whole.protocol
    {
        let what = "`health_check.grpc` needs HTTP/2, and the upstream is spoken to in HTTP/1";
        place.refuse::<()>(sink, what, "add `protocol: http2`");
    }
    Upstream {
        name: (*spec.name).into(),
        policy,
        hash_on,
        endpoints,
        discovery,
        transport,
        timeouts: (&spec.timeouts).into(),
        health_check,
        panic_below_percent: panic_below.unwrap_or(Upstream::PANIC_BELOW_PERCENT),
        resilience,
    }
}

fn load_balancing(
    spec: &spec::LoadBalancing,
    place: &Place<'_>,
    is_whole: bool,
    sink: &mut Sink,
) -> (Policy, HashOn) {
    let spec::LoadBalancing { policy, hash_on, table_size } = spec;
    let hashes = matches!(policy, spec::Policy::Maglev | spec::Policy::RingHash);
    // A key that the chosen policy would not look at is a misunderstanding, not a setting.
    if hash_on.is_some() && !hashes && is_whole {
        let fix = "remove it or use maglev or ring_hash";
        place.refuse::<()>(sink, "`hash_on` has no effect with this policy", fix);
    }
    if table_size.is_some() && *policy != spec::Policy::Maglev && is_whole {
        let fix = "remove it or use maglev";
        place.refuse::<()>(sink, "`table_size` has no effect with this policy", fix);
    }
    let policy = match policy {
        spec::Policy::RoundRobin => Policy::RoundRobin,
        spec::Policy::LeastRequest => Policy::LeastRequest,
        spec::Policy::Random => Policy::Random,
        spec::Policy::RingHash => Policy::RingHash,
        spec::Policy::Maglev => Policy::Maglev {
            table_size: table_size.map_or(MAGLEV_TABLE_SIZE, |size| size.0 as u32),
        },
    };
    (policy, hash_on.as_ref().map_or(HashOn::SourceIp, HashOn::from))
}

impl From<&spec::HashOn> for HashOn {
    fn from(spec: &spec::HashOn) -> Self {
        match spec {
            spec::HashOn::SourceIp => Self::SourceIp,
            spec::HashOn::Path => Self::Path,
            spec::HashOn::Header(name) => {
                let name = HeaderName::from_bytes(name.as_bytes());
                Self::Header(name.expect("the configuration holds tokens as names"))
            }
            spec::HashOn::Cookie(name) => Self::Cookie(name.0.clone()),
            spec::HashOn::Query(name) => Self::Query(name.0.clone()),
            spec::HashOn::Hint(hint) => match hint {
                spec::SteadyHint::Network => Self::Hint(HintField::Network),
                spec::SteadyHint::Zone => Self::Hint(HintField::Zone),
                spec::SteadyHint::Protocol => Self::Hint(HintField::Protocol),
                spec::SteadyHint::Ja4 => Self::Ja4,
            },
            spec::HashOn::ClientCertificate(part) => Self::ClientCertificate((*part).into()),
        }
    }
}

impl From<spec::CertificatePart> for CertificatePart {
    fn from(spec: spec::CertificatePart) -> Self {
        match spec {
            spec::CertificatePart::Subject => Self::Subject,
            spec::CertificatePart::Serial => Self::Serial,
            spec::CertificatePart::Fingerprint => Self::Fingerprint,
        }
    }
}

impl From<&spec::UpstreamTimeouts> for UpstreamTimeouts {
    fn from(spec: &spec::UpstreamTimeouts) -> Self {
        let spec::UpstreamTimeouts { connect, first_byte, read, write, idle, upgraded } = spec;
        let [connect, read, write, idle, upgraded] =
            [connect, read, write, idle, upgraded].map(|Duration(time)| *time);
        let first_byte = first_byte.map(|time| time.0);
        Self { connect, first_byte, read, write, idle, upgraded }
    }
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        (&spec::UpstreamTimeouts::default()).into()
    }
}

fn health_check(spec: &spec::HealthCheck, place: &Place<'_>, sink: &mut Sink) -> HealthCheck {
    let spec::HealthCheck { path, http, tcp, grpc, .. } = spec;
    let written = [
        ("path", path.is_some()),
        ("http", http.is_some()),
        ("tcp", tcp.is_some()),
        ("grpc", grpc.is_some()),
    ];
    if written.iter().any(|(_, is_written)| *is_written) {
        place.exactly_one(sink, &written);
    }
    let probe = match (path, http, grpc) {
        (Some(path), ..) => Probe::Http(HttpProbe::of_path(path.0.clone())),
        (None, Some(http), _) => Probe::Http(http_probe(http, &Place::Key(place, "http"), sink)),
        // No name stands for the server as a whole.
        (None, None, Some(grpc)) => Probe::Grpc {
            service: grpc.service.as_ref().map(|name| name.0.clone()).unwrap_or_default(),
        },
        (None, None, None) => Probe::Tcp,
    };
    HealthCheck {
        probe,
        interval: spec.interval.0,
        timeout: spec.timeout.0,
        healthy: spec.healthy.0 as u32,
        unhealthy: spec.unhealthy.0 as u32,
    }
}

fn http_probe(spec: &spec::HttpProbe, place: &Place<'_>, sink: &mut Sink) -> HttpProbe {
    let at = |key| Place::Key(place, key);
    let is_host = |text: &str| {
        text.parse::<Authority>().is_ok_and(|authority| !authority.as_str().contains('@'))
    };
    if let Some(host) = spec.host.as_ref().filter(|host| !is_host(host)) {
        let fix = "write a host such as api.internal or api.internal:8080";
        at("host").refuse::<()>(sink, format!("{:?}: is not a host", &**host), fix);
    }
    if spec.status.as_slice().is_empty() {
        let fix = "name a status such as 200, or a range: 200-399";
        at("status").refuse::<()>(sink, "is empty", fix);
    }
    let statuses = spec.status.as_slice().iter();
    HttpProbe {
        path: spec.path.0.clone(),
        host: spec.host.as_ref().map(|host| host.0.clone()),
        method: match spec.method {
            spec::ProbeMethod::Get => Method::GET,
            spec::ProbeMethod::Head => Method::HEAD,
            spec::ProbeMethod::Options => Method::OPTIONS,
        },
        status: statuses.map(|range| StatusRange { from: range.from, to: range.to }).collect(),
    }
}
