//! StatsD's own server, asked over its management port.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use sallyport_stats::push::{
    Distributions,
    net::Address,
    statsd::{StatsdConfig, TagStyle},
};

use crate::{
    LATENCIES_MS, OPEN, REQUESTS, push,
    tools::{Guard, free_port, missing, statsd, wait_for},
};

#[test]
fn statsd_has_every_figure() {
    let Some(server) = statsd() else { return missing("statsd (npm, by node)") };
    let folder = tempfile::tempdir().unwrap();
    let (port, management) = (free_port(), free_port());
    let config = folder.path().join("config.js");
    let text = format!(
        "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', mgmt_port: {management}, \
         flushInterval: 3600000, backends: [] }}"
    );
    fs::write(&config, text).unwrap();
    let _server = Guard::start(Command::new("node").arg(server).arg(&config));
    wait_for("the management port", || ask(management, "health"));

    let address = Address::Udp("127.0.0.1".into(), port);
    let spec = StatsdConfig { prefix: "edge".into(), ..StatsdConfig::new(address.clone()) };
    push(spec.spec("statsd"), Distributions::Raw { values_max: 100 });
    // Its own counters of what it saw tell when all has come.
    let counters = wait_for("every counter", || {
        let counters = ask(management, "counters")?;
        counters
            .contains(&format!("edge.requests.route.b_c_1_evil_1_c': {}", REQUESTS[1]))
            .then_some(counters)
    });
    assert!(counters.contains(&format!("'edge.requests.route.a': {}", REQUESTS[0])), "{counters}");
    assert!(!counters.contains("evil'"), "{counters}");
    let bad = "'statsd.bad_lines_seen': 0";
    assert!(counters.contains(bad), "{counters}");
    let gauges = wait_for("the gauge", || {
        ask(management, "gauges").filter(|gauges| gauges.contains("edge.connections"))
    });
    assert!(gauges.contains(&format!("'edge.connections': {OPEN}")), "{gauges}");
    let timers = wait_for("the timer", || {
        ask(management, "timers").filter(|timers| timers.contains("edge.latency"))
    });
    let mut found: Vec<u64> =
        timers.split(|c: char| !c.is_ascii_digit()).filter_map(|text| text.parse().ok()).collect();
    found.sort_unstable();
    assert_eq!(found, LATENCIES_MS, "{timers}");
}

/// A sketch comes as rates, from which the server makes the same count.
#[test]
fn statsd_counts_a_sketch_as_what_it_stands_for() {
    let Some(server) = statsd() else { return missing("statsd (npm, by node)") };
    let folder = tempfile::tempdir().unwrap();
    let (port, management) = (free_port(), free_port());
    let config = folder.path().join("config.js");
    let text = format!(
        "{{ address: '127.0.0.1', port: {port}, mgmt_address: '127.0.0.1', mgmt_port: {management}, \
         flushInterval: 500, deleteCounters: false, backends: ['./backends/console'] }}"
    );
    fs::write(&config, text).unwrap();
    let output = folder.path().join("output");
    let file = fs::File::create(&output).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec node \"$0\" \"$1\" > \"$2\""]).arg(server).arg(&config).arg(&output);
    drop(file);
    let _server = Guard::start(&mut command);
    wait_for("the management port", || ask(management, "health"));
    let mut spec = StatsdConfig::new(Address::Udp("127.0.0.1".into(), port));
    spec.tags = TagStyle::InName;
    push(spec.spec("statsd"), Distributions::Sketch);
    wait_for("a count of five", || {
        let text = fs::read_to_string(&output).ok()?;
        text.split("latency: {").skip(1).find(|it| it.contains("count: 5,")).map(|_| ())
    });
}

/// It takes one question at a time, and says where most answers end.
fn ask(port: u16, question: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(question.as_bytes()).ok()?;
    let (mut answer, mut room) = (String::new(), [0; 4_096]);
    while !answer.contains("END") && !answer.contains("health: up") {
        let length = stream.read(&mut room).ok().filter(|length| *length > 0)?;
        answer.push_str(&String::from_utf8_lossy(&room[..length]));
    }
    Some(answer)
}
