//! Every shipped file is good, every mistake is found with its line, and nothing is accepted that
//! has no effect.

#[path = "configuration/messages.rs"]
mod messages;
#[path = "configuration/references.rs"]
mod references;
#[path = "configuration/schema.rs"]
mod schema;
#[path = "configuration/sources.rs"]
mod sources;

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{Gateway, check, config, sallyport};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn check_file(file: &Path) -> Output {
    sallyport().arg("check").arg(file).output().unwrap()
}

#[test]
fn every_shipped_file_is_good() {
    let mut files = 0;
    for file in fs::read_dir(root().join("conf")).unwrap() {
        let file = file.unwrap().path();
        // The classifier's own file is checked with the classifier.
        if file.ends_with("classifier.yaml") {
            continue;
        }
        if file.extension().is_some_and(|extension| extension == "yaml") {
            let output = check_file(&file);
            assert!(output.status.success(), "{}", text(&output));
            files += 1;
        }
    }
    assert!(files >= 2, "{files} files");
}

#[test]
fn every_example_in_the_documentation_is_good() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("conf.d")).unwrap();
    fs::write(folder.path().join("token"), "0123456789\n").unwrap();
    for document in [
        "README.md",
        "docs/bandwidth.md",
        "docs/configuration.md",
        "docs/grpc.md",
        "docs/origins.md",
        "docs/resilience.md",
        "docs/shared-limits.md",
    ] {
        let document = fs::read_to_string(root().join(document)).unwrap();
        let mut examples = 0;
        for example in document.split("```yaml\n").skip(1) {
            let file = folder.path().join("example.yaml");
            fs::write(&file, example.split("```").next().unwrap()).unwrap();
            let mut command = sallyport();
            let command = command.arg("check").arg(&file).env("ADDRESS", "127.0.0.1:80");
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}\n{example}", text(&output));
            examples += 1;
        }
        assert!(examples > 0);
    }
}

/// The number `text` stands for, and half of its last digit.
fn number(text: &str) -> (f64, f64) {
    let plain = text.replace(',', "");
    let decimals = plain.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    (plain.parse().unwrap(), 0.5 / 10_f64.powi(decimals as i32))
}

#[test]
fn every_figure_of_the_readme_is_in_the_samples_it_names() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let numbers = regex::Regex::new("[0-9]+(?:,[0-9]{3})*(?:[.][0-9]+)?").unwrap();
    let table = readme.split("| figure |").nth(1).unwrap();
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 5, "{rows:#?}");
    for row in rows {
        let [_, _, figures, samples, _] = row.split('|').collect::<Vec<_>>()[..] else {
            panic!("not three columns: {row}");
        };
        let label = samples.split("][").nth(1).unwrap().split(']').next().unwrap();
        let link = readme.lines().find_map(|line| line.strip_prefix(&format!("[{label}]: ")));
        let samples = fs::read_to_string(root().join(link.unwrap())).unwrap();
        // In a file of samples a comma separates.
        let kept: Vec<f64> = numbers
            .find_iter(&samples.replace(',', " "))
            .map(|found| found.as_str().parse().unwrap())
            .collect();
        for figure in numbers.find_iter(figures) {
            let (figure, half) = number(figure.as_str());
            let is_it = |kept: &f64| (kept - figure).abs() <= half * 1.000_001;
            assert!(kept.iter().any(is_it), "{figure} is not in {link:?}: {row}");
        }
    }
}

/// Mistakes under `upstreams` and `virtual_hosts`, with the line and what the message must contain.
const MISTAKES: &[(&str, usize, &str)] = &[
    ("upstreamz: []", 4, "upstreamz: unknown key `upstreamz`, did you mean `upstreams`?"),
    ("tls: {}", 4, "unknown key `tls`"),
    ("classifier: { require: true }", 4, "unknown key `require`, did you mean `required`?"),
    ("classifier: { pin_path: maps }", 4, "classifier.pin_path: \"maps\": is not an absolute path"),
    (
        "classifier: { upstream_headers: [colour] }",
        4,
        "upstream_headers[0]: \"colour\": is no hint",
    ),
    ("verdicts: { max: 10 }", 4, "verdicts: has no `rules`"),
    ("verdicts: { max: 0, rules: [] }", 4, "verdicts.max: is 0"),
    ("verdicts: { exempt: [here], rules: [] }", 4, "verdicts.exempt[0]: \"here\""),
    (
        "verdicts:\n  rules:\n    - { on: 5xx, more_than: 1, within: 1s, for: 1s }",
        6,
        "verdicts.rules[0].on: \"5xx\": is nothing to count",
    ),
    (
        "verdicts:\n  rules:\n    - { on: 4xx, more_than: 0, within: 1s, for: 1s }",
        6,
        "more_than: is 0",
    ),
    ("verdicts:\n  rules:\n    - { on: 4xx, more_than: 1, for: 1s }", 6, "has no `within`"),
    ("push: {}", 4, "push: has no `exporters`"),
    ("push: { exporters: [] }", 4, "push.exporters: is empty"),
    (
        "push: { exporter: [] }",
        4,
        "push.exporter: unknown key `exporter`, did you mean `exporters`?",
    ),
    ("push: { every: 10ms, exporters: [] }", 4, "push.every: is 10ms, write 100ms or more"),
    (
        "push: { every: 10, exporters: [] }",
        4,
        "push.every: is 10, not a string with a unit, write 10s",
    ),
    ("push: { series: 0, exporters: [] }", 4, "push.series: is 0"),
    ("push: { buffer: 1KiB, exporters: [] }", 4, "push.buffer: \"1KiB\": is not such a size"),
    (
        "push:\n  exporters:\n    - { statsd: { address: localhost:8125 } }",
        6,
        "push.exporters[0]: has no `name`",
    ),
    (
        "push:\n  exporters:\n    - { name: a }",
        6,
        "has none of `dogstatsd`, `statsd`, `emf`, `remote_write`, `otlp`",
    ),
    (
        "push:\n  exporters:\n    - { name: a, statsd: { address: h:1 }, emf: { address: h:1 } }",
        6,
        "push.exporters[0]: has `statsd`, `emf` together",
    ),
    (
        "push:\n  exporters:\n    - { name: a, statsd: { address: h:1 } }\n    - { name: a, emf: { address: h:1 } }",
        5,
        "push.exporters: has two exporters called \"a\"",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      statsd: { address: 8125 }",
        7,
        "push.exporters[0].statsd.address: is 8125, not a string",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      statsd: { address: \"localhost\" }",
        7,
        "statsd.address: \"localhost\": is no such address, write HOST:PORT",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      dogstatsd: { address: \"tcp://h:1\" }",
        7,
        "dogstatsd.address: is a stream, write udp://HOST:PORT or unix:///PATH",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      emf: { address: \"unix:///x\" }",
        7,
        "emf.address: is a Unix socket",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      statsd: { address: h:1, tags: yes }",
        7,
        "statsd.tags: ",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      statsd: { address: h:1, datagram_bytes: 1MiB }",
        7,
        "statsd.datagram_bytes: \"1MiB\": is not such a size",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      dogstatsd: { address: h:1, timestamp: true }",
        7,
        "dogstatsd.timestamp: unknown key `timestamp`",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      remote_write: { url: prometheus }",
        7,
        "remote_write.url: is no URL with a scheme and a host",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      remote_write: { url: \"http://h/w\", headers: { host: b } }",
        7,
        "remote_write.headers.host: is the gateway's own to say, remove it",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      otlp: { url: \"http://h\", protocol: http3 }",
        7,
        "otlp.protocol: \"http3\": is none of them, write grpc or http",
    ),
    (
        "push:\n  exporters:\n    - name: a\n      otlp: { url: \"http://h\", headers: { a-bin: b } }",
        7,
        "otlp: has a header whose name ends in `-bin`",
    ),
    (
        "push:\n  exporters:\n    - { name: a, breaker: { failures: 0 }, emf: { address: h:1 } }",
        6,
        "push.exporters[0].breaker.failures: is 0",
    ),
    (
        "push:\n  exporters:\n    - { name: a, attempts: 11, emf: { address: h:1 } }",
        6,
        "push.exporters[0].attempts: is 11, write a whole number from 1 to 10",
    ),
    (
        "push:\n  exporters:\n    - { name: a, queue: { batches: 0 }, emf: { address: h:1 } }",
        6,
        "push.exporters[0].queue.batches: is 0",
    ),
    ("upstreams:\n  - name: a", 5, "upstreams[0]: has no `endpoints`"),
    ("upstreams:\n  - { name: a, endpoints: [] }", 5, "upstreams[0].endpoints: is empty"),
    (
        "upstreams:\n  - name: a\n    endpoints:\n      - { address: nowhere }",
        7,
        "upstreams[0].endpoints[0].address: \"nowhere\"",
    ),
    ("upstreams:\n  - name: a\n    endpoints:\n      - { address: 10.0.0.1:0 }", 7, "port 0"),
    (
        "upstreams:\n  - name: a\n    endpoints:\n      - { address: 10.0.0.1:1, weight: 0 }",
        7,
        "weight: is 0, write a whole number from 1 to 65535",
    ),
    (
        "upstreams:\n  - name: a\n    endpoints:\n      - { address: 10.0.0.1:1, weight: 65536 }",
        7,
        "weight: is 65536",
    ),
    (
        "upstreams:\n  - name: a\n    endpoints:\n      - { address: 10.0.0.1:1 }\n      - { address: 10.0.0.1:1 }",
        8,
        "duplicate address 10.0.0.1:1",
    ),
    (
        "upstreams:\n  - { name: a, endpoints: [ { address: 10.0.0.1:1 } ] }\n  - { name: a, endpoints: [ { address: 10.0.0.1:1 } ] }",
        6,
        "upstreams[1].name: duplicate upstream \"a\"",
    ),
    (
        "upstreams:\n  - name: a\n    load_balancing: { policy: fastest }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "\"fastest\": is no policy",
    ),
    (
        "upstreams:\n  - name: a\n    load_balancing: { policy: maglev, table_size: 65536 }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "prime",
    ),
    (
        "upstreams:\n  - name: a\n    load_balancing: { policy: random, hash_on: path }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "`hash_on` has no effect",
    ),
    (
        "upstreams:\n  - name: a\n    load_balancing: { policy: maglev, hash_on: { header: a, cookie: b } }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "`header`, `cookie` together",
    ),
    (
        "upstreams:\n  - name: a\n    health_check: { path: /, tcp: {} }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "health_check: has `path`, `tcp` together",
    ),
    (
        "upstreams:\n  - name: a\n    health_check: { http: { path: /, status: 99 } }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "http.status: is 99, write a whole number from 200 to 599",
    ),
    (
        "upstreams:\n  - name: a\n    health_check: { http: { path: /, status: 399-200 } }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "http.status: \"399-200\": is no range from 200 to 599",
    ),
    (
        "upstreams:\n  - name: a\n    health_check: { http: { path: /, host: \"a b\" } }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "http.host: \"a b\": is not a host",
    ),
    (
        "upstreams:\n  - name: a\n    health_check: { tcp: {} }\n    outlier_detection: { panic_below: 101% }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        7,
        "panic_below: \"101%\": is not a share in percent",
    ),
    (
        "upstreams:\n  - name: a\n    outlier_detection: { panic_below: 10% }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        5,
        "`outlier_detection.panic_below` has no effect without `health_check`",
    ),
    (
        "ROUTE: { name: r, forward: { upstream: gone, failover: true } }",
        8,
        "`failover` has no effect without `split`",
    ),
    (
        "upstreams:\n  - name: a\n    timeouts: { read: 5 }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "timeouts.read: is 5, not a string with a unit, write 5s",
    ),
    (
        "upstreams:\n  - name: a\n    timeouts: { read: 5 days }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "write a time above 0 and up to 24h",
    ),
    (
        "virtual_hosts:\n  - { name: a, domains: [a], routes: [] }\n  - { name: a, domains: [b], routes: [] }",
        6,
        "duplicate virtual host \"a\"",
    ),
    (
        "virtual_hosts:\n  - { name: a, domains: [A.example], routes: [] }\n  - { name: b, domains: [a.example], routes: [] }",
        6,
        "virtual_hosts[1].domains[0]: duplicate domain",
    ),
    (
        "virtual_hosts:\n  - { name: a, domains: [a.example, A.example], routes: [] }",
        5,
        "virtual_hosts[0].domains[1]: duplicate domain \"a.example\"",
    ),
    (
        "virtual_hosts:\n  - { name: a, domains: [\"a.*.b\"], routes: [] }",
        5,
        "virtual_hosts[0].domains[0]",
    ),
    (
        "virtual_hosts:\n  - { name: a, domains: [], routes: [] }",
        5,
        "virtual_hosts[0].domains: is empty",
    ),
    ("ROUTE: { name: r }", 8, "has none of `forward`, `redirect`, `respond`"),
    (
        "ROUTE: { name: r, respond: { status: 200 }, redirect: { path: / } }",
        8,
        "has `redirect`, `respond` together",
    ),
    (
        "ROUTE: { name: r, redirect: {} }",
        8,
        "write at least one of `scheme`, `host`, `port`, `path`, `path_prefix`, `status`",
    ),
    (
        "ROUTE: { name: r, redirect: { path: /a, path_prefix: /b } }",
        8,
        "has both `path` and `path_prefix`",
    ),
    ("ROUTE: { name: r, redirect: { host: \"a.example:80\" } }", 8, "write the port under `port`"),
    ("ROUTE: { name: r, redirect: { host: \"[::1]:80\" } }", 8, "write the port under `port`"),
    ("ROUTE: { name: r, redirect: { path: \"/new/$1\" } }", 8, "write ${1} for the group"),
    ("ROUTE: { name: r, redirect: { path: \"/new/${1}\" } }", 8, "the route matches no regex"),
    (
        "ROUTE: { name: r, match: { path: { prefix: /a } }, redirect: { host: \"${1}.example\" } }",
        8,
        "redirect.host: names the group \"1\", and the route matches no regex",
    ),
    (
        "ROUTE: { name: r, match: { path: { regex: \"/(a)\" } }, redirect: { path: \"/${2}\" } }",
        8,
        "redirect.path: there is no group \"2\" in the regex \"/(a)\"",
    ),
    (
        "ROUTE: { name: r, match: { path: { regex: \"/(a)\" } }, redirect: { host: \"${1}:80\" } }",
        8,
        "write the port under `port`",
    ),
    (
        "ROUTE: { name: r, match: { path: { regex: \"/(a)\" } }, redirect: { host: \"${1}..x\" } }",
        8,
        "redirect.host: host has an empty label",
    ),
    (
        "ROUTE: { name: r, match: { path: { exact: /a } }, redirect: { path_prefix: /b } }",
        8,
        "redirect.path_prefix: replaces a prefix, and the route matches none",
    ),
    ("ROUTE: { name: r, redirect: { path_prefix: \"/b?c\" } }", 8, "redirect.path_prefix"),
    (
        "ROUTE: { name: r, forward: { upstream: gone } }",
        8,
        "routes[0].forward.upstream: unknown upstream \"gone\"",
    ),
    (
        "ROUTE: { name: r, forward: { split: [ { upstream: gone, weight: 1 } ] } }",
        8,
        "split[0].upstream: unknown upstream",
    ),
    (
        "ROUTE: { name: r, forward: { split: [ { upstream: gone, weight: 0 } ] } }",
        8,
        "split: has no weight above 0",
    ),
    (
        "ROUTE: { name: r, match: { path: { regex: \"(\" } }, respond: { status: 200 } }",
        8,
        "match.path.regex: \"(\"",
    ),
    (
        "ROUTE: { name: r, match: { path: { prefix: a } }, respond: { status: 200 } }",
        8,
        "match.path.prefix: \"a\"",
    ),
    (
        "ROUTE: { name: r, match: { path: { exact: \"/%7e\" } }, respond: { status: 200 } }",
        8,
        "write \"/~\"",
    ),
    (
        "ROUTE: { name: r, match: { path: { exact: /, prefix: / } }, respond: { status: 200 } }",
        8,
        "`exact`, `prefix` together",
    ),
    (
        "ROUTE: { name: r, match: { methods: [get] }, respond: { status: 200 } }",
        8,
        "case-sensitive",
    ),
    (
        "ROUTE: { name: r, match: { methods: [] }, respond: { status: 200 } }",
        8,
        "methods: is empty",
    ),
    (
        "ROUTE: { name: r, match: { headers: [ { name: \"a b\", exact: x } ] }, respond: { status: 200 } }",
        8,
        "headers[0].name",
    ),
    (
        "ROUTE: { name: r, match: { headers: [ { name: a, exact: 1 } ] }, respond: { status: 200 } }",
        8,
        "put it in quotes",
    ),
    (
        "ROUTE: { name: r, match: { hint: { protocol: gopher } }, respond: { status: 200 } }",
        8,
        "match.hint.protocol: \"gopher\": is no protocol",
    ),
    (
        "ROUTE: { name: r, match: { hint: { screens: [verdict] } }, respond: { status: 200 } }",
        8,
        "match.hint.screens[0]: \"verdict\": is no screen, write one of unparsable, land, ",
    ),
    (
        "ROUTE: { name: r, match: { hint: {} }, respond: { status: 200 } }",
        8,
        "match.hint: asks for nothing",
    ),
    (
        "ROUTE: { name: r, match: { hint: { syn_rate: 5 } }, respond: { status: 200 } }",
        8,
        "match.hint.syn_rate: is 5",
    ),
    (
        "upstreams:\n  - name: a\n    load_balancing: { policy: maglev, hash_on: { hint: screens } }\n    endpoints: [ { address: 10.0.0.1:1 } ]",
        6,
        "hash_on.hint: \"screens\": is no hint that is the same for all",
    ),
    ("ROUTE: { name: r, filters: [{ name: x }], respond: { status: 200 } }", 8, "has none of `"),
    (
        "ROUTE: { name: r, filters: [{ header: {} }], respond: { status: 200 } }",
        8,
        "filters[0].header: unknown key `header`, did you mean `headers`?",
    ),
    (
        "ROUTE: { name: r, filters: [{ headers: off }], respond: { status: 200 } }",
        8,
        "filters: turns off \"headers\", which no less specific place sets up",
    ),
    (
        "ROUTE: { name: r, filters: [{ headers: {}, name: \"\" }], respond: { status: 200 } }",
        8,
        "filters[0].name: is empty",
    ),
    ("ROUTE: { name: r, respond: { status: 99 } }", 8, "status: is 99"),
    ("ROUTE: { name: r, respond: { status: 204, body: x } }", 8, "has a body with status 204"),
    (
        "ROUTE: { name: r, respond: { status: 200, headers: { content-length: \"5\" } } }",
        8,
        "leave framing to the gateway",
    ),
    (
        "ROUTE: { name: r, redirect: { status: 304, path: / } }",
        8,
        "write 301, 302, 303, 307 or 308",
    ),
    ("limits: { routes: 0 }", 4, "limits.routes: is 0"),
    ("limits: { request_headers: 257 }", 4, "from 1 to 256"),
    (
        "limits: { upstreams: 1 }\nupstreams:\n  - { name: a, endpoints: [ { address: 10.0.0.1:1 } ] }\n  - { name: b, endpoints: [ { address: 10.0.0.1:1 } ] }",
        5,
        "2 in all, over the limit of 1",
    ),
    (
        "limits: { virtual_hosts: 1 }\nvirtual_hosts:\n  - { name: a, domains: [a], routes: [] }\n  - { name: b, domains: [b], routes: [] }",
        5,
        "raise `limits.virtual_hosts`",
    ),
    (
        "limits: { domains: 1 }\nvirtual_hosts:\n  - { name: a, domains: [a, b], routes: [] }",
        5,
        "raise `limits.domains`",
    ),
    (
        "limits: { endpoints: 1 }\nupstreams:\n  - { name: a, endpoints: [ { address: 10.0.0.1:1 }, { address: 10.0.0.1:2 } ] }",
        6,
        "raise `limits.endpoints`",
    ),
    (
        "limits: { hash_table_slots: 100 }\nupstreams:\n  - { name: a, load_balancing: { policy: maglev }, endpoints: [ { address: 10.0.0.1:1 }, { address: 10.0.0.1:2 } ] }",
        5,
        "raise `limits.hash_table_slots`",
    ),
    (
        "limits: { routes: 1 }\nROUTE: { name: r, respond: { status: 200 } }\n      - { name: s, respond: { status: 200 } }",
        5,
        "raise `limits.routes`",
    ),
    ("a: &a [x]\nupstreams: {", 6, "mend the YAML here"),
    ("upstreams: []\nupstreams: []", 5, "upstreams: is a duplicate key"),
];

/// Puts `snippet` below listeners on lines 1 to 3; `ROUTE:` stands for a host around one route.
fn file(snippet: &str) -> String {
    const HOST: &str = "virtual_hosts:\n  - name: a\n    domains: [a]\n    routes:\n      -";
    config("") + &snippet.replace("ROUTE:", HOST) + "\n"
}

#[test]
fn every_mistake_is_found_with_its_line() {
    for (snippet, line, expected) in MISTAKES {
        let output = check(&file(snippet));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(78), "{snippet}\n{said}");
        assert!(said.contains(expected), "{snippet}\n{said}\nlacks {expected}");
        let located = said.contains(&format!("test.yaml:{line}: "));
        assert!(located, "{snippet}\n{said}\nis not at line {line}");
        assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
    }
}

#[test]
fn exporters_are_bounded_in_number() {
    let exporters = |count: usize| {
        let entry = |index| format!("    - {{ name: e{index}, statsd: {{ address: \"h:1\" }} }}\n");
        config("push:\n  exporters:\n") + &(0..count).map(entry).collect::<String>()
    };
    let most = sallyport::config::PUSH_EXPORTERS_MAX;
    assert!(check(&exporters(most)).status.success());
    let said = text(&check(&exporters(most + 1)));
    assert!(said.contains(&format!("has {} exporters, keep to {most}", most + 1)), "{said}");
}

#[test]
fn all_mistakes_are_found_at_once() {
    let output = check(
        "listeners: [ { name: web, adress: 127.0.0.1:80 } ]
upstreams:
  - { name: a, endpoints: [ { address: x, weight: 0 } ] }
virtual_hosts:
  - name: h
    domains: [\"*\", \"*\"]
    routes:
      - { name: r, match: { path: { regex: \"[\" } }, forward: { upstream: b } }
      - { name: r, forward: { upstream: a } }
",
    );
    let said = text(&output);
    for expected in [
        "test.yaml:1: listeners[0].adress: unknown key `adress`, did you mean `address`?",
        "test.yaml:1: listeners[0]: has no `address`",
        "test.yaml:3: upstreams[0].endpoints[0].address",
        "test.yaml:3: upstreams[0].endpoints[0].weight",
        "test.yaml:6: virtual_hosts[0].domains[1]: duplicate domain",
        "test.yaml:8: virtual_hosts[0].routes[0].match.path.regex",
    ] {
        assert!(said.contains(expected), "{said}\nlacks {expected}");
    }
    // The upstream `a` has problems of its own; the route to it is right.
    assert!(!said.contains("unknown upstream \"a\""), "{said}");
}

#[test]
fn a_domain_leads_to_one_virtual_host_on_each_listener() {
    let yaml = |served: &str| {
        format!(
            "listeners:
  - {{ name: outer, address: 127.0.0.1:0, virtual_hosts: [a] }}
  - {{ name: inner, address: 127.0.0.1:0, virtual_hosts: {served} }}
virtual_hosts:
  - {{ name: a, domains: [a.example], routes: [] }}
  - {{ name: b, domains: [a.example, b.example], routes: [] }}
  - {{ name: c, domains: [b.example], routes: [] }}
"
        )
    };
    let output = check(&yaml("[b]"));
    assert!(output.status.success(), "{}", text(&output));
    let said = text(&check(&yaml("[b, c]")));
    assert!(
        said.contains("test.yaml:7: virtual_hosts[2].domains[0]: duplicate domain \"b.example\""),
        "{said}"
    );
    assert!(said.contains("taken by virtual_hosts[1].domains[1]"), "{said}");
    assert!(!said.contains("\"a.example\""), "{said}");
    let said = text(&check(&yaml("[a, b, a]")));
    assert!(said.contains("virtual_hosts[1].domains[0]: duplicate domain \"a.example\""), "{said}");
    assert!(
        said.contains("listeners[1].virtual_hosts[2]: names virtual host \"a\" again"),
        "{said}"
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("latin1.yaml"), b"# caf\xe9\n").unwrap();
    fs::write(path("secret.yaml"), "").unwrap();
    fs::set_permissions(path("secret.yaml"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::File::create(path("huge.yaml")).unwrap().set_len((64 << 20) + 1).unwrap();
    fs::write(path("include.yaml"), config("include: [gone.yaml]\n")).unwrap();
    for (name, expected) in [
        ("missing.yaml", "does not exist"),
        ("", "is a directory"),
        ("latin1.yaml", "is not UTF-8"),
        ("secret.yaml", "may not be read by this user"),
        ("huge.yaml", "is over 64 MiB"),
        ("include.yaml", "gone.yaml:1: does not exist"),
    ] {
        for command in ["check", "run"] {
            let mut sallyport = sallyport();
            match command {
                "check" => sallyport.arg("check").arg(path(name)),
                _ => sallyport.arg("run").arg("--config").arg(path(name)),
            };
            // Root may read anything; the permission is tested as nobody.
            if name == "secret.yaml" && fs::read(path(name)).is_ok() {
                sallyport.uid(65_534).gid(65_534);
            }
            let Ok(output) = sallyport.output() else {
                eprintln!("SKIPPED: this user cannot run the binary as another one");
                continue;
            };
            let said = text(&output);
            assert_eq!(output.status.code(), Some(78), "{command} {name}: {said}");
            let named = name == "include.yaml" || said.contains(name);
            assert!(said.contains(expected) && named, "{command} {name}: {said}");
            assert_eq!(said.trim().lines().count(), 1, "{command} {name}: {said}");
        }
    }
}

#[test]
fn alias_bombs_are_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", "));
    }
    let output = check(&bomb);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(78));
    assert!(said.contains("repetition limit") || said.contains("aliases"), "{said}");
    let deep = check(&format!("a: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)));
    assert_eq!(deep.status.code(), Some(78), "{}", text(&deep));
}

#[test]
fn a_port_in_use_is_one_line_and_exit_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    second_on(taken.local_addr().unwrap());
    // The sockets of its workers share their port with each other, and with nobody else.
    second_on(Gateway::start(&config("")).web());
}

fn second_on(address: SocketAddr) {
    let address = address.to_string();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    fs::write(&file, config("").replacen("127.0.0.1:0", &address, 1)).unwrap();
    let output =
        sallyport().args(["run", "--threads", "2", "--config"]).arg(&file).output().unwrap();
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

#[test]
fn the_documented_limits_are_the_real_ones() {
    let document = fs::read_to_string(root().join("docs/limits.md")).unwrap();
    for (key, value) in sallyport::config::Limits::default().entries() {
        // As one writes it.
        let value = match key {
            _ if value == u64::MAX => "unlimited".to_owned(),
            _ if key.ends_with("_bytes") => sallyport_config::units::shown(value),
            _ => value.to_string(),
        };
        let row = format!("| `{key}` | {value} | ");
        assert!(document.contains(&row), "docs/limits.md lacks {row:?}");
    }
}

#[test]
fn explain_says_where_a_request_goes_and_why() {
    let explain = |arguments: &[&str]| {
        let file = root().join("conf/quickstart.yaml");
        let output =
            sallyport().arg("explain").arg(file).args(arguments).arg("--json").output().unwrap();
        assert!(output.status.success(), "{}", text(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let user = |name| {
        explain(&[
            "--host",
            "Shop.Example.com:8080",
            "--path",
            "/x/../y?z",
            "--header",
            &format!("X-User: {name}"),
        ])
    };
    let ann = user("ann");
    assert_eq!(ann["virtual_host"], "shop");
    assert_eq!(ann["route"], "everything");
    assert_eq!(ann["action"], "forward");
    assert_eq!(ann["upstream"], "shop");
    assert_eq!(ann["path"], "/y");
    assert!(ann["status"].is_null());
    assert!(ann["endpoint"].as_str().unwrap().starts_with("127.0.0.1:900"));
    assert_eq!(ann["endpoint"], user("ann")["endpoint"]);
    assert_eq!(ann["passed_over"].as_array().unwrap().len(), 3);
    assert_eq!(ann["passed_over"][2]["route"], "beta");
    let beta = explain(&["--host", "a.shop.example.com", "--path", "/", "--header", "x-beta: 1"]);
    assert_eq!((&beta["route"], &beta["upstream"]), (&"beta".into(), &"canary".into()));
    let tea = explain(&["--host", "shop.example.com", "--path", "/teapot", "--method", "POST"]);
    assert_eq!(
        (&tea["action"], &tea["status"], &tea["upstream"]),
        (&"respond".into(), &418.into(), &().into())
    );
    let moved = explain(&["--host", "shop.example.com", "--path", "/basket"]);
    assert_eq!(
        (&moved["status"], &moved["location"]),
        (&301.into(), &"http://shop.example.com/cart".into())
    );
    let nowhere = explain(&["--host", "other.example", "--path", "/", "--client", "192.0.2.1:5"]);
    assert_eq!((&nowhere["status"], &nowhere["virtual_host"]), (&404.into(), &().into()));
    let refused = explain(&["--host", "shop.example.com", "--path", "/.."]);
    assert_eq!(refused["status"], 400);
}
