//! Who asks, and what the origin is told of it.
//!
//! `X-Forwarded-*`, `Forwarded` and `X-Real-IP` are believed only from peers that the listener
//! trusts; from all others they are replaced or dropped, so that an origin can rely on them.

use std::fmt::Write as _;
use std::net::IpAddr;

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

/// Writes the forwarding fields of a request that came from `origin` over `scheme`.
pub(super) fn write(headers: &mut HeaderMap, origin: &Origin, scheme: &'static str) {
    if !origin.peer_trusted {
        headers.remove(header::FORWARDED);
        headers.remove(REAL_IP);
    }
    if let Some(value) = origin.peer.and_then(|peer| appended(headers, peer, origin.peer_trusted)) {
        headers.insert(FOR, value);
    }
    if !origin.peer_trusted || !headers.contains_key(PROTO) {
        headers.insert(PROTO, HeaderValue::from_static(scheme));
    }
    if !origin.peer_trusted || !headers.contains_key(HOST) {
        match headers.get(header::HOST).cloned() {
            Some(host) => headers.insert(HOST, host),
            None => headers.remove(HOST),
        };
    }
}

fn appended(headers: &HeaderMap, peer: IpAddr, peer_trusted: bool) -> Option<HeaderValue> {
    // The longest address has 39 characters; nearly every chain is that one address.
    let mut text = String::with_capacity(40);
    if peer_trusted {
        for field in headers.get_all(FOR).iter().filter_map(|field| field.to_str().ok()) {
            text.push_str(field);
            text.push_str(", ");
        }
    }
    write!(text, "{peer}").ok()?;
    HeaderValue::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::{FOR, Origin, appended, write};
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
        let sent = headers(&["203.0.113.7"]);
        let peer = "10.0.0.1".parse().unwrap();
        assert_eq!(appended(&sent, peer, false).unwrap(), "10.0.0.1");
        assert_eq!(appended(&sent, peer, true).unwrap(), "203.0.113.7, 10.0.0.1");
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
        write(&mut headers, &origin, "http");
        let all = |name: &str| -> Vec<_> {
            headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
        };
        assert_eq!(all("x-forwarded-for"), ["192.0.2.1"]);
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("x-forwarded-host"), ["shop.example"]);
        assert!(all("forwarded").is_empty() && all("x-real-ip").is_empty());
    }
}
