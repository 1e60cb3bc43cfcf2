//! Bandwidth of upstreams and routes: the rate is kept, and shared by the weights.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::http2::{with_h2, with_h2c};
use crate::support::{Client, Gateway, Origin, check, eventually, forward_all, get};

const MIB: usize = 1 << 20;

/// Answers with as many bytes as the path says.
fn bytes() -> Origin {
    Origin::start(|request, stream| {
        let path = request.request_line().split(' ').nth(1).unwrap();
        let bytes: usize = path[1..].parse().unwrap_or(0);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {bytes}\r\n\r\n");
        let piece = [b'x'; 16 << 10];
        let mut left = bytes;
        stream.write_all(head.as_bytes()).is_ok()
            && std::iter::from_fn(|| {
                let now = left.min(piece.len());
                left -= now;
                (now > 0).then(|| stream.write_all(&piece[..now]).is_ok())
            })
            .all(|written| written)
    })
}

/// Everything goes to `endpoint`, by an upstream and a route with these keys.
fn bounded(endpoint: SocketAddr, upstream: &str, route: &str) -> String {
    forward_all(&[endpoint])
        .replace("  - name: up\n", &format!("  - name: up\n    {upstream}\n"))
        .replace("everything, ", &format!("everything, {route} "))
}

fn with_pingora(yaml: &str) -> String {
    format!("{}\ninsecure: {{ engine: pingora }}\n", yaml.trim_end_matches('\n'))
}

/// Downloads that go on until they are told to end, and what of them has come, by class.
struct Downloads {
    ended: Arc<AtomicBool>,
    came: Vec<Arc<AtomicU64>>,
    clients: Vec<thread::JoinHandle<()>>,
}

impl Downloads {
    fn start(web: SocketAddr, classes: &[(&'static str, usize)]) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let came: Vec<_> = classes.iter().map(|_| Arc::new(AtomicU64::new(0))).collect();
        let mut clients = Vec::new();
        for ((class, count), came) in classes.iter().zip(&came) {
            for _ in 0..*count {
                let (class, came, ended) = (*class, came.clone(), ended.clone());
                clients.push(thread::spawn(move || {
                    let mut client = Client::connect(web);
                    let size = 64 * MIB;
                    client.send(format!(
                        "GET /{size} HTTP/1.1\r\nHost: a\r\nX-Class: {class}\r\n\r\n"
                    ));
                    let mut piece = [0; 4 << 10];
                    while !ended.load(Ordering::Relaxed) {
                        let bytes = client.stream().read(&mut piece).unwrap();
                        assert!(bytes > 0);
                        came.fetch_add(bytes as u64, Ordering::Relaxed);
                    }
                }));
            }
        }
        Self { ended, came, clients }
    }

    fn came(&self) -> Vec<u64> {
        self.came.iter().map(|came| came.load(Ordering::Relaxed)).collect()
    }

    fn end(self) {
        self.ended.store(true, Ordering::Relaxed);
        self.clients.into_iter().for_each(|client| client.join().unwrap());
    }
}

/// Two classes download at 16 Mbit/s, of which one has three times the other's weight.
fn shares(yaml: &str, rate: f64) {
    let gateway = Gateway::start(yaml);
    let downloads = Downloads::start(gateway.web(), &[("gold", 12), ("other", 12)]);
    let each = |least| {
        eventually("bytes of both", || downloads.came().iter().all(|it| *it > least).then_some(()))
    };
    each(100_000);
    let (began, before) = (Instant::now(), downloads.came());
    let counted = 4_000_000;
    let came = eventually("4 MB", || {
        let came: Vec<u64> =
            downloads.came().iter().zip(&before).map(|(now, before)| now - before).collect();
        (came.iter().sum::<u64>() >= counted).then_some(came)
    });
    let elapsed = began.elapsed();
    downloads.end();
    let all: u64 = came.iter().sum();
    let share = came[0] as f64 / all as f64;
    assert!((share - 0.75).abs() < 0.075, "{came:?}");
    // What was on its way when the time began came as well: the burst, and a piece of each.
    let due = rate * elapsed.as_secs_f64() * 1.1 + 1_700_000.0;
    assert!((all as f64) < due, "{all} bytes in {elapsed:?}");
}

const GOLD: &str =
    "bandwidth: { rate: 16Mbps, by: { header: x-class }, weights: { gold: 3 }, burst: 64KiB }";

#[test]
fn classes_of_an_upstream_share_its_rate_by_their_weights() {
    let origin = bytes();
    shares(&bounded(origin.address, GOLD, ""), 2e6);
}

#[test]
fn classes_of_a_route_share_its_rate_with_the_other_engine_as_well() {
    let origin = bytes();
    shares(&with_pingora(&bounded(origin.address, "", &format!("{GOLD},"))), 2e6);
}

#[test]
fn tenants_of_the_queue_share_by_its_weights() {
    let origin = bytes();
    let keys = "limits: { requests: 100 }\n    \
                queue: { by: { header: x-class }, weights: { gold: 3 } }\n    \
                bandwidth: { rate: 16Mbps, by: tenant, burst: 64KiB }";
    shares(&bounded(origin.address, keys, ""), 2e6);
}

#[test]
fn clients_share_alike_however_many_connections_they_have() {
    let origin = bytes();
    let yaml = bounded(origin.address, "bandwidth: { rate: 16Mbps, burst: 0B }", "");
    let gateway = Gateway::start(&yaml);
    let web = gateway.web();
    let ended = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = [([127, 0, 0, 1], 12), ([127, 0, 0, 2], 4)]
        .into_iter()
        .map(|(source, count)| {
            let came = Arc::new(AtomicU64::new(0));
            for _ in 0..count {
                let (came, ended) = (came.clone(), ended.clone());
                thread::spawn(move || {
                    let mut client = Client::connect_from(source.into(), web);
                    client.send("GET /60000000 HTTP/1.1\r\nHost: a\r\n\r\n");
                    let mut piece = [0; 4 << 10];
                    while !ended.load(Ordering::Relaxed)
                        && let Ok(bytes) = client.stream().read(&mut piece)
                    {
                        came.fetch_add(bytes as u64, Ordering::Relaxed);
                    }
                });
            }
            came
        })
        .collect();
    let now = || clients.iter().map(|came| came.load(Ordering::Relaxed)).collect::<Vec<_>>();
    eventually("bytes of both", || now().iter().all(|came| *came > 50_000).then_some(()));
    let before = now();
    let came = eventually("3 MB", || {
        let came: Vec<u64> = now().iter().zip(&before).map(|(now, it)| now - it).collect();
        (came.iter().sum::<u64>() > 3_000_000).then_some(came)
    });
    ended.store(true, Ordering::Relaxed);
    let share = came[1] as f64 / came.iter().sum::<u64>() as f64;
    assert!((share - 0.5).abs() < 0.06, "{came:?}");
}

#[test]
fn a_download_by_http2_keeps_to_the_rate() {
    let origin = bytes();
    let yaml = bounded(origin.address, "bandwidth: { rate: 4Mbps, burst: 64KiB }", "");
    let gateway = Gateway::start(&with_h2c(&yaml, ""));
    let began = Instant::now();
    let received = with_h2(gateway.web(), async |mut client| {
        let request = http::Request::get("http://a/1048576").body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut received = 0;
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            received += data.len();
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        received
    });
    assert_eq!(received, MIB);
    // Two pieces pass before the first one waits, at most.
    assert!(began.elapsed() > Duration::from_millis(1_500), "{:?}", began.elapsed());
}

#[test]
fn an_upload_keeps_to_the_rate_and_is_not_blamed_for_it() {
    let origin = Origin::named("o");
    let yaml = bounded(origin.address, "", "bandwidth: { rate: 800kbps, burst: 0B },")
        + "limits: { request_body_min_rate: 150kB }\n";
    for yaml in [yaml.clone(), with_pingora(&yaml)] {
        let gateway = Gateway::start(&yaml);
        let mut client = Client::connect(gateway.web());
        let (bytes, began) = (650_000, Instant::now());
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {bytes}\r\n\r\n"));
        client.send(vec![b'x'; bytes]);
        assert_eq!(client.receive().status, 200);
        assert!(began.elapsed() > Duration::from_millis(5_500), "{:?}", began.elapsed());
        assert_eq!(origin.last().body.len(), bytes);
        let of = |name: &str| {
            let labels = "virtual_host=\"all\",route=\"everything\",direction=\"request\"";
            gateway.metric(&format!("sallyport_route_bandwidth_{name}{{{labels}}}")).unwrap()
        };
        assert_eq!((of("bytes_total"), of("waiting_bytes")), (bytes as f64, 0.0));
        assert!(of("waits_total") >= 1.0 && of("wait_seconds_total") > 5.0);
    }
}

#[test]
fn what_is_within_the_burst_does_not_wait() {
    let origin = bytes();
    let yaml = bounded(origin.address, "bandwidth: { rate: 8kbps, burst: 64KiB }", "");
    let gateway = Gateway::start(&yaml);
    for _ in 0..10 {
        assert_eq!(get(gateway.web(), "a", "/1000").body.len(), 1_000);
    }
    let waits = "sallyport_upstream_bandwidth_waits_total{upstream=\"up\",direction=\"response\"}";
    assert_eq!(gateway.metric(waits), Some(0.0));
}

#[test]
fn a_reload_raises_the_rate_of_what_is_under_way_and_forgives_nothing() {
    let origin = bytes();
    let with =
        |rate| bounded(origin.address, &format!("bandwidth: {{ rate: {rate}, burst: 0B }}"), "");
    let gateway = Gateway::start(&with("8kbps"));
    let waiting =
        "sallyport_upstream_bandwidth_waiting_bytes{upstream=\"up\",direction=\"response\"}";
    let mut client = Client::connect(gateway.web());
    client.send("GET /300000 HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("bytes to wait", || (gateway.metric(waiting) > Some(0.0)).then_some(()));
    // At the rate of before it would take five minutes.
    gateway.replace(&with("800Mbps"));
    assert_eq!(get(gateway.web(), "a", "/1000").body.len(), 1_000);
    assert_eq!(client.receive().body.len(), 300_000);
    gateway.counts(waiting, 0.0);
}

#[test]
fn a_client_that_goes_away_gives_its_turn_up() {
    let origin = bytes();
    let yaml = bounded(origin.address, "bandwidth: { rate: 4Mbps, burst: 64KiB }", "");
    let gateway = Gateway::start(&yaml);
    for _ in 0..20 {
        let mut client = Client::connect(gateway.web());
        client.send("GET /60000000 HTTP/1.1\r\nHost: a\r\n\r\n").read_exact(1_000);
    }
    let waiting =
        "sallyport_upstream_bandwidth_waiting_bytes{upstream=\"up\",direction=\"response\"}";
    gateway.counts(waiting, 0.0);
    assert_eq!(get(gateway.web(), "a", "/1000").body.len(), 1_000);
}

#[test]
fn what_says_nothing_sensible_of_bandwidth_is_refused() {
    let endpoint = "127.0.0.1:1".parse().unwrap();
    for (upstream, route, told) in [
        ("bandwidth: {}", "", "bandwidth"),
        ("bandwidth: { rate: 100 }", "", "bandwidth.rate: is 100, not a string with a unit"),
        ("bandwidth: { rate: 100MB }", "", "write bits of a second from 8kbps to 1000Gbps"),
        ("bandwidth: { rate: 1Mbps, by: host }", "", "is nothing to tell classes apart by"),
        ("bandwidth: { rate: 1Mbps, weights: { a: 2 } }", "", "no effect on classes by `source`"),
        ("bandwidth: { rate: 1Mbps, by: tenant }", "", "has no `queue` that tells tenants apart"),
        ("", "bandwidth: { rate: 1Mbps, by: tenant },", "has no `queue` that tells tenants apart"),
        (
            "limits: { requests: 1 }\n    queue: {}\n    \
             bandwidth: { rate: 1Mbps, by: tenant, weights: { a: 2 } }",
            "",
            "write them in the upstream's `queue`",
        ),
    ] {
        let output = check(&bounded(endpoint, upstream, route));
        let said = String::from_utf8_lossy(&output.stderr).into_owned()
            + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(told), "{upstream}{route}: {said}");
    }
    let yaml = forward_all(&[endpoint]).replace(
        "everything, forward: { upstream: up }",
        "everything, bandwidth: { rate: 1Mbps }, respond: { status: 200 }",
    );
    let output = check(&yaml);
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("bandwidth: has no effect without `forward`"), "{said}");
}
