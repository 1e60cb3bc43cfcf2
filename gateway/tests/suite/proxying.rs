//! What happens between a client and an origin: actions, failures, deadlines, bodies of any size.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Origin, config, eventually, forward_all, get, request};

/// An address at which nobody listens: a port that was free a moment ago.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn actions_do_what_they_say() {
    let gateway = Gateway::start(&config(
        r#"
virtual_hosts:
  - name: shop
    domains: [shop.example]
    routes:
      - name: teapot
        match: { path: { exact: /teapot } }
        respond: { status: 418, body: "short\n", headers: { x-tea: green, content-type: text/tea } }
      - name: empty
        match: { path: { exact: /empty } }
        respond: { status: 204 }
      - name: secure
        match: { path: { prefix: /secure } }
        redirect: { status: 301, scheme: https }
      - name: moved
        match: { path: { prefix: /old } }
        redirect: { host: new.example, port: 8443, path: /new }
"#,
    ));
    let web = gateway.web();
    let tea = get(web, "shop.example", "/teapot");
    assert_eq!((tea.status, &*tea.body), (418, "short\n"));
    assert_eq!(tea.field("x-tea").as_deref(), Some("green"));
    assert_eq!(tea.field("content-type").as_deref(), Some("text/tea"));
    let empty = get(web, "shop.example", "/empty");
    assert_eq!((empty.status, empty.field("content-length")), (204, None));
    let secure = get(web, "shop.example:80", "/secure/a?b");
    assert_eq!(secure.status, 301);
    assert_eq!(secure.field("location").as_deref(), Some("https://shop.example/secure/a?b"));
    let moved = get(web, "shop.example", "/old/x");
    assert_eq!(
        (moved.status, moved.field("location").as_deref()),
        (302, Some("http://new.example:8443/new"))
    );
    let none = get(web, "shop.example", "/nowhere");
    assert_eq!((none.status, none.error().as_deref()), (404, Some("no_route")));
    assert_eq!(none.field("content-type").as_deref(), Some("text/plain; charset=utf-8"));
    let other = get(web, "other.example", "/");
    assert_eq!((other.status, other.error().as_deref()), (404, Some("no_route")));
}

#[test]
fn answers_of_the_gateway_keep_the_connection() {
    let gateway = Gateway::start(&config(""));
    let mut client = Client::connect(gateway.web());
    for _ in 0..3 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 404);
    }
}

#[test]
fn predicates_decide_between_routes() {
    let origins = ["beta", "post", "query", "rest"].map(Origin::named);
    let upstreams: String = ["beta", "post", "query", "rest"]
        .iter()
        .zip(&origins)
        .map(|(name, origin)| {
            format!(
                "  - {{ name: {name}, endpoints: [ {{ address: \"{}\" }} ] }}\n",
                origin.address
            )
        })
        .collect();
    let gateway = Gateway::start(&config(&format!(
        r#"upstreams:
{upstreams}virtual_hosts:
  - name: all
    domains: ["*"]
    routes:
      - {{ name: beta, match: {{ headers: [ {{ name: X-Beta, exact: "1" }}, {{ name: x-off, present: false }} ] }}, forward: {{ upstream: beta }} }}
      - {{ name: post, match: {{ path: {{ regex: "/[a-z]+" }}, methods: [POST, PUT] }}, forward: {{ upstream: post }} }}
      - {{ name: query, match: {{ query: [ {{ name: v, prefix: "2" }} ] }}, forward: {{ upstream: query }} }}
      - {{ name: rest, forward: {{ upstream: rest }} }}
"#
    )));
    let send = |start: &str, fields: &str| {
        let text = format!(
            "{start} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n{fields}\r\n"
        );
        request(gateway.web(), &text).body
    };
    assert_eq!(send("GET /", "x-beta: 1\r\n"), "beta");
    assert_eq!(send("GET /", "x-beta: 1\r\nX-Off: 1\r\n"), "rest");
    assert_eq!(send("PUT /abc", ""), "post");
    assert_eq!(send("PUT /abc/d", ""), "rest");
    assert_eq!(send("GET /?v=2%31", ""), "query");
    assert_eq!(send("GET /?v=1", ""), "rest");
}

#[test]
fn listeners_serve_the_virtual_hosts_they_name() {
    let gateway = Gateway::start(
        r#"listeners:
  - { name: web, address: 127.0.0.1:0 }
  - { name: inner, address: 127.0.0.1:0, virtual_hosts: [b] }
virtual_hosts:
  - { name: a, domains: [a.example], routes: [ { name: r, respond: { status: 200, body: "a" } } ] }
  - { name: b, domains: [b.example], routes: [ { name: r, respond: { status: 200, body: "b" } } ] }
"#,
    );
    let status = |listener: &str, host: &str| get(gateway.address(listener), host, "/").status;
    assert_eq!([status("web", "a.example"), status("web", "b.example")], [200, 200]);
    assert_eq!([status("inner", "a.example"), status("inner", "b.example")], [404, 200]);
}

#[test]
fn a_dead_origin_is_502_and_another_endpoint_is_tried() {
    let gateway = Gateway::start(&forward_all(&[nobody()]));
    for _ in 0..5 {
        let response = get(gateway.web(), "a", "/");
        assert_eq!((response.status, response.error().as_deref()), (502, Some("connect")));
    }
    gateway.counts(
        "sallyport_route_errors_total{kind=\"connect\",route=\"everything\",virtual_host=\"all\"}",
        5.0,
    );
    let alive = Origin::named("alive");
    let gateway = Gateway::start(&forward_all(&[nobody(), alive.address, nobody()]));
    for _ in 0..10 {
        let response = request(
            gateway.web(),
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
        );
        assert_eq!((response.status, &*response.body), (200, "alive"));
    }
    assert_eq!(alive.requests().len(), 10);
}

#[test]
fn retries_can_be_turned_off() {
    let alive = Origin::named("alive");
    let yaml = forward_all(&[nobody(), alive.address])
        .replace("upstream: up }", "upstream: up, retries: 0 }");
    let gateway = Gateway::start(&yaml);
    let statuses = [(); 4].map(|()| get(gateway.web(), "a", "/").status);
    // Round robin begins anywhere.
    assert!([[502, 200, 502, 200], [200, 502, 200, 502]].contains(&statuses), "{statuses:?}");
}

#[test]
fn unhealthy_endpoints_are_503_until_they_recover() {
    let healthy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let state = healthy.clone();
    let origin = Origin::start(move |request, stream| {
        let ok = state.load(std::sync::atomic::Ordering::Relaxed)
            || !request.request_line().contains("/healthz");
        let status = if ok { "200 OK" } else { "500 No" };
        stream
            .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .is_ok()
    });
    let yaml = forward_all(&[origin.address]).replace(
        "  - name: up\n",
        "  - name: up\n    health_check: { path: /healthz, interval: 20ms, timeout: 5s, healthy: 2, unhealthy: 2 }\n    outlier_detection: { panic_below: 0% }\n",
    );
    let gateway = Gateway::start(&yaml);
    let refused =
        eventually("503", || Some(get(gateway.web(), "a", "/")).filter(|r| r.status == 503));
    assert_eq!(refused.error().as_deref(), Some("no_endpoint"));
    healthy.store(true, std::sync::atomic::Ordering::Relaxed);
    eventually("200", || (get(gateway.web(), "a", "/").status == 200).then_some(()));
    let errors = "sallyport_route_errors_total{kind=\"no_endpoint\",route=\"everything\",virtual_host=\"all\"}";
    eventually("an error counted", || (gateway.metric(errors) >= Some(1.0)).then_some(()));
}

#[test]
fn a_route_times_out_whether_its_origin_is_silent_or_slow() {
    let silent = Origin::start(|_, stream| stream.read(&mut [0]).is_ok());
    let dribbling = Origin::start(|_, stream| {
        let mut alive =
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n").is_ok();
        while alive {
            std::thread::sleep(Duration::from_millis(20));
            alive = stream.write_all(b"x").is_ok();
        }
        false
    });
    let with_timeout = |address| {
        forward_all(&[address]).replace("upstream: up }", "upstream: up, timeout: 300ms }")
    };
    let gateway = Gateway::start(&with_timeout(silent.address));
    let started = Instant::now();
    let response = get(gateway.web(), "a", "/");
    assert_eq!((response.status, response.error().as_deref()), (504, Some("timeout")));
    assert!(started.elapsed() >= Duration::from_millis(300));
    let gateway = Gateway::start(&with_timeout(dribbling.address));
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.try_receive(false).is_none(), "the body ends early");
    let timeouts =
        "sallyport_route_errors_total{kind=\"timeout\",route=\"everything\",virtual_host=\"all\"}";
    gateway.counts(timeouts, 1.0);
}

#[test]
fn upstream_and_listener_timeouts_take_effect() {
    let silent = Origin::start(|_, stream| stream.read(&mut [0]).is_ok());
    let yaml = forward_all(&[silent.address])
        .replace("  - name: up\n", "  - name: up\n    timeouts: { read: 200ms }\n")
        .replace(
            "address: 127.0.0.1:0 }\nadmin",
            "address: 127.0.0.1:0, timeouts: { idle: 1s, read: 200ms } }\nadmin",
        );
    let gateway = Gateway::start(&yaml);
    assert_eq!(get(gateway.web(), "a", "/").status, 504);
    // A body that never comes.
    let slow = request(gateway.web(), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n");
    assert!(matches!(slow.status, 408 | 504), "{}", slow.head);
    // A second request that never comes.
    let mut idle = Client::connect(gateway.web());
    idle.send("GET / HTTP/1.1\r\nHost: \r\n\r\n");
    assert_eq!(idle.receive().status, 400);
    let gateway = Gateway::start(
        "listeners: [ { name: web, address: 127.0.0.1:0, timeouts: { idle: 1s } } ]\nvirtual_hosts: []\n",
    );
    let mut idle = Client::connect(gateway.web());
    idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(idle.receive().status, 404);
    let started = Instant::now();
    assert!(idle.is_closed());
    assert!(started.elapsed() < Duration::from_secs(15), "closed by the idle timeout");
}

#[test]
fn a_head_that_comes_byte_by_byte_is_given_up_when_it_takes_too_long_as_a_whole() {
    let origin = Origin::named("a");
    let yaml = forward_all(&[origin.address]).replace(
        "address: 127.0.0.1:0 }\nadmin",
        "address: 127.0.0.1:0, timeouts: { read: 300ms } }\nadmin",
    );
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.receive().status, 200);
    client.send("GET / HTTP/1.1\r\nX-Slow: ");
    let started = Instant::now();
    // Each byte is in time; were only reads looked at, this would go on for ever.
    while client.stream().write_all(b"x").is_ok() {
        assert!(started.elapsed() < Duration::from_secs(20), "never given up");
        std::thread::sleep(Duration::from_millis(20));
    }
    let response = client.receive();
    assert_eq!((response.status, response.error().as_deref()), (408, Some("client_timeout")));
    assert!(client.is_closed());
    assert_eq!(get(gateway.web(), "a", "/").status, 200);
}

#[test]
fn broken_origins_are_502() {
    let garbage = Origin::start(|_, stream| {
        drop(stream.write_all(b"\x16\x03\x01 not http\r\n\r\n"));
        false
    });
    let closing = Origin::start(|_, _| false);
    for (origin, causes) in [(&garbage, &["bad_response", "reset"][..]), (&closing, &["reset"])] {
        let gateway = Gateway::start(&forward_all(&[origin.address]));
        let response = get(gateway.web(), "a", "/");
        assert_eq!(response.status, 502, "{}", response.head);
        let error = response.error().unwrap();
        assert!(causes.contains(&&*error), "{error}");
    }
}

#[test]
fn large_bodies_stream_both_ways_in_constant_memory() {
    const BYTES: usize = 256 << 20;
    let origin = Origin::start(|request, stream| {
        if request.request_line().starts_with("POST") {
            let response =
                format!("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n{:8}", request.body.len());
            return stream.write_all(response.as_bytes()).is_ok();
        }
        let chunk = vec![b'x'; 1 << 20];
        stream
            .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes())
            .is_ok()
            && (0..BYTES >> 20).all(|_| stream.write_all(&chunk).is_ok())
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    get(gateway.web(), "a", "/warm?");
    let before_kib = gateway.resident_kib();
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.try_receive(true).unwrap().status, 200);
    for _ in 0..BYTES >> 20 {
        client.read_exact(1 << 20);
    }
    let upload = 64 << 20;
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {upload}\r\n\r\n"));
    let chunk = vec![b'y'; 1 << 20];
    for _ in 0..upload >> 20 {
        client.send(&chunk);
    }
    assert_eq!(client.receive().body.trim(), upload.to_string());
    let grown_kib = gateway.resident_kib().saturating_sub(before_kib);
    assert!(grown_kib < 16 << 10, "grew by {grown_kib} KiB over 320 MiB of bodies");
}

#[test]
fn splits_follow_their_weights() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let gateway = Gateway::start(&config(&format!(
        r#"upstreams:
  - {{ name: a, endpoints: [ {{ address: "{}" }} ] }}
  - {{ name: b, endpoints: [ {{ address: "{}" }} ] }}
virtual_hosts:
  - name: all
    domains: ["*"]
    routes:
      - name: split
        forward: {{ split: [ {{ upstream: a, weight: 90 }}, {{ upstream: b, weight: 10 }} ] }}
"#,
        a.address, b.address
    )));
    let mut client = Client::connect(gateway.web());
    let to_b = (0..1000)
        .filter(|_| {
            client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
            client.receive().body == "b"
        })
        .count();
    // Six standard deviations around 100.
    assert!((43..=157).contains(&to_b), "{to_b} of 1000 went to b");
}
