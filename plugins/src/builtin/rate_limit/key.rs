//! What requests share a limit by.

use std::net::IpAddr;

use http::HeaderName;
use sallyport_config::{Node, Sink};
#[cfg(feature = "redis")]
use sha2::{Digest, Sha256};

use crate::exchange::Exchange;

/// What requests share a bucket by.
#[derive(Debug)]
pub(super) enum Key {
    Source,
    Route,
    Header(HeaderName),
    Network,
}

/// The key of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum KeyValue<'r> {
    /// Requests without a known source share the last number, which is no address of anybody.
    Source(u128),
    /// A virtual host and its route.
    Route(&'r str, &'r str),
    Header(&'r [u8]),
    Network(&'r str),
}

impl Key {
    pub(super) fn read(node: Node<'_>, sink: &mut Sink) -> Option<Self> {
        const FIX: &str = "write source, route, { header: NAME } or { hint: network }";
        match node.value.as_str() {
            Some("source") => Some(Self::Source),
            Some("route") => Some(Self::Route),
            Some(other) => node.refuse(sink, format!("{other:?} is no key"), FIX),
            None => node.mapping(sink, |fields, sink| {
                let header = fields.optional(sink, "header", |node, sink| {
                    let name = "use letters, digits and -";
                    node.parsed(sink, name, |text| HeaderName::from_bytes(text.as_bytes()))
                });
                let hint = fields.optional(sink, "hint", |node, sink| match node.text(sink)? {
                    "network" => Some(Self::Network),
                    other => {
                        node.refuse(sink, format!("{other:?} is no such hint"), "write network")
                    }
                });
                fields.exactly_one(sink, &["header", "hint"])?;
                header.map(Self::Header).or(hint)
            }),
        }
    }

    /// The key of this request. One that lacks what is asked for goes by its source.
    pub(super) fn of<'r>(&self, x: &'r Exchange<'_>) -> KeyValue<'r> {
        let about = x.about;
        let named = match self {
            Self::Source => None,
            Self::Route => return KeyValue::Route(about.virtual_host, about.route),
            Self::Header(name) => {
                x.request.headers.get(name).map(|value| KeyValue::Header(value.as_bytes()))
            }
            Self::Network => {
                about.hints.and_then(|hints| hints.network.as_deref()).map(KeyValue::Network)
            }
        };
        named.unwrap_or_else(|| KeyValue::Source(source(x)))
    }
}

#[cfg(feature = "redis")]
impl KeyValue<'_> {
    /// A digest that is the same in every gateway, of this key within the limit called `limit`.
    pub(super) fn digest(&self, limit: &str) -> [u8; 16] {
        let mut hasher = Sha256::new();
        let mut add = |bytes: &[u8]| {
            // With their length, so that two parts are never taken for others.
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        add(limit.as_bytes());
        match self {
            Self::Source(source) => {
                add(b"source");
                add(&source.to_be_bytes());
            }
            Self::Route(host, route) => {
                add(b"route");
                add(host.as_bytes());
                add(route.as_bytes());
            }
            Self::Header(value) => {
                add(b"header");
                add(value);
            }
            Self::Network(network) => {
                add(b"network");
                add(network.as_bytes());
            }
        }
        let digest = hasher.finalize();
        std::array::from_fn(|index| digest[index])
    }
}

fn source(x: &Exchange<'_>) -> u128 {
    let client = x.about.client.or_else(|| x.about.peer.map(|peer| peer.ip()));
    client.map_or(u128::MAX, |client| match client.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        // A subscriber gets a /64 at the least (RFC 6177), and 2^64 buckets would be no limit.
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    })
}

#[cfg(all(test, feature = "redis"))]
mod tests {
    use super::KeyValue;

    #[test]
    fn a_digest_depends_on_the_limit_the_kind_and_the_value() {
        let keys = [
            KeyValue::Source(1),
            KeyValue::Source(2),
            KeyValue::Header(b"a"),
            KeyValue::Network("a"),
            KeyValue::Route("a", "bc"),
            KeyValue::Route("ab", "c"),
        ];
        let digests = |limit| keys.map(|key| key.digest(limit));
        let mut all = [digests("one"), digests("two")].concat();
        assert_eq!(digests("one"), digests("one"));
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 2 * keys.len());
    }
}
