use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sallyport_balance::Policy;
use sallyport_stats::Registry;

use super::{Endpoint, Upstream};
use crate::config;

fn spec(health_check: Option<config::HealthCheck>) -> config::Upstream {
    config::Upstream {
        name: "up".into(),
        policy: Policy::RoundRobin,
        hash_on: config::HashOn::SourceIp,
        endpoints: vec![sallyport_balance::Endpoint { address: address(), weight: 1 }],
        timeouts: config::UpstreamTimeouts::default(),
        health_check,
    }
}

fn address() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 80))
}

#[test]
fn without_a_health_check_what_an_earlier_one_found_is_forgotten() {
    let stats = Registry::new(1).endpoints(&[("up".into(), address())]).remove(0);
    let endpoint = Arc::new(Endpoint::new(address(), stats));
    let second = Duration::from_secs(1);
    let check = config::HealthCheck {
        path: None,
        interval: second,
        timeout: second,
        healthy: 1,
        unhealthy: 1,
    };
    let select = |check| Upstream::new(spec(check), vec![endpoint.clone()]).unwrap().select(0, &[]);
    endpoint.probed_healthy.store(false, Ordering::Relaxed);
    assert_eq!(select(Some(check)), None);
    assert_eq!(select(None), Some(0));
}
