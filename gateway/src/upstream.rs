//! An upstream at run time: which endpoint a request gets, and what is known of each.
//!
//! The algorithms are [`sallyport_balance`]'s and know nothing of health; this module knows who is
//! in flight where, who answers and who was just found dead, and lends that knowledge to them. What
//! requests find out belongs to the endpoint and survives reloads; what probes find out belongs to
//! the upstream that probes, and ends with it.

pub mod attempt;
pub mod endpoint;
pub mod health;

use std::net::SocketAddr;
use std::sync::Arc;

use pingora_core::upstreams::peer::HttpPeer;
use pingora_error::{ErrorType, OrErr as _};
use sallyport_balance::{Balancer, BuildError, View};
use socket2::SockRef;

use crate::config;

pub use attempt::{Attempts, Failure};
pub use endpoint::Endpoint;
pub use health::Healths;

/// How much of a request may wait in the kernel before it is on its way to the origin: as much as of an answer.
/// Without a bound it is megabytes for an origin that does not read.
const UNSENT_BYTES: u32 = 128 << 10;

/// A resolved upstream with its balancer and its endpoints' state.
#[derive(Debug)]
pub struct Upstream {
    /// What the configuration says of it.
    pub spec: config::Upstream,
    /// Its endpoints, in the order of the configuration.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// What its probes found of each endpoint.
    pub healths: Healths,
    balancer: Balancer,
    peers: Vec<HttpPeer>,
}

/// An endpoint that was chosen for one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its index.
    pub endpoint: usize,
    /// Whether this attempt decides for everybody if an endpoint that was set aside is back.
    pub trial: bool,
}

impl Upstream {
    /// Builds the balancer and the peers; `endpoints` are the states of `spec.endpoints`, in order.
    /// Where `before` probed in the same way, what it found is taken over.
    ///
    /// # Errors
    /// Whatever the balancing crate refuses; a resolved configuration contains none of it.
    pub fn new(
        spec: config::Upstream,
        endpoints: Vec<Arc<Endpoint>>,
        before: Option<&Self>,
    ) -> Result<Self, BuildError> {
        let balancer = Balancer::new(spec.policy, &spec.endpoints)?;
        let healths = Healths::new(endpoints.len());
        if let Some(before) = before.filter(|before| before.probes_as(&spec)) {
            healths.take_over(&before.healths, |index| before.position(endpoints[index].address));
        }
        let peers =
            spec.endpoints.iter().map(|endpoint| peer(endpoint.address, &spec.timeouts)).collect();
        Ok(Self { spec, endpoints, healths, balancer, peers })
    }

    /// Chooses an endpoint for an attempt with this hash, other than those `tried`.
    ///
    /// An endpoint that was set aside is given one request at a time once its time is over, and all
    /// others go elsewhere until that one has ended. Endpoints set aside are used when there are no
    /// others: a guess about health must not turn a request away. Endpoints that probes find
    /// unhealthy are used only while too few are healthy, see [`Upstream::panics`].
    ///
    /// What is chosen as a trial must be given back with [`Endpoint::end_trial`].
    #[must_use]
    pub fn select(&self, key: u64, tried: &[usize]) -> Option<Choice> {
        /// Another request may take a trial between its choice and its claim; whoever loses that
        /// often goes where it would go without one.
        const LOST_MAX: usize = 4;
        let careful = Known { last_resort: false, ..self.known(tried) };
        for _ in 0..LOST_MAX {
            let Some(endpoint) = self.balancer.select(key, &careful) else { break };
            if let Some(trial) = self.endpoints[endpoint].admit() {
                return Some(Choice { endpoint, trial });
            }
        }
        let endpoint = self.balancer.select(key, &self.known(tried))?;
        Some(Choice { endpoint, trial: false })
    }

    /// The endpoint that [`select`](Self::select) would choose next. Takes no turn and no trial.
    #[must_use]
    pub fn peek(&self, key: u64) -> Option<usize> {
        let careful = Known { last_resort: false, ..self.known(&[]) };
        self.balancer.peek(key, &careful).or_else(|| self.balancer.peek(key, &self.known(&[])))
    }

    /// Whether there is an endpoint to try after those `tried`.
    #[must_use]
    pub fn has_another(&self, tried: &[usize]) -> bool {
        let known = self.known(tried);
        (0..self.endpoints.len()).any(|index| known.usable(index))
    }

    /// Whether an endpoint is found healthy and is not set aside. Where there is none, a split
    /// gives this upstream's requests to others.
    #[must_use]
    pub fn is_available(&self) -> bool {
        let mut endpoints = self.endpoints.iter().enumerate();
        endpoints.any(|(index, endpoint)| self.healths.is_healthy(index) && endpoint.is_welcome())
    }

    /// Whether so few endpoints are healthy that all are used: probes that fail at most endpoints
    /// at once say more of the network or of this gateway than of the endpoints.
    #[must_use]
    pub fn panics(&self) -> bool {
        let (healthy, all) = (self.healths.healthy(), self.endpoints.len());
        healthy < all && healthy * 100 < all * usize::from(self.spec.panic_below_percent)
    }

    /// Whether the endpoint with this index may be used as far as probes go.
    #[must_use]
    pub fn may_use(&self, index: usize) -> bool {
        self.healths.is_healthy(index) || self.panics()
    }

    /// The index of the endpoint at `address`.
    #[must_use]
    pub fn position(&self, address: SocketAddr) -> Option<usize> {
        self.endpoints.iter().position(|endpoint| endpoint.address == address)
    }

    /// The peer that Pingora connects to for `endpoint`.
    #[must_use]
    pub fn peer(&self, endpoint: usize) -> Box<HttpPeer> {
        Box::new(self.peers[endpoint].clone())
    }

    /// Bytes that its balancing table takes.
    #[must_use]
    pub fn table_bytes(&self) -> usize {
        self.balancer.memory_bytes()
    }

    /// Whether `spec` asks the same question of its endpoints; how often it asks does not count.
    fn probes_as(&self, spec: &config::Upstream) -> bool {
        match (&self.spec.health_check, &spec.health_check) {
            (Some(before), Some(now)) => before.probe == now.probe,
            _ => false,
        }
    }

    fn known<'a>(&'a self, tried: &'a [usize]) -> Known<'a> {
        Known { upstream: self, panics: self.panics(), tried, last_resort: true }
    }
}

/// What the balancing algorithms may ask.
#[derive(Clone, Copy)]
struct Known<'a> {
    upstream: &'a Upstream,
    panics: bool,
    tried: &'a [usize],
    last_resort: bool,
}

impl View for Known<'_> {
    fn usable(&self, index: usize) -> bool {
        (self.panics || self.upstream.healths.is_healthy(index))
            && (self.last_resort || self.upstream.endpoints[index].is_welcome())
            && !self.tried.contains(&index)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.upstream.endpoints[index].in_flight()
    }
}

/// Built once an endpoint: a pooled connection is used again only by an equal peer.
fn peer(address: SocketAddr, timeouts: &config::UpstreamTimeouts) -> HttpPeer {
    let mut peer = HttpPeer::new(address, false, String::new());
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(timeouts.idle);
    peer.options.upstream_tcp_sock_tweak_hook = Some(Arc::new(|socket| {
        let bounded = SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES);
        bounded.or_err(ErrorType::SocketError, "cannot bound what waits to be sent")
    }));
    peer
}

#[cfg(test)]
pub(crate) mod tests;
