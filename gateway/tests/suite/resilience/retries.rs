//! When a request is sent again, and when it is not.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::attempts::nobody;
use crate::support::{Client, Gateway, Origin, check, forward_all, get};

/// Answers everything with `status`, a line of it.
fn answering(status: &'static str) -> Origin {
    Origin::start(move |_, stream| {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).is_ok()
    })
}

/// Takes requests and never answers.
fn silent() -> Origin {
    Origin::start(|_, _| true)
}

fn retrying(endpoints: &[SocketAddr], retry: &str) -> String {
    forward_all(endpoints).replace("upstream: up }", &format!("upstream: up, retry: {retry} }}"))
}

fn retried(gateway: &Gateway, reason: &str) -> f64 {
    let sample = format!("sallyport_retries_total{{reason=\"{reason}\",upstream=\"up\"}}");
    gateway.metric(&sample).unwrap_or_else(|| panic!("there is no {sample}"))
}

const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";

#[test]
fn a_get_that_is_answered_with_a_named_status_is_sent_elsewhere_and_a_post_is_not() {
    let (failing, alive) = (answering("503 No"), Origin::named("alive"));
    let yaml = retrying(&[failing.address, alive.address], "{ attempts: 1, on: [503, 429] }");
    let gateway = Gateway::start(&yaml);
    for reason in ["503", "429", "connect", "reset", "timeout", "refused_stream"] {
        assert_eq!(retried(&gateway, reason), 0.0, "{reason} is there from the start");
    }
    let mut client = Client::connect(gateway.web());
    for _ in 0..10 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().body, "alive");
    }
    assert_eq!(failing.requests().len(), 5);
    assert_eq!(retried(&gateway, "503"), 5.0);
    let statuses = [(); 10].map(|()| client.send(POST).receive().status);
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 5, "{statuses:?}");
    assert_eq!(failing.requests().len() + alive.requests().len(), 15 + 10);
}

#[test]
fn a_post_is_sent_again_where_the_route_says_so_and_its_body_is_whole() {
    let (failing, alive) = (answering("503 No"), Origin::named("alive"));
    let retry = "{ attempts: 1, on: [503], methods: [POST] }";
    let gateway = Gateway::start(&retrying(&[failing.address, alive.address], retry));
    let mut client = Client::connect(gateway.web());
    for _ in 0..4 {
        assert_eq!(client.send(POST).receive().body, "alive");
        assert_eq!(alive.last().body, b"hi");
    }
    // More than Pingora keeps of a body.
    let large = vec![b'x'; 200 << 10];
    let statuses = [(); 4].map(|()| {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len());
        let mut client = Client::connect(gateway.web());
        client.send(head).send(&large).receive().status
    });
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 2, "{statuses:?}");
}

#[test]
fn an_attempt_that_takes_too_long_counts_as_timeout_and_as_504() {
    let (silent, alive) = (silent(), Origin::named("alive"));
    for (on, reason) in [("timeout", "timeout"), ("504", "timeout")] {
        let retry = format!("{{ on: [{on}], per_try_timeout: 150ms }}");
        let gateway = Gateway::start(&retrying(&[silent.address, alive.address], &retry));
        let mut client = Client::connect(gateway.web());
        for _ in 0..6 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.receive().body, "alive");
        }
        assert_eq!(retried(&gateway, reason), 3.0);
        let labels = format!("endpoint=\"{}\",kind=\"timeout\",upstream=\"up\"", silent.address);
        gateway.counts(&format!("sallyport_upstream_errors_total{{{labels}}}"), 3.0);
    }
    let gateway = Gateway::start(&retrying(&[silent.address], "{ per_try_timeout: 150ms }"));
    let response = get(gateway.web(), "a", "/");
    assert_eq!((response.status, response.error().as_deref()), (504, Some("timeout")));
    assert_eq!(retried(&gateway, "timeout"), 0.0, "it is not asked for");
}

#[test]
fn a_response_that_has_begun_may_take_longer_than_an_attempt() {
    let slow = Origin::start(|_, stream| {
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
        stream.write_all(head).unwrap();
        b"slow".iter().all(|byte| {
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(&[*byte]).is_ok()
        })
    });
    let retry = "{ on: [timeout], per_try_timeout: 200ms }";
    let gateway = Gateway::start(&retrying(&[slow.address], retry));
    assert_eq!(get(gateway.web(), "a", "/").body, "slow");
    assert_eq!(slow.requests().len(), 1);
}

#[test]
fn a_client_that_sends_slowly_is_not_an_origin_that_answers_slowly() {
    let alive = Origin::named("alive");
    let gateway = Gateway::start(&retrying(&[alive.address], "{ per_try_timeout: 200ms }"));
    let mut client = Client::connect(gateway.web());
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n");
    for byte in b"slow" {
        std::thread::sleep(Duration::from_millis(100));
        client.send([*byte]);
    }
    assert_eq!(client.receive().body, "alive");
}

#[test]
fn the_first_byte_has_a_time_of_its_own() {
    let silent = silent();
    let yaml = forward_all(&[silent.address])
        .replace("  - name: up\n", "  - name: up\n    timeouts: { first_byte: 150ms }\n");
    let gateway = Gateway::start(&yaml);
    let started = Instant::now();
    let response = get(gateway.web(), "a", "/");
    assert_eq!((response.status, response.error().as_deref()), (504, Some("timeout")));
    assert!(started.elapsed() >= Duration::from_millis(150));
    assert_eq!(silent.requests().len(), 1);
}

#[test]
fn retries_are_a_share_of_what_is_offered() {
    const OFFERED: usize = 200;
    let failing = answering("503 No");
    let retry = "{ attempts: 3, on: [503], budget: 20%, backoff: { base: 1ms, max: 1ms } }";
    let gateway = Gateway::start(&retrying(&[failing.address], retry));
    let mut client = Client::connect(gateway.web());
    for _ in 0..OFFERED {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 503);
    }
    let sent = failing.requests().len();
    assert!((OFFERED + 10..=OFFERED * 12 / 10).contains(&sent), "{sent} for {OFFERED}");
    assert_eq!(retried(&gateway, "503"), (sent - OFFERED) as f64);
}

#[test]
fn rfc9110_10_2_3_an_origin_that_asks_for_time_is_given_it() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let busy = Origin::start(move |request, stream| {
        let after = if request.request_line().contains("/long") { 3600 } else { 1 };
        let answer = match counted.fetch_add(1, Ordering::Relaxed) {
            0 | 2 => format!("503 No\r\nRetry-After: {after}"),
            _ => "200 OK".to_owned(),
        };
        let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let gateway = Gateway::start(&retrying(&[busy.address], "{ attempts: 1, on: [503] }"));
    let started = Instant::now();
    assert_eq!(get(gateway.web(), "a", "/short").status, 200);
    assert!(started.elapsed() >= Duration::from_secs(1));
    // Longer than a client should wait: it is told instead.
    let response = get(gateway.web(), "a", "/long");
    assert_eq!((response.status, response.field("retry-after").as_deref()), (503, Some("3600")));
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[test]
fn a_connection_that_cannot_be_made_is_tried_elsewhere_for_every_method() {
    let (dead, alive) = (nobody(), Origin::named("alive"));
    let gateway =
        Gateway::start(&retrying(&[dead, alive.address], "{ attempts: 1, on: [connect] }"));
    let mut client = Client::connect(gateway.web());
    for _ in 0..8 {
        assert_eq!(client.send(POST).receive().body, "alive");
    }
    assert_eq!(alive.requests().len(), 8);
    assert_eq!(retried(&gateway, "connect"), 3.0, "then it is set aside");
}

#[test]
fn what_says_nothing_sensible_of_retries_is_refused() {
    for (retry, told) in [
        ("{ attempts: 16 }", "retry.attempts: is 16"),
        ("{ on: [] }", "retry.on: is empty"),
        ("{ on: [200] }", "retry.on[0]: is 200"),
        ("{ on: [5xx] }", "is nothing to retry on"),
        ("{ methods: [GET] }", "GET is idempotent"),
        ("{ attempts: 0, on: [503] }", "`on` has no effect with `attempts: 0`"),
        ("{ budget: 120% }", "is not a share in percent"),
        ("{ backoff: { base: 1s, max: 10ms } }", "has a `max` below its `base`"),
        ("{ per_try_timeout: 2 }", "is 2, not a string with a unit"),
        ("{ attempts: 1 }, retries: 1", "has both `retries` and `retry`"),
    ] {
        let output = check(&retrying(&["127.0.0.1:1".parse().unwrap()], retry));
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(told), "{retry}: {said}");
    }
}

#[test]
fn a_late_answer_is_hedged_by_another_endpoint_and_an_early_one_is_not() {
    let slow = Origin::start(|request, stream| {
        if request.request_line().contains("/late") {
            std::thread::sleep(Duration::from_secs(3));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").is_ok()
    });
    let quick = Origin::start(|_, stream| {
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 5\r\n";
        stream.write_all(format!("{head}\r\nquick").as_bytes()).is_ok()
    });
    let retry = "{ attempts: 0, hedge_after: 100ms }";
    let gateway = Gateway::start(&retrying(&[slow.address, quick.address], retry));
    let mut bodies = Vec::new();
    for _ in 0..4 {
        let began = Instant::now();
        let response = get(gateway.web(), "a", "/late");
        assert_eq!((response.status, &*response.body), (200, "quick"));
        assert_eq!(response.fields("set-cookie"), ["a=1", "b=2"]);
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
    // The slow one had its turns.
    assert_eq!(slow.requests().len(), 2);
    assert_eq!(retried(&gateway, "hedge"), 2.0);
    for _ in 0..4 {
        bodies.push(get(gateway.web(), "a", "/early").body);
    }
    bodies.sort();
    assert_eq!(bodies, ["quick", "quick", "slow", "slow"]);
    assert_eq!(retried(&gateway, "hedge"), 2.0);
    // A POST is sent once, however late its answer.
    let late = "POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    let before = slow.requests().len() + quick.requests().len();
    for _ in 0..2 {
        assert_eq!(Client::connect(gateway.web()).send(late).receive().status, 200);
    }
    assert_eq!(slow.requests().len() + quick.requests().len(), before + 2);
}
