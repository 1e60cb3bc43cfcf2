//! Reloads under load, tunnels and downloads across them, and an end that waits for requests.

#[path = "resilience/attempts.rs"]
mod attempts;
#[path = "resilience/bandwidth.rs"]
mod bandwidth;
#[path = "resilience/health.rs"]
mod health;
#[path = "resilience/limits.rs"]
mod limits;
#[path = "resilience/outage.rs"]
mod outage;
#[path = "resilience/outliers.rs"]
mod outliers;
#[path = "resilience/resources.rs"]
mod resources;
#[path = "resilience/retries.rs"]
mod retries;
#[path = "resilience/steering.rs"]
mod steering;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::conformance::echo_after_upgrade;
use crate::support::{
    Client, Gateway, Origin, config, eventually, forward_all, get, tool, write_by_rename,
};

/// A real nginx that answers every request on two ports, each with its own name.
struct Nginx {
    child: Child,
    addresses: [SocketAddr; 2],
    _folder: TempDir,
}

impl Nginx {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let held = [free(), free()];
        let addresses = held.each_ref().map(|socket| socket.local_addr().unwrap());
        drop(held);
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, nginx_conf(folder.path(), addresses)).unwrap();
        let nginx =
            ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let child = Command::new(nginx.unwrap())
            .args(["-e", "stderr", "-p"])
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let nginx = Self { child, addresses, _folder: folder };
        for address in nginx.addresses {
            eventually("nginx to listen", || std::net::TcpStream::connect(address).ok());
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers on SIGTERM, which a kill would not let it do.
        drop(Command::new("kill").arg(self.child.id().to_string()).status());
        drop(self.child.wait());
    }
}

fn nginx_conf(folder: &Path, [a, b]: [SocketAddr; 2]) -> String {
    let folder = folder.display();
    format!(
        "daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; keepalive_timeout 120s;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen {a}; location / {{ add_header X-Origin a; return 200 'a'; }} }}
  server {{ listen {b}; location / {{ add_header X-Origin b; return 200 'b'; }} }}
}}
"
    )
}

fn two_upstreams([a, b]: [SocketAddr; 2], used: &str) -> String {
    config(&format!(
        "upstreams:
  - {{ name: a, endpoints: [ {{ address: \"{a}\" }} ] }}
  - {{ name: b, endpoints: [ {{ address: \"{b}\" }} ] }}
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes: [ {{ name: r, forward: {{ upstream: {used} }} }} ]
"
    ))
}

#[test]
fn no_request_fails_while_the_file_is_replaced_200_times() {
    const REPLACEMENTS: usize = 200;
    const LOAD: Duration = Duration::from_secs(30);
    if !tool("nginx") || !tool("wrk") {
        return;
    }
    let nginx = Nginx::start();
    let gateway = Gateway::start(&two_upstreams(nginx.addresses, "a"));
    let url = format!("http://{}/", gateway.web());
    let wrk = Command::new("wrk")
        .args(["-t1", "-c64", &format!("-d{}s", LOAD.as_secs()), "--timeout", "10s", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let (mut good, mut bad) = (0.0, 0.0);
    for index in 1..=REPLACEMENTS {
        let used = if index % 2 == 0 { "a" } else { "b" };
        let yaml = two_upstreams(nginx.addresses, used);
        if index % 10 == 0 {
            bad += 1.0;
            write_by_rename(&gateway.config, &yaml.replace("upstream: a", "upstream: gone"));
        } else {
            good += 1.0;
            write_by_rename(&gateway.config, &(yaml + &format!("# {index}\n")));
        }
        // Each must have been seen before the next, or fewer than 200 are tested.
        let seen = |result: &str, count| {
            gateway.metric(&format!("sallyport_config_reloads_total{{result=\"{result}\"}}"))
                == Some(count)
        };
        eventually("the replacement", || {
            (seen("success", good) && seen("failure", bad)).then_some(())
        });
        let next = LOAD.mul_f64(0.95 * index as f64 / REPLACEMENTS as f64);
        thread::sleep(next.saturating_sub(started.elapsed()));
    }
    let output = wrk.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    println!("{report}");
    assert!(report.contains("requests in"), "{report}");
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
    let errors = get(gateway.admin(), "localhost", "/metrics").body;
    assert!(
        !errors
            .lines()
            .any(|line| line.starts_with("sallyport_route_errors_total") && !line.ends_with(" 0"))
    );
    for upstream in ["a", "b"] {
        let sample =
            format!("sallyport_connection_reuse_total{{reused=\"true\",upstream=\"{upstream}\"}}");
        assert!(gateway.metric(&sample) > Some(100.0), "{upstream} took a share");
    }
}

#[test]
fn a_websocket_and_a_long_download_survive_100_reloads() {
    const RELOADS: usize = 100;
    const DOWNLOAD: Duration = Duration::from_secs(60);
    let ended = std::sync::Arc::new(AtomicBool::new(false));
    let stop = ended.clone();
    let origin = Origin::start(move |request, stream| {
        if !request.request_line().contains("/download") {
            return echo_after_upgrade(request, stream);
        }
        let mut alive =
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_ok();
        while alive && !stop.load(Ordering::Relaxed) {
            alive = stream.write_all(b"4\r\ntick\r\n").is_ok();
            thread::sleep(Duration::from_millis(50));
        }
        alive && stream.write_all(b"4\r\ndone\r\n0\r\n\r\n").is_ok()
    });
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&yaml);
    let mut socket = Client::connect(gateway.web());
    socket.send(
        "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert_eq!(socket.receive().status, 101);
    let mut download = Client::connect(gateway.web());
    download.send("GET /download HTTP/1.1\r\nHost: a\r\n\r\n");
    let started = Instant::now();
    let reader = thread::spawn(move || download.receive().body);
    for index in 0..RELOADS {
        gateway.replace(&yaml.replace("name: everything", &format!("name: r{index}")));
        socket.send("ping");
        assert_eq!(socket.read_exact(4), b"ping", "reload {index}");
        let next = DOWNLOAD.mul_f64((index + 1) as f64 / RELOADS as f64);
        thread::sleep(next.saturating_sub(started.elapsed()));
    }
    ended.store(true, Ordering::Relaxed);
    let body = reader.join().unwrap();
    assert!(body.ends_with("done"), "the download was cut off after {} bytes", body.len());
    assert!(started.elapsed() >= DOWNLOAD);
    assert_eq!(gateway.version(), 1 + RELOADS as u64);
}

#[test]
fn requests_in_flight_are_finished_before_the_end() {
    for signal in ["-INT", "-TERM"] {
        let origin = Origin::start(|_, stream| {
            thread::sleep(Duration::from_millis(700));
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate").is_ok()
        });
        let mut gateway = Gateway::start(&forward_all(&[origin.address]));
        let web = gateway.web();
        let mut idle = Client::connect(web);
        idle.send("GET /none HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(idle.receive().status, 200);
        let mut client = Client::connect(web);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the request at the origin", || (origin.requests().len() == 2).then_some(()));
        let told = Instant::now();
        gateway.signal(signal);
        assert_eq!(client.receive().body, "late", "{signal}");
        let status = gateway.wait();
        assert!(status.success(), "{signal}: {status}");
        assert!(told.elapsed() < Duration::from_secs(10), "{signal}: {:?}", told.elapsed());
        assert!(idle.is_closed());
        assert!(std::net::TcpStream::connect(web).is_err(), "{signal}: nobody listens any more");
    }
}

#[test]
fn an_idle_gateway_ends_at_once() {
    let mut gateway = Gateway::start(&config(""));
    let told = Instant::now();
    gateway.signal("-TERM");
    assert!(gateway.wait().success());
    assert!(told.elapsed() < Duration::from_secs(3), "{:?}", told.elapsed());
}

#[test]
fn the_demo_serves_three_origins_and_moves_traffic_when_edited() {
    let folder = tempfile::tempdir().unwrap();
    let quickstart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/quickstart.yaml");
    let mut yaml = std::fs::read_to_string(quickstart).unwrap();
    for port in ["8080", "9901"] {
        yaml = yaml.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
    }
    for port in ["9001", "9002", "9003"] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        yaml = yaml.replace(&format!("127.0.0.1:{port}"), &free.to_string());
    }
    let file = folder.path().join("quickstart.yaml");
    std::fs::write(&file, &yaml).unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(["demo", "--config"])
        .arg(&file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(demo.stdout.take().unwrap()));
    let line = lines.by_ref().map_while(Result::ok).find(|line| line.contains("/hello")).unwrap();
    let address: SocketAddr =
        line.split("http://").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    assert!(line.trim().starts_with("for n in 1 2 3; do curl "), "{line}");
    let asked = |fields: &str| {
        let text = format!(
            "GET /hello HTTP/1.1\r\nHost: shop.example.com\r\n{fields}Connection: close\r\n\r\n"
        );
        crate::support::request(address, &text).field("x-origin").unwrap()
    };
    // The first line that the demo prints, as often as it says.
    let mut names = [(); 3].map(|()| asked(""));
    names.sort();
    assert_eq!(names, ["one", "three", "two"], "the first minute shows balancing");
    let line = lines.by_ref().map_while(Result::ok).find(|line| line.contains("x-user: ann"));
    assert!(line.is_some(), "and that a user stays");
    let names = [(); 3].map(|()| asked("X-User: ann\r\n"));
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    let users = (0..50).map(|user| asked(&format!("X-User: {user}\r\n")));
    let names: std::collections::BTreeSet<_> = users.collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["one", "three", "two"]);
    std::fs::write(&file, yaml.replace("short and stout", "edited")).unwrap();
    eventually("the edit", || {
        (get(address, "shop.example.com", "/teapot").body == "edited\n").then_some(())
    });
    drop(Command::new("kill").args(["-INT", &demo.id().to_string()]).status());
    assert!(eventually("the demo to end", || demo.try_wait().unwrap()).success());
}
