//! The access log of the real process: what is in a line, and that none is lost by a rotation or by
//! the end of the process.

use std::fs::{File, OpenOptions};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::support::{Client, Gateway, Origin, eventually, request};

/// A listener that logs to `file`, `/up` to an origin, `/down` to nobody, and the rest answered at once.
fn config(file: &str, origin: &Origin) -> String {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    format!(
        "listeners:
  - {{ name: web, address: 127.0.0.1:0, filters: [{{ access_log: {{ to: {{ file: {file} }} }} }}] }}
admin: {{ address: 127.0.0.1:0 }}
upstreams:
  - {{ name: up, endpoints: [{{ address: \"{}\" }}] }}
  - {{ name: down, endpoints: [{{ address: \"{nobody}\" }}] }}
virtual_hosts:
  - name: all
    domains: [a]
    routes:
      - {{ name: up, match: {{ path: {{ prefix: /up }} }}, forward: {{ upstream: up }} }}
      - {{ name: down, match: {{ path: {{ prefix: /down }} }}, forward: {{ upstream: down }} }}
      - {{ name: own, respond: {{ status: 200 }} }}
",
        origin.address
    )
}

/// The lines that are complete.
fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
    complete.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn paths(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["path"].as_str().unwrap()).collect()
}

/// `/0`, `/1`, `/2` and so on.
fn counted(requests: usize) -> Vec<String> {
    (0..requests).map(|number| format!("/{number}")).collect()
}

#[test]
fn lines_say_what_happened() {
    let origin = Origin::named("one");
    let gateway = Gateway::start(&config("access.log", &origin));
    let file = gateway.config.with_file_name("access.log");
    let up = "POST /up?b=%22 HTTP/1.1\r\nHost: a\r\nUser-Agent: \"}\\\tx\r\nContent-Length: 4\r\n\
        Connection: close\r\n\r\nbody";
    let rest = "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let nowhere = "GET / HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n";
    let sent = [up, &format!("GET /down {rest}"), &format!("GET /own {rest}"), nowhere];
    for (count, text) in sent.iter().enumerate() {
        request(gateway.web(), text);
        eventually("a line", || (lines(&file).len() == count + 1).then_some(()));
    }
    let lines = lines(&file);
    let expect = |line: usize, name: &str, value: Value| {
        assert_eq!(lines[line][name], value, "{name} in {:#?}", lines[line]);
    };
    for (name, value) in [
        ("method", "POST".into()),
        ("path", "/up?b=%22".into()),
        ("host", "a".into()),
        ("status", 200.into()),
        ("request_bytes", 4.into()),
        ("response_bytes", 3.into()),
        ("client", "127.0.0.1".into()),
        ("virtual_host", "all".into()),
        ("route", "up".into()),
        ("upstream", "up".into()),
        ("endpoint", origin.address.to_string().into()),
        ("cause", Value::Null),
        ("user_agent", "\"}\\\tx".into()),
        ("network", Value::Null),
    ] {
        expect(0, name, value);
    }
    assert!(lines[0]["duration_ms"].as_f64().unwrap() > 0.0);
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    for (line, status, route, upstream) in [
        (1, 502, "down", "down".into()),
        (2, 200, "own", Value::Null),
        (3, 404, "none", Value::Null),
    ] {
        expect(line, "status", status.into());
        expect(line, "route", route.into());
        expect(line, "upstream", upstream);
    }
    assert!(lines[1]["cause"].is_string(), "{:#?}", lines[1]);
}

/// Sends `/0`, `/1` and so on until told to end; returns how many.
fn send_until(ended: &AtomicBool, gateway: &Gateway) -> usize {
    let mut client = Client::connect(gateway.web());
    let mut sent = 0;
    while !ended.load(Ordering::Relaxed) {
        client.send(format!("GET /{sent} HTTP/1.1\r\nHost: a\r\n\r\n")).receive();
        sent += 1;
    }
    sent
}

#[test]
fn a_rotation_loses_nothing() {
    let origin = Origin::named("one");
    let mut gateway = Gateway::start(&config("access.log", &origin));
    let file = gateway.config.with_file_name("access.log");
    let rotated =
        [1, 2].map(|number| gateway.config.with_file_name(format!("access.log.{number}")));
    let ended = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let sender = scope.spawn(|| send_until(&ended, &gateway));
        let written = || eventually("lines", || (lines(&file).len() > 50).then_some(()));
        for to in &rotated {
            written();
            std::fs::rename(&file, to).unwrap();
            gateway.signal("-USR1");
        }
        written();
        ended.store(true, Ordering::Relaxed);
        sender.join().unwrap()
    });
    gateway.signal("-TERM");
    assert!(gateway.wait().success());
    let all: Vec<Value> =
        [&rotated[0], &rotated[1], &file].into_iter().flat_map(|file| lines(file)).collect();
    assert_eq!(paths(&all), counted(sent));
}

#[test]
fn an_idle_log_is_opened_again_too() {
    let origin = Origin::named("one");
    let gateway = Gateway::start(&config("access.log", &origin));
    let file = gateway.config.with_file_name("access.log");
    eventually("the file", || file.exists().then_some(()));
    std::fs::rename(&file, file.with_extension("old")).unwrap();
    gateway.signal("-USR1");
    eventually("a new file", || file.exists().then_some(()));
}

/// The log is a pipe that nobody reads until the process has been told to end, so lines are queued.
#[test]
fn what_is_queued_is_written_before_the_end() {
    const REQUESTS: usize = 2000;
    let (folder, origin) = (tempfile::tempdir().unwrap(), Origin::named("one"));
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Held until the gateway has opened it, which would wait otherwise.
    let held = OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
    let mut gateway = Gateway::start(&config(&pipe.display().to_string(), &origin));
    let mut reader = File::open(&pipe).unwrap();
    drop(held);
    let mut client = Client::connect(gateway.web());
    for number in 0..REQUESTS {
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).receive();
    }
    let sample = "sallyport_access_log_written_total{filter=\"access_log\"}";
    let written = gateway.metric(sample).unwrap();
    assert!(written < REQUESTS as f64, "{written}: nothing is left to write");
    gateway.signal("-TERM");
    gateway.logged("ending: waiting for requests");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut reader, &mut text).unwrap();
    assert!(gateway.wait().success());
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(paths(&lines), counted(REQUESTS));
}

#[test]
fn refusals_by_the_grammar_are_logged_and_counted_like_others() {
    let origin = Origin::named("never");
    let gateway = Gateway::start(&config("access.log", &origin));
    let file = gateway.config.with_file_name("access.log");
    let large = format!("GET /up?x HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "v".repeat(70_000));
    for (count, (text, status, method, path)) in [
        ("GET /up HTTP/1.1\nHost: a\n\n", 400, "GET", "/"),
        ("PUT /up HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", 400, "PUT", "/up"),
        ("GET /up HTTP/3.0\r\nHost: a\r\n\r\n", 505, "GET", "/"),
        (&large, 431, "GET", "/up?x"),
    ]
    .into_iter()
    .enumerate()
    {
        let response = request(gateway.web(), text);
        assert_eq!(response.status, status, "{}", response.head);
        eventually("a line", || (lines(&file).len() == count + 1).then_some(()));
        let line = &lines(&file)[count];
        assert_eq!(
            (&line["status"], &line["method"]),
            (&status.into(), &method.into()),
            "{line:#?}"
        );
        assert_eq!(
            (&line["path"], &line["client"]),
            (&path.into(), &"127.0.0.1".into()),
            "{line:#?}"
        );
    }
    gateway.counts(
        "sallyport_route_requests_total{code_class=\"4xx\",route=\"none\",virtual_host=\"none\"}",
        3.0,
    );
}
