//! What is wrong is told where it is, and with what to write instead.

use std::fs;

use super::{file, text};
use crate::support::{check, config, sallyport};

/// A mistake, its line, and what must be said of it: what is wrong, and what to write.
pub(super) const MESSAGES: &[(&str, usize, &[&str])] = &[
    (
        "ROUTE: { name: r, forward: { upstream: a, timeout: 15 } }",
        8,
        &["timeout: is 15, not a string with a unit, write 15s"],
    ),
    (
        "limits: { request_header_bytes: 65536 }",
        4,
        &["request_header_bytes: is 65536, not a string with a unit, write 64KiB"],
    ),
    ("limits: { request_body_bytes: 1000 }", 4, &["request_body_bytes: is 1000", "write 1000B"]),
    (
        "limits: { request_header_bytes: 2MiB }",
        4,
        &["\"2MiB\": is not such a size, write a size from 256B to 1MiB"],
    ),
    (
        "virtual_hosts:\n  - { name: a, domains: [*.example.com], routes: [] }",
        5,
        &["*.example.com without quotes is an alias", "put what begins with * in quotes"],
    ),
    ("virtual_hosts:\n  - name: a\n\tdomains: [a]\n    routes: []", 6, &["indented with a tab"]),
    (
        "virtual_hosts:\n  - { name: a, domains: [\"https://site.example.com\"], routes: [] }",
        5,
        &["domain has a scheme or a path; write the host alone"],
    ),
    (
        "limits: { domains: 1 }\nvirtual_hosts:\n  - { name: a, domains: [a, b], routes: [] }",
        5,
        &["2 domains in all, over the limit of 1", "raise `limits.domains`"],
    ),
    (
        "ROUTE: { name: r, filters: [{ headers: { request: { set: { x-client: $remote_addr } } } }], respond: { status: 200 } }",
        8,
        &["`$remote_addr` has no braces; write ${client}"],
    ),
    (
        "ROUTE: { name: r, filters: [{ headers: { request: { set: { x-a: $http_x_forwarded_for } } } }], respond: { status: 200 } }",
        8,
        &["write ${header.x-forwarded-for}"],
    ),
    (
        "ROUTE: { name: r, forward: { upstream: a, retries: \"2\" } }",
        8,
        &["retries: is \"2\", write 2 without quotes"],
    ),
    ("classifier: { required: \"true\" }", 4, &["is \"true\", write true without quotes"]),
    ("classifier: { required: yes }", 4, &["is \"yes\", write true or false"]),
    (
        "ROUTE: { name: r, respond: { status: 200, body: 1 } }",
        8,
        &["body: is 1, not a string, put it in quotes: \"1\""],
    ),
    // What could never match.
    (
        "ROUTE: { name: r, match: { path: { regex: \"/caf\u{e9}/.*\" } }, respond: { status: 200 } }",
        8,
        &["has 'é', which no path is matched with, write %C3%A9"],
    ),
    (
        "virtual_hosts:\n  - name: none\n    domains: [a]\n    routes: [ { name: none, respond: { status: 200 } } ]",
        7,
        &["routes[0].name: is \"none\" in a virtual host \"none\", choose another name"],
    ),
];

#[test]
fn each_mistake_is_told_with_what_to_write_instead() {
    for (snippet, line, parts) in MESSAGES {
        let output = check(&file(snippet));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(78), "{snippet}\n{said}");
        assert!(said.contains(&format!("test.yaml:{line}: ")), "{snippet}\n{said}\nline {line}");
        for part in *parts {
            assert!(said.contains(part), "{snippet}\n{said}\nlacks {part}");
        }
    }
}

/// What is accepted and yet told, with its line.
const WARNINGS: &[(&str, usize, &str)] = &[
    (
        "verdicts: { exempt: [10.0.0.1/8], rules: [] }",
        4,
        "verdicts.exempt[0]: 10.0.0.1/8 is the network 10.0.0.0/8, write 10.0.0.0/8 for all of it, or 10.0.0.1 for",
    ),
    (
        "ROUTE: { name: r, match: { path: { prefix: \"/api/*\" } }, respond: { status: 200 } }",
        8,
        "match.path.prefix: \"/api/*\": `*` stands for itself here",
    ),
    (
        "ROUTE: { name: r, respond: { status: 200 } }\n      - { name: s, respond: { status: 201 } }",
        9,
        "virtual_hosts[0].routes[1]: is never reached: virtual_hosts[0].routes[0] takes what it would",
    ),
    (
        "ROUTE: { name: r, match: { path: { prefix: /rp } }, redirect: { path: /rp } }",
        8,
        "virtual_hosts[0].routes[0].redirect: leads to \"/rp\", which this route takes again",
    ),
    (
        "ROUTE: { name: r, match: { path: { prefix: /a } }, redirect: { path_prefix: /a/b } }",
        8,
        "routes[0].redirect: leads to \"/a/b\", which this route takes again",
    ),
    (
        "ROUTE: { name: r, redirect: { status: 308 } }",
        8,
        "routes[0].redirect: leads to the address that was asked for, over and over",
    ),
    (
        "ROUTE: { name: r, match: { methods: [CONNECT] }, respond: { status: 200 } }",
        8,
        "routes[0].match.methods: CONNECT never matches",
    ),
    (
        "upstreams:\n  - { name: spare, endpoints: [ { address: 10.0.0.1:1 } ] }",
        5,
        "upstreams[0]: no route leads to upstream \"spare\"",
    ),
    (
        "ROUTE: { name: r, filters: [{ ip_access: { allow: [192.0.2.7/24] } }], respond: { status: 200 } }",
        8,
        "192.0.2.7/24 is the network 192.0.2.0/24",
    ),
];

/// Redirects that a careless look would take for loops.
#[test]
fn a_redirect_that_leads_elsewhere_is_no_warning() {
    for route in [
        "{ name: r, redirect: { scheme: https } }",
        "{ name: r, redirect: { port: 8080 } }",
        "{ name: r, redirect: { host: elsewhere.example } }",
        "{ name: r, match: { path: { exact: /a } }, redirect: { path: /a/b } }",
        "{ name: r, match: { path: { prefix: /a } }, redirect: { path_prefix: /b } }",
        "{ name: r, match: { path: { prefix: /a }, methods: [POST] }, redirect: { path: /a } }",
        "{ name: r, match: { query: [{ name: a, exact: b }] }, redirect: { path: /?c } }",
        "{ name: r, match: { path: { exact: /a } }, respond: { status: 200 } }
      - { name: s, match: { path: { prefix: /a } }, redirect: { path: /a } }",
    ] {
        let yaml = config(&format!(
            "virtual_hosts:\n  - name: h\n    domains: [a.example]\n    routes:\n      - {route}\n"
        ));
        let output = check_strictly(&yaml);
        assert!(output.status.success(), "{route}\n{}", text(&output));
    }
    let to_itself = config(
        "virtual_hosts:
  - name: h
    domains: [a.example, www.a.example]
    routes: [ { name: r, redirect: { host: www.a.example } } ]
",
    );
    let said = text(&check_strictly(&to_itself));
    assert!(said.contains("leads to the address that was asked for"), "{said}");
}

fn check_strictly(yaml: &str) -> std::process::Output {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("test.yaml");
    fs::write(&path, yaml).unwrap();
    sallyport().args(["check", "--strict"]).arg(&path).output().unwrap()
}

#[test]
fn what_probably_is_not_meant_is_a_warning_and_an_error_for_who_is_strict() {
    for (snippet, line, expected) in WARNINGS {
        let expected = format!("test.yaml:{line}: warning: {}{expected}", "");
        let output = check(&file(snippet));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(0), "{snippet}\n{said}");
        let (place, what) = expected.split_once("warning: ").unwrap();
        let is_told = said.lines().any(|line| line.contains(place) && line.contains(what));
        assert!(is_told, "{snippet}\n{said}\nlacks {expected}");
        assert!(said.contains("ok: 1 listeners"), "{said}");
        let output = check_strictly(&file(snippet));
        let said = text(&output);
        assert_eq!(output.status.code(), Some(78), "{snippet}\n{said}");
        assert!(said.contains(what) && !said.contains("ok: "), "{said}");
    }
    let output = check_strictly(&config(""));
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_network_of_ipv4_addresses_in_ipv6_is_the_ipv4_network() {
    let yaml =
        |network: &str| config(&format!("verdicts: {{ exempt: [\"{network}\"], rules: [] }}\n"));
    // Told by the warning, which names what it is taken for.
    let said = text(&check(&yaml("::ffff:10.1.2.3/104")));
    assert!(said.contains("10.1.2.3/8 is the network 10.0.0.0/8"), "{said}");
    assert!(check_strictly(&yaml("::ffff:10.0.0.0/104")).status.success());
    assert!(check_strictly(&yaml("::ffff:10.0.0.1")).status.success());
}

#[test]
fn a_name_that_is_taken_in_another_file_is_told_with_that_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let host = |name: &str, domain: &str| {
        format!("virtual_hosts:\n  - {{ name: {name}, domains: [{domain}], routes: [] }}\n")
    };
    fs::write(path("main.yaml"), config("include: [a.yaml, b.yaml]\n")).unwrap();
    fs::write(path("a.yaml"), host("one", "same.example")).unwrap();
    fs::write(path("b.yaml"), host("two", "same.example")).unwrap();
    let said = text(&sallyport().arg("check").arg(path("main.yaml")).output().unwrap());
    let first =
        format!("it is taken by virtual_hosts[0].domains[0] of {}", path("a.yaml").display());
    assert!(said.contains("b.yaml:2: ") && said.contains(&first), "{said}");
}

#[test]
fn what_is_not_utf8_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.yaml");
    fs::write(&path, [config("# ").as_bytes(), b"caf\xe9\n"].concat()).unwrap();
    let said = text(&sallyport().arg("check").arg(&path).output().unwrap());
    assert!(said.contains("latin1.yaml:4: is not UTF-8"), "{said}");
}
