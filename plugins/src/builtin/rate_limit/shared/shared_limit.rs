//! The filter that holds requests to a limit that gateways share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::response;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout_at;

use super::super::Limit;
use super::super::buckets::{Buckets, Rate, Taken};
use super::super::key::Key;
use super::super::told::{Told, refusal};
use super::config::Redis;
use super::figures::{Failure, Figures, Tokens};
use super::leases::{Attempt, Fetch, Fetched, Leases, Terms, Turn};
use super::spec::Fallback;
use super::store::{Ask, Store};
use crate::exchange::Exchange;
use crate::filter::{Answer, Filter, Flow, Next, Phases};
use crate::host::Host;
use crate::kind::Setting;

/// How long a configuration waits for its first connection: with a server that is well, no request
/// falls back after a start.
const FIRST_CONNECTION: Duration = Duration::from_millis(500);

/// Refuses requests beyond a rate that gateways share.
#[derive(Debug)]
pub(super) struct SharedLimit {
    key: Key,
    told: Option<Told>,
    rate: Rate,
    /// What the limit is called at the server.
    name: Box<str>,
    deadline: Duration,
    fallback: Fallback,
    /// For [`Fallback::Local`].
    buckets: Buckets,
    /// Where the tasks run that fetch; `None` where nothing is served.
    background: Option<Handle>,
    fetching: Arc<Fetching>,
}

/// What a task that fetches needs.
#[derive(Debug)]
struct Fetching {
    leases: Leases,
    store: Arc<Store>,
    figures: Figures,
    tokens: Tokens,
    /// The zero of the leases' clock.
    epoch: Instant,
}

/// Which bucket a request belongs to: here, and at the server.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    lease: u64,
    digest: [u8; 16],
}

impl SharedLimit {
    pub(super) fn new(limit: Limit, redis: Redis, setting: &Setting<'_>) -> Self {
        let Limit { key, rate, keys, told } = limit;
        let Redis { store, name, lease, deadline, fallback } = redis;
        let lease_ns = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
        // An empty table costs nothing, so it is there for every fallback.
        let buckets = Buckets::new(rate, keys);
        let host = setting.host;
        Self {
            key,
            told,
            rate,
            name,
            deadline,
            fallback,
            buckets,
            background: host.background.clone(),
            fetching: Arc::new(Fetching {
                leases: Leases::new(Terms::new(rate, lease_ns), keys),
                store,
                figures: Figures::new(&host.metrics, setting.name),
                tokens: Tokens::new(&host.metrics, setting.name),
                epoch: Instant::now(),
            }),
        }
    }

    /// Takes a token; `Err` is for whom nothing is known of the limit, or not yet.
    fn take(&self, bucket: Bucket, attempt: Attempt) -> Result<Taken, Unsettled> {
        let fetching = &self.fetching;
        let (turn, lapsed) = fetching.leases.take(bucket.lease, attempt, fetching.now_ns());
        fetching.tokens.lapsed.inc_by(lapsed.into());
        match turn {
            Turn::Admitted(taken, fetch) => {
                if let Some(fetch) = fetch {
                    self.fetch(bucket, fetch);
                }
                fetching.figures.admitted.inc();
                Ok(taken)
            }
            Turn::Refused(taken) => {
                fetching.figures.refused.inc();
                Ok(taken)
            }
            Turn::Unknown(failure) => Err(Unsettled::Failed(failure)),
            Turn::Wait(fetched, fetch) => {
                if let Some(fetch) = fetch {
                    self.fetch(bucket, fetch);
                }
                Err(Unsettled::Waits(fetched))
            }
        }
    }

    /// Asks the server in the background: a request that stops waiting does not stop what others wait
    /// for.
    fn fetch(&self, bucket: Bucket, fetch: Fetch) {
        let ask = Ask {
            digest: bucket.digest,
            interval_ns: self.rate.interval_ns,
            burst: self.rate.burst,
            wanted: fetch.wanted,
            deadline: self.deadline,
        };
        let fetching = self.fetching.clone();
        if let Some(background) = &self.background {
            background.spawn(async move { fetching.fetch(bucket.lease, ask, fetch).await });
        }
    }

    /// Waits for tokens no longer than the deadline.
    async fn wait(&self, bucket: Bucket, fetched: watch::Receiver<Fetched>) -> Taken {
        let _waiting = Waiting::begin(&self.fetching.leases, bucket.lease);
        let until = tokio::time::Instant::now() + self.deadline;
        let mut fetched = fetched;
        loop {
            let failure = match timeout_at(until, fetched.changed()).await {
                Err(_) => Some(Failure::Deadline),
                // The task that fetches is gone: the process ends.
                Ok(Err(_)) => Some(Failure::Away),
                Ok(Ok(())) => match *fetched.borrow_and_update() {
                    Fetched::Failed(failure) => Some(failure),
                    Fetched::Pending | Fetched::Answered => None,
                },
            };
            if let Some(failure) = failure {
                return self.fall_back(bucket, failure);
            }
            match self.take(bucket, Attempt::Again) {
                Ok(taken) => return taken,
                Err(Unsettled::Failed(failure)) => return self.fall_back(bucket, failure),
                Err(Unsettled::Waits(next)) => fetched = next,
            }
        }
    }

    /// Decides without the server.
    fn fall_back(&self, bucket: Bucket, failure: Failure) -> Taken {
        let figures = &self.fetching.figures;
        figures.fell_back(failure);
        let nothing = Taken { is_admitted: true, remaining: 0, wait_ns: 0 };
        let taken = match self.fallback {
            Fallback::Open => nothing,
            // A second is when a server that restarts may be back.
            Fallback::Closed => Taken { is_admitted: false, wait_ns: 1_000_000_000, ..nothing },
            Fallback::Local => self.buckets.take(bucket.lease, self.fetching.now_ns()),
        };
        match taken.is_admitted {
            true => figures.fallback_admitted.inc(),
            false => figures.fallback_refused.inc(),
        }
        taken
    }

    /// Keeps what is told later; returns the answer where the request is refused.
    fn settle(&self, x: &mut Exchange<'_>, taken: Taken) -> Option<Answer> {
        if self.told.is_some() {
            x.keep(taken);
        }
        (!taken.is_admitted).then(|| refusal(taken.wait_s()))
    }
}

/// Why a request has neither passed nor been refused.
enum Unsettled {
    Failed(Failure),
    Waits(watch::Receiver<Fetched>),
}

/// A request that waits, counted until it does no more.
struct Waiting<'l> {
    leases: &'l Leases,
    lease: u64,
}

impl<'l> Waiting<'l> {
    fn begin(leases: &'l Leases, lease: u64) -> Self {
        leases.count_waiting(lease, true);
        Self { leases, lease }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.leases.count_waiting(self.lease, false);
    }
}

impl Fetching {
    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX / 2)
    }

    async fn fetch(&self, lease: u64, ask: Ask, fetch: Fetch) {
        let granted = self.store.take(&ask, &self.figures.trips).await;
        if let Ok(grant) = &granted {
            self.tokens.granted.inc_by(grant.tokens.into());
        }
        let lapsed = self.leases.settle(lease, fetch.wanted, granted, self.now_ns());
        self.tokens.lapsed.inc_by(lapsed.into());
        let told = granted.map_or_else(Fetched::Failed, |_| Fetched::Answered);
        // Nobody may be waiting.
        fetch.done.send_replace(told);
    }
}

impl Filter for SharedLimit {
    fn phases(&self) -> Phases {
        match self.told {
            Some(_) => Phases::REQUEST_HEADERS | Phases::RESPONSE_HEADERS,
            None => Phases::REQUEST_HEADERS,
        }
    }

    fn prepare(&self, host: &Host) {
        if let Some(background) = &host.background {
            self.fetching.store.start(background, FIRST_CONNECTION);
        }
    }

    fn request_headers<'a>(&'a self, mut x: Exchange<'a>) -> Flow<'a> {
        let key = self.key.of(&x);
        let (lease, digest) = (self.fetching.leases.hash(&key), key.digest(&self.name));
        let bucket = Bucket { lease, digest };
        let taken = match self.take(bucket, Attempt::First) {
            Ok(taken) => taken,
            Err(Unsettled::Failed(failure)) => self.fall_back(bucket, failure),
            Err(Unsettled::Waits(fetched)) => {
                return Flow::wait(async move {
                    let taken = self.wait(bucket, fetched).await;
                    self.settle(&mut x, taken).map_or(Next::Continue, Next::answer)
                });
            }
        };
        self.settle(&mut x, taken).map_or(Flow::Continue, Flow::answer)
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
