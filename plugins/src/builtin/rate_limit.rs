#![doc = include_str!("rate_limit/README.md")]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header, response};
use sallyport_config::{Node, Sink, scalar, schema};

use crate::exchange::Exchange;
use crate::filter::{Answer, Filter, Flow, Phases};
use crate::kind::{Kind, Setting};

mod buckets;
mod spec;

pub use spec::{RateHint, RateKey, RateLimitSpec};

use buckets::{Buckets, Rate, Taken};

/// `rate_limit:` in `filters:`.
pub const KIND: Kind = Kind { name: "rate_limit", read, schema: schema::settings::<RateLimitSpec> };

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// More is no limit that a gateway needs, and a number that still divides a second exactly enough.
const REQUESTS_MAX: u64 = 1_000_000;

/// Buckets unless the configuration says otherwise: some 10 MB when all are in use, and more sources
/// than a site sees in the time in which a bucket fills.
const KEYS_DEFAULT: u64 = 100_000;

/// About 1 GB of buckets.
const KEYS_MAX: u64 = 10_000_000;

/// A bucket that takes longer to fill is a quota, and belongs where it outlives a restart.
const FILL_MAX: Duration = Duration::from_secs(366 * 86_400);

/// Refuses requests beyond a rate.
#[derive(Debug)]
struct RateLimit {
    key: Key,
    buckets: Buckets,
    /// The zero of the buckets' clock.
    epoch: Instant,
    /// `None` where clients are not told.
    told: Option<Told>,
}

/// What requests share a bucket by.
#[derive(Debug)]
enum Key {
    Source,
    Route,
    Header(HeaderName),
    Network,
}

/// What is the same in all fields that this filter writes.
#[derive(Debug)]
struct Told {
    policy: HeaderValue,
    /// The policy's name, in its quotes.
    name: String,
}

fn read(node: Node<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        let number = |most| move |node: Node<'_>, sink: &mut Sink| node.number(sink, 1, most);
        let key = fields.required(sink, "key", key);
        let requests = fields.required(sink, "requests", number(REQUESTS_MAX));
        let per = fields.optional(sink, "per", whole_seconds);
        let burst = fields.optional(sink, "burst", number(REQUESTS_MAX));
        let keys = fields.optional(sink, "keys", number(KEYS_MAX)).unwrap_or(KEYS_DEFAULT);
        let headers = fields.optional(sink, "headers", scalar::flag).unwrap_or(true);
        let (requests, per) = (requests?, per.unwrap_or(Duration::from_secs(1)));
        let burst = burst.unwrap_or(requests);
        let rate = rate(node, sink, requests, per, burst)?;
        Some(Arc::new(RateLimit {
            key: key?,
            buckets: Buckets::new(rate, keys),
            epoch: Instant::now(),
            told: headers.then(|| Told::new(setting.name, requests, per, burst)),
        }) as Arc<dyn Filter>)
    })
}

fn key(node: Node<'_>, sink: &mut Sink) -> Option<Key> {
    const FIX: &str = "write source, route, { header: NAME } or { hint: network }";
    match node.value.as_str() {
        Some("source") => Some(Key::Source),
        Some("route") => Some(Key::Route),
        Some(other) => node.refuse(sink, format!("{other:?} is no key"), FIX),
        None => node.mapping(sink, |fields, sink| {
            let header = fields.optional(sink, "header", |node, sink| {
                let name = "use letters, digits and -";
                node.parsed(sink, name, |text| HeaderName::from_bytes(text.as_bytes()))
            });
            let hint = fields.optional(sink, "hint", |node, sink| match node.text(sink)? {
                "network" => Some(Key::Network),
                other => node.refuse(sink, format!("{other:?} is no such hint"), "write network"),
            });
            fields.exactly_one(sink, &["header", "hint"])?;
            header.map(Key::Header).or(hint)
        }),
    }
}

/// The window of `RateLimit-Policy` has no fractions of a second.
fn whole_seconds(node: Node<'_>, sink: &mut Sink) -> Option<Duration> {
    let per = scalar::duration(node, sink)?;
    if per.subsec_nanos() != 0 {
        return node.refuse(sink, "is not a number of whole seconds", "write such as 1s or 1m");
    }
    Some(per)
}

fn rate(node: Node<'_>, sink: &mut Sink, requests: u64, per: Duration, burst: u64) -> Option<Rate> {
    // At least a microsecond, since `requests` is at most a million and `per` at least a second.
    let interval_ns = u64::try_from(per.as_nanos()).ok()? / requests;
    match interval_ns.checked_mul(burst) {
        Some(window_ns) if Duration::from_nanos(window_ns) <= FILL_MAX => {
            Some(Rate { interval_ns, burst })
        }
        _ => node.refuse(
            sink,
            "a bucket would take over a year to fill",
            "write a smaller `burst` or a higher rate",
        ),
    }
}

impl Told {
    fn new(name: &str, requests: u64, per: Duration, burst: u64) -> Self {
        // RFC 9651, 3.3.3: a string is visible ASCII and spaces.
        let visible = name.chars().filter(|letter| matches!(letter, ' '..='~'));
        let escaped: String = visible
            .flat_map(|letter| {
                matches!(letter, '"' | '\\').then_some('\\').into_iter().chain([letter])
            })
            .collect();
        let name = format!("\"{escaped}\"");
        let mut policy = format!("{name};q={requests};w={}", per.as_secs());
        if burst != requests {
            policy.push_str(&format!(";sallyport-burst={burst}"));
        }
        let policy = HeaderValue::from_maybe_shared(Bytes::from(policy));
        let policy = policy.expect("visible ASCII and spaces are a field value");
        Self { policy, name }
    }

    fn limit(&self, taken: &Taken) -> Option<HeaderValue> {
        let text = format!("{};r={};t={}", self.name, taken.remaining, taken.wait_s());
        HeaderValue::from_maybe_shared(Bytes::from(text)).ok()
    }
}

impl RateLimit {
    /// The buckets' time at `instant`.
    fn since_epoch_ns(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }

    fn bucket(&self, x: &Exchange<'_>) -> u64 {
        let about = x.about;
        let of = |kind: u8, value: &[u8]| self.buckets.hash(&(kind, value));
        let named = match &self.key {
            Key::Source => None,
            Key::Route => return self.buckets.hash(&(about.virtual_host, about.route)),
            Key::Header(name) => x.request.headers.get(name).map(|value| of(1, value.as_bytes())),
            Key::Network => {
                about.hints.and_then(|hints| Some(of(2, hints.network.as_ref()?.as_bytes())))
            }
        };
        named.unwrap_or_else(|| self.buckets.hash(&source(x)))
    }
}

/// Unix time; 0 where the clock is before 1970.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Requests without a known source share the last number, which is no address of anybody.
fn source(x: &Exchange<'_>) -> u128 {
    let client = x.about.client.or_else(|| x.about.peer.map(|peer| peer.ip()));
    client.map_or(u128::MAX, |client| match client.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        // A subscriber gets a /64 at the least (RFC 6177), and 2^64 buckets would be no limit.
        IpAddr::V6(address) => address.to_bits() >> 64 << 64,
    })
}

impl Filter for RateLimit {
    fn phases(&self) -> Phases {
        match self.told {
            Some(_) => Phases::REQUEST_HEADERS | Phases::RESPONSE_HEADERS,
            None => Phases::REQUEST_HEADERS,
        }
    }

    fn request_headers<'a>(&'a self, mut x: Exchange<'a>) -> Flow<'a> {
        // The head's arrival is the time that counts, and reading it again would cost as much as the
        // rest of this.
        let now_ns = self.since_epoch_ns(x.about.started);
        let taken = self.buckets.take(self.bucket(&x), now_ns);
        let flow = if taken.is_admitted {
            Flow::Continue
        } else {
            let text = "too many requests, try again later";
            let answer = Answer::error(StatusCode::TOO_MANY_REQUESTS, "rate_limited", text);
            Flow::answer(answer.with(header::RETRY_AFTER, taken.wait_s().into()))
        };
        if self.told.is_some() {
            x.keep(taken);
        }
        flow
    }

    fn counted(&self) -> Option<Vec<u8>> {
        let counted = self.buckets.export(self.since_epoch_ns(Instant::now()));
        // Both processes know the time of day; how long the one took to start is seen by it.
        Some([&unix_ns().to_be_bytes()[..], &counted].concat())
    }

    fn go_on_from(&self, counted: &[u8]) {
        let Some((at, buckets)) = counted.split_first_chunk() else { return };
        let elapsed_ns = unix_ns().saturating_sub(u64::from_be_bytes(*at));
        // Those of another rate are as if they were full.
        self.buckets.import(buckets, elapsed_ns, self.since_epoch_ns(Instant::now()));
    }

    fn response_headers<'a>(
        &'a self,
        mut x: Exchange<'a>,
        response: &'a mut response::Parts,
    ) -> Flow<'a> {
        // Both are lists: those of an origin or of another such filter stay.
        if let (Some(told), Some(taken)) = (&self.told, x.kept::<Taken>())
            && let Some(limit) = told.limit(taken)
        {
            response.headers.append(POLICY, told.policy.clone());
            response.headers.append(LIMIT, limit);
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
