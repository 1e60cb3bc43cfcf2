//! Upstreams at their limits: who is turned away, who waits, and in which order.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::attempts::BlackHole;
use crate::support::{Client, Gateway, Origin, Response, check, eventually, forward_all, get};

/// Answers after a while, and counts how many requests it has at once.
struct Slow {
    origin: Origin,
    most: Arc<AtomicUsize>,
}

impl Slow {
    fn start(wait: Duration) -> Self {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let highest = most.clone();
        let origin = Origin::start(move |_, stream| {
            highest.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            thread::sleep(wait);
            now.fetch_sub(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
        });
        Self { origin, most }
    }
}

fn limited(endpoint: SocketAddr, keys: &str) -> String {
    forward_all(&[endpoint]).replace("  - name: up\n", &format!("  - name: up\n    {keys}\n"))
}

/// What so many clients are answered that ask at once.
fn at_once(gateway: &Gateway, clients: usize) -> Vec<Response> {
    let web = gateway.web();
    let clients: Vec<_> = (0..clients).map(|_| thread::spawn(move || get(web, "a", "/"))).collect();
    clients.into_iter().map(|client| client.join().unwrap()).collect()
}

fn counted(gateway: &Gateway, name: &str, reason: &str) -> f64 {
    let sample = format!("{name}{{reason=\"{reason}\",upstream=\"up\"}}");
    gateway.metric(&sample).unwrap_or_else(|| panic!("there is no {sample}"))
}

#[test]
fn requests_over_the_limit_are_turned_away_at_once() {
    let slow = Slow::start(Duration::from_millis(600));
    let gateway = Gateway::start(&limited(slow.origin.address, "limits: { requests: 2 }"));
    assert_eq!(counted(&gateway, "sallyport_upstream_limited_total", "requests"), 0.0);
    let responses = at_once(&gateway, 6);
    let refused: Vec<_> = responses.iter().filter(|response| response.status == 503).collect();
    assert!(!refused.is_empty() && refused.iter().all(|it| it.error().as_deref() == Some("limit")));
    assert!(slow.most.load(Ordering::SeqCst) <= 2);
    let count = refused.len() as f64;
    assert_eq!(counted(&gateway, "sallyport_upstream_limited_total", "requests"), count);
    assert_eq!(get(gateway.web(), "a", "/").status, 200, "there is room again");
}

#[test]
fn requests_wait_for_a_connection_and_no_more_than_may() {
    let slow = Slow::start(Duration::from_millis(300));
    let keys = "limits: { connections: 2, pending: 2 }";
    let gateway = Gateway::start(&limited(slow.origin.address, keys));
    let responses = at_once(&gateway, 10);
    assert!(slow.most.load(Ordering::SeqCst) <= 2);
    let served = responses.iter().filter(|response| response.status == 200).count();
    let refused = counted(&gateway, "sallyport_upstream_limited_total", "pending");
    assert!(served >= 4, "{served} of 10 were served");
    assert_eq!(refused, (10 - served) as f64);
}

#[test]
fn requests_that_wait_for_an_endpoint_that_swallows_connections_are_pending() {
    let hole = BlackHole::start();
    let keys = "limits: { pending: 2 }\n    timeouts: { connect: 3s }";
    let gateway = Gateway::start(&limited(hole.address, keys));
    let web = gateway.web();
    let waiting: Vec<_> = (0..2).map(|_| thread::spawn(move || get(web, "a", "/"))).collect();
    let active = format!(
        "sallyport_upstream_requests_active{{endpoint=\"{}\",upstream=\"up\"}}",
        hole.address
    );
    eventually("two to wait", || (gateway.metric(&active) == Some(2.0)).then_some(()));
    let began = Instant::now();
    assert_eq!(get(web, "a", "/").error().as_deref(), Some("limit"));
    assert!(began.elapsed() < Duration::from_secs(2), "it was turned away at once");
    assert_eq!(counted(&gateway, "sallyport_upstream_limited_total", "pending"), 1.0);
    waiting.into_iter().for_each(|client| drop(client.join()));
}

#[test]
fn who_waits_too_long_or_finds_the_queue_full_is_turned_away() {
    let slow = Slow::start(Duration::from_secs(1));
    let keys = "limits: { requests: 1 }\n    queue: { deadline: 200ms, length: 2 }";
    let gateway = Gateway::start(&limited(slow.origin.address, keys));
    let statuses: Vec<_> = at_once(&gateway, 6).iter().map(|response| response.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    let lost = |reason| counted(&gateway, "sallyport_queue_rejected_total", reason);
    assert_eq!(lost("deadline") + lost("full"), 5.0);
    assert!(lost("deadline") >= 1.0 && lost("full") >= 1.0);
    assert_eq!(gateway.metric("sallyport_queue_length{upstream=\"up\"}"), Some(0.0));
}

/// How many requests each tenant has answered in a while, with so many clients each.
fn shares(web: SocketAddr, tenants: &[(&'static str, usize)], lasting: Duration) -> Vec<usize> {
    let ended = Arc::new(AtomicBool::new(false));
    let counts: Vec<_> = tenants.iter().map(|_| Arc::new(AtomicUsize::new(0))).collect();
    let mut clients = Vec::new();
    for ((tenant, count), answered) in tenants.iter().zip(&counts) {
        for _ in 0..*count {
            let (tenant, answered, ended) = (*tenant, answered.clone(), ended.clone());
            clients.push(thread::spawn(move || {
                let mut client = Client::connect(web);
                while !ended.load(Ordering::Relaxed) {
                    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: {tenant}\r\n\r\n"));
                    assert_eq!(client.receive().status, 200);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
    }
    thread::sleep(lasting);
    ended.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
    counts.iter().map(|count| count.load(Ordering::Relaxed)).collect()
}

#[test]
fn a_tenant_that_asks_for_ten_times_as_much_gets_its_share_and_no_more() {
    let slow = Slow::start(Duration::from_millis(20));
    let keys = "limits: { requests: 4 }\n    queue: { by: { header: x-tenant }, deadline: 20s }";
    let gateway = Gateway::start(&limited(slow.origin.address, keys));
    let tenants = [("greedy", 40), ("b", 4), ("c", 4)];
    let served = shares(gateway.web(), &tenants, Duration::from_secs(4));
    let all: usize = served.iter().sum();
    for (tenant, served) in tenants.iter().zip(&served) {
        let share = *served as f64 / all as f64;
        assert!((share - 1.0 / 3.0).abs() < 0.08, "{tenant:?} had {share}");
    }
    assert!(slow.most.load(Ordering::SeqCst) <= 4);
    assert!(gateway.metric("sallyport_queue_wait_seconds_count{upstream=\"up\"}") > Some(0.0));
}

#[test]
fn shares_follow_the_weights() {
    let slow = Slow::start(Duration::from_millis(20));
    let keys = "limits: { requests: 4 }\n    queue: { by: { header: x-tenant }, weights: { gold: 3 }, deadline: 20s }";
    let gateway = Gateway::start(&limited(slow.origin.address, keys));
    let served = shares(gateway.web(), &[("gold", 12), ("other", 12)], Duration::from_secs(4));
    let share = served[0] as f64 / (served[0] + served[1]) as f64;
    assert!((share - 0.75).abs() < 0.08, "{served:?}");
}

#[test]
fn a_client_that_goes_away_gives_its_place_up() {
    let slow = Slow::start(Duration::from_millis(300));
    let keys = "limits: { requests: 1 }\n    queue: { deadline: 20s, length: 50 }";
    let gateway = Gateway::start(&limited(slow.origin.address, keys));
    let web = gateway.web();
    for _ in 0..3 {
        let responses = at_once(&gateway, 3);
        assert!(responses.iter().all(|response| response.status == 200));
    }
    // A reload in between: slots that are taken stay taken, and none is lost.
    let under_way = thread::spawn(move || get(web, "a", "/").status);
    gateway.replace(&limited(slow.origin.address, "limits: { requests: 1 }"));
    assert_eq!(under_way.join().unwrap(), 200);
    assert_eq!(get(web, "a", "/").status, 200);
}

#[test]
fn what_says_nothing_sensible_of_limits_is_refused() {
    for (keys, told) in [
        ("limits: {}", "is empty"),
        ("limits: { requests: 0 }", "requests: is 0"),
        ("limits: { pending: 0 }", "leaves no request a connection"),
        ("queue: { length: 5 }", "`queue` has no effect without `limits.requests`"),
        ("limits: { requests: 1 }\n    queue: { by: host }", "is nothing to tell tenants apart by"),
        (
            "limits: { requests: 1 }\n    queue: { weights: { a: 2 } }",
            "has no effect on tenants by",
        ),
        ("limits: { requests: 1 }\n    queue: { by: route, weights: { a: 0 } }", "weights.a: is 0"),
    ] {
        let output = check(&limited("127.0.0.1:1".parse().unwrap(), keys));
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(told), "{keys}: {said}");
    }
}
