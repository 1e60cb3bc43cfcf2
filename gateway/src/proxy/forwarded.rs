//! Who asks, and what the origin is told of it.
//!
//! The family of `X-Forwarded-*`, `Forwarded`, `X-Real-IP`, `X-Original-URL` and `X-Rewrite-URL` are believed
//! only from peers that the listener trusts. From all others they are removed before anything reads the request
//! (`fields.rs`), so that filters and origins can rely on them.

use std::net::{IpAddr, Ipv4Addr};

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;

use sallyport_route::Scheme;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Addresses that a chain may name before the rest of it is ignored.
const CHAIN_MAX: usize = 32;

/// Whether the field `name`, in lower case, tells where a request comes from or what was asked for.
///
/// The last two are no forwarding fields by their names: frameworks take the path from them, so that a client
/// could ask one that no route has seen.
pub(super) fn is_one(name: &str) -> bool {
    name.starts_with("x-forwarded")
        || matches!(name, "forwarded" | "x-real-ip" | "x-original-url" | "x-rewrite-url")
}

/// Where a request comes from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Origin {
    /// The address at the other end of the connection.
    pub(super) peer: Option<IpAddr>,
    /// The nearest address in the chain that is not a trusted proxy; `None` if a trusted proxy's chain cannot be
    /// read, since the proxy is then certainly not the client.
    pub(super) client: Option<IpAddr>,
    /// Whether the peer is a trusted proxy, and what it says could be read.
    pub(super) peer_trusted: bool,
    /// The scheme that the client used, where a trusted proxy says so.
    pub(super) scheme: Option<Scheme>,
}

impl Origin {
    /// Follows `X-Forwarded-For` from the right for as long as trusted proxies wrote it.
    pub(super) fn of(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Self {
        let peer = peer.map(|address| address.to_canonical());
        let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
        let peer_trusted = peer.is_some_and(is_trusted);
        if !peer_trusted {
            return Self { peer, client: peer, ..Self::default() };
        }
        let mut client = peer;
        for address in chain(headers).take(CHAIN_MAX) {
            let Some(address) = address else {
                return Self { peer, ..Self::default() };
            };
            client = Some(address);
            if !is_trusted(address) {
                break;
            }
        }
        Self { peer, client, peer_trusted, scheme: scheme(headers) }
    }
}

/// The addresses of `X-Forwarded-For`, nearest first, all lines as one list; `None` for what is not an address.
fn chain(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> + '_ {
    let fields: Vec<&HeaderValue> = headers.get_all(FOR).iter().collect();
    fields.into_iter().rev().flat_map(|field| {
        // What is not text is no address, and not nothing either.
        let entries = field.to_str().unwrap_or("?").rsplit(',').map(str::trim);
        // RFC 9110, 5.6.1.2: empty members do not count.
        entries.filter(|entry| !entry.is_empty()).map(address)
    })
}

/// What `X-Forwarded-Proto` says. Of a list the nearest entry counts: the others were said to a trusted
/// proxy by somebody who may be anybody.
pub(super) fn scheme(headers: &HeaderMap) -> Option<Scheme> {
    let last = headers.get_all(PROTO).iter().next_back()?;
    let entry = last.to_str().ok()?.rsplit(',').next()?.trim();
    Scheme::ALL.into_iter().find(|it| entry.eq_ignore_ascii_case(it.as_str()))
}

/// An address, which may have a port: `192.0.2.1:80`, `[2001:db8::1]:443` and `[2001:db8::1]`.
fn address(entry: &str) -> Option<IpAddr> {
    let parsed = entry.parse().ok().or_else(|| match entry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            is_port(port.strip_prefix(':').unwrap_or("0")).then_some(())?;
            (port.is_empty() || port.starts_with(':')).then_some(())?;
            address.parse().ok().map(IpAddr::V6)
        }
        None => {
            let (address, port) = entry.split_once(':')?;
            is_port(port).then_some(())?;
            address.parse().ok().map(IpAddr::V4)
        }
    });
    parsed.map(|address: IpAddr| address.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
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
    if headers.keys().any(is_written_here) {
        return complete(headers, origin, scheme, host);
    }
    // Nearly every request: nothing to append to.
    if let Some(peer) = origin.peer {
        headers.insert(FOR, text(peer));
    }
    headers.insert(PROTO, HeaderValue::from_static(scheme));
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
}

fn is_written_here(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host")
}

/// Keeps what a trusted peer or a filter has said; each field is one line.
fn complete(
    headers: &mut HeaderMap,
    origin: &Origin,
    scheme: &'static str,
    host: Option<HeaderValue>,
) {
    if let Some(value) = origin.peer.and_then(|peer| appended(headers, peer)) {
        headers.insert(FOR, value);
    }
    let is_one_line = |name| headers.get_all(name).iter().count() == 1;
    let (proto, host) = (is_one_line(PROTO), host.filter(|_| !is_one_line(HOST)));
    if !proto {
        headers.insert(PROTO, HeaderValue::from_static(scheme));
    }
    if let Some(host) = host {
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
        assert_eq!(client("10.0.0.1", &["garbage"], &["10.0.0.0/8"]), None);
        assert_eq!(client("::ffff:10.0.0.1", &["203.0.113.7"], &["10.0.0.0/8"]), ip("203.0.113.7"));
    }

    #[test]
    fn a_chain_is_extended_and_becomes_one_line() {
        let chain = |trusted: &[ipnet::IpNet]| {
            let mut sent = headers(&["203.0.113.7", "192.0.2.9"]);
            let origin = Origin::of("10.0.0.1".parse().ok(), &sent, trusted);
            write(&mut sent, &origin, "http", None);
            assert_eq!(sent.get_all(FOR).iter().count(), 1);
            sent[FOR].clone()
        };
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
        // What a stranger sends is gone by then; `security::vouched` sends it to the real process.
        for (trusted, sent, told) in [
            (&[][..], None, "shop.example:8080"),
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
    fn the_family_is_told_by_name() {
        for name in [
            "x-forwarded-for",
            "x-forwarded-prefix",
            "x-forwarded",
            "forwarded",
            "x-real-ip",
            "x-original-url",
            "x-rewrite-url",
        ] {
            assert!(super::is_one(name), "{name}");
        }
        for name in ["x-forward", "x-user", "x-request-id", "from", "host"] {
            assert!(!super::is_one(name), "{name}");
        }
    }

    #[test]
    fn entries_may_have_ports_and_what_cannot_be_read_is_nobody() {
        let ip = |text: &str| text.parse::<IpAddr>().ok();
        let trusted = ["10.0.0.0/8"];
        for (chain, expected) in [
            (&["198.51.100.7:51234"][..], ip("198.51.100.7")),
            (&["[2001:db8::7]:443"], ip("2001:db8::7")),
            (&["[2001:db8::7]"], ip("2001:db8::7")),
            (&["2001:db8::7"], ip("2001:db8::7")),
            (&["[::ffff:198.51.100.7]:1"], ip("198.51.100.7")),
            (&["198.51.100.7:1, 10.0.0.2:2", " , 10.0.0.3"], ip("198.51.100.7")),
            (&["junk, 198.51.100.7:1"], ip("198.51.100.7")),
            (&["198.51.100.7, junk"], None),
            (&["unknown"], None),
            (&["198.51.100.7:"], None),
            (&["198.51.100.7:99999"], None),
            (&["198.51.100.7:+1"], None),
            (&["[198.51.100.7]:1"], None),
            (&["[2001:db8::7]443"], None),
            (&["[2001:db8::7"], None),
            (&[""], ip("10.0.0.1")),
        ] {
            assert_eq!(client("10.0.0.1", chain, &trusted), expected, "{chain:?}");
        }
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let origin = Origin::of("10.0.0.1".parse().ok(), &headers(&["junk"]), &trusted);
        assert!(!origin.peer_trusted, "what it says is not believed either");
    }

    #[test]
    fn what_we_own_is_one_line() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "shop.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "a.example"),
            ("x-forwarded-host", "b.example"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let origin = Origin::of("192.0.2.1".parse().ok(), &headers, &[]);
        write(&mut headers, &origin, "http", None);
        let all = |name: &str| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("x-forwarded-host"), ["shop.example"]);
        assert_eq!(all("x-forwarded-for"), ["192.0.2.1"]);
    }
}
