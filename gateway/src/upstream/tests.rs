use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sallyport_balance::Policy;
use sallyport_stats::{ErrorKind, Registry};

use super::{Attempts, Endpoint, Failure, Upstream};
use crate::config::{self, HealthCheck, HttpProbe, Probe};

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn probing(path: &str, interval: Duration) -> HealthCheck {
    let probe = Probe::Http(HttpProbe::of_path(path.into()));
    HealthCheck { probe, interval, timeout: interval, healthy: 1, unhealthy: 1 }
}

fn spec(count: u8, health_check: Option<HealthCheck>) -> config::Upstream {
    let endpoint = |last| sallyport_balance::Endpoint { address: address(last), weight: 1 };
    config::Upstream {
        name: "up".into(),
        policy: Policy::RoundRobin,
        hash_on: config::HashOn::SourceIp,
        endpoints: (1..=count).map(endpoint).collect(),
        timeouts: config::UpstreamTimeouts::default(),
        health_check,
        panic_below_percent: config::Upstream::PANIC_BELOW_PERCENT,
    }
}

fn endpoints(count: u8) -> Vec<Arc<Endpoint>> {
    let names: Vec<_> = (1..=count).map(|last| ("up".into(), address(last))).collect();
    let stats = Registry::new(1).endpoints(&names).into_iter();
    stats.zip(1..).map(|(stats, last)| Arc::new(Endpoint::new(address(last), stats))).collect()
}

fn upstream(count: u8) -> Upstream {
    Upstream::new(spec(count, None), endpoints(count), None).unwrap()
}

/// The endpoints that as many requests as there are endpoints, twice, are sent to.
fn used(upstream: &Upstream) -> Vec<usize> {
    let mut used: Vec<_> = (0..2 * upstream.endpoints.len())
        .filter_map(|_| upstream.select(0, &[]).map(|choice| choice.endpoint))
        .collect();
    used.sort_unstable();
    used.dedup();
    used
}

#[test]
fn what_probes_found_stays_as_long_as_they_ask_the_same() {
    let second = Duration::from_secs(1);
    let endpoints = endpoints(2);
    let new = |check, before: Option<&Upstream>| {
        let mut spec = spec(2, check);
        spec.panic_below_percent = 0;
        Upstream::new(spec, endpoints.clone(), before).unwrap()
    };
    let first = new(Some(probing("/a", second)), None);
    first.healths.set_healthy(0, false);
    assert_eq!(used(&first), [1]);
    let slower = new(Some(probing("/a", 2 * second)), Some(&first));
    assert_eq!((used(&slower), slower.healths.healthy()), (vec![1], 1));
    for check in [Some(probing("/b", second)), None] {
        let other = new(check, Some(&first));
        assert_eq!((used(&other), other.healths.healthy()), (vec![0, 1], 2));
    }
    // And the old one's later findings are its own.
    first.healths.set_healthy(1, false);
    assert_eq!(used(&slower), [1]);
}

#[test]
fn all_are_used_when_fewer_than_the_share_are_healthy() {
    for (count, unhealthy, percent, panics) in [
        (4, 2, 50, false),
        (4, 3, 50, true),
        (1, 1, 50, true),
        (1, 1, 0, false),
        (4, 0, 100, false),
        (4, 1, 100, true),
        (3, 2, 33, false),
        (3, 2, 34, true),
    ] {
        let mut spec = spec(count, Some(probing("/", Duration::from_secs(1))));
        spec.panic_below_percent = percent;
        let upstream = Upstream::new(spec, endpoints(count), None).unwrap();
        (0..unhealthy).for_each(|index| upstream.healths.set_healthy(index, false));
        let what = format!("{unhealthy} of {count} unhealthy, {percent} %");
        assert_eq!(upstream.panics(), panics, "{what}");
        let expected = if panics { 0 } else { unhealthy };
        assert_eq!(used(&upstream), (expected..count.into()).collect::<Vec<_>>(), "{what}");
        assert_eq!(upstream.is_available(), unhealthy < count.into(), "{what}");
    }
}

#[test]
fn a_health_that_is_told_twice_counts_once() {
    let upstream = upstream(2);
    for (index, healthy, count) in [(0, false, 1), (0, false, 1), (1, false, 0), (0, true, 1)] {
        upstream.healths.set_healthy(index, healthy);
        assert_eq!(upstream.healths.healthy(), count);
    }
}

#[test]
fn failures_move_on_to_other_endpoints_and_set_theirs_aside() {
    let upstream = upstream(2);
    for _ in 0..3 {
        // Turns are taken in order, so that every other request begins at the first.
        let mut attempts = Attempts::default();
        while attempts.begin(&upstream, None) == Some(1) {
            attempts.finish(&upstream, None);
        }
        attempts.failed(&upstream, Failure::Connect, Some(ErrorKind::Connect));
        assert!(attempts.may_retry(&upstream, Failure::Connect, 1));
        assert!(!attempts.may_retry(&upstream, Failure::Connect, 0));
        assert_eq!(attempts.begin(&upstream, Some(address(1))), Some(1), "it was tried");
        attempts.finish(&upstream, None);
    }
    assert!(upstream.endpoints[0].is_set_aside() && !upstream.endpoints[1].is_set_aside());
    assert_eq!(used(&upstream), [1]);
    let counts = upstream.endpoints[0].stats.snapshot();
    assert_eq!((counts.errors(ErrorKind::Connect), counts.active()), (3, 0));
    assert_eq!(upstream.endpoints[0].in_flight() + upstream.endpoints[1].in_flight(), 0);
    // The last resort.
    upstream.healths.set_healthy(1, false);
    assert!(!upstream.is_available());
}

#[test]
fn what_this_process_lacks_is_held_against_no_endpoint() {
    let upstream = upstream(2);
    let mut attempts = Attempts::default();
    for _ in 0..10 {
        attempts.begin(&upstream, None).unwrap();
        attempts.failed(&upstream, Failure::Resources, None);
        assert!(!attempts.may_retry(&upstream, Failure::Resources, 5));
    }
    assert_eq!(used(&upstream), [0, 1]);
    assert_eq!(upstream.endpoints[0].stats.snapshot().connect_failures(), 0);
}

#[test]
fn an_endpoints_own_5xx_is_its_error_unless_there_is_a_worse_one() {
    let upstream = upstream(1);
    let mut attempts = Attempts::default();
    for (status, kind) in [(200, None), (503, None), (500, Some(ErrorKind::Reset)), (404, None)] {
        attempts.begin(&upstream, None).unwrap();
        attempts.answered(&upstream, 103);
        attempts.answered(&upstream, status);
        attempts.finish(&upstream, kind);
    }
    let counts = upstream.endpoints[0].stats.snapshot();
    let errors = [ErrorKind::ServerError, ErrorKind::Reset, ErrorKind::ClientError];
    assert_eq!(errors.map(|kind| counts.errors(kind)), [1, 1, 0]);
    assert_eq!(counts.requests(), 4);
}
