//! The keys of an upstream that say where its origins are and how they are spoken to, and
//! `resolver:`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sallyport_balance::Address;
use sallyport_config::spec;
use sallyport_config::spec::scalar::{DnsServer, EndpointAddress, Scalar as _};
use sallyport_config::{Place, Sink};
use sallyport_plugin::Reader;

use super::origin_tls;
use crate::config::endpoints_file;
use crate::config::origins::{
    Discovery, Endpoint, Location, Name, Protocol, ProxyProtocol, Resolver, Transport,
};

/// The endpoint that `spec` declares at `place`.
pub(in crate::config) fn endpoint(
    spec: &spec::Endpoint,
    place: &Place<'_>,
    sink: &mut Sink,
) -> Option<Endpoint> {
    let place = Place::Key(place, "address");
    let location = place.parsed(sink, &spec.address, &EndpointAddress::fix(), parse_location)?;
    Some(Endpoint { location, weight: spec.weight.0 as u16, priority: spec.priority.0 as u8 })
}

/// What a text that was found to be an endpoint's address means.
fn parse_location(text: &str) -> Result<Location, String> {
    let text = &*EndpointAddress::parse(text)?.0;
    if let Ok(address) = text.parse::<Address>() {
        return Ok(Location::At(address));
    }
    let name = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) = name.ok_or("has no port")?;
    Ok(Location::Name(Name { host: lower(host), port }))
}

/// A domain name as it is looked up.
fn lower(host: &str) -> Arc<str> {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase().into()
}

/// `discovery:`.
pub(super) fn discovery(
    spec: &spec::Discovery,
    place: &Place<'_>,
    files: &Reader<'_>,
    sink: &mut Sink,
) -> Option<Discovery> {
    let spec::Discovery { srv, file, kubernetes, xds } = spec;
    let keys = [
        ("srv", srv.is_some()),
        ("file", file.is_some()),
        ("kubernetes", kubernetes.is_some()),
        ("xds", xds.is_some()),
    ];
    place.exactly_one(sink, &keys)?;
    let file =
        file.as_ref().map(|file| endpoints_file(file, &Place::Key(place, "file"), files, sink));
    let service = kubernetes
        .as_ref()
        .map(|service| Discovery::Source(crate::sources::KUBERNETES, service.group().into()));
    let srv = srv.as_ref().map(|name| Discovery::Srv(lower(name)));
    let group = xds.as_ref().map(|name| Discovery::Source(crate::sources::XDS, (**name).into()));
    srv.or(file.map(Discovery::File)).or(service).or(group)
}

/// A file of endpoints is followed by itself: what is wrong with it now is a warning, since it may
/// be written at any time, and the upstream has no endpoints of it until then.
fn endpoints_file(file: &str, place: &Place<'_>, files: &Reader<'_>, sink: &mut Sink) -> PathBuf {
    let path = files.folder().join(file);
    if let Err(problems) = endpoints_file::read(&path) {
        let fix = "mend the file: its endpoints are used as soon as it is";
        place.warn(sink, problems.to_string(), fix);
    }
    path
}

/// How origins are spoken to: `protocol`, `tls`, `http2` and `send_proxy_protocol`.
pub(super) fn transport(
    spec: &spec::Upstream,
    place: &Place<'_>,
    is_protocol_read: bool,
    files: &mut Reader<'_>,
    sink: &mut Sink,
) -> Transport {
    let protocol = match spec.protocol {
        spec::OriginProtocol::Http1 => Protocol::Http1,
        spec::OriginProtocol::Http2 => Protocol::Http2,
        spec::OriginProtocol::Auto => Protocol::Auto,
    };
    let tls = spec.tls.as_ref();
    let tls = tls.and_then(|spec| origin_tls::tls(spec, &Place::Key(place, "tls"), files, sink));
    if spec.http2.is_some() && protocol == Protocol::Http1 && is_protocol_read {
        let what = "`http2` has no effect: the upstream is spoken to in HTTP/1";
        place.refuse::<()>(sink, what, "add `protocol: http2`, or remove it");
    }
    let max_streams = spec.http2.as_ref().map(|http2| http2.max_streams.0 as usize);
    Transport {
        protocol,
        tls: tls.map(Arc::new),
        max_streams: max_streams.unwrap_or(Transport::MAX_STREAMS),
        proxy_protocol: spec.send_proxy_protocol.map(|version| match version {
            spec::ProxyProtocolVersion::V1 => ProxyProtocol::V1,
            spec::ProxyProtocolVersion::V2 => ProxyProtocol::V2,
        }),
    }
}

/// `resolver:`.
pub(super) fn resolver(
    spec: &spec::Resolver,
    place: &Place<'_>,
    is_ttl_read: bool,
    sink: &mut Sink,
) -> Resolver {
    if spec.servers.as_ref().is_some_and(Vec::is_empty) {
        let fix = "name a server, or remove it for the system's";
        Place::Key(place, "servers").refuse::<()>(sink, "is empty", fix);
    }
    if spec.min_ttl > spec.max_ttl && is_ttl_read {
        let what = "`min_ttl` is longer than `max_ttl`";
        place.refuse::<()>(sink, what, "write min_ttl: 1s and max_ttl: 5m, or such");
    }
    spec.into()
}

impl From<&spec::Resolver> for Resolver {
    fn from(spec: &spec::Resolver) -> Self {
        let search = spec.search.as_ref();
        Self {
            servers: spec.servers.iter().flatten().filter_map(server).collect(),
            search: search.map(|names| names.iter().map(|name| lower(name)).collect()),
            timeout: spec.timeout.0,
            attempts: spec.attempts.0 as usize,
            min_ttl: spec.min_ttl.0,
            max_ttl: spec.max_ttl.0,
        }
    }
}

impl Default for Resolver {
    fn default() -> Self {
        (&spec::Resolver::default()).into()
    }
}

fn server(text: &DnsServer) -> Option<SocketAddr> {
    let with_port = text.parse().ok();
    with_port.or_else(|| text.parse().ok().map(|address| SocketAddr::new(address, 53)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_addresses_names_or_paths() {
        for text in ["10.0.0.1:80", "[::1]:80", "unix:/run/a.sock", "api.internal:8443", "a_b:1"] {
            assert_eq!(parse_location(text).unwrap().to_string(), text);
        }
        assert_eq!(parse_location("API.Internal.:80").unwrap().to_string(), "api.internal:80");
        for text in [
            "10.0.0.1",
            "10.0.0.1:0",
            "10.0.0:80",
            "10.0.0.256:80",
            "api:0",
            "api:",
            "api",
            ":80",
            "a..b:80",
            "a b:80",
            "unix:run",
            "http://a:80",
            "api:65536",
        ] {
            assert!(parse_location(text).is_err(), "{text:?}");
        }
    }
}
