//! The server is away, hangs, refuses, forgets, and comes back.

use std::time::Instant;

use super::redis::Redis;
use super::{ask, behind, counted, limit, requests, send};
use crate::support::{Client, Gateway, PATIENCE, eventually, tool};

const CONNECTED: &str = "sallyport_shared_limit_connected";

fn connected(gateway: &Gateway, redis: &Redis, value: f64) {
    let server = redis.address();
    gateway.counts(&format!("{CONNECTED}{{server={server}}}"), value);
}

/// A gateway whose requests fall back as `on_failure` says, and its server.
fn falling_back(on_failure: &str) -> (Redis, Gateway) {
    let redis = Redis::start();
    let at = format!("address: {}, deadline: 10s, on_failure: {on_failure}", redis.address());
    let gateway = Gateway::start(&behind(&limit(3, "per: 1h,", &at)));
    connected(&gateway, &redis, 1.0);
    (redis, gateway)
}

/// The statuses of as many requests with `key`.
fn statuses(gateway: &Gateway, key: &str, count: usize) -> Vec<u16> {
    let mut client = Client::connect(gateway.web());
    (0..count).map(|_| send(&mut client, key).status).collect()
}

#[test]
fn a_server_that_is_killed_is_done_without_as_configured_and_used_again_once_it_is_back() {
    if !tool("redis-server") {
        return;
    }
    for (on_failure, expected) in [
        ("open", [200, 200, 200, 200, 200]),
        ("closed", [429, 429, 429, 429, 429]),
        ("local", [200, 200, 200, 429, 429]),
    ] {
        let (mut redis, gateway) = falling_back(on_failure);
        assert_eq!(statuses(&gateway, "ann", 4), [200, 200, 200, 429], "{on_failure}");
        redis.kill();
        // The first to ask finds out; nobody waits for it.
        ask(gateway.web(), "first");
        connected(&gateway, &redis, 0.0);
        let began = Instant::now();
        assert_eq!(statuses(&gateway, "bob", 5), expected, "{on_failure}");
        assert!(began.elapsed() < PATIENCE);
        assert!(counted(&gateway, "fallbacks_total", "reason=\"away\"") >= 5.0);

        redis.restart();
        connected(&gateway, &redis, 1.0);
        let before = requests(&gateway, &["admitted"]);
        // A key that failed is not asked for again at once.
        eventually("the server to be asked", || {
            ask(gateway.web(), "carl");
            (requests(&gateway, &["admitted"]) > before).then_some(())
        });
        // It is the server's limit again.
        let carl = || statuses(&gateway, "dora", 4);
        assert_eq!(carl(), [200, 200, 200, 429], "{on_failure}");
    }
}

#[test]
fn load_goes_on_while_the_server_is_killed_and_restarted() {
    if !tool("redis-server") {
        return;
    }
    let mut redis = Redis::start();
    let at = format!("address: {}, on_failure: open", redis.address());
    let gateway = Gateway::start(&behind(&limit(1_000_000, "", &at)));
    let mut client = Client::connect(gateway.web());
    for _ in 0..3 {
        connected(&gateway, &redis, 1.0);
        for _ in 0..200 {
            assert_eq!(send(&mut client, "hot").status, 200);
        }
        redis.kill();
        let fallbacks = requests(&gateway, &["fallback_admitted"]);
        eventually("requests without the server", || {
            assert_eq!(send(&mut client, "hot").status, 200);
            (requests(&gateway, &["fallback_admitted"]) > fallbacks).then_some(())
        });
        redis.restart();
    }
    connected(&gateway, &redis, 1.0);
    // The log is not filled by requests: a few lines for each time that it was away.
    let lines = gateway.log().into_iter().filter(|line| line.contains("shared limit")).count();
    assert!(lines <= 20, "{lines} lines: {:#?}", gateway.log());
}

#[test]
fn a_server_that_hangs_costs_a_few_deadlines_and_not_one_a_request() {
    if !tool("redis-server") {
        return;
    }
    let redis = Redis::start();
    let at = format!("address: {}, deadline: 50ms, on_failure: closed", redis.address());
    let gateway = Gateway::start(&behind(&limit(1000, "", &at)));
    connected(&gateway, &redis, 1.0);
    redis.signal("-STOP");
    let mut client = Client::connect(gateway.web());
    for key in 0..100 {
        // Keys that were never asked for before: each would wait.
        assert_eq!(send(&mut client, &format!("key-{key}")).status, 429);
    }
    let timeouts = counted(&gateway, "round_trips_total", "result=\"timeout\"");
    redis.signal("-CONT");
    // The connection is given up after five, and logging in to a server that hangs is nobody's wait.
    assert!((1.0..=6.0).contains(&timeouts), "{timeouts} timeouts");
    assert!(counted(&gateway, "fallbacks_total", "reason=\"away\"") >= 90.0);
    connected(&gateway, &redis, 1.0);
}

#[test]
fn a_gateway_starts_and_serves_without_the_server_and_finds_it_later() {
    if !tool("redis-server") {
        return;
    }
    let mut redis = Redis::start();
    redis.kill();
    let at = format!("address: {}, on_failure: open", redis.address());
    let gateway = Gateway::start(&behind(&limit(1, "per: 1h,", &at)));
    assert_eq!(statuses(&gateway, "ann", 3), [200, 200, 200]);
    redis.restart();
    connected(&gateway, &redis, 1.0);
    eventually("the limit to hold", || (ask(gateway.web(), "bob") == 429).then_some(()));
}

#[test]
fn what_the_server_forgets_or_cannot_do_is_no_end() {
    if !tool("redis-server") {
        return;
    }
    let redis = Redis::start();
    let at = format!("address: {}, deadline: 10s, on_failure: closed", redis.address());
    let gateway = Gateway::start(&behind(&limit(2, "per: 1h,", &at)));
    assert_eq!(ask(gateway.web(), "ann"), 200);
    // It has forgotten the script: the next is sent whole, and the bucket is as it was.
    assert_eq!(redis.say("SCRIPT FLUSH"), "+OK");
    assert_eq!(statuses(&gateway, "ann", 2), [200, 429]);
    // It has forgotten the buckets: they are full.
    assert_eq!(redis.say("FLUSHALL"), "+OK");
    let other = Gateway::start(&behind(&limit(2, "per: 1h,", &at)));
    assert_eq!(statuses(&other, "ann", 3), [200, 200, 429]);
    // Nothing can be written: that is one error a key and a while, and the connection stays.
    assert_eq!(redis.say("CONFIG SET maxmemory 1"), "+OK");
    assert_eq!(ask(gateway.web(), "bob"), 429);
    assert!(counted(&gateway, "fallbacks_total", "reason=\"error\"") >= 1.0);
    connected(&gateway, &redis, 1.0);
    assert_eq!(redis.say("CONFIG SET maxmemory 0"), "+OK");
    eventually("the server to be asked again", || (ask(gateway.web(), "bob") == 200).then_some(()));
}
