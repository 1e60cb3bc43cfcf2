//! Active health checks: each endpoint is probed on its own clock, and its state follows after as
//! many results in a row as the configuration asks for.
//!
//! The probes are Pingora's; what is ours is who is probed when, across reloads. One task an
//! upstream, ended when a reload no longer has that upstream as it was.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use pingora_load_balancing::Backend;
use pingora_load_balancing::health_check::{HttpHealthCheck, TcpHealthCheck};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Endpoint, Upstream};
use crate::config::HealthCheck;

type Probe = dyn pingora_load_balancing::health_check::HealthCheck + Send + Sync;

/// Starts probing `upstream` on the current runtime, if it asks for that.
///
/// Probing ends by itself once nothing else holds the upstream any more.
pub fn spawn(upstream: &Arc<Upstream>) {
    if let Some(check) = upstream.spec.health_check.clone() {
        tokio::spawn(run(Arc::downgrade(upstream), check));
    }
}

async fn run(upstream: Weak<Upstream>, check: HealthCheck) {
    let probe = probe(&check);
    let mut streaks: Vec<Streak> = Vec::new();
    loop {
        let started = Instant::now();
        {
            let Some(upstream) = upstream.upgrade() else { return };
            streaks.resize_with(upstream.endpoints.len(), Streak::default);
            let probes = upstream.endpoints.iter().zip(&mut streaks);
            join_all(probes.map(|(endpoint, streak)| {
                check_one(&upstream.spec.name, endpoint, &*probe, &check, streak)
            }))
            .await;
        }
        sleep_until(started + check.interval).await;
    }
}

/// Results in a row that contradict what the endpoint is held to be.
#[derive(Default)]
struct Streak(u32);

async fn check_one(
    upstream: &str,
    endpoint: &Endpoint,
    probe: &Probe,
    check: &HealthCheck,
    streak: &mut Streak,
) {
    let Ok(backend) = Backend::new(&endpoint.address.to_string()) else { return };
    let answered = timeout(check.timeout, probe.check(&backend)).await;
    let success = matches!(answered, Ok(Ok(())));
    if success == endpoint.probed_healthy() {
        streak.0 = 0;
        return;
    }
    streak.0 += 1;
    if streak.0 >= if success { check.healthy } else { check.unhealthy } {
        streak.0 = 0;
        endpoint.probed_healthy.store(success, Ordering::Relaxed);
        let address = endpoint.address;
        tracing::warn!(upstream, %address, healthy = success, "endpoint changed health");
    }
}

fn probe(check: &HealthCheck) -> Box<Probe> {
    match &check.path {
        None => {
            let mut probe = TcpHealthCheck::new();
            probe.peer_template.options.connection_timeout = Some(check.timeout);
            probe
        }
        Some(path) => {
            let mut probe = HttpHealthCheck::new("sallyport", false);
            probe.peer_template.options.connection_timeout = Some(check.timeout);
            probe.peer_template.options.read_timeout = Some(check.timeout);
            // A probe on a kept connection would not notice an endpoint that stopped accepting.
            probe.reuse_connection = false;
            probe.peer_template.options.idle_timeout = Some(Duration::ZERO);
            probe.req.set_uri(path.parse().unwrap_or_default());
            Box::new(probe)
        }
    }
}
