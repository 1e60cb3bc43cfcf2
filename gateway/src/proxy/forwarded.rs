//! Who asks, and what the origin is told of it.
//!
//! `X-Forwarded-*`, `Forwarded` and `X-Real-IP` are believed only from peers that the listener
//! trusts; from all others they are replaced or dropped, so that an origin can rely on them.

use std::net::{IpAddr, Ipv4Addr};

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// Addresses that a chain may name before the rest of it is ignored.
const CHAIN_MAX: usize = 32;

/// Where a request comes from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// The address at the other end of the connection.
    pub(super) peer: Option<IpAddr>,
    /// The nearest address in the chain that is not a trusted proxy.
    pub(super) client: Option<IpAddr>,
    /// Whether the peer itself is a trusted proxy.
    pub(super) peer_trusted: bool,
}

impl Origin {
    /// Follows `X-Forwarded-For` from the right for as long as trusted proxies wrote it.
    pub(super) fn of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = peer.map(|address| address.to_canonical());
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let peer_trusted = peer.is_some_and(is_trusted);
        if !peer_trusted {
            return Self { peer, client: peer, peer_trusted };
        }
        let mut client = peer;
        for address in chain(headers).take(CHAIN_MAX) {
            let Some(address) = address else { break };
            client = Some(address);
            if !is_trusted(address) {
                break;
            }
        }
        Self { peer, client, peer_trusted }
    }
}

/// The addresses of `X-Forwarded-For`, nearest first; `None` for what is not an address.
fn chain(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> + '_ {
    let fields: Vec<&HeaderValue> = headers.get_all(FOR).iter().collect();
    fields.into_iter().rev().flat_map(|field| {
        field
            .to_str()
            .unwrap_or("")
            .rsplit(',')
            .map(|entry| entry.trim().parse().ok().map(|address: IpAddr| address.to_canonical()))
    })
}

/// Writes the forwarding fields of a request that came from `origin` over `scheme` and asked for
/// `asked_host`; `None` where no filter can have changed the request's own.
pub(super) fn write(
    headers: &mut HeaderMap,
    origin: &Origin,
    scheme: &'static str,
    asked_host: Option<&HeaderValue>,
) {
    let host = asked_host.or_else(|| headers.get(header::HOST)).cloned();
    if headers.keys().any(tells_origin) {
        return rewrite(headers, origin, scheme, host);
    }
    // Nearly every request: nothing to remove and nothing to append to.
    if let Some(peer) = origin.peer {
        headers.insert(FOR, text(peer));
    }
    headers.insert(PROTO, HeaderValue::from_static(scheme));
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
}

/// Whether this is one of the fields that tell where a request comes from.
fn tells_origin(name: &HeaderName) -> bool {
    match name.as_str().as_bytes() {
        [b'x', b'-', ..] => [FOR, PROTO, HOST, REAL_IP].contains(name),
        _ => *name == header::FORWARDED,
    }
}

fn rewrite(
    headers: &mut HeaderMap,
    origin: &Origin,
    scheme: &'static str,
    host: Option<HeaderValue>,
) {
    if !origin.peer_trusted {
        for name in [header::FORWARDED, REAL_IP, FOR, PROTO, HOST] {
            headers.remove(name);
        }
    }
    if let Some(value) = origin.peer.and_then(|peer| appended(headers, peer)) {
        headers.insert(FOR, value);
    }
    if !headers.contains_key(PROTO) {
        headers.insert(PROTO, HeaderValue::from_static(scheme));
    }
    if let Some(host) = host.filter(|_| !headers.contains_key(HOST)) {
        headers.insert(HOST, host);
    }
}

/// The chain with `peer` at its end.
fn appended(headers: &HeaderMap, peer: IpAddr) -> Option<HeaderValue> {
    let mut chain = Vec::new();
    for field in headers.get_all(FOR).iter().filter_map(|field| field.to_str().ok()) {
        chain.extend_from_slice(field.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(text(peer).as_bytes());
    HeaderValue::from_maybe_shared(bytes::Bytes::from(chain)).ok()
}

/// The address as text. IPv4 by hand: the standard library's formatting takes a thousand
/// instructions, as long as the other fields together.
fn text(address: IpAddr) -> HeaderValue {
    match address {
        IpAddr::V4(address) => ipv4(address),
        IpAddr::V6(address) => HeaderValue::try_from(address.to_string()),
    }
    .expect("an address is digits, letters, dots and colons")
}

fn ipv4(address: Ipv4Addr) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut text = [0; 15];
    let mut length = 0;
    let mut push = |byte| {
        text[length] = byte;
        length += 1;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            push(b'.');
        }
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
    }
    HeaderValue::from_bytes(&text[..length])
}

#[cfg(test)]
mod tests {
    use super::{FOR, Origin, text, write};
    use http::{HeaderMap, HeaderName, HeaderValue};
    use std::net::IpAddr;

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (FOR, HeaderValue::from_static(value))).collect()
    }

    fn client(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> Option<IpAddr> {
        let trusted: Vec<_> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        Origin::of(peer.parse().ok(), &headers(forwarded), &trusted).client
    }

    #[test]
    fn only_trusted_peers_tell_where_a_request_comes_from() {
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        assert_eq!(client("192.0.2.1", &["10.9.9.9"], &[]), ip("192.0.2.1"));
        assert_eq!(client("10.0.0.1", &["203.0.113.7"], &["10.0.0.0/8"]), ip("203.0.113.7"));
        assert_eq!(
            client("10.0.0.1", &["198.51.100.1, 203.0.113.7, 10.0.0.2"], &["10.0.0.0/8"]),
            ip("203.0.113.7")
        );
        assert_eq!(
            client("10.0.0.1", &["198.51.100.1", "203.0.113.7"], &["10.0.0.0/8"]),
            ip("203.0.113.7")
        );
        assert_eq!(client("10.0.0.1", &["garbage"], &["10.0.0.0/8"]), ip("10.0.0.1"));
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.7"], &["10.0.0.0/8"]), ip("203.0.113.7"));
    }

    #[test]
    fn a_chain_is_extended_only_for_trusted_peers() {
        let chain = |trusted: &[ipnet::IpNet]| {
            let mut sent = headers(&["203.0.113.7", "192.0.2.9"]);
            let origin = Origin::of("10.0.0.1".parse().ok(), &sent, trusted);
            write(&mut sent, &origin, "http", None);
            assert_eq!(sent.get_all(FOR).iter().count(), 1);
            sent[FOR].clone()
        };
        assert_eq!(chain(&[]), "10.0.0.1");
        assert_eq!(chain(&["10.0.0.0/8".parse().unwrap()]), "203.0.113.7, 192.0.2.9, 10.0.0.1");
    }

    #[test]
    fn what_a_trusted_peer_says_stays() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("inner.example"));
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        headers.insert("x-forwarded-host", HeaderValue::from_static("shop.example"));
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let origin = Origin::of("10.0.0.1".parse().ok(), &headers, &trusted);
        write(&mut headers, &origin, "http", None);
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1");
    }

    #[test]
    fn without_such_fields_all_are_written() {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("shop.example"));
        headers.insert("x-other", HeaderValue::from_static("1"));
        let origin = Origin::of("192.0.2.1".parse().ok(), &headers, &[]);
        write(&mut headers, &origin, "http", None);
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "shop.example");
        assert_eq!(headers["x-forwarded-for"], "192.0.2.1");
        assert_eq!(headers.len(), 5);
    }

    #[test]
    fn the_host_that_was_asked_for_is_told_and_not_the_one_the_origin_is_asked_for() {
        let asked = HeaderValue::from_static("shop.example:8080");
        for (trusted, sent, told) in [
            (&[][..], Some("evil.example"), "shop.example:8080"),
            (&["10.0.0.0/8"][..], None, "shop.example:8080"),
            (&["10.0.0.0/8"][..], Some("www.example"), "www.example"),
        ] {
            let trusted: Vec<_> = trusted.iter().map(|network| network.parse().unwrap()).collect();
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("app.internal"));
            headers.extend(sent.map(|sent| (super::HOST, HeaderValue::from_static(sent))));
            let origin = Origin::of("10.0.0.1".parse().ok(), &headers, &trusted);
            write(&mut headers, &origin, "http", Some(&asked));
            assert_eq!(headers["x-forwarded-host"], told);
            assert_eq!(headers["host"], "app.internal");
        }
    }

    #[test]
    fn addresses_read_as_the_standard_library_writes_them() {
        for address in ["0.0.0.0", "9.10.99.100", "255.199.109.1", "2001:db8::1", "::"] {
            assert_eq!(text(address.parse().unwrap()), address);
        }
    }

    #[test]
    fn spoofed_fields_are_replaced_or_dropped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "shop.example"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "5.6.7.8"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=1.2.3.4"),
            ("x-real-ip", "1.2.3.4"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let origin = Origin::of("192.0.2.1".parse().ok(), &headers, &[]);
        write(&mut headers, &origin, "http", None);
        let all = |name: &str| -> Vec<_> {
            headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(all("x-forwarded-for"), ["192.0.2.1"]);
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("x-forwarded-host"), ["shop.example"]);
        assert!(all("forwarded").is_empty() && all("x-real-ip").is_empty());
    }
}
