//! Endpoints that are left out for what requests find, and how they come back.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::attempts::{BlackHole, nobody};
use crate::support::{Client, Gateway, Origin, check, eventually, forward_all, get};

/// Answers with 500 while it is told to.
struct Ailing {
    origin: Origin,
    ails: Arc<AtomicBool>,
}

impl Ailing {
    fn start() -> Self {
        let ails = Arc::new(AtomicBool::new(true));
        let told = ails.clone();
        let origin = Origin::start(move |_, stream| {
            let status = if told.load(Ordering::Relaxed) { "500 No" } else { "200 OK" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).is_ok()
        });
        Self { origin, ails }
    }
}

fn detecting(endpoints: &[SocketAddr], keys: &str) -> String {
    forward_all(endpoints).replace("  - name: up\n", &format!("  - name: up\n    {keys}\n"))
}

fn healthy(gateway: &Gateway, endpoint: SocketAddr) -> Option<f64> {
    let labels = format!("endpoint=\"{endpoint}\",upstream=\"up\"");
    gateway.metric(&format!("sallyport_upstream_healthy{{{labels}}}"))
}

fn ejections(gateway: &Gateway, endpoint: SocketAddr, reason: &str) -> f64 {
    let labels = format!("endpoint=\"{endpoint}\",reason=\"{reason}\",upstream=\"up\"");
    gateway.metric(&format!("sallyport_upstream_ejections_total{{{labels}}}")).unwrap_or(0.0)
}

#[test]
fn an_endpoint_that_fails_in_a_row_is_left_out_and_tried_one_at_a_time() {
    let (ailing, alive) = (Ailing::start(), Origin::named("alive"));
    let address = ailing.origin.address;
    let keys = "outlier_detection: { consecutive_errors: 3, base_ejection: 1s }";
    let gateway = Gateway::start(&detecting(&[address, alive.address], keys));
    assert_eq!(healthy(&gateway, address), None, "nothing is known of it");
    let mut statuses = Vec::new();
    while statuses.iter().filter(|status| **status == 500).count() < 3 {
        statuses.push(get(gateway.web(), "a", "/").status);
        assert!(statuses.len() < 8, "{statuses:?}");
    }
    eventually("its ejection", || {
        (ejections(&gateway, address, "consecutive_errors") == 1.0).then_some(())
    });
    assert_eq!(
        (healthy(&gateway, address), healthy(&gateway, alive.address)),
        (Some(0.0), Some(1.0))
    );
    let trials = || ejections(&gateway, address, "consecutive_errors") - 1.0;
    for _ in 0..10 {
        let status = get(gateway.web(), "a", "/").status;
        assert!(status == 200 || trials() > 0.0, "{status}");
    }
    // Trials fail: it is left out again, each time for longer.
    eventually("trials that fail", || {
        get(gateway.web(), "a", "/");
        (trials() >= 2.0).then_some(())
    });
    assert!(ailing.origin.requests().len() < 8, "{} trials", ailing.origin.requests().len());
    ailing.ails.store(false, Ordering::Relaxed);
    eventually("it to be back", || {
        assert_eq!(get(gateway.web(), "a", "/").status, 200);
        (healthy(&gateway, address) == Some(1.0)).then_some(())
    });
    gateway.logged("endpoint is back in use");
}

#[test]
fn no_more_endpoints_are_left_out_than_may_be_and_at_least_one() {
    let ailing = [(); 3].map(|()| Ailing::start());
    let addresses = ailing.each_ref().map(|ailing| ailing.origin.address);
    let keys = "outlier_detection: { consecutive_errors: 1, base_ejection: 1m, max_ejected: 50% }";
    let gateway = Gateway::start(&detecting(&addresses, keys));
    for _ in 0..12 {
        assert_eq!(get(gateway.web(), "a", "/").status, 500);
    }
    let out = || addresses.iter().filter(|it| healthy(&gateway, **it) == Some(0.0)).count();
    assert_eq!(out(), 1, "half of three is one");
    drop(gateway);
    // The only one goes as well, and is used for want of another.
    let keys = "outlier_detection: { consecutive_errors: 2, base_ejection: 1m, max_ejected: 10% }";
    let gateway = Gateway::start(&detecting(&addresses[..1], keys));
    for _ in 0..5 {
        assert_eq!(get(gateway.web(), "a", "/").status, 500);
    }
    eventually("its ejection", || (healthy(&gateway, addresses[0]) == Some(0.0)).then_some(()));
}

#[test]
fn an_endpoint_far_below_the_mean_is_left_out_and_one_among_equals_is_not() {
    let half = || {
        let answered = AtomicUsize::new(0);
        Origin::start(move |_, stream| {
            let good = answered.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            let status = if good { "200 OK" } else { "503 No" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).is_ok()
        })
    };
    let (ailing, others) = (half(), [(); 2].map(|()| Origin::named("alive")));
    let keys =
        "outlier_detection: { consecutive_errors: 100, success_rate: 85%, base_ejection: 1m }";
    let endpoints = [ailing.address, others[0].address, others[1].address];
    let gateway = Gateway::start(&detecting(&endpoints, keys));
    eventually("its ejection", || {
        get(gateway.web(), "a", "/");
        (ejections(&gateway, ailing.address, "success_rate") == 1.0).then_some(())
    });
    assert_eq!(healthy(&gateway, ailing.address), Some(0.0));
    drop(gateway);
    // Each fails every other time: nobody is an outlier.
    let equals = [(); 2].map(|()| half());
    let endpoints = equals.each_ref().map(|origin| origin.address);
    let gateway = Gateway::start(&detecting(&endpoints, keys));
    for _ in 0..120 {
        get(gateway.web(), "a", "/");
    }
    assert_eq!(endpoints.map(|it| ejections(&gateway, it, "success_rate")), [0.0, 0.0]);
}

#[test]
fn connections_that_cannot_be_made_eject_and_say_so() {
    let (dead, alive) = (nobody(), Origin::named("alive"));
    let gateway = Gateway::start(&forward_all(&[dead, alive.address]));
    for _ in 0..8 {
        assert_eq!(get(gateway.web(), "a", "/").body, "alive");
    }
    assert_eq!(ejections(&gateway, dead, "connect"), 1.0);
    assert_eq!((healthy(&gateway, dead), healthy(&gateway, alive.address)), (Some(0.0), Some(1.0)));
    let view: serde_json::Value =
        serde_json::from_str(&get(gateway.admin(), "admin", "/upstreams").body).unwrap();
    assert_eq!(view[0]["endpoints"][0]["ejected_for"], "connect");
}

#[test]
fn an_endpoint_that_swallows_connections_costs_one_timeout() {
    let (hole, alive) = (BlackHole::start(), Origin::named("alive"));
    let yaml = detecting(&[hole.address, alive.address], "timeouts: { connect: 2s }");
    let gateway = Gateway::start(&yaml);
    let web = gateway.web();
    let until = Instant::now() + Duration::from_secs(4);
    let clients: Vec<_> = (0..4)
        .map(|_| {
            thread::spawn(move || {
                let mut slow = 0;
                let mut client = Client::connect(web);
                while Instant::now() < until {
                    let began = Instant::now();
                    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    assert_eq!(client.receive().status, 200);
                    slow += usize::from(began.elapsed() > Duration::from_secs(1));
                    thread::sleep(Duration::from_millis(5));
                }
                slow
            })
        })
        .collect();
    let slow: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    // Those that were under way when it was found out, and none after.
    assert!(slow.iter().all(|slow| *slow <= 1), "{slow:?}");
    assert!(ejections(&gateway, hole.address, "connect") >= 1.0);
}

#[test]
fn an_endpoint_that_joins_begins_with_a_small_share() {
    let origins = ["old", "new"].map(Origin::named);
    let keys = "slow_start: 1h";
    let yaml = |count: usize| {
        let addresses: Vec<_> = origins[..count].iter().map(|origin| origin.address).collect();
        detecting(&addresses, keys)
    };
    let gateway = Gateway::start(&yaml(1));
    gateway.replace(&yaml(2));
    let mut client = Client::connect(gateway.web());
    let new = (0..400)
        .filter(|_| {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client.receive().body == "new"
        })
        .count();
    // A tenth of its half.
    assert!((4..60).contains(&new), "{new} of 400");
    drop(gateway);
    let gateway = Gateway::start(&yaml(2));
    let mut client = Client::connect(gateway.web());
    let new = (0..40)
        .filter(|_| {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            client.receive().body == "new"
        })
        .count();
    assert_eq!(new, 20, "those that begin together begin with all");
}

#[test]
fn what_says_nothing_sensible_of_outliers_is_refused() {
    let endpoint = ["127.0.0.1:1".parse().unwrap()];
    for (keys, told) in [
        ("outlier_detection: { consecutive_errors: 0 }", "consecutive_errors: is 0"),
        ("outlier_detection: { success_rate: 101% }", "is not a share in percent"),
        ("outlier_detection: { ejection: 1s }", "unknown key"),
        ("slow_start: 0s", "is not such a time"),
    ] {
        let output = check(&detecting(&endpoint, keys));
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(told), "{keys}: {said}");
    }
}
