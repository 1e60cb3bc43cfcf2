//! What becomes of a request whose endpoint fails, and of the endpoint.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{Client, Gateway, Origin, config, eventually, forward_all, get};

/// An address at which nobody listens.
pub(super) fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Accepts and resets at once, as something does that forwards to nothing.
struct Resetting {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
}

impl Resetting {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, ended) = (Arc::new(AtomicUsize::new(0)), Arc::<AtomicBool>::default());
        let (counted, told) = (connections.clone(), ended.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
            }
        });
        Self { address, connections, ended }
    }
}

impl Drop for Resetting {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

/// Neither takes nor refuses connections: its backlog is full.
pub(super) struct BlackHole {
    pub(super) address: SocketAddr,
    _listener: rustix::fd::OwnedFd,
    _waiting: Vec<TcpStream>,
}

impl BlackHole {
    pub(super) fn start() -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, getsockname, listen, socket};
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        listen(&listener, 0).unwrap();
        let address = SocketAddr::try_from(getsockname(&listener).unwrap()).unwrap();
        let short = Duration::from_millis(100);
        let mut waiting = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, short) {
            waiting.push(stream);
            assert!(waiting.len() < 100, "the backlog has no end");
        }
        Self { address, _listener: listener, _waiting: waiting }
    }
}

#[test]
fn rfc9110_9_2_2_a_get_whose_new_connection_breaks_is_sent_elsewhere() {
    let resetting = Resetting::start();
    let closing = Origin::start(|_, _| false);
    let alive = Origin::named("alive");
    for broken in [resetting.address, closing.address] {
        let gateway = Gateway::start(&forward_all(&[broken, alive.address]));
        let mut client = Client::connect(gateway.web());
        for _ in 0..30 {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(client.receive().body, "alive");
        }
        gateway.logged("endpoint set aside");
        // A reset may come before the connection is known to be made.
        let errors = ["reset", "connect"].map(|kind| {
            let labels = format!("endpoint=\"{broken}\",kind=\"{kind}\",upstream=\"up\"");
            gateway.metric(&format!("sallyport_upstream_errors_total{{{labels}}}")).unwrap()
        });
        assert!((3.0..7.0).contains(&errors.iter().sum()), "{errors:?}");
        if broken == closing.address {
            assert_eq!(errors[1], 0.0, "it was connected to");
        }
    }
    // Three in a row, and then a trial in five seconds.
    assert!((3..10).contains(&resetting.connections.load(Ordering::Relaxed)));
}

#[test]
fn rfc9110_9_2_2_a_post_is_not_sent_twice() {
    let closing = Origin::start(|_, _| false);
    let alive = Origin::named("alive");
    let gateway = Gateway::start(&forward_all(&[closing.address, alive.address]));
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
    let statuses: Vec<_> =
        (0..20).map(|_| Client::connect(gateway.web()).send(post).receive().status).collect();
    let bad = statuses.iter().filter(|status| **status == 502).count();
    // The endpoint is set aside after its third.
    assert!((3..6).contains(&bad), "{statuses:?}");
    assert_eq!(closing.requests().len(), bad);
    assert_eq!(alive.requests().len(), 20 - bad);
}

#[test]
fn a_get_is_sent_once_where_retries_are_turned_off() {
    let closing = Origin::start(|_, _| false);
    let alive = Origin::named("alive");
    let yaml = forward_all(&[closing.address, alive.address])
        .replace("upstream: up }", "upstream: up, retries: 0 }");
    let gateway = Gateway::start(&yaml);
    let mut statuses = [(); 2].map(|()| get(gateway.web(), "a", "/").status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 502]);
}

#[test]
fn one_request_at_a_time_tries_an_endpoint_that_was_set_aside() {
    let (hole, alive) = (BlackHole::start(), Origin::named("alive"));
    let yaml = forward_all(&[hole.address, alive.address])
        .replace("  - name: up\n", "  - name: up\n    timeouts: { connect: 400ms }\n");
    let gateway = Gateway::start(&yaml);
    let (web, ended) = (gateway.web(), Arc::new(AtomicBool::new(false)));
    let clients = [(); 6].map(|()| {
        let ended = ended.clone();
        thread::spawn(move || {
            let mut client = Client::connect(web);
            while !ended.load(Ordering::Relaxed) {
                client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                assert_eq!(client.receive().status, 200);
            }
        })
    });
    gateway.logged("endpoint set aside");
    let figure = |name: &str| {
        let labels = format!("endpoint=\"{}\",upstream=\"up\"", hole.address);
        gateway.metric(&format!("{name}{{{labels}}}"))
    };
    let active = || figure("sallyport_upstream_requests_active");
    let failures = || figure("sallyport_upstream_connect_failures_total").unwrap();
    eventually("those under way to end", || (active() == Some(0.0)).then_some(()));
    let before = failures();
    let trials = eventually("two trials", || {
        assert!(active() <= Some(1.0), "more than one request tries it");
        Some(failures() - before).filter(|trials| *trials >= 2.0)
    });
    assert!(trials <= 3.0, "{trials} requests waited for it");
    ended.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap());
}

#[test]
fn an_origins_own_5xx_count_by_endpoint_and_a_bad_response_is_another_kind() {
    let origin = Origin::start(|request, stream| {
        let answer = match request.request_line() {
            line if line.contains("/fail") => "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n",
            line if line.contains("/garbage") => "HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
            _ => "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n",
        };
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    for (path, status) in [("/fail", 503), ("/fail", 503), ("/none", 404), ("/garbage", 502)] {
        assert_eq!(get(gateway.web(), "a", path).status, status, "{path}");
    }
    for (kind, count) in [("5xx", 2.0), ("bad_response", 1.0), ("4xx", 0.0), ("reset", 0.0)] {
        let labels = format!("endpoint=\"{}\",kind=\"{kind}\",upstream=\"up\"", origin.address);
        gateway.counts(&format!("sallyport_upstream_errors_total{{{labels}}}"), count);
    }
    for (kind, count) in [("5xx", 2.0), ("bad_response", 1.0)] {
        let labels = format!("kind=\"{kind}\",route=\"everything\",virtual_host=\"all\"");
        gateway.counts(&format!("sallyport_route_errors_total{{{labels}}}"), count);
    }
}

#[test]
fn explaining_takes_no_turn() {
    let origins = ["a", "b"].map(Origin::named);
    let gateway = Gateway::start(&forward_all(&origins.each_ref().map(|origin| origin.address)));
    let explained = || {
        let explained = get(gateway.admin(), "localhost", "/explain?host=a&path=/").body;
        let explained: serde_json::Value = serde_json::from_str(&explained).unwrap();
        explained["endpoint"].as_str().unwrap().to_owned()
    };
    let mut seen = Vec::new();
    for _ in 0..4 {
        let next = explained();
        assert_eq!(explained(), next);
        let body = get(gateway.web(), "a", "/").body;
        let named = origins.iter().find(|origin| origin.address.to_string() == next).unwrap();
        assert_eq!(named.last().request_line(), "GET / HTTP/1.1", "{next} was not asked");
        seen.push(body);
    }
    assert!(seen[0] != seen[1] && seen[0] == seen[2] && seen[1] == seen[3], "{seen:?}");
}

#[test]
fn calls_of_filters_are_tried_again_and_counted_as_requests_are() {
    let (dead, auth, app) = (nobody(), Origin::named("auth"), Origin::named("app"));
    let gateway = Gateway::start(&config(&format!(
        "upstreams:
  - {{ name: auth, endpoints: [ {{ address: \"{dead}\" }}, {{ address: \"{}\" }} ] }}
  - {{ name: app, endpoints: [ {{ address: \"{}\" }} ] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    filters: [ external_auth: {{ upstream: auth, path: /check }} ]
    routes: [ {{ name: r, forward: {{ upstream: app }} }} ]
",
        auth.address, app.address
    )));
    for _ in 0..10 {
        assert_eq!(get(gateway.web(), "a", "/").body, "app");
    }
    let counted = |kind: &str| {
        format!(
            "sallyport_upstream_errors_total{{endpoint=\"{dead}\",kind=\"{kind}\",upstream=\"auth\"}}"
        )
    };
    // Five would be its turns; it is set aside after its third failure.
    gateway.counts(&counted("connect"), 3.0);
    gateway.counts(&counted("reset"), 0.0);
}
