//! `push:`.

use std::collections::HashSet;

use http::{HeaderName, HeaderValue, Uri, header};
use sallyport_config::spec::push as spec;
use sallyport_config::{Entries, Place, Sink};
use sallyport_stats::push::emf::EmfConfig;
use sallyport_stats::push::http::HttpConfig;
use sallyport_stats::push::net::Address;
use sallyport_stats::push::otlp::{
    Histograms, OtlpConfig, OtlpGrpcConfig, OtlpHttpConfig, Temporality,
};
use sallyport_stats::push::remote_write::RemoteWriteConfig;
use sallyport_stats::push::statsd::{DogStatsdConfig, StatsdConfig, TagStyle, origin};
use sallyport_stats::push::{BreakerConfig, ExporterSpec};

use crate::config::model::{PUSH_EXPORTERS_MAX, Push};

/// Header fields that are the request's own.
const FRAMING: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
];

pub(super) fn push(spec: &spec::Push, place: &Place<'_>, sink: &mut Sink) -> Push {
    let place = Place::Key(place, "exporters");
    match spec.exporters.len() {
        0 => drop(place.refuse::<()>(sink, "is empty", "add an exporter, or remove `push:`")),
        count if count > PUSH_EXPORTERS_MAX => {
            let fix = format!("keep to {PUSH_EXPORTERS_MAX}");
            place.refuse::<()>(sink, format!("has {count} exporters"), fix);
        }
        _ => {}
    }
    let mut seen = HashSet::new();
    let exporters = spec.exporters.iter().enumerate().filter_map(|(index, spec)| {
        if !seen.insert(&spec.name) {
            let what = format!("has two exporters called {:?}", &*spec.name);
            place.refuse::<()>(sink, what, "give each a name of its own");
        }
        exporter(spec, &Place::Item(&place, index), sink)
    });
    Push {
        exporters: exporters.collect(),
        every: spec.every.0,
        series: spec.series.0 as usize,
        buffer_bytes: spec.buffer.0 as usize,
    }
}

fn exporter(spec: &spec::Exporter, place: &Place<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    let spec::Exporter { dogstatsd, statsd, emf, remote_write, otlp, .. } = spec;
    let written = [
        dogstatsd.is_some(),
        statsd.is_some(),
        emf.is_some(),
        remote_write.is_some(),
        otlp.is_some(),
    ];
    let written: Vec<_> = spec::Exporter::KINDS.into_iter().zip(written).collect();
    let one = place.exactly_one(sink, &written);
    let (name, at) = (&*spec.name, |key| Place::Key(place, key));
    let kinds = [
        dogstatsd.as_ref().and_then(|spec| self::dogstatsd(name, spec, &at("dogstatsd"), sink)),
        statsd.as_ref().and_then(|spec| self::statsd(name, spec, &at("statsd"), sink)),
        emf.as_ref().and_then(|spec| self::emf(name, spec, &at("emf"), sink)),
        remote_write
            .as_ref()
            .and_then(|spec| self::remote_write(name, spec, &at("remote_write"), sink)),
        otlp.as_ref().and_then(|spec| self::otlp(name, spec, &at("otlp"), sink)),
    ];
    let exporter = kinds.into_iter().flatten().next();
    one?;
    let breaker =
        BreakerConfig { failures: spec.breaker.failures.0 as u32, open_for: spec.breaker.open.0 };
    let queue = (spec.queue.batches.0 as usize, spec.queue.bytes.0 as usize);
    let exporter = exporter?.breaker(breaker).queue(queue.0, queue.1);
    Some(match spec.attempts {
        Some(attempts) => exporter.attempts(attempts.0 as u32),
        None => exporter,
    })
}

fn dogstatsd(
    name: &str,
    spec: &spec::DogStatsd,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<ExporterSpec> {
    let mut config = DogStatsdConfig::new(datagrams(&spec.address, place, sink)?);
    config.prefix = text(spec.prefix.as_deref()).unwrap_or_default();
    config.tags = pairs(&spec.tags);
    config.distributions = spec.distributions;
    if spec.container {
        config.container_id = origin::container_id();
        config.external_data = std::env::var("DD_EXTERNAL_ENV").ok();
    }
    config.datagram_bytes_max = spec.datagram_bytes.map(|bytes| bytes.0 as usize);
    Some(config.spec(name))
}

fn statsd(
    name: &str,
    spec: &spec::Statsd,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<ExporterSpec> {
    let mut config = StatsdConfig::new(datagrams(&spec.address, place, sink)?);
    config.prefix = text(spec.prefix.as_deref()).unwrap_or_default();
    config.tags = match spec.tags {
        spec::StatsdTags::InName => TagStyle::InName,
        spec::StatsdTags::DogStatsd => TagStyle::DogStatsd,
        spec::StatsdTags::Influx => TagStyle::Influx,
        spec::StatsdTags::Librato => TagStyle::Librato,
        spec::StatsdTags::SignalFx => TagStyle::SignalFx,
    };
    config.datagram_bytes_max = spec.datagram_bytes.map(|bytes| bytes.0 as usize);
    Some(config.spec(name))
}

fn emf(name: &str, spec: &spec::Emf, place: &Place<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    let place = Place::Key(place, "address");
    let address = match address(&spec.address, &place, sink)? {
        Address::Unix(_) => {
            let fix = "write udp://HOST:PORT or tcp://HOST:PORT";
            return place.refuse(sink, "is a Unix socket", fix);
        }
        address => address,
    };
    let mut config = EmfConfig::new(address, spec.namespace.to_string());
    config.dimensions = pairs(&spec.dimensions);
    config.log_group = text(spec.log_group.as_deref());
    config.log_stream = text(spec.log_stream.as_deref());
    config.high_resolution = spec.high_resolution;
    Some(config.spec(name))
}

fn remote_write(
    name: &str,
    spec: &spec::RemoteWrite,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<ExporterSpec> {
    let http = http(&spec.url, &spec.headers, place, sink);
    let mut config = RemoteWriteConfig::new(http?);
    config.http.deadline = spec.timeout.0;
    config.labels = pairs(&spec.labels);
    config.interval = spec.every.0;
    Some(config.spec(name))
}

fn otlp(name: &str, spec: &spec::Otlp, place: &Place<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    let mut http = http(&spec.url, &spec.headers, place, sink)?;
    http.deadline = spec.timeout.0;
    let otlp = OtlpConfig {
        resource: pairs(&spec.resource),
        temporality: match spec.temporality {
            spec::Temporality::Delta => Temporality::Delta,
            spec::Temporality::Cumulative => Temporality::Cumulative,
        },
        histograms: match spec.histograms {
            spec::Histograms::Exponential => Histograms::Exponential,
            spec::Histograms::Explicit => Histograms::Explicit,
        },
    };
    if spec.protocol == spec::OtlpProtocol::Http {
        return Some(OtlpHttpConfig { http, otlp }.spec(name));
    }
    refuse_binary(&http.headers, place, sink)?;
    let mut config = OtlpGrpcConfig::new(http.url);
    (config.metadata, config.deadline, config.otlp) = (http.headers, http.deadline, otlp);
    Some(config.spec(name))
}

/// A name that ends in `-bin` holds bytes in gRPC, which a file cannot say.
pub(super) fn refuse_binary(
    headers: &[(String, String)],
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<()> {
    if headers.iter().any(|(name, _)| name.ends_with("-bin")) {
        let what = "has a header whose name ends in `-bin`";
        return place.refuse(sink, what, "leave it out, or use `protocol: http`");
    }
    Some(())
}

pub(super) fn http(
    url: &spec::Url,
    headers: &Entries<spec::Secret>,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<HttpConfig> {
    let url = self::url(url, &Place::Key(place, "url"), sink);
    let headers = header_fields(headers, &Place::Key(place, "headers"), sink);
    let mut http = HttpConfig::new(url?);
    http.headers = headers;
    Some(http)
}

/// Where a problem is told the text is not: it may hold a password.
fn url(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<String> {
    let uri = text.parse::<Uri>().ok();
    let web = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    };
    let Some(uri) = uri.filter(web) else {
        let fix = "write http://HOST:PORT/PATH or https://HOST/PATH";
        return place.refuse(sink, "is no URL with a scheme and a host", fix);
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return place.refuse(sink, "has a user in it", "put `authorization` into `headers`");
    }
    Some(text.to_owned())
}

/// As with [`url`], no value is told.
fn header_fields(
    entries: &Entries<spec::Secret>,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Vec<(String, String)> {
    let fields = entries.0.iter().filter_map(|(key, value)| {
        let place = Place::Key(place, key);
        let Ok(name) = key.parse::<HeaderName>() else {
            let fix = "write a field name of letters, digits and hyphens";
            return place.refuse(sink, "is no header field", fix);
        };
        if FRAMING.contains(&name) {
            return place.refuse(sink, "is the gateway's own to say", "remove it");
        }
        if HeaderValue::from_str(&value.0).is_err() {
            return place.refuse(sink, "is no header value", "write visible characters only");
        }
        Some((name.as_str().to_owned(), String::from(value.0.clone())))
    });
    fields.collect()
}

fn address(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<Address> {
    const FIX: &str = "write HOST:PORT, udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH";
    place.parsed(sink, text, FIX, |text| text.parse::<Address>().map_err(|_| "is no such address"))
}

/// An address that takes datagrams, under `address` of the exporter at `place`.
fn datagrams(text: &str, place: &Place<'_>, sink: &mut Sink) -> Option<Address> {
    let place = Place::Key(place, "address");
    match address(text, &place, sink)? {
        Address::Tcp(..) => {
            place.refuse(sink, "is a stream", "write udp://HOST:PORT or unix:///PATH")
        }
        address => Some(address),
    }
}

fn text(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

/// Keys and values of the user's own.
pub(super) fn pairs<T: std::ops::Deref<Target = str>>(
    entries: &Entries<T>,
) -> Vec<(String, String)> {
    let pairs = entries.0.iter();
    pairs.map(|(key, value)| (String::from(key.clone()), (**value).to_owned())).collect()
}

#[cfg(test)]
mod tests;
