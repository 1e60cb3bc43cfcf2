//! What the gateway says of itself: exact counts, in a format that Prometheus' own parser accepts.

#[path = "statistics/monitoring.rs"]
mod monitoring;
#[path = "statistics/series.rs"]
mod series;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::support::{Client, Gateway, Origin, eventually, forward_all, get, request, tool};

fn metrics(gateway: &Gateway) -> String {
    get(gateway.admin(), "localhost", "/metrics").body
}

#[test]
fn connections_lie_on_all_workers_and_stay_there() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let active = |worker| {
        gateway.metric(&format!("sallyport_worker_requests_active{{worker=\"{worker}\"}}"))
    };
    let begin = |client: &mut Client| {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n");
    };
    let mut clients: Vec<Client> = (0..32).map(|_| Client::connect(gateway.web())).collect();
    let mut before = None;
    for _ in 0..2 {
        clients.iter_mut().for_each(begin);
        let lie = eventually("every request to begin", || {
            let lie = (active(0)?, active(1)?);
            (lie.0 + lie.1 == 32.0).then_some(lie)
        });
        // All on one worker: once in two billion times.
        assert!(lie.0 > 0.0 && lie.1 > 0.0, "{lie:?}");
        assert_eq!(*before.get_or_insert(lie), lie);
        for client in &mut clients {
            assert_eq!(client.send("x").receive().status, 200);
        }
        eventually("every request to end", || (active(0)? + active(1)? == 0.0).then_some(()));
    }
}

#[test]
fn counts_are_exact() {
    let origin = Origin::start(|request, stream| {
        let status = if request.request_line().contains("/fail") { "500 No" } else { "200 OK" };
        stream
            .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .is_ok()
    });
    let yaml = forward_all(&[origin.address]).replace("domains: [\"*\"]", "domains: [a]");
    let gateway = Gateway::start(&yaml);
    let mut client = Client::connect(gateway.web());
    for path in ["/", "/", "/", "/fail"] {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        client.receive();
    }
    get(gateway.web(), "nobody", "/");
    request(gateway.web(), "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n");
    let endpoint = format!("endpoint=\"{}\",upstream=\"up\"", origin.address);
    for (sample, value) in [
        (
            "sallyport_route_requests_total{code_class=\"2xx\",route=\"everything\",virtual_host=\"all\"}",
            3.0,
        ),
        (
            "sallyport_route_requests_total{code_class=\"5xx\",route=\"everything\",virtual_host=\"all\"}",
            1.0,
        ),
        (
            "sallyport_route_requests_total{code_class=\"4xx\",route=\"none\",virtual_host=\"none\"}",
            2.0,
        ),
        (
            "sallyport_route_errors_total{kind=\"5xx\",route=\"everything\",virtual_host=\"all\"}",
            1.0,
        ),
        ("sallyport_route_errors_total{kind=\"4xx\",route=\"none\",virtual_host=\"none\"}", 2.0),
        ("sallyport_route_requests_active{route=\"everything\",virtual_host=\"all\"}", 0.0),
        ("sallyport_route_requests_active{route=\"none\",virtual_host=\"none\"}", 0.0),
        (
            "sallyport_route_request_duration_seconds_count{route=\"everything\",virtual_host=\"all\"}",
            4.0,
        ),
        (&format!("sallyport_upstream_requests_total{{{endpoint}}}"), 4.0),
        (&format!("sallyport_upstream_requests_active{{{endpoint}}}"), 0.0),
        ("sallyport_config_version", 1.0),
        ("sallyport_config_reloads_total{result=\"success\"}", 0.0),
    ] {
        let text = metrics(&gateway);
        let found = eventually(sample, || gateway.metric(sample).filter(|found| *found == value));
        assert_eq!(found, value, "{text}");
    }
}

#[test]
fn requests_in_flight_are_active() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let origin = Origin::start(move |_, stream| {
        released.lock().unwrap().recv().ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let active = "sallyport_route_requests_active{route=\"everything\",virtual_host=\"all\"}";
    eventually("one active", || (gateway.metric(active) == Some(1.0)).then_some(()));
    release.send(()).unwrap();
    assert_eq!(client.receive().status, 200);
    eventually("none active", || (gateway.metric(active) == Some(0.0)).then_some(()));
    // A client that goes away is counted out as well.
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("one active", || (gateway.metric(active) == Some(1.0)).then_some(()));
    drop(client);
    eventually("none active", || (gateway.metric(active) == Some(0.0)).then_some(()));
}

#[test]
fn quantiles_and_histogram_agree_with_the_origins_latency() {
    let origin = Origin::start(|_, stream| {
        std::thread::sleep(std::time::Duration::from_millis(40));
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    for _ in 0..10 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.receive();
    }
    for quantile in ["0.5", "0.99", "0.999"] {
        let sample = format!(
            "sallyport_route_quantile_seconds{{quantile=\"{quantile}\",route=\"everything\",virtual_host=\"all\"}}"
        );
        let seconds = eventually("a quantile", || gateway.metric(&sample));
        assert!((0.038..1.0).contains(&seconds), "{quantile}: {seconds}");
    }
    let faster = metrics(&gateway)
        .lines()
        .filter(|line| line.contains("duration_seconds_bucket") && line.contains("everything"))
        .filter(|line| line.contains("le=\"0.032768\""))
        .any(|line| line.ends_with(" 0"));
    assert!(faster, "nothing is faster than the origin");
}

#[test]
fn the_process_tells_what_it_takes() {
    let gateway = Gateway::start(&forward_all(&[Origin::named("a").address]));
    let figure = |name: &str| gateway.metric(name).unwrap_or_else(|| panic!("no {name}"));
    assert!(figure("process_cpu_seconds_total") > 0.0);
    let resident = figure("process_resident_memory_bytes");
    let shown = gateway.resident_kib() as f64 * 1024.0;
    assert!((shown / 2.0..shown * 2.0).contains(&resident), "{resident}, not {shown}");
    let listed = |folder| {
        std::fs::read_dir(format!("/proc/{}/{folder}", gateway.pid())).unwrap().count() as f64
    };
    // A connection of the admin's more or less.
    assert!((figure("process_open_fds") - listed("fd")).abs() <= 4.0);
    assert!((figure("process_threads") - listed("task")).abs() <= 4.0);
    assert!(figure("process_max_fds") >= figure("process_open_fds"));
    assert!(figure("process_start_time_seconds") > 1.7e9);
}

#[test]
fn the_exposition_is_accepted_by_prometheus_itself() {
    if !tool("promtool") {
        return;
    }
    let origin = Origin::named("a");
    let yaml =
        forward_all(&[origin.address]).replace("name: everything", "name: \"odd \\\" \\\\ name\"");
    let gateway = Gateway::start(&yaml);
    get(gateway.web(), "a", "/");
    get(gateway.web(), "", "/");
    let text = metrics(&gateway);
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_admin_listener_tells_what_there_is() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let admin = |path: &str| get(gateway.admin(), "localhost", path);
    let json = |path: &str| serde_json::from_str::<serde_json::Value>(&admin(path).body).unwrap();
    assert_eq!((admin("/healthz").status, admin("/readyz").status), (200, 200));
    assert_eq!(admin("/nothing").status, 404);
    let metrics = admin("/metrics");
    assert!(metrics.field("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(json("/routes")[0]["routes"][0]["route"], "everything");
    assert_eq!(json("/upstreams")[0]["endpoints"][0]["address"], origin.address.to_string());
    let explained = json("/explain?host=x&path=/y");
    assert_eq!(explained["route"], "everything");
    assert_eq!(explained["endpoint"], origin.address.to_string());
    assert_eq!(admin("/explain?host=x").status, 400);
}

#[test]
fn prometheus_is_sent_the_metrics_it_names_and_gzip_if_it_takes_that() {
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    assert_eq!(get(gateway.web(), "a", "/").status, 200);
    let metrics = |query: &str| get(gateway.admin(), "localhost", &format!("/metrics{query}")).body;
    let names = |text: &str| -> Vec<String> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
    };
    let two = "?name[]=sallyport_config_version&name[]=process_threads";
    assert_eq!(names(&metrics(two)), ["sallyport_config_version", "process_threads"]);
    let one = "?name%5B%5D=sallyport_route_errors_total";
    assert_eq!(names(&metrics(one)), ["sallyport_route_errors_total"]);
    assert_eq!(metrics("?name[]=nothing"), "");
    let all = names(&metrics(""));
    for name in &all {
        assert_eq!(names(&metrics(&format!("?name[]={name}"))), [name.as_str()]);
    }
    let mut stream = std::net::TcpStream::connect(gateway.admin()).unwrap();
    stream
        .write_all(
            b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&answer[..end]).to_lowercase();
    assert!(head.contains("content-encoding: gzip"), "{head}");
    assert!(head.contains("vary: accept-encoding"), "{head}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer[end + 4..]).read_to_string(&mut text).unwrap();
    assert_eq!(names(&text), all);
}
