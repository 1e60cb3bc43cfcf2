//! The endpoints of an upstream at one moment, and the choice among them.
//!
//! A set never changes but for what is found out about its endpoints: discovery replaces it as a whole,
//! and a request keeps the set it began with, so that an index means one endpoint for as long as the
//! request lasts. What is known of an endpoint is not the set's: it lives on by its address.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora_core::upstreams::peer::HttpPeer;
use sallyport_balance::{Address, Balancer, BuildError, Policy, View};

use super::health::Health;
use super::{Account, Choice, Destination, Endpoint, Signer, priority};
use crate::config::{self, OutlierDetection};

/// An upstream's endpoints with what chooses among them.
#[derive(Debug)]
pub struct EndpointSet {
    /// In the order of their priorities.
    members: Box<[Member]>,
    /// One for each priority, the lowest first; none where there are no endpoints.
    levels: Box<[Level]>,
    /// Whether the policy goes by keys.
    hashes: bool,
    /// How many of them probes find healthy.
    healthy: AtomicUsize,
    panic_below_percent: u8,
    outlier_detection: Option<OutlierDetection>,
    slow_start: Option<Duration>,
    account: Arc<Account>,
    /// Of the cookies that keep clients at an endpoint.
    signer: Option<Signer>,
}

/// An endpoint as a member of a set.
#[derive(Debug)]
pub struct Member {
    /// What requests found out about it.
    pub endpoint: Arc<Endpoint>,
    /// What probes found out about it.
    pub health: Arc<Health>,
    /// Its share in relation to the other members' weights.
    pub weight: u16,
    /// What stands for it in a cookie, where there is one.
    pub(super) sticky: u64,
    /// Its level.
    pub priority: u8,
    /// Built once: a pooled connection is used again only by an equal peer.
    pub(super) peer: HttpPeer,
    /// The same for the engine.
    pub(super) destination: Arc<Destination>,
}

impl EndpointSet {
    /// Builds the balancers of `members`.
    ///
    /// # Errors
    /// Whatever the balancing crate refuses, except that there are no endpoints.
    pub(super) fn new(
        spec: &config::Upstream,
        mut members: Vec<Member>,
        account: Arc<Account>,
        signer: Option<Signer>,
    ) -> Result<Self, BuildError> {
        members.sort_by_key(|member| member.priority);
        let levels = levels(spec.policy, &members)?;
        let healthy = AtomicUsize::new(0);
        let set = Self {
            members: members.into(),
            levels,
            hashes: matches!(spec.policy, Policy::Maglev { .. } | Policy::RingHash),
            healthy,
            panic_below_percent: spec.panic_below_percent,
            outlier_detection: spec.resilience.outlier_detection.clone(),
            slow_start: spec.resilience.slow_start,
            account,
            signer,
        };
        set.count_healthy();
        Ok(set)
    }

    /// Its members; an index elsewhere is one into these.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What leaves endpoints out besides connections that fail.
    pub(super) fn outlier_detection(&self) -> Option<&OutlierDetection> {
        self.outlier_detection.as_ref()
    }

    /// Attempts that wait for a connection.
    pub(super) fn connecting(&self) -> usize {
        self.members.iter().map(|member| member.endpoint.connecting()).sum()
    }

    /// What is kept of the upstream across configurations.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The endpoint with this index.
    #[must_use]
    pub fn endpoint(&self, index: usize) -> &Endpoint {
        &self.members[index].endpoint
    }

    /// The index of the endpoint at `address`.
    #[must_use]
    pub fn position(&self, address: &Address) -> Option<usize> {
        self.members.iter().position(|member| member.endpoint.address == *address)
    }

    /// What signs the cookies that keep clients at an endpoint, if there are any.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_ref()
    }

    /// What stands for the endpoint with this index in a cookie.
    #[must_use]
    pub fn sticky_id(&self, index: usize) -> u64 {
        self.members[index].sticky
    }

    /// The endpoint that a cookie stands for, if it is here and fit for use.
    pub(super) fn kept(&self, id: u64, tried: &[usize]) -> Option<Choice> {
        let endpoint = self.members.iter().position(|member| member.sticky == id)?;
        let fit = self.may_use(endpoint) && self.members[endpoint].endpoint.is_welcome();
        let trial = if fit && !tried.contains(&endpoint) {
            self.members[endpoint].endpoint.admit()?
        } else {
            return None;
        };
        Some(Choice { endpoint, trial })
    }

    /// Chooses an endpoint for an attempt with this hash, other than those `tried`.
    ///
    /// An endpoint that was set aside is given one request at a time once its time is over, and all
    /// others go elsewhere until that one has ended. Endpoints set aside are used when there are no
    /// others: a guess about health must not turn a request away. Endpoints that probes find
    /// unhealthy are used only while too few are healthy, see [`EndpointSet::panics`].
    ///
    /// What is chosen as a trial must be given back with [`Endpoint::end_trial`].
    #[must_use]
    pub fn select(&self, key: u64, tried: &[usize]) -> Option<Choice> {
        /// Another request may take a trial between its choice and its claim; whoever loses that
        /// often goes where it would go without one.
        const LOST_MAX: usize = 4;
        let known = self.known(tried);
        // What is tried again spends nobody's turn.
        let ask = if tried.is_empty() { Level::select } else { Level::peek };
        let select = |view: &Known<'_>| self.choose(key, view, ask);
        if known.panics && self.outlier_detection.is_some() {
            // What requests found is ignored as well.
            return Some(Choice { endpoint: select(&known)?, trial: false });
        }
        let careful = Known { last_resort: false, ..known };
        if let Some(window) = self.slow_start {
            // Endpoints in a slow start are passed over now and then, unless there are no others.
            let draw = Some((window, fastrand::f64()));
            if let Some(endpoint) = select(&Known { draw, ..careful })
                && let Some(trial) = self.endpoint(endpoint).admit()
            {
                return Some(Choice { endpoint, trial });
            }
        }
        for _ in 0..LOST_MAX {
            let Some(endpoint) = select(&careful) else { break };
            if let Some(trial) = self.endpoint(endpoint).admit() {
                return Some(Choice { endpoint, trial });
            }
        }
        Some(Choice { endpoint: select(&known)?, trial: false })
    }

    /// The endpoint that [`select`](Self::select) would choose next. Takes no turn and no trial.
    #[must_use]
    pub fn peek(&self, key: u64) -> Option<usize> {
        let careful = Known { last_resort: false, ..self.known(&[]) };
        self.choose(key, &careful, Level::peek)
            .or_else(|| self.choose(key, &self.known(&[]), Level::peek))
    }

    /// Chooses the level and lets `ask` choose within it. A level without an endpoint to use gives its
    /// turn to the next one, and the last one to the first.
    fn choose(
        &self,
        key: u64,
        known: &Known<'_>,
        ask: fn(&Level, u64, &Known<'_>) -> Option<usize>,
    ) -> Option<usize> {
        let first = match &*self.levels {
            [] => return None,
            [only] => return ask(only, key, known),
            levels => {
                priority::choose(self.level_key(key), levels.iter().map(|level| self.share(level)))
            }
        };
        let (before, from) = self.levels.split_at(first);
        from.iter().chain(before).find_map(|level| ask(level, key, known))
    }

    /// What chooses the level: hashing policies keep a key where it is, all others draw.
    fn level_key(&self, key: u64) -> u64 {
        if self.hashes { key } else { fastrand::u64(..) }
    }

    /// The members of a level that may be used, and all of them.
    fn share(&self, level: &Level) -> (usize, usize) {
        let members = &self.members[level.members.clone()];
        let usable = members
            .iter()
            .filter(|member| member.health.is_healthy() && member.endpoint.is_welcome());
        (usable.count(), members.len())
    }

    /// Whether there is an endpoint to try after those `tried`.
    #[must_use]
    pub fn has_another(&self, tried: &[usize]) -> bool {
        let known = self.known(tried);
        (0..self.members.len()).any(|index| known.usable(index))
    }

    /// Whether an endpoint is found healthy and is not set aside. Where there is none, a split
    /// gives this upstream's requests to others.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.members.iter().any(|member| member.health.is_healthy() && member.endpoint.is_welcome())
    }

    /// Whether so few endpoints are healthy that all are used: probes that fail at most endpoints
    /// at once say more of the network or of this gateway than of the endpoints. With outlier detection those
    /// that were ejected count as unhealthy. As long as levels of priority together are healthy enough for all
    /// requests, they take them instead.
    #[must_use]
    pub fn panics(&self) -> bool {
        let healthy = match self.outlier_detection {
            Some(_) if self.account.has_ejections() => self.in_use(),
            _ => self.healthy(),
        };
        let all = self.members.len();
        healthy < all
            && healthy * 100 < all * usize::from(self.panic_below_percent)
            && (self.levels.len() == 1
                || !priority::suffice(self.levels.iter().map(|level| self.share(level))))
    }

    /// How many endpoints probes find healthy.
    #[must_use]
    pub fn healthy(&self) -> usize {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Whether the endpoint with this index may be used as far as probes go.
    #[must_use]
    pub fn may_use(&self, index: usize) -> bool {
        self.members[index].health.is_healthy() || self.panics()
    }

    /// How long a connection to the endpoint with this index may take.
    pub(super) fn connect_timeout(&self, index: usize) -> Duration {
        self.members[index].peer.options.connection_timeout.unwrap_or_default()
    }

    /// The peer that Pingora connects to for `endpoint`.
    #[must_use]
    pub fn peer(&self, endpoint: usize) -> Box<HttpPeer> {
        Box::new(self.members[endpoint].peer.clone())
    }

    /// How the engine connects to `endpoint`.
    #[must_use]
    pub fn destination(&self, endpoint: usize) -> &Arc<Destination> {
        &self.members[endpoint].destination
    }

    /// Bytes that its balancing table takes.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.levels.iter().map(|level| level.balancer.memory_bytes()).sum()
    }

    /// How many endpoints are healthy and not ejected. Asked only while one may be ejected.
    fn in_use(&self) -> usize {
        let ejected = |member: &&Member| member.endpoint.is_set_aside();
        if !self.members.iter().any(|member| ejected(&member)) {
            self.account.forget_ejections();
        }
        let members = self.members.iter().filter(|member| !ejected(member));
        members.filter(|member| member.health.is_healthy()).count()
    }

    /// Counts anew what probes found; whoever changes a member's health calls it.
    pub(super) fn count_healthy(&self) {
        let healthy = self.members.iter().filter(|member| member.health.is_healthy()).count();
        self.healthy.store(healthy, Ordering::Relaxed);
    }

    fn known<'a>(&'a self, tried: &'a [usize]) -> Known<'a> {
        Known { set: self, first: 0, panics: self.panics(), tried, last_resort: true, draw: None }
    }
}

/// The members of one priority.
#[derive(Debug)]
struct Level {
    balancer: Balancer,
    members: Range<usize>,
}

impl Level {
    fn select(&self, key: u64, known: &Known<'_>) -> Option<usize> {
        let view = Known { first: self.members.start, ..*known };
        Some(self.members.start + self.balancer.select(key, &view)?)
    }

    fn peek(&self, key: u64, known: &Known<'_>) -> Option<usize> {
        let view = Known { first: self.members.start, ..*known };
        Some(self.members.start + self.balancer.peek(key, &view)?)
    }
}

/// A level for each priority of `members`, which are in their order.
fn levels(policy: Policy, members: &[Member]) -> Result<Box<[Level]>, BuildError> {
    let mut start = 0;
    let level = |members: &[Member]| {
        let endpoints: Vec<_> = members.iter().map(Member::balanced).collect();
        let range = start..start + members.len();
        start = range.end;
        Ok(Level { balancer: Balancer::new(policy, &endpoints)?, members: range })
    };
    members.chunk_by(|a, b| a.priority == b.priority).map(level).collect()
}

impl Member {
    fn balanced(&self) -> sallyport_balance::Endpoint {
        let address = self.endpoint.address.clone();
        sallyport_balance::Endpoint { address, weight: self.weight }
    }
}

/// What the balancing algorithms may ask.
#[derive(Clone, Copy)]
struct Known<'a> {
    set: &'a EndpointSet,
    /// The member that the balancer's first index stands for.
    first: usize,
    panics: bool,
    tried: &'a [usize],
    last_resort: bool,
    /// How long slow starts take, and a number from 0 to 1: endpoints with a smaller share are passed over.
    draw: Option<(Duration, f64)>,
}

impl View for Known<'_> {
    fn usable(&self, index: usize) -> bool {
        let index = self.first + index;
        let member = &self.set.members[index];
        (self.panics || member.health.is_healthy())
            && (self.last_resort || member.endpoint.is_welcome())
            && self.draw.is_none_or(|(window, drawn)| drawn < member.endpoint.share(window))
            && !self.tried.contains(&index)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.set.endpoint(self.first + index).in_flight()
    }
}
