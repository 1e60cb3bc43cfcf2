//! Active health checks: each endpoint is probed on its own clock, and its state follows after as
//! many results in a row as the configuration asks for.
//!
//! What probes find belongs to the upstream that probes: a reload that changes it makes a new one,
//! with probes of its own, and ends the old one's at once, however long old requests still hold it.

mod probe;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use self::probe::{Prober, Unhealthy};
use super::Upstream;
use crate::config::HealthCheck;
use crate::descriptors;

/// What the probes of one upstream found of its endpoints; all are healthy until found otherwise.
#[derive(Debug)]
pub struct Healths {
    each: Vec<Health>,
    healthy: AtomicUsize,
}

#[derive(Debug)]
struct Health {
    healthy: AtomicBool,
    /// Why the latest probe failed, if it did.
    reason: Mutex<Option<Arc<str>>>,
}

impl Healths {
    /// For so many endpoints.
    #[must_use]
    pub fn new(count: usize) -> Self {
        let health = || Health { healthy: AtomicBool::new(true), reason: Mutex::new(None) };
        let each = std::iter::repeat_with(health).take(count).collect();
        Self { each, healthy: AtomicUsize::new(count) }
    }

    /// Whether the endpoint with this index is found healthy; true where there are no probes.
    #[must_use]
    pub fn is_healthy(&self, index: usize) -> bool {
        self.each[index].healthy.load(Ordering::Relaxed)
    }

    /// How many are found healthy.
    #[must_use]
    pub fn healthy(&self) -> usize {
        self.healthy.load(Ordering::Relaxed)
    }

    /// Why the latest probe of the endpoint with this index failed, if it did.
    #[must_use]
    pub fn reason(&self, index: usize) -> Option<Arc<str>> {
        self.each[index].reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes over what `before` knows of the endpoints that `index_before` finds there.
    pub(super) fn take_over(&self, before: &Self, index_before: impl Fn(usize) -> Option<usize>) {
        for index in 0..self.each.len() {
            if let Some(old) = index_before(index) {
                self.set_healthy(index, before.is_healthy(old));
                self.set_reason(index, before.reason(old));
            }
        }
    }

    pub(super) fn set_healthy(&self, index: usize, healthy: bool) {
        let was = self.each[index].healthy.swap(healthy, Ordering::Relaxed);
        match (was, healthy) {
            (false, true) => _ = self.healthy.fetch_add(1, Ordering::Relaxed),
            (true, false) => _ = self.healthy.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
    }

    fn set_reason(&self, index: usize, reason: Option<Arc<str>>) {
        *self.each[index].reason.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

/// The probes at work: those of the upstreams in force and of no others.
#[derive(Debug)]
pub struct Probes {
    runtime: Handle,
    running: Vec<Probing>,
}

#[derive(Debug)]
struct Probing {
    upstream: Arc<Upstream>,
    task: AbortHandle,
}

impl Probes {
    /// None yet; they will run on `runtime`, which should have nothing else to do: a probe that
    /// waits for its turn fails a healthy endpoint.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { runtime, running: Vec::new() }
    }

    /// Probes `upstreams` from now on. Those that were probed before go on as they are, the probes
    /// of all others end.
    pub fn follow(&mut self, upstreams: &[Arc<Upstream>]) {
        let in_force: std::collections::HashSet<_> = upstreams.iter().map(Arc::as_ptr).collect();
        self.running.retain(|probing| {
            let stays = in_force.contains(&Arc::as_ptr(&probing.upstream));
            if !stays {
                probing.task.abort();
            }
            stays
        });
        let running: std::collections::HashSet<_> =
            self.running.iter().map(|probing| Arc::as_ptr(&probing.upstream)).collect();
        for upstream in upstreams {
            if let Some(check) = &upstream.spec.health_check
                && !running.contains(&Arc::as_ptr(upstream))
            {
                let task = self.runtime.spawn(run(upstream.clone(), check.clone()));
                let task = task.abort_handle();
                self.running.push(Probing { upstream: upstream.clone(), task });
            }
        }
    }
}

async fn run(upstream: Arc<Upstream>, check: HealthCheck) {
    let prober = Prober::new(&check);
    let mut streaks = vec![0; upstream.endpoints.len()];
    loop {
        let started = Instant::now();
        let probes = streaks.iter_mut().enumerate();
        join_all(probes.map(async |(index, streak)| {
            let address = upstream.endpoints[index].address;
            let failure = prober.probe(address).await.err();
            if failure.as_ref().is_some_and(Unhealthy::is_own) {
                descriptors::report_exhaustion();
            } else {
                let failure = failure.map(|error| error.to_string());
                note(&upstream, index, address, failure, &check, streak);
            }
        }))
        .await;
        sleep_until(started + check.interval).await;
    }
}

/// Notes the result of a probe; `streak` counts those in a row that contradict what the endpoint is
/// held to be.
fn note(
    upstream: &Upstream,
    index: usize,
    address: SocketAddr,
    failure: Option<String>,
    check: &HealthCheck,
    streak: &mut u32,
) {
    let healths = &upstream.healths;
    let success = failure.is_none();
    healths.set_reason(index, failure.as_deref().map(Arc::from));
    if success == healths.is_healthy(index) {
        *streak = 0;
        return;
    }
    *streak += 1;
    if *streak >= if success { check.healthy } else { check.unhealthy } {
        *streak = 0;
        healths.set_healthy(index, success);
        let name = &*upstream.spec.name;
        match failure {
            Some(reason) => tracing::warn!(
                upstream = name, endpoint = %address, reason, "endpoint found unhealthy"
            ),
            None => {
                tracing::info!(upstream = name, endpoint = %address, "endpoint found healthy");
            }
        }
        if upstream.panics() && !success {
            let (healthy, all) = (healths.healthy(), upstream.endpoints.len());
            tracing::warn!(
                upstream = name,
                healthy,
                all,
                "too few endpoints are healthy: all are used until more are"
            );
        }
    }
}
