//! The keys of an upstream that say where its origins are and how they are spoken to, and `resolver:`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use sallyport_balance::Address;
use sallyport_config::spec::scalar::{DnsServer, DomainName, EndpointAddress, Scalar as _};
use sallyport_config::{Fields, Node, Sink};
use sallyport_plugin::Reader;

use super::{origin_tls, scalar};
use crate::config::origins::{
    Discovery, Endpoint, Location, Name, Protocol, ProxyProtocol, Resolver, Transport,
};

/// `endpoints:`. `None` stands for one that could not be read, so that the others keep their indices.
pub(super) fn endpoints(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Option<Endpoint>>> {
    let endpoints = node.list(sink, |node, sink| Some(endpoint(node, sink)))?;
    if node.value.as_sequence().is_some_and(Vec::is_empty) {
        return node.refuse(sink, "is empty", "an upstream needs at least one endpoint");
    }
    Some(endpoints)
}

/// The endpoints of a file of their own. Unlike an upstream's, they may be none.
pub(super) fn discovered(node: Node<'_>, sink: &mut Sink) -> Option<Vec<Endpoint>> {
    node.whole_list(sink, endpoint)
}

fn endpoint(node: Node<'_>, sink: &mut Sink) -> Option<Endpoint> {
    node.mapping(sink, |fields, sink| {
        let location = fields.required(sink, "address", location);
        let weight = fields.optional(sink, "weight", |node, sink| node.number(sink, 1, 65_535));
        let priority = fields.optional(sink, "priority", |node, sink| node.number(sink, 0, 127));
        Some(Endpoint {
            location: location?,
            weight: weight.map_or(1, |weight| weight as u16),
            priority: priority.map_or(0, |priority| priority as u8),
        })
    })
}

fn location(node: Node<'_>, sink: &mut Sink) -> Option<Location> {
    node.parsed(sink, &EndpointAddress::fix(), parse_location)
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
fn parse_host(text: &str) -> Result<Arc<str>, String> {
    Ok(lower(&DomainName::parse(text)?))
}

fn lower(host: &str) -> Arc<str> {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase().into()
}

/// `discovery:`.
pub(super) fn discovery(
    node: Node<'_>,
    filters: &Reader<'_>,
    sink: &mut Sink,
) -> Option<Discovery> {
    node.mapping(sink, |fields, sink| {
        let srv = fields.optional(sink, "srv", |node, sink| {
            node.parsed(sink, "write a name such as _http._tcp.api.internal", parse_host)
        });
        let file = fields.optional(sink, "file", |node, sink| endpoints_file(node, filters, sink));
        fields.exactly_one(sink, &["srv", "file"])?;
        srv.map(Discovery::Srv).or(file.map(Discovery::File))
    })
}

/// A file of endpoints is followed by itself: what is wrong with it now is a warning, since it may be
/// written at any time, and the upstream has no endpoints of it until then.
fn endpoints_file(node: Node<'_>, filters: &Reader<'_>, sink: &mut Sink) -> Option<PathBuf> {
    let path = filters.folder().join(node.text(sink)?);
    if let Err(problems) = super::super::endpoints_file::read(&path) {
        node.warn(
            sink,
            problems.to_string(),
            "mend the file: its endpoints are used as soon as it is",
        );
    }
    Some(path)
}

/// How origins are spoken to: `protocol`, `tls`, `http2` and `send_proxy_protocol`.
pub(super) fn transport(
    fields: &mut Fields<'_>,
    filters: &mut Reader<'_>,
    sink: &mut Sink,
) -> Transport {
    let protocol = fields.optional(sink, "protocol", protocol).unwrap_or_default();
    let tls = fields.optional(sink, "tls", |node, sink| origin_tls::tls(node, filters, sink));
    let max_streams = fields.optional(sink, "http2", max_streams);
    let proxy_protocol = fields.optional(sink, "send_proxy_protocol", proxy_protocol);
    if max_streams.is_some() && protocol == Protocol::Http1 {
        let what = "`http2` has no effect: the upstream is spoken to in HTTP/1";
        fields.node().refuse::<()>(sink, what, "add `protocol: http2`, or remove it");
    }
    Transport {
        protocol,
        tls: tls.map(Arc::new),
        max_streams: max_streams.unwrap_or(Transport::MAX_STREAMS),
        proxy_protocol,
    }
}

fn protocol(node: Node<'_>, sink: &mut Sink) -> Option<Protocol> {
    node.parsed(sink, "write http1, http2 or auto", |text| match text {
        "http1" => Ok(Protocol::Http1),
        "http2" => Ok(Protocol::Http2),
        "auto" => Ok(Protocol::Auto),
        _ => Err("is no protocol"),
    })
}

fn max_streams(node: Node<'_>, sink: &mut Sink) -> Option<usize> {
    node.mapping(sink, |fields, sink| {
        let streams =
            fields.required(sink, "max_streams", |node, sink| node.number(sink, 1, 10_000))?;
        Some(streams as usize)
    })
}

fn proxy_protocol(node: Node<'_>, sink: &mut Sink) -> Option<ProxyProtocol> {
    node.parsed(sink, "write v1 or v2", |text| match text {
        "v1" => Ok(ProxyProtocol::V1),
        "v2" => Ok(ProxyProtocol::V2),
        _ => Err("is no version of the PROXY protocol"),
    })
}

/// `resolver:`.
pub(super) fn resolver(node: Node<'_>, sink: &mut Sink) -> Option<Resolver> {
    node.mapping(sink, |fields, sink| {
        let default = Resolver::default();
        let servers = fields.optional(sink, "servers", servers);
        let search = fields.optional(sink, "search", |node, sink| {
            node.whole_list(sink, |node, sink| {
                node.parsed(sink, "write a domain such as svc.cluster.local", parse_host)
            })
        });
        let mut time =
            |key, default| fields.optional(sink, key, scalar::duration).unwrap_or(default);
        let (timeout, min_ttl, max_ttl) = (
            time("timeout", default.timeout),
            time("min_ttl", default.min_ttl),
            time("max_ttl", default.max_ttl),
        );
        let attempts = fields.optional(sink, "attempts", |node, sink| node.number(sink, 1, 10));
        if min_ttl > max_ttl {
            let what = "`min_ttl` is longer than `max_ttl`";
            return fields.node().refuse(sink, what, "write min_ttl: 1s and max_ttl: 5m, or such");
        }
        Some(Resolver {
            servers: servers.unwrap_or_default(),
            search,
            timeout,
            attempts: attempts.map_or(default.attempts, |attempts| attempts as usize),
            min_ttl,
            max_ttl,
        })
    })
}

fn servers(node: Node<'_>, sink: &mut Sink) -> Option<Vec<SocketAddr>> {
    let servers = node.whole_list(sink, |node, sink| {
        node.parsed(sink, &DnsServer::fix(), |text| {
            let text = &*DnsServer::parse(text)?.0;
            let address = text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)));
            address.map_err(|_| "is no address".to_owned())
        })
    })?;
    if servers.is_empty() {
        return node.refuse(sink, "is empty", "name a server, or remove it for the system's");
    }
    Some(servers)
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
