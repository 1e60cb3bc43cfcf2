//! The page, and the live data behind it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::support::{
    Client, Gateway, Origin, PATIENCE, config, eventually, forward_all, get, request,
};

/// What the admin listener answers with 200, as JSON.
fn ask(admin: SocketAddr, path: &str) -> Value {
    let answer = get(admin, "localhost", path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

fn browse(admin: SocketAddr, path: &str) -> crate::support::Response {
    let accept = "Accept: text/html,application/xhtml+xml,*/*;q=0.8";
    request(
        admin,
        &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\nConnection: close\r\n\r\n"),
    )
}

/// A stream of events; the lines of its body are read one by one.
struct Events(BufReader<TcpStream>);

impl Events {
    fn open(admin: SocketAddr, query: &str) -> Self {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET /live?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut events = Self(BufReader::new(stream));
        let status = events.line();
        assert!(status.contains(" 200 "), "{status}");
        events
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended");
        line
    }

    fn next(&mut self) -> Value {
        loop {
            if let Some(data) = self.line().strip_prefix("data: ") {
                return serde_json::from_str(data).unwrap();
            }
        }
    }
}

/// Whether the gateway has a thread that takes readings.
fn reads(gateway: &Gateway) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap();
    let names =
        tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    names.into_iter().any(|name| name.trim() == "readings")
}

#[test]
fn the_page_is_for_browsers_and_brings_everything_with_it() {
    let gateway = Gateway::start(&config(""));
    let admin = gateway.admin();
    let page = browse(admin, "/");
    assert_eq!(page.field("content-type").unwrap(), "text/html; charset=utf-8");
    let policy = page.field("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("script-src 'self'"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let listed = get(admin, "localhost", "/");
    assert!(listed.body.contains("/live") && !listed.body.contains('<'), "{}", listed.body);
    // What is referred to is there, and nothing is anywhere else.
    let mut wanted: Vec<String> = vec!["/page/uplot/LICENSE".into()];
    let mut seen = vec![page.body.clone()];
    let mut known = std::collections::BTreeSet::new();
    while let Some(text) = seen.pop() {
        for quoted in text.split(['"', '\'']).filter(|it| it.starts_with("/page/")) {
            if known.insert(quoted.to_owned()) {
                wanted.push(quoted.to_owned());
            }
        }
        while let Some(path) = wanted.pop() {
            let asset = get(admin, "localhost", &path);
            assert_eq!(asset.status, 200, "{path}");
            assert_eq!(asset.field("x-content-type-options").unwrap(), "nosniff");
            let media = asset.field("content-type").unwrap();
            if path.ends_with(".js") {
                assert!(media.starts_with("text/javascript"), "{path}: {media}");
            }
            if !path.contains("uplot") {
                let others =
                    ["http://", "https://", "innerHTML", "eval(", " style=\"", "onclick=\""];
                let others = others.iter().filter(|it| {
                    asset.body.replace("http://www.w3.org/2000/svg", "").contains(**it)
                });
                assert_eq!(
                    others.collect::<Vec<_>>(),
                    [""; 0].iter().collect::<Vec<_>>(),
                    "{path}"
                );
                seen.push(asset.body);
            }
        }
    }
    assert!(known.len() > 12, "{known:?}");
    for inline in ["<script>", "<style", " onload=", " onclick=", "style="] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    assert_eq!(get(admin, "localhost", "/page/../config").status, 404);
    assert_eq!(get(admin, "localhost", "/page/nothing.js").status, 404);
}

#[test]
fn with_a_token_the_page_is_open_and_what_it_shows_is_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("all"), "secret").unwrap();
    std::fs::write(folder.path().join("some"), "reader").unwrap();
    let yaml = config("").replace(
        "admin: { address: 127.0.0.1:0 }",
        "admin: { address: 127.0.0.1:0, token_file: all, read_token_file: some }",
    );
    let file = folder.path().join("sallyport.yaml");
    std::fs::write(&file, yaml).unwrap();
    let gateway = Gateway::start_in(folder, file);
    let admin = gateway.admin();
    let page = browse(admin, "/");
    assert_eq!((page.status, browse(admin, "/page/page.js").status), (200, 200));
    assert!(page.body.contains("<html") && !page.body.contains("127.0.0.1"));
    for path in ["/now", "/live", "/origins", "/connections", "/certificates", "/door", "/rights"] {
        assert_eq!(browse(admin, path).status, 401, "{path}");
    }
    let may_change = |token: &str| {
        let fields =
            format!("Host: localhost\r\nAuthorization: Bearer {token}\r\nConnection: close");
        let answer = request(admin, &format!("GET /rights HTTP/1.1\r\n{fields}\r\n\r\n"));
        let view: Value = serde_json::from_str(&answer.body).unwrap();
        view["change"].as_bool().unwrap()
    };
    assert!(may_change("secret") && !may_change("reader"));
    let stranger =
        "GET / HTTP/1.1\r\nHost: evil.example\r\nAccept: text/html\r\nConnection: close\r\n\r\n";
    assert_eq!(request(admin, stranger).status, 403);
}

#[test]
fn nothing_is_read_until_somebody_asks_and_then_all_see_the_same() {
    let origin = Origin::named("one");
    let gateway = Gateway::start(&forward_all(&[origin.address]));
    let admin = gateway.admin();
    for path in ["/", "/config", "/metrics", "/connections", "/origins"] {
        get(admin, "localhost", path);
    }
    assert!(!reads(&gateway), "nobody has asked for readings");
    let mut first = Events::open(admin, "of=routes&sort=requests");
    let mut second = Events::open(admin, "of=upstreams&upstream=up");
    assert!(reads(&gateway));
    first.next();
    // Every request of this connection counts, whatever becomes of the first reading.
    let mut client = Client::connect(gateway.web());
    let shown = eventually("traffic of the route", || {
        client.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n").receive();
        let reading = first.next();
        (reading["rows"][0]["requests_per_s"].as_f64().unwrap() > 0.0).then_some(reading)
    });
    assert_eq!(shown["rows"][0]["route"], "everything");
    assert_eq!(shown["rows"][0]["virtual_host"], "all");
    assert!(shown["all"]["p99_s"].as_f64().unwrap() > 0.0, "{shown}");
    let attempts = eventually("attempts at the upstream", || {
        let reading = second.next();
        (reading["selected"]["requests_per_s"].as_f64().unwrap() > 0.0).then_some(reading)
    });
    assert_eq!((&attempts["of"], &attempts["found"]), (&"upstreams".into(), &1.into()));
    let at = ask(admin, "/now")["at_unix_s"].as_f64().unwrap();
    assert_eq!(ask(admin, "/now?of=virtual_hosts")["found"], 2, "none is one");
    let next = first.next()["at_unix_s"].as_f64().unwrap();
    assert!((next - at).abs() < 60.0, "{next} {at}");
    let all = ask(admin, "/now/history");
    assert_eq!(all["step_s"], 1);
    assert!(!all["at_unix_s"].as_array().unwrap().is_empty());
    assert_eq!(get(admin, "localhost", "/now/history?upstream=none").status, 404);
    assert_eq!(ask(admin, "/now/history?virtual_host=all&route=everything")["step_s"], 10);
}

#[test]
fn rows_are_found_sorted_and_cut() {
    let routes: String = (0..10_000)
        .map(|index| {
            let path = format!("{{ path: {{ exact: /r{index} }} }}");
            format!("      - {{ name: r{index:05}, match: {path}, respond: {{ status: 200 }} }}\n")
        })
        .collect();
    let strange = "\"<script>alert(1)</script> \\u202e\\\"'\"";
    let yaml = config(&format!(
        "virtual_hosts:\n  - name: many\n    domains: [\"*\"]\n    routes:\n{routes}      \
         - {{ name: {strange}, match: {{ path: {{ exact: /x }} }}, respond: {{ status: 500 }} }}\n"
    ));
    let gateway = Gateway::start(&yaml);
    let admin = gateway.admin();
    let names = |path: &str| -> Vec<String> {
        let rows = ask(admin, path)["rows"].clone();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["route"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = ask(admin, "/now?limit=3");
    assert_eq!((&all["found"], all["rows"].as_array().unwrap().len()), (&10_002.into(), 3));
    assert_eq!(names("/now?search=R0999&sort=name&order=desc&limit=2"), ["r09999", "r09998"]);
    assert_eq!(names("/now?sort=name&search=many%20r&offset=9998"), ["r09998", "r09999"]);
    assert_eq!(names("/now?search=%3CSCRIPT%3E"), ["<script>alert(1)</script> \u{202e}\"'"]);
    assert_eq!(names("/now?offset=20000"), [""; 0]);
    eventually("the busiest and the worst in front", || {
        for path in ["/r5", "/x", "/r7", "/r7"] {
            get(gateway.web(), "x", path);
        }
        let busiest = names("/now?sort=requests&limit=1") == ["r00007"];
        let worst = names("/now?sort=errors&limit=1")[0].starts_with("<script>");
        (busiest && worst).then_some(())
    });
    for (query, said) in [
        ("of=route", "virtual_hosts, routes or upstreams"),
        ("sort=size", "p99 or p999"),
        ("order=up", "asc or desc"),
        ("limit=501", "a number up to 500"),
        ("offset=-1", "a number"),
        ("route=x", "a virtual_host and its route"),
        ("colour=red", "unknown parameter"),
    ] {
        for path in ["/now", "/live"] {
            let refused = get(admin, "localhost", &format!("{path}?{query}"));
            assert_eq!(refused.status, 400, "{query}");
            assert!(refused.body.contains(said), "{query}: {}", refused.body);
        }
    }
}

#[test]
fn viewers_are_bounded_and_others_are_answered_all_the_same() {
    let gateway = Gateway::start(&config(""));
    let admin = gateway.admin();
    let mut viewers: Vec<_> = (0..50).map(|_| Events::open(admin, "limit=1")).collect();
    viewers.iter_mut().for_each(|viewer| drop(viewer.next()));
    let refused = get(admin, "localhost", "/live");
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("50 pages are open already"), "{}", refused.body);
    for path in ["/healthz", "/now", "/metrics"] {
        assert_eq!(get(admin, "localhost", path).status, 200, "{path}");
    }
    viewers.pop();
    eventually("the place of one that is gone", || {
        (get_status(admin, "/live") == 200).then_some(())
    });
}

/// The status of an answer whose body may never end.
fn get_status(admin: SocketAddr, path: &str) -> u16 {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn readings_follow_the_configuration() {
    let one = |name: &str| {
        config(&format!(
            "virtual_hosts:\n  - name: shop\n    domains: [\"*\"]\n    routes:\n      \
             - {{ name: {name}, respond: {{ status: 200 }} }}\n"
        ))
    };
    let gateway = Gateway::start(&one("before"));
    let admin = gateway.admin();
    let mut events = Events::open(admin, "search=shop");
    assert_eq!(events.next()["rows"][0]["route"], "before");
    gateway.replace(&one("after"));
    let reading = eventually("the new route", || {
        let reading = events.next();
        (reading["rows"][0]["route"] == "after").then_some(reading)
    });
    assert_eq!((&reading["version"], &reading["refused"]), (&2.into(), &false.into()));
    crate::support::write_by_rename(&gateway.config, "listeners: 1\n");
    eventually("the refusal", || (events.next()["refused"] == true).then_some(()));
    eventually("traffic of the new route", || {
        get(gateway.web(), "x", "/");
        (events.next()["rows"][0]["requests_per_s"].as_f64().unwrap() > 0.0).then_some(())
    });
}

#[test]
fn origins_say_who_is_left_out_and_why() {
    let well = Origin::named("one");
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = forward_all(&[well.address, gone]).replace(
        "    endpoints:\n",
        "    health_check: { tcp: {}, interval: 100ms, unhealthy: 1 }\n    endpoints:\n",
    );
    let gateway = Gateway::start(&yaml);
    let admin = gateway.admin();
    let view = eventually("the endpoint that is gone", || {
        let view = ask(admin, "/origins");
        (view["out"] == 1).then_some(view)
    });
    let upstream = &view["upstreams"][0];
    assert_eq!((&upstream["upstream"], &view["endpoints"]), (&"up".into(), &2.into()));
    let endpoints = upstream["endpoints"].as_array().unwrap();
    let of = |address: SocketAddr| {
        endpoints.iter().find(|it| it["address"] == address.to_string()).unwrap().clone()
    };
    assert_eq!(of(gone)["state"], "unhealthy");
    assert!(!of(gone)["reason"].as_str().unwrap().is_empty());
    eventually("the other one", || {
        let view = ask(admin, &format!("/origins?search={}", well.address));
        (view["upstreams"][0]["healthy"] == 1).then_some(())
    });
    assert_eq!(ask(admin, "/origins?search=nothing")["found"], 0);
}

#[test]
fn connections_and_certificates_are_told() {
    let yaml = config("").replace(
        "  - { name: web, address: 127.0.0.1:0 }\n",
        "  - { name: web, address: 127.0.0.1:0 }\n  - name: safe\n    address: 127.0.0.1:0\n    tls: \
         { certificates: [ { self_signed: true, domains: [localhost, b.example] } ] }\n",
    );
    let gateway = Gateway::start(&yaml);
    let admin = gateway.admin();
    let _open = Client::connect(gateway.web());
    let view = eventually("the connection", || {
        let view = ask(admin, "/connections");
        (view["listeners"][0]["open"] == 1).then_some(view)
    });
    assert_eq!(view["listeners"][1]["tls"], true);
    let workers = view["workers"].as_array().unwrap();
    let held: u64 = workers.iter().map(|it| it["connections"].as_u64().unwrap()).sum();
    assert_eq!((workers.len(), held), (2, 1));
    let view = ask(admin, "/certificates?search=B.example");
    let certificate = &view["certificates"][0];
    assert_eq!((&view["found"], &certificate["source"]), (&1.into(), &"self_signed".into()));
    let mut names: Vec<_> =
        certificate["names"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["b.example", "localhost"]);
    assert!(certificate["days_left"].as_f64().unwrap() > 1.0 && certificate["default"] == true);
    assert!(certificate["issuer"].as_str().unwrap().contains('='), "{certificate}");
    assert!(ask(admin, "/process")["resident_bytes"].as_u64().unwrap() > 0);
    assert_eq!(ask(admin, "/door")["state"], "none");
}
