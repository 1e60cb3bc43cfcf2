//! The endpoints of an upstream at one moment, and the choice among them.
//!
//! A set never changes but for what is found out about its endpoints: discovery replaces it as a whole,
//! and a request keeps the set it began with, so that an index means one endpoint for as long as the
//! request lasts. What is known of an endpoint is not the set's: it lives on by its address.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora_core::upstreams::peer::HttpPeer;
use sallyport_balance::{Address, Balancer, BuildError, View};

use super::health::Health;
use super::{Account, Choice, Endpoint, Signer};
use crate::config::{self, OutlierDetection};

/// An upstream's endpoints with what chooses among them.
#[derive(Debug)]
pub struct EndpointSet {
    members: Box<[Member]>,
    /// `None` where there are no endpoints.
    balancer: Option<Balancer>,
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
    /// Built once: a pooled connection is used again only by an equal peer.
    pub(super) peer: HttpPeer,
}

impl EndpointSet {
    /// Builds the balancer of `members`.
    ///
    /// # Errors
    /// Whatever the balancing crate refuses, except that there are no endpoints.
    pub(super) fn new(
        spec: &config::Upstream,
        members: Vec<Member>,
        account: Arc<Account>,
        signer: Option<Signer>,
    ) -> Result<Self, BuildError> {
        let endpoints: Vec<_> = members.iter().map(Member::balanced).collect();
        let balancer = match &*endpoints {
            [] => None,
            endpoints => Some(Balancer::new(spec.policy, endpoints)?),
        };
        let healthy = AtomicUsize::new(0);
        let set = Self {
            members: members.into(),
            balancer,
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
        let balancer = self.balancer.as_ref()?;
        let known = self.known(tried);
        // What is tried again spends nobody's turn.
        let select = |view: &Known<'_>| match tried {
            [] => balancer.select(key, view),
            _ => balancer.peek(key, view),
        };
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
        let balancer = self.balancer.as_ref()?;
        let careful = Known { last_resort: false, ..self.known(&[]) };
        balancer.peek(key, &careful).or_else(|| balancer.peek(key, &self.known(&[])))
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
    /// that were ejected count as unhealthy.
    #[must_use]
    pub fn panics(&self) -> bool {
        let healthy = match self.outlier_detection {
            Some(_) if self.account.has_ejections() => self.in_use(),
            _ => self.healthy(),
        };
        let all = self.members.len();
        healthy < all && healthy * 100 < all * usize::from(self.panic_below_percent)
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

    /// Bytes that its balancing table takes.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.balancer.as_ref().map_or(0, Balancer::memory_bytes)
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
        Known { set: self, panics: self.panics(), tried, last_resort: true, draw: None }
    }
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
    panics: bool,
    tried: &'a [usize],
    last_resort: bool,
    /// How long slow starts take, and a number from 0 to 1: endpoints with a smaller share are passed over.
    draw: Option<(Duration, f64)>,
}

impl View for Known<'_> {
    fn usable(&self, index: usize) -> bool {
        let member = &self.set.members[index];
        (self.panics || member.health.is_healthy())
            && (self.last_resort || member.endpoint.is_welcome())
            && self.draw.is_none_or(|(window, drawn)| drawn < member.endpoint.share(window))
            && !self.tried.contains(&index)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.set.endpoint(index).in_flight()
    }
}
