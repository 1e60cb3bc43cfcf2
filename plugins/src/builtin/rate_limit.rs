#![doc = include_str!("rate_limit/README.md")]

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::response;
use sallyport_config::{Fields, Node, Sink, scalar, schema};

use crate::exchange::Exchange;
use crate::filter::{Filter, Flow, Phases};
use crate::kind::{Kind, Setting};

mod buckets;
mod key;
mod shared;
mod spec;
mod told;

pub use shared::{
    DescriptorEntry, Fallback, RedisCertificate, RedisSpec, RedisTls, SentinelSpec, ServiceSpec,
    SharedSpec,
};
pub use spec::{RateHint, RateKey, RateLimitSpec};

use buckets::{Buckets, Rate, Taken};
use key::Key;
use told::{Told, refusal};

/// `rate_limit:` in `filters:`.
pub const KIND: Kind = Kind { name: "rate_limit", read, schema: schema::settings::<RateLimitSpec> };

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

/// A limit as it is written.
struct Limit {
    key: Key,
    rate: Rate,
    keys: u64,
    told: Option<Told>,
}

fn read(node: Node<'_>, sink: &mut Sink, setting: &mut Setting<'_>) -> Option<Arc<dyn Filter>> {
    node.mapping(sink, |fields, sink| {
        if fields.value("shared").is_some() {
            return shared::read(fields, sink, setting);
        }
        let Limit { key, rate, keys, told } = limit(fields, sink, setting.name)?;
        let buckets = Buckets::new(rate, keys);
        Some(Arc::new(RateLimit { key, buckets, epoch: Instant::now(), told }) as _)
    })
}

fn limit(fields: &mut Fields<'_>, sink: &mut Sink, name: &str) -> Option<Limit> {
    let number = |most| move |node: Node<'_>, sink: &mut Sink| node.number(sink, 1, most);
    let key = fields.required(sink, "key", Key::read);
    let requests = fields.required(sink, "requests", number(REQUESTS_MAX));
    let per = fields.optional(sink, "per", whole_seconds);
    let burst = fields.optional(sink, "burst", number(REQUESTS_MAX));
    let keys = fields.optional(sink, "keys", number(KEYS_MAX)).unwrap_or(KEYS_DEFAULT);
    let headers = fields.optional(sink, "headers", scalar::flag).unwrap_or(true);
    let (requests, per) = (requests?, per.unwrap_or(Duration::from_secs(1)));
    let burst = burst.unwrap_or(requests);
    let rate = rate(fields.node(), sink, requests, per, burst)?;
    let told = headers.then(|| Told::new(name, requests, per, burst));
    Some(Limit { key: key?, rate, keys, told })
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

impl RateLimit {
    /// The buckets' time at `instant`.
    fn since_epoch_ns(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.epoch);
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

/// Unix time; 0 where the clock is before 1970.
fn unix_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
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
        let taken = self.buckets.take(self.buckets.hash(&self.key.of(&x)), now_ns);
        let flow = match taken.is_admitted {
            true => Flow::Continue,
            false => Flow::answer(refusal(taken.wait_s())),
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
        if let (Some(told), Some(taken)) = (&self.told, x.kept::<Taken>()) {
            told.add_to(&mut response.headers, taken);
        }
        Flow::Continue
    }
}

#[cfg(test)]
mod tests;
