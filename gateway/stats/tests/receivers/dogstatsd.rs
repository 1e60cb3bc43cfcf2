//! Sentry's statsdproxy, which reads DogStatsD, adds up counters, and takes tags off and puts tags
//! on: what it hands on says what it understood.
//!
//! It comes from crates.io and takes minutes to build (`cargo install statsdproxy@0.4.1`), so that
//! nobody is required to have it.

use std::{fs, net::UdpSocket, process::Command, time::Duration};

use sallyport_stats::push::{Distributions, net::Address, statsd::DogStatsdConfig};

use crate::{
    OPEN, REQUESTS, push,
    tools::{Guard, free_port, is_there},
};

const CONFIG: &str = "middlewares:\n  - type: deny-tag\n    tags: [secret]\n  - type: add-tag\n    \
                      tags: [\"seen:yes\"]\n  - type: aggregate-metrics\n    flush_interval: 100\n";

#[test]
fn a_dogstatsd_proxy_understands_every_message() {
    if !is_there("statsdproxy") {
        eprintln!("SKIPPED: statsdproxy is not in the path, and nobody is required to have it");
        return;
    }
    let upstream = UdpSocket::bind("127.0.0.1:0").unwrap();
    upstream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (config, port) = (folder.path().join("config.yaml"), free_port());
    fs::write(&config, CONFIG).unwrap();
    let mut command = Command::new("statsdproxy");
    command.args(["--listen", &format!("127.0.0.1:{port}"), "--upstream"]);
    command.arg(upstream.local_addr().unwrap().to_string()).arg("--config-path").arg(&config);
    let _proxy = Guard::start(&mut command);
    // It is there when something comes through.
    let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut seen = String::new();
    while !seen.contains("probe") {
        probe.send_to(b"probe:1|h", ("127.0.0.1", port)).ok();
        receive(&upstream, &mut seen);
    }

    let mut config = DogStatsdConfig::new(Address::Udp("127.0.0.1".into(), port));
    config.tags = vec![("secret".into(), "x".into()), ("env".into(), "prod".into())];
    push(config.spec("dogstatsd"), Distributions::Raw { values_max: 100 });
    let started = std::time::Instant::now();
    while total(&seen, "route:a") + total(&seen, "route:b") < REQUESTS[0] + REQUESTS[1] {
        assert!(started.elapsed() < Duration::from_secs(30), "{seen}");
        receive(&upstream, &mut seen);
    }
    assert_eq!(total(&seen, "route:a"), REQUESTS[0], "{seen}");
    assert_eq!(total(&seen, "route:b"), REQUESTS[1], "{seen}");
    assert!(!seen.contains("secret") && !seen.contains("\nevil"), "{seen}");
    while !seen.contains("connections:") || !seen.contains("latency:") {
        assert!(started.elapsed() < Duration::from_secs(30), "{seen}");
        receive(&upstream, &mut seen);
    }
    let line = |name: &str| seen.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(line("connections:").starts_with(&format!("connections:{OPEN}|g|#")), "{seen}");
    assert!(line("latency:").starts_with("latency:1:2:250:250:4000|ms|#"), "{seen}");
    for tag in ["env:prod", "seen:yes"] {
        assert!(line("latency:").contains(tag), "{seen}");
    }
}

fn receive(socket: &UdpSocket, seen: &mut String) {
    let mut room = [0; 65_536];
    if let Ok(length) = socket.recv(&mut room) {
        seen.push_str(&String::from_utf8_lossy(&room[..length]));
        seen.push('\n');
    }
}

/// What the counters whose tags hold `tag` were told to add.
fn total(seen: &str, tag: &str) -> u64 {
    let counters = seen.lines().filter(|line| line.starts_with("requests:") && line.contains(tag));
    let value = |line: &str| line.split([':', '|']).nth(1)?.parse::<f64>().ok();
    counters.filter_map(value).sum::<f64>() as u64
}
