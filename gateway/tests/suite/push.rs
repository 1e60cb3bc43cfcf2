//! Statistics that are pushed: what arrives is what was counted, through reloads and to the end, and
//! receivers that are not there are felt by nobody.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Client, Gateway, Origin, config, eventually, forward_all, get, sallyport};

/// A receiver of datagrams in this process. It keeps what it received.
struct Receiver {
    address: SocketAddr,
    datagrams: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let datagrams = Arc::new(Mutex::new(Vec::new()));
        let received = datagrams.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                received.lock().unwrap().push(text);
            }
        });
        Self { address, datagrams }
    }

    fn datagrams(&self) -> Vec<String> {
        self.datagrams.lock().unwrap().clone()
    }

    fn text(&self) -> String {
        self.datagrams().join("\n")
    }

    /// The values of DogStatsD messages called `name` with all of `tags`, each with how many it
    /// stands for.
    fn values(&self, name: &str, tags: &[&str]) -> Vec<(f64, f64)> {
        let text = self.text();
        let of_name = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let mut values = Vec::new();
        for message in of_name {
            let mut fields = message.split('|');
            let numbers = fields.next().unwrap().split(':');
            let fields: Vec<&str> = fields.collect();
            let own: Vec<&str> = fields
                .iter()
                .filter_map(|field| field.strip_prefix('#'))
                .flat_map(|tags| tags.split(','))
                .collect();
            let share =
                fields.iter().find_map(|field| field.strip_prefix('@')?.parse::<f64>().ok());
            if tags.iter().all(|tag| own.contains(tag)) {
                let weight = share.map_or(1.0, |share| (1.0 / share).floor());
                values.extend(numbers.map(|number| (number.parse::<f64>().unwrap(), weight)));
            }
        }
        values
    }

    /// What a counter has come to here.
    fn sum(&self, name: &str, tags: &[&str]) -> f64 {
        self.values(name, tags).iter().map(|(value, _)| value).sum()
    }

    fn requests(&self) -> f64 {
        self.sum(REQUESTS, &["route:everything", "virtual_host:all", "code_class:2xx"])
    }
}

const REQUESTS: &str = "sallyport_route_requests_total";

/// `push:` with these exporters.
fn push(every: &str, exporters: &[String]) -> String {
    let exporters: String =
        exporters.iter().map(|entry| format!("    - {{ {entry} }}\n")).collect();
    format!("push:\n  every: {every}\n  exporters:\n{exporters}")
}

fn dog(name: &str, receiver: &Receiver) -> String {
    format!("name: {name}, dogstatsd: {{ address: \"{}\" }}", receiver.address)
}

/// As many requests on one connection, counted when this returns. `before` were made earlier.
fn request(gateway: &Gateway, count: usize, before: usize) -> usize {
    let mut client = Client::connect(gateway.web());
    for _ in 0..count {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.receive().status, 200);
    }
    let sample =
        format!("{REQUESTS}{{code_class=\"2xx\",route=\"everything\",virtual_host=\"all\"}}");
    gateway.counts(&sample, (before + count) as f64);
    before + count
}

/// The names of the gateway's threads that push.
fn threads(gateway: &Gateway) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    // One that has ended meanwhile has no name any more.
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.map(|name| name.trim().to_owned()).filter(|name| name.starts_with("push")).collect()
}

fn end(mut gateway: Gateway) {
    gateway.signal("-TERM");
    assert!(gateway.wait().success());
}

fn arrives(receiver: &Receiver, count: usize) {
    eventually("all requests to arrive", || (receiver.requests() >= count as f64).then_some(()));
    assert_eq!(receiver.requests(), count as f64);
}

#[test]
fn what_was_counted_arrives_exactly_and_once() {
    const REQUESTED: usize = 300;
    let (origin, receiver) = (Origin::named("a"), Receiver::start());
    let yaml = forward_all(&[origin.address]) + &push("100ms", &[dog("dog", &receiver)]);
    let gateway = Gateway::start(&yaml);
    let half = request(&gateway, REQUESTED / 2, 0);
    arrives(&receiver, half);
    request(&gateway, REQUESTED - half, half);
    get(gateway.web(), "a", "/..");
    arrives(&receiver, REQUESTED);
    gateway.counts("sallyport_push_samples_dropped_total{reason=\"buffer_full\"}", 0.0);
    end(gateway);
    arrives(&receiver, REQUESTED);

    let endpoint = format!("endpoint:{}", origin.address);
    let upstream = [&*endpoint, "upstream:up"];
    let count = REQUESTED as f64;
    assert_eq!(receiver.sum("sallyport_upstream_requests_total", &upstream), count);
    assert_eq!(receiver.sum(REQUESTS, &["route:none", "code_class:4xx"]), 1.0);
    let durations =
        receiver.values("sallyport_route_request_duration_seconds", &["route:everything"]);
    let timed: f64 = durations.iter().map(|(_, weight)| weight).sum();
    assert_eq!(timed, count, "every request has one duration");
    // As distributions, in the unit that the name says.
    let seconds = |(value, _): &(f64, f64)| (0.000_01..20.0).contains(value);
    assert!(durations.iter().all(seconds), "{durations:?}");
    for name in ["process_resident_memory_bytes", "process_open_fds", "process_threads"] {
        let values = receiver.values(name, &[]);
        assert!(values.len() > 1 && values.iter().all(|(value, _)| *value > 0.0), "{name}");
    }
    let cpu = receiver.sum("process_cpu_seconds_total", &[]);
    assert!(cpu > 0.0 && cpu < 600.0, "{cpu}");
}

#[test]
fn counters_of_filters_and_of_the_classifier_arrive_too() {
    let (origin, receiver) = (Origin::named("a"), Receiver::start());
    let yaml = forward_all(&[origin.address])
        + "classifier: { pin_path: /nowhere/sallyport }\n"
        + &push("100ms", &[dog("dog", &receiver)]);
    let filters = "      - name: guarded\n        match: { path: { prefix: /guarded } }\n        \
                   filters: [ { name: nobody, ip_access: { deny: [127.0.0.0/8] } } ]\n        \
                   forward: { upstream: up }\n";
    let gateway =
        Gateway::start(&yaml.replace("    routes:\n", &format!("    routes:\n{filters}")));
    for _ in 0..3 {
        assert_eq!(get(gateway.web(), "a", "/guarded").status, 403);
    }
    request(&gateway, 4, 0);
    let answers = ["filter:nobody", "reason:forbidden"];
    let unknown = ["network:unknown", "protocol:unknown", "zone:unknown"];
    let sums = || {
        let seen = receiver.sum("sallyport_classifier_requests_total", &unknown);
        (receiver.sum("sallyport_filter_answers_total", &answers), seen)
    };
    eventually("both to arrive", || (sums().0 >= 3.0 && sums().1 >= 7.0).then_some(()));
    end(gateway);
    assert_eq!(sums(), (3.0, 7.0));
}

#[test]
fn nothing_is_lost_or_told_twice_through_reloads() {
    let origin = Origin::named("a");
    let [first, second] = [Receiver::start(), Receiver::start()];
    let base = forward_all(&[origin.address]);
    let one = [dog("first", &first)];
    let two = [dog("first", &first), dog("second", &second)];
    let gateway = Gateway::start(&(base.clone() + &push("1h", &one)));
    let mut requested = request(&gateway, 20, 0);
    // Another exporter: the first goes on with its thread and what it has sent.
    gateway.replace(&(base.clone() + &push("1h", &two)));
    arrives(&first, requested);
    eventually("the other's thread", || {
        threads(&gateway).contains(&"push-second".to_owned()).then_some(())
    });
    requested = request(&gateway, 30, requested);
    // Another size: another pipeline, with all that it takes.
    let series = "push:\n  series: 500\n";
    gateway.replace(&(base.clone() + &push("1h", &two).replace("push:\n", series)));
    arrives(&first, requested);
    arrives(&second, requested - 20);
    requested = request(&gateway, 10, requested);
    // Other readings, and a reload that is none of its business.
    gateway.replace(&(base.clone() + &push("100ms", &two)));
    arrives(&second, requested - 20);
    let renamed = base.replace("upstreams:", "limits: { routes: 77 }\nupstreams:");
    gateway.replace(&(renamed + &push("100ms", &two)));
    requested = request(&gateway, 40, requested);
    arrives(&first, requested);
    arrives(&second, requested - 20);
    // Gone: what is counted from now on is told to nobody.
    gateway.replace(&base);
    eventually("no pushing", || threads(&gateway).is_empty().then_some(()));
    assert_eq!(gateway.metric("sallyport_push_flushes_total"), None);
    request(&gateway, 5, requested);
    end(gateway);
    arrives(&first, requested);
    arrives(&second, requested - 20);
}

#[test]
fn pushing_begins_with_a_reload_and_not_with_the_past() {
    let (origin, receiver) = (Origin::named("a"), Receiver::start());
    let base = forward_all(&[origin.address]);
    let gateway = Gateway::start(&base);
    assert_eq!(gateway.metric("sallyport_push_flushes_total"), None);
    let before = request(&gateway, 25, 0);
    gateway.replace(&(base + &push("100ms", &[dog("dog", &receiver)])));
    request(&gateway, 7, before);
    arrives(&receiver, 7);
    end(gateway);
    arrives(&receiver, 7);
}

#[test]
fn the_end_sends_what_is_left() {
    let (origin, receiver) = (Origin::named("a"), Receiver::start());
    let yaml = forward_all(&[origin.address]) + &push("1h", &[dog("dog", &receiver)]);
    let gateway = Gateway::start(&yaml);
    request(&gateway, 12, 0);
    assert_eq!(receiver.text(), "");
    end(gateway);
    arrives(&receiver, 12);
}

#[test]
fn receivers_that_are_not_there_are_felt_by_nobody() {
    let origin = Origin::named("a");
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Takes connections, and nothing that comes by them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/write", silent.local_addr().unwrap());
    let breaker = "attempts: 1, breaker: { failures: 1, open: 1h }";
    let exporters = [
        format!("name: closed, {breaker}, dogstatsd: {{ address: \"{closed}\" }}"),
        format!(
            "name: silent, {breaker}, remote_write: {{ url: \"{url}\", timeout: 100ms, \
             headers: {{ authorization: Bearer-s3cret }} }}"
        ),
        format!("name: nowhere, {breaker}, statsd: {{ address: \"nowhere.invalid:8125\" }}"),
    ];
    let yaml = forward_all(&[origin.address]) + &push("100ms", &exporters);
    let gateway = Gateway::start(&yaml);
    let mut requested = 0;
    for exporter in ["closed", "silent", "nowhere"] {
        requested = request(&gateway, 20, requested);
        let open = "sallyport_push_breaker_state{state=\"open\",exporter=";
        gateway.counts(&format!("{open}\"{exporter}\"}}"), 1.0);
        gateway.logged(&format!("cannot deliver, trying now and then exporter={exporter}"));
        let errors = format!("sallyport_push_errors_total{{exporter=\"{exporter}\"}}");
        assert!(gateway.metric(&errors).unwrap() >= 1.0);
        let dropped = "sallyport_push_points_dropped_total{reason=\"breaker_open\",exporter=";
        eventually("points the breaker has cost", || {
            let dropped = gateway.metric(&format!("{dropped}\"{exporter}\"}}"));
            dropped.filter(|dropped| *dropped > 0.0)
        });
    }
    let told = gateway.log().join("\n")
        + &get(gateway.admin(), "localhost", "/config").body
        + &get(gateway.admin(), "localhost", "/metrics").body;
    assert!(!told.contains("s3cret"), "{told}");
    let asked = Instant::now();
    end(gateway);
    // Three seconds for exporters, one for the rest, and a loaded machine.
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
}

#[test]
fn what_is_beyond_a_bound_is_told() {
    const ROUTES: usize = 400;
    let receiver = Receiver::start();
    let routes: String = (0..ROUTES)
        .map(|route| {
            let matches = format!("match: {{ path: {{ exact: /{route} }} }}");
            format!("      - {{ name: r{route}, {matches}, respond: {{ status: 200 }} }}\n")
        })
        .collect();
    let base = config(&format!(
        "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n{routes}"
    ));
    // Long enough for all of them to be visited between two readings.
    let exporters = push("1s", &[dog("dog", &receiver)]);
    let small = exporters.replace("push:\n", "push:\n  buffer: 64KiB\n");
    let gateway = Gateway::start(&(base.clone() + &small));
    let visit =
        || (0..ROUTES).for_each(|route| drop(get(gateway.web(), "a", &format!("/{route}"))));
    let full = "sallyport_push_samples_dropped_total{reason=\"window_full\"}";
    eventually("a full buffer", || {
        visit();
        gateway.metric(full).filter(|dropped| *dropped > 0.0)
    });
    gateway.replace(&(base + &exporters.replace("push:\n", "push:\n  series: 10\n")));
    // What is visited before the old buffer was sent is in it.
    gateway.counts(full, 0.0);
    visit();
    eventually("series beyond the bound", || {
        gateway.metric("sallyport_push_series_overflow_total").filter(|count| *count > 0.0)
    });
    eventually("their sum", || (receiver.sum(REQUESTS, &["overflow:true"]) > 0.0).then_some(()));
    assert_eq!(gateway.metric(full), Some(0.0), "there is room for all of them now");
}

#[test]
fn every_kind_says_it_in_its_own_way() {
    let origin = Origin::named("a");
    let cases: [(&str, &str, &[&str]); 4] = [
        (
            "dogstatsd",
            "prefix: edge, tags: { site: fra }, distributions: false, datagram_bytes: 512B",
            &[
                "edge.sallyport_route_requests_total:7|c|#site:fra,code_class:2xx,route:everything,\
                 virtual_host:all|e:cn-x\n",
                "|ms",
                "edge.process_threads:",
            ],
        ),
        (
            "statsd",
            "prefix: edge",
            &[
                "edge.sallyport_route_requests_total.code_class.2xx.route.everything.virtual_host.all:7|c\n",
            ],
        ),
        (
            "statsd",
            "tags: influx",
            &[
                "sallyport_route_requests_total,code_class=2xx,route=everything,virtual_host=all:7|c\n",
            ],
        ),
        (
            "emf",
            "namespace: Edge, dimensions: { site: fra }, log_group: g, log_stream: s, high_resolution: true",
            &[
                "\"Namespace\":\"Edge\"",
                "\"site\":\"fra\"",
                "\"LogGroupName\":\"g\"",
                "\"LogStreamName\":\"s\"",
                "\"StorageResolution\":1",
                "\"sallyport_route_requests_total\":7",
            ],
        ),
    ];
    let receivers: Vec<Receiver> = cases.iter().map(|_| Receiver::start()).collect();
    let entry = |(index, (kind, keys, _)): (usize, &(&str, &str, &[&str]))| {
        let address = receivers[index].address;
        format!("name: e{index}, {kind}: {{ address: \"{address}\", {keys} }}")
    };
    let exporters: Vec<String> = cases.iter().enumerate().map(entry).collect();
    let mut program = sallyport();
    program.env("DD_EXTERNAL_ENV", "cn-x");
    let yaml = forward_all(&[origin.address]) + &push("1h", &exporters);
    let gateway = Gateway::start_with(&yaml, program);
    request(&gateway, 7, 0);
    end(gateway);
    for ((kind, keys, expected), receiver) in cases.iter().zip(&receivers) {
        for expected in *expected {
            let what = format!("{expected:?} of {kind} with {keys}");
            eventually(&what, || (receiver.text() + "\n").contains(expected).then_some(()));
        }
    }
    let longest = receivers[0].datagrams().iter().map(String::len).max();
    assert!(longest <= Some(512), "{longest:?}");
}

#[test]
fn receivers_that_speak_http_are_asked_as_configured() {
    let origin = Origin::named("a");
    let receiver = Origin::named("taken");
    let url = |path: &str| format!("http://{}{path}", receiver.address);
    let exporters = [
        format!(
            "name: prometheus, remote_write: {{ url: \"{}\", every: 100ms, \
             headers: {{ Authorization: Bearer x }}, labels: {{ instance: edge-1 }} }}",
            url("/api/v1/write")
        ),
        format!(
            "name: collector, otlp: {{ url: \"{}\", protocol: http, resource: {{ service.name: edge-2 }} }}",
            url("/v1/metrics")
        ),
    ];
    let gateway = Gateway::start(&(forward_all(&[origin.address]) + &push("100ms", &exporters)));
    request(&gateway, 3, 0);
    let received = |path: &str| {
        let requests = receiver.requests();
        let line = format!("POST {path} HTTP/1.1");
        requests.into_iter().filter(|it| it.request_line() == line).collect::<Vec<_>>()
    };
    // By default there would be one, and the next after fifteen seconds.
    let written = eventually("three writes", || {
        Some(received("/api/v1/write")).filter(|written| written.len() >= 3)
    });
    assert_eq!(written[0].fields("authorization"), ["Bearer x"]);
    assert_eq!(written[0].fields("content-encoding"), ["snappy"]);
    let holds = |body: &[u8], text: &str| body.windows(text.len()).any(|it| it == text.as_bytes());
    assert!(written.iter().any(|it| holds(&it.body, "edge-1")));
    eventually("the requests at the collector", || {
        let received = received("/v1/metrics");
        let told = |it: &&crate::support::Received| holds(&it.body, REQUESTS);
        received.iter().find(told).map(|it| assert!(holds(&it.body, "edge-2")))
    });
}

#[test]
fn otlp_is_grpc_unless_it_is_told_otherwise() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let exporter = format!("name: collector, otlp: {{ url: \"{url}\" }}");
    let _gateway = Gateway::start(&config(&push("100ms", &[exporter])));
    let (mut stream, _) = listener.accept().unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}
