//! Which series there are, from when on and until when, and what is told of the build, of reloads and of
//! bytes.

use std::io::Write;
use std::sync::Mutex;

use crate::support::{
    Client, Gateway, Origin, config, eventually, forward_all, get, write_by_rename,
};

const ERRORS: &str =
    "sallyport_route_requests_total{code_class=\"5xx\",route=\"r\",virtual_host=\"all\"}";

fn route(name: &str, more: &str) -> String {
    config(&format!(
        "{more}virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n      \
         - {{ name: {name}, respond: {{ status: 200, body: hello }} }}\n"
    ))
}

fn metrics(gateway: &Gateway) -> String {
    get(gateway.admin(), "localhost", "/metrics").body
}

#[test]
fn a_series_is_there_before_its_first_request_where_there_are_few() {
    let gateway = Gateway::start(&route("r", ""));
    assert_eq!(gateway.metric(ERRORS), Some(0.0));
    let kind = "sallyport_route_errors_total{kind=\"5xx\",route=\"r\",virtual_host=\"all\"}";
    assert_eq!(gateway.metric(kind), Some(0.0));
    let origin = Origin::named("a");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let connects = format!(
        "sallyport_upstream_connect_failures_total{{endpoint=\"{}\",upstream=\"up\"}}",
        origin.address
    );
    assert_eq!(gateway.metric(&connects), Some(0.0));
    // With more than the limit, which an edit may change, with the first request.
    let gateway = Gateway::start(&route("r", "limits: { idle_route_series: 1 }\n"));
    assert_eq!(gateway.metric(ERRORS), None);
    get(gateway.web(), "a", "/");
    gateway.counts(ERRORS, 0.0);
    gateway.replace(&route("other", "limits: { idle_route_series: 2 }\n"));
    assert_eq!(gateway.metric(&ERRORS.replace("\"r\"", "\"other\"")), Some(0.0));
}

#[test]
fn a_route_that_is_gone_leaves_with_its_last_request() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::start(move |_, stream| {
        released.lock().unwrap().recv().ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let yaml = forward_all(&[origin.address]);
    let gateway = Gateway::start(&yaml);
    let active = "sallyport_route_requests_active{route=\"everything\",virtual_host=\"all\"}";
    let mut client = Client::connect(gateway.web());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    gateway.counts(active, 1.0);
    for name in ["second", "third"] {
        gateway.replace(&yaml.replace("name: everything", &format!("name: {name}")));
        assert_eq!(gateway.metric(active), Some(1.0), "{name}");
    }
    release.send(()).unwrap();
    assert_eq!(client.receive().status, 200);
    eventually("its series to be gone", || {
        (!metrics(&gateway).contains("route=\"everything\"")).then_some(())
    });
}

#[test]
fn responses_are_counted_by_exact_status_where_the_file_says_so() {
    let origin = Origin::start(|request, stream| {
        if request.head.contains("/broken") {
            return false;
        }
        let status = if request.head.contains("/made") { "201 Created" } else { "418 Teapot" };
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let yaml = forward_all(&[origin.address]);
    let on = format!("{yaml}statistics: {{ exact_status: true }}\n");
    let name = "sallyport_route_responses_total";
    let of =
        |code: &str| format!("{name}{{code=\"{code}\",route=\"everything\",virtual_host=\"all\"}}");
    let gateway = Gateway::start(&yaml);
    get(gateway.web(), "a", "/");
    assert!(!metrics(&gateway).contains(name), "nobody asked");
    gateway.replace(&on);
    for path in ["/", "/made", "/"] {
        get(gateway.web(), "a", path);
    }
    gateway.counts(&of("418"), 2.0);
    gateway.counts(&of("201"), 1.0);
    assert_eq!(metrics(&gateway).matches(&format!("{name}{{")).count(), 2);
    // An answer of the gateway's own counts as one of an origin does.
    get(gateway.web(), "a", "/broken");
    gateway.counts(&of("502"), 1.0);
    // Counts survive other edits, and end with the key.
    gateway.replace(&format!("{on}shutdown: {{ deadline: 29s }}\n"));
    assert_eq!(gateway.metric(&of("418")), Some(2.0));
    gateway.replace(&yaml);
    assert!(!metrics(&gateway).contains(name), "nobody asks any more");
}

#[test]
fn bodies_are_counted_both_ways() {
    let origin = Origin::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world").is_ok()
    });
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let mut client = Client::connect(gateway.web());
    for _ in 0..3 {
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345");
        assert_eq!(client.receive().body, "hello world");
    }
    let route = "{route=\"everything\",virtual_host=\"all\"}";
    gateway.counts(&format!("sallyport_route_request_bytes_total{route}"), 15.0);
    gateway.counts(&format!("sallyport_route_response_bytes_total{route}"), 33.0);
}

#[test]
fn the_build_and_the_latest_reload_are_told() {
    let gateway = Gateway::start(&route("r", ""));
    let version = env!("CARGO_PKG_VERSION");
    let build = metrics(&gateway);
    let build = build.lines().find(|line| line.starts_with("sallyport_build_info{")).unwrap();
    assert!(build.contains(&format!("version=\"{version}\"")) && build.ends_with(" 1"), "{build}");
    let successful = "sallyport_config_last_reload_successful";
    let at = || gateway.metric("sallyport_config_last_reload_timestamp_seconds").unwrap();
    assert_eq!(gateway.metric(successful), Some(1.0));
    let first = at();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((now.as_secs_f64() - first).abs() < 60.0);
    write_by_rename(&gateway.config, &route("r", "nonsense: 1\n"));
    gateway.counts(successful, 0.0);
    assert!(at() > first);
    // Back to what is in force is as good as an edit.
    write_by_rename(&gateway.config, &route("r", ""));
    gateway.counts(successful, 1.0);
    gateway.counts("sallyport_config_version", 1.0);
}

#[test]
fn many_edits_that_rename_routes_take_no_memory() {
    let gateway = Gateway::start(&route("r0", ""));
    let edit = |index: usize| {
        gateway.replace(&route(&format!("r{index}"), ""));
        get(gateway.web(), "a", "/");
    };
    (1..100).for_each(edit);
    let before = gateway.resident_kib();
    (100..400).for_each(edit);
    let after = gateway.resident_kib();
    assert!(after < before + 8 * 1024, "{before} KiB, then {after}");
    assert_eq!(metrics(&gateway).matches("sallyport_route_requests_active{").count(), 2);
}
