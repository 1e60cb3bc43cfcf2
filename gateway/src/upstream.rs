//! An upstream at run time: which endpoint a request gets, and what is known of each.
//!
//! The algorithms are [`sallyport_balance`]'s and know nothing of health; this module knows who is
//! in flight where, who answers, and who was just found dead, and lends that knowledge to them. An
//! endpoint's state lives as long as any configuration names it, so a reload forgets nothing.

pub mod health;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pingora_core::upstreams::peer::HttpPeer;
use sallyport_balance::{Balancer, BuildError, View};
use sallyport_stats::EndpointStats;

use crate::config;

/// Connections in a row that must fail before an endpoint is set aside: one failure is a restart,
/// three are an outage.
const FAILURES_MAX: u32 = 3;

/// How long an endpoint is set aside: long enough to spare requests the connect timeout, short
/// enough that a restarted endpoint is soon back without a health check.
const ASIDE: Duration = Duration::from_secs(5);

/// What is known of one endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub address: SocketAddr,
    /// Its counters.
    pub stats: EndpointStats,
    in_flight: AtomicU32,
    probed_healthy: AtomicBool,
    connect_failures: AtomicU32,
    /// Milliseconds after `epoch`, 0 for never.
    aside_until_ms: AtomicU64,
    epoch: Instant,
}

impl Endpoint {
    /// An endpoint that nothing bad is known of.
    #[must_use]
    pub fn new(address: SocketAddr, stats: EndpointStats) -> Self {
        Self {
            address,
            stats,
            in_flight: AtomicU32::new(0),
            probed_healthy: AtomicBool::new(true),
            connect_failures: AtomicU32::new(0),
            aside_until_ms: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    /// A request begins here; [`Endpoint::finish`] must follow.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.stats.begin();
    }

    /// A request ended here, well or with an error.
    pub fn finish(&self, error: Option<sallyport_stats::ErrorKind>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.stats.finish(error);
    }

    /// A connection was made or taken from the pool.
    pub fn connected(&self, reused: bool) {
        self.stats.connected(reused);
        if !reused && self.connect_failures.load(Ordering::Relaxed) != 0 {
            self.connect_failures.store(0, Ordering::Relaxed);
            self.aside_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// A connection could not be made. Returns whether the endpoint is set aside because of it.
    pub fn connect_failed(&self) -> bool {
        self.stats.connect_failed();
        let failures = self.connect_failures.fetch_add(1, Ordering::Relaxed) + 1;
        if failures < FAILURES_MAX {
            return false;
        }
        let until = self.epoch.elapsed() + ASIDE;
        self.aside_until_ms.store(until.as_millis() as u64, Ordering::Relaxed);
        failures == FAILURES_MAX
    }

    /// Requests that began here and have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether probes find it healthy; true where there are none.
    #[must_use]
    pub fn probed_healthy(&self) -> bool {
        self.probed_healthy.load(Ordering::Relaxed)
    }

    /// Whether connections to it lately failed so often that it is left out for a while.
    #[must_use]
    pub fn set_aside(&self) -> bool {
        let until = self.aside_until_ms.load(Ordering::Relaxed);
        until != 0 && (self.epoch.elapsed().as_millis() as u64) < until
    }
}

/// A resolved upstream with its balancer and its endpoints' state.
#[derive(Debug)]
pub struct Upstream {
    /// What the configuration says of it.
    pub spec: config::Upstream,
    /// Its endpoints, in the order of the configuration.
    pub endpoints: Vec<Arc<Endpoint>>,
    balancer: Balancer,
    peers: Vec<HttpPeer>,
}

impl Upstream {
    /// Builds the balancer and the peers; `endpoints` are the states of `spec.endpoints`, in order.
    ///
    /// # Errors
    /// Whatever the balancing crate refuses; a resolved configuration contains none of it.
    pub fn new(spec: config::Upstream, endpoints: Vec<Arc<Endpoint>>) -> Result<Self, BuildError> {
        let balancer = Balancer::new(spec.policy, &spec.endpoints)?;
        if spec.health_check.is_none() {
            // What the probes of an earlier configuration found is no longer anybody's to revise.
            for endpoint in &endpoints {
                endpoint.probed_healthy.store(true, Ordering::Relaxed);
            }
        }
        let peers =
            spec.endpoints.iter().map(|endpoint| peer(endpoint.address, &spec.timeouts)).collect();
        Ok(Self { spec, endpoints, balancer, peers })
    }

    /// Chooses an endpoint for a request with this hash, other than those it has `tried`.
    ///
    /// Endpoints set aside are used when there are no others: a guess about health must not turn a
    /// request away. Endpoints that probes find unhealthy are never used.
    #[must_use]
    pub fn select(&self, key: u64, tried: &[usize]) -> Option<usize> {
        let careful = Known { endpoints: &self.endpoints, tried, last_resort: false };
        let desperate = Known { last_resort: true, ..careful };
        self.balancer.select(key, &careful).or_else(|| self.balancer.select(key, &desperate))
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
}

/// What the balancing algorithms may ask.
#[derive(Clone, Copy)]
struct Known<'a> {
    endpoints: &'a [Arc<Endpoint>],
    tried: &'a [usize],
    last_resort: bool,
}

impl View for Known<'_> {
    fn usable(&self, index: usize) -> bool {
        let endpoint = &self.endpoints[index];
        endpoint.probed_healthy()
            && (self.last_resort || !endpoint.set_aside())
            && !self.tried.contains(&index)
    }

    fn in_flight(&self, index: usize) -> u32 {
        self.endpoints[index].in_flight()
    }
}

/// Built once an endpoint: its fields decide which pooled connections fit, so they never vary by
/// request in a way that does.
fn peer(address: SocketAddr, timeouts: &config::UpstreamTimeouts) -> HttpPeer {
    let mut peer = HttpPeer::new(address, false, String::new());
    peer.options.connection_timeout = Some(timeouts.connect);
    peer.options.total_connection_timeout = Some(timeouts.connect);
    peer.options.read_timeout = Some(timeouts.read);
    peer.options.write_timeout = Some(timeouts.write);
    peer.options.idle_timeout = Some(timeouts.idle);
    peer
}

#[cfg(test)]
mod tests;
