use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

use sallyport_balance::{Address, Policy};
use sallyport_stats::{ErrorKind, Registry};

use super::{Account, Attempts, Failure, Found, Resend, Time, Upstream, known};
use crate::config::{self, HealthCheck, HttpProbe, Probe, Retry};

fn socket_address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 80))
}

fn address(last: u8) -> Address {
    socket_address(last).into()
}

fn probing(path: &str, interval: Duration) -> HealthCheck {
    let probe = Probe::Http(HttpProbe::of_path(path.into()));
    HealthCheck { probe, interval, timeout: interval, healthy: 1, unhealthy: 1 }
}

fn spec(count: u8, health_check: Option<HealthCheck>) -> config::Upstream {
    let endpoint = |last| config::Endpoint {
        location: config::Location::At(address(last)),
        weight: 1,
        priority: 0,
    };
    config::Upstream {
        name: "up".into(),
        policy: Policy::RoundRobin,
        hash_on: config::HashOn::SourceIp,
        endpoints: (1..=count).map(endpoint).collect(),
        discovery: None,
        transport: config::Transport::plain(),
        timeouts: config::UpstreamTimeouts::default(),
        health_check,
        panic_below_percent: config::Upstream::PANIC_BELOW_PERCENT,
        resilience: config::Resilience::default(),
    }
}

fn build(spec: config::Upstream, before: Option<&Upstream>, registry: &Registry) -> Upstream {
    let found = known(&spec, before);
    let addresses: Vec<_> = found.iter().map(|found| found.address.to_string().into()).collect();
    let stats = registry.endpoints_of(&spec.name, &addresses);
    let account = registry.attempts(std::slice::from_ref(&spec.name)).remove(0);
    let account = Arc::new(Account::new(spec.name.clone(), account));
    Upstream::new(spec, found.into_iter().zip(stats).collect(), account, before).unwrap()
}

fn upstream(count: u8) -> Upstream {
    build(spec(count, None), None, &Registry::new(1))
}

/// Whether a GET is sent again that failed like this, up to so many times.
fn retries(attempts: &mut Attempts, failure: Failure, times: u32) -> bool {
    let get = Resend { method: &Method::GET, whole: true };
    attempts.retry(&Retry::times(times), failure, get, Time::default()).is_some()
}

/// The endpoints that as many requests as there are endpoints, twice, are sent to.
fn used(upstream: &Upstream) -> Vec<usize> {
    let set = upstream.endpoints();
    let mut used: Vec<_> = (0..2 * set.members().len())
        .filter_map(|_| set.select(0, &[]).map(|choice| choice.endpoint))
        .collect();
    used.sort_unstable();
    used.dedup();
    used
}

fn set_healthy(upstream: &Upstream, index: usize, healthy: bool) {
    upstream.set_healthy(&upstream.endpoints().members()[index].health, healthy);
}

fn healthy(upstream: &Upstream) -> usize {
    upstream.endpoints().healthy()
}

#[test]
fn what_probes_found_stays_as_long_as_they_ask_the_same() {
    let second = Duration::from_secs(1);
    let registry = Registry::new(1);
    let new = |check, before: Option<&Upstream>| {
        let mut spec = spec(2, check);
        spec.panic_below_percent = 0;
        build(spec, before, &registry)
    };
    let first = new(Some(probing("/a", second)), None);
    set_healthy(&first, 0, false);
    assert_eq!(used(&first), [1]);
    let slower = new(Some(probing("/a", 2 * second)), Some(&first));
    assert_eq!((used(&slower), healthy(&slower)), (vec![1], 1));
    for check in [Some(probing("/b", second)), None] {
        let other = new(check, Some(&first));
        assert_eq!((used(&other), healthy(&other)), (vec![0, 1], 2));
    }
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
        let upstream = build(spec, None, &Registry::new(1));
        (0..unhealthy).for_each(|index| set_healthy(&upstream, index, false));
        let what = format!("{unhealthy} of {count} unhealthy, {percent} %");
        assert_eq!(upstream.endpoints().panics(), panics, "{what}");
        let expected = if panics { 0 } else { unhealthy };
        assert_eq!(used(&upstream), (expected..count.into()).collect::<Vec<_>>(), "{what}");
        assert_eq!(upstream.is_available(), unhealthy < count.into(), "{what}");
    }
}

#[test]
fn a_health_that_is_told_twice_counts_once() {
    let upstream = upstream(2);
    for (index, is_healthy, count) in [(0, false, 1), (0, false, 1), (1, false, 0), (0, true, 1)] {
        set_healthy(&upstream, index, is_healthy);
        assert_eq!(healthy(&upstream), count);
    }
}

fn at(addresses: &[u8]) -> Vec<Found> {
    addresses
        .iter()
        .map(|&last| Found { address: address(last), weight: 1, priority: 0, name: None })
        .collect()
}

#[test]
fn endpoints_keep_their_state_when_the_set_is_replaced() {
    let registry = Registry::new(1);
    let upstream = build(spec(2, None), None, &registry);
    let mut attempts = Attempts::default();
    assert_eq!(attempts.begin(&upstream, Some(socket_address(2))), Some(1));
    set_healthy(&upstream, 1, false);
    upstream.replace(at(&[3, 2]), &registry).unwrap();
    let set = upstream.endpoints();
    assert_eq!(set.position(&address(1)), None);
    let stays = &set.members()[1];
    assert_eq!((stays.endpoint.in_flight(), stays.health.is_healthy()), (1, false));
    assert_eq!(set.healthy(), 1);
    // The request goes on with the set that it began with.
    assert_eq!(attempts.endpoint().unwrap().address, address(2));
    assert_eq!(attempts.set().unwrap().position(&address(1)), Some(0));
    attempts.finish(None);
    assert_eq!(stays.endpoint.in_flight(), 0);
    assert_eq!(stays.endpoint.stats.snapshot().requests(), 1);
}

#[test]
fn a_set_without_endpoints_has_none_to_use() {
    let registry = Registry::new(1);
    let upstream = build(spec(2, None), None, &registry);
    upstream.replace(Vec::new(), &registry).unwrap();
    assert!(!upstream.is_available() && !upstream.endpoints().panics());
    assert_eq!(Attempts::default().begin(&upstream, None), None);
    upstream.replace(at(&[7]), &registry).unwrap();
    assert_eq!(Attempts::default().begin(&upstream, None), Some(0));
}

#[test]
fn failures_move_on_to_other_endpoints_and_set_theirs_aside() {
    let upstream = upstream(2);
    let set = upstream.endpoints();
    for _ in 0..3 {
        // Turns are taken in order, so that every other request begins at the first.
        let mut attempts = Attempts::default();
        while attempts.begin(&upstream, None) == Some(1) {
            attempts.finish(None);
        }
        assert!(!retries(&mut attempts, Failure::Connect, 0));
        assert!(retries(&mut attempts, Failure::Connect, 1));
        assert!(!retries(&mut attempts, Failure::Connect, 1), "that was the last");
        attempts.failed(Failure::Connect, Some(ErrorKind::Connect));
        assert_eq!(attempts.begin(&upstream, Some(socket_address(1))), Some(1), "it was tried");
        attempts.finish(None);
    }
    assert!(set.endpoint(0).is_set_aside() && !set.endpoint(1).is_set_aside());
    assert_eq!(used(&upstream), [1]);
    let counts = set.endpoint(0).stats.snapshot();
    assert_eq!((counts.errors(ErrorKind::Connect), counts.active()), (3, 0));
    assert_eq!(set.endpoint(0).in_flight() + set.endpoint(1).in_flight(), 0);
    // The last resort.
    set_healthy(&upstream, 1, false);
    assert!(!upstream.is_available());
}

#[test]
fn what_this_process_lacks_is_held_against_no_endpoint() {
    let upstream = upstream(2);
    let mut attempts = Attempts::default();
    for _ in 0..10 {
        attempts.begin(&upstream, None).unwrap();
        assert!(!retries(&mut attempts, Failure::Resources, 5));
        attempts.failed(Failure::Resources, None);
    }
    assert_eq!(used(&upstream), [0, 1]);
    assert_eq!(upstream.endpoints().endpoint(0).stats.snapshot().connect_failures(), 0);
}

#[test]
fn an_endpoints_own_5xx_is_its_error_unless_there_is_a_worse_one() {
    let upstream = upstream(1);
    let mut attempts = Attempts::default();
    for (status, kind) in [(200, None), (503, None), (500, Some(ErrorKind::Reset)), (404, None)] {
        attempts.begin(&upstream, None).unwrap();
        attempts.answered(103);
        attempts.answered(status);
        attempts.finish(kind);
    }
    let counts = upstream.endpoints().endpoint(0).stats.snapshot();
    let errors = [ErrorKind::ServerError, ErrorKind::Reset, ErrorKind::ClientError];
    assert_eq!(errors.map(|kind| counts.errors(kind)), [1, 1, 0]);
    assert_eq!(counts.requests(), 4);
}
