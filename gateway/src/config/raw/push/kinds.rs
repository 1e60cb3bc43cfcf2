//! The exporters of `push:`, each with the keys that are its own.

use http::{HeaderName, HeaderValue, Uri, header};
use sallyport_config::{Fields, Node, Sink};
use sallyport_stats::push::ExporterSpec;
use sallyport_stats::push::emf::EmfConfig;
use sallyport_stats::push::http::HttpConfig;
use sallyport_stats::push::net::Address;
use sallyport_stats::push::otlp::{
    Histograms, OtlpConfig, OtlpGrpcConfig, OtlpHttpConfig, Temporality,
};
use sallyport_stats::push::remote_write::RemoteWriteConfig;
use sallyport_stats::push::statsd::{DogStatsdConfig, StatsdConfig, TagStyle, origin};

use crate::config::raw::scalar;

/// Header fields that are the request's own.
const FRAMING: [HeaderName; 6] = [
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::TRANSFER_ENCODING,
];

pub(super) fn dogstatsd(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    node.mapping(sink, |fields, sink| {
        let address = fields.required(sink, "address", datagrams);
        let prefix = fields.optional(sink, "prefix", scalar::name);
        let tags = fields.optional(sink, "tags", pairs);
        let distributions = fields.optional(sink, "distributions", scalar::flag);
        let container = fields.optional(sink, "container", scalar::flag);
        let bytes = fields.optional(sink, "datagram_bytes", datagram_bytes);
        let mut config = DogStatsdConfig::new(address?);
        config.prefix = prefix.unwrap_or_default().into();
        config.tags = tags.unwrap_or_default();
        config.distributions = distributions.unwrap_or(true);
        if container.unwrap_or(true) {
            config.container_id = origin::container_id();
            config.external_data = std::env::var("DD_EXTERNAL_ENV").ok();
        }
        config.datagram_bytes_max = bytes;
        Some(config.spec(name))
    })
}

pub(super) fn statsd(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    const STYLES: [(&str, TagStyle); 5] = [
        ("in_name", TagStyle::InName),
        ("dogstatsd", TagStyle::DogStatsd),
        ("influx", TagStyle::Influx),
        ("librato", TagStyle::Librato),
        ("signalfx", TagStyle::SignalFx),
    ];
    node.mapping(sink, |fields, sink| {
        let address = fields.required(sink, "address", datagrams);
        let prefix = fields.optional(sink, "prefix", scalar::name);
        let tags = fields.optional(sink, "tags", |node, sink| choice(node, sink, &STYLES));
        let bytes = fields.optional(sink, "datagram_bytes", datagram_bytes);
        let mut config = StatsdConfig::new(address?);
        config.prefix = prefix.unwrap_or_default().into();
        config.tags = tags.unwrap_or_default();
        config.datagram_bytes_max = bytes;
        Some(config.spec(name))
    })
}

pub(super) fn emf(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    node.mapping(sink, |fields, sink| {
        let address = fields.required(sink, "address", |node, sink| match address(node, sink)? {
            Address::Unix(_) => {
                node.refuse(sink, "is a Unix socket", "write udp://HOST:PORT or tcp://HOST:PORT")
            }
            address => Some(address),
        });
        let namespace = fields.optional(sink, "namespace", scalar::name);
        let dimensions = fields.optional(sink, "dimensions", pairs);
        let log_group = fields.optional(sink, "log_group", scalar::name);
        let log_stream = fields.optional(sink, "log_stream", scalar::name);
        let high_resolution = fields.optional(sink, "high_resolution", scalar::flag);
        let mut config = EmfConfig::new(address?, namespace.unwrap_or_else(|| "Sallyport".into()));
        config.dimensions = dimensions.unwrap_or_default();
        config.log_group = log_group.map(Into::into);
        config.log_stream = log_stream.map(Into::into);
        config.high_resolution = high_resolution.unwrap_or(false);
        Some(config.spec(name))
    })
}

pub(super) fn remote_write(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    node.mapping(sink, |fields, sink| {
        let http = http(fields, sink);
        let labels = fields.optional(sink, "labels", pairs);
        let every = fields.optional(sink, "every", scalar::duration);
        let mut config = RemoteWriteConfig::new(http?);
        config.labels = labels.unwrap_or_else(|| vec![("job".to_owned(), "sallyport".to_owned())]);
        config.interval = every.unwrap_or(config.interval);
        Some(config.spec(name))
    })
}

pub(super) fn otlp(name: &str, node: Node<'_>, sink: &mut Sink) -> Option<ExporterSpec> {
    const TEMPORALITIES: [(&str, Temporality); 2] =
        [("delta", Temporality::Delta), ("cumulative", Temporality::Cumulative)];
    const HISTOGRAMS: [(&str, Histograms); 2] =
        [("exponential", Histograms::Exponential), ("explicit", Histograms::Explicit)];
    const PROTOCOLS: [(&str, bool); 2] = [("grpc", true), ("http", false)];
    node.mapping(sink, |fields, sink| {
        let http = http(fields, sink);
        let grpc = fields.optional(sink, "protocol", |node, sink| choice(node, sink, &PROTOCOLS));
        let resource = fields.optional(sink, "resource", pairs);
        let temporality =
            fields.optional(sink, "temporality", |node, sink| choice(node, sink, &TEMPORALITIES));
        let histograms =
            fields.optional(sink, "histograms", |node, sink| choice(node, sink, &HISTOGRAMS));
        let otlp = OtlpConfig {
            resource: resource
                .unwrap_or_else(|| vec![("service.name".to_owned(), "sallyport".to_owned())]),
            temporality: temporality.unwrap_or_default(),
            histograms: histograms.unwrap_or_default(),
        };
        let http = http?;
        if !grpc.unwrap_or(true) {
            return Some(OtlpHttpConfig { http, otlp }.spec(name));
        }
        // A name that ends so holds bytes, which a file cannot say.
        if http.headers.iter().any(|(name, _)| name.ends_with("-bin")) {
            let what = "has a header whose name ends in `-bin`";
            return fields.node().refuse(sink, what, "leave it out, or use `protocol: http`");
        }
        let mut config = OtlpGrpcConfig::new(http.url);
        (config.metadata, config.deadline, config.otlp) = (http.headers, http.deadline, otlp);
        Some(config.spec(name))
    })
}

/// `url`, `headers` and `timeout`.
fn http(fields: &mut Fields<'_>, sink: &mut Sink) -> Option<HttpConfig> {
    let url = fields.required(sink, "url", url);
    let headers = fields.optional(sink, "headers", header_fields);
    let timeout = fields.optional(sink, "timeout", scalar::duration);
    let mut http = HttpConfig::new(url?);
    http.headers = headers.unwrap_or_default();
    http.deadline = timeout.unwrap_or(http.deadline);
    Some(http)
}

/// Where a problem is told the text is not: it may hold a password.
fn url(node: Node<'_>, sink: &mut Sink) -> Option<String> {
    let text = node.text(sink)?;
    let uri = text.parse::<Uri>().ok();
    let web = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    };
    let Some(uri) = uri.filter(web) else {
        let fix = "write http://HOST:PORT/PATH or https://HOST/PATH";
        return node.refuse(sink, "is no URL with a scheme and a host", fix);
    };
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return node.refuse(sink, "has a user in it", "put `authorization` into `headers`");
    }
    Some(text.to_owned())
}

/// As with [`url`], no value is told.
fn header_fields(node: Node<'_>, sink: &mut Sink) -> Option<Vec<(String, String)>> {
    node.entries(sink, |key, node, sink| {
        let Ok(name) = key.parse::<HeaderName>() else {
            let fix = "write a field name of letters, digits and hyphens";
            return node.refuse(sink, "is no header field", fix);
        };
        if FRAMING.contains(&name) {
            return node.refuse(sink, "is the gateway's own to say", "remove it");
        }
        let value = node.text(sink)?;
        if !value.is_ascii() || HeaderValue::from_str(value).is_err() {
            return node.refuse(sink, "is no header value", "write visible characters only");
        }
        Some((name.as_str().to_owned(), value.to_owned()))
    })
}

fn address(node: Node<'_>, sink: &mut Sink) -> Option<Address> {
    const FIX: &str = "write HOST:PORT, udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH";
    node.parsed(sink, FIX, |text| text.parse::<Address>().map_err(|_| "is no such address"))
}

/// An address that takes datagrams.
fn datagrams(node: Node<'_>, sink: &mut Sink) -> Option<Address> {
    match address(node, sink)? {
        Address::Tcp(..) => {
            node.refuse(sink, "is a stream", "write udp://HOST:PORT or unix:///PATH")
        }
        address => Some(address),
    }
}

fn datagram_bytes(node: Node<'_>, sink: &mut Sink) -> Option<usize> {
    scalar::bytes(node, sink, 512, 65_507).map(|bytes| bytes as usize)
}

/// Keys and values of the user's own.
fn pairs(node: Node<'_>, sink: &mut Sink) -> Option<Vec<(String, String)>> {
    node.entries(sink, |key, node, sink| Some((key.to_owned(), scalar::name(node, sink)?.into())))
}

/// One of a few words.
fn choice<T: Copy>(node: Node<'_>, sink: &mut Sink, words: &[(&str, T)]) -> Option<T> {
    let names: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    node.parsed(sink, &format!("write {}", names.join(" or ")), |text| {
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or("is none of them")
    })
}
