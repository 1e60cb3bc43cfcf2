//! What is wrong with `passthrough` is told by `check`, and where a name goes by `explain`.

use std::fs;
use std::path::Path;

use super::super::answering;
use super::super::pki::Pki;
use super::file;
use crate::support::{check, sallyport};

const UPSTREAMS: &str = "  - { name: db, endpoints: [{ address: \"127.0.0.1:5432\" }] }
  - { name: secured, tls: {}, endpoints: [{ address: \"127.0.0.1:443\" }] }
  - { name: h2, protocol: http2, endpoints: [{ address: \"127.0.0.1:80\" }] }
";

fn with(tls: &str, rest: &str) -> String {
    file(tls, &[UPSTREAMS.to_owned()], rest)
}

fn said(yaml: &str) -> (Option<i32>, String) {
    let output = check(yaml);
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_mistake_has_a_line_and_a_remedy() {
    let pki = Pki::new("test");
    pki.issue("site", &["a.example"]);
    for (tls, parts) in [
        ("{}", &["listeners[0].tls: has no `certificates`", "passthrough"][..]),
        ("{ passthrough: [] }", &["listeners[0].tls.passthrough: is empty", "db.example.com"]),
        (
            "{ certificates: [], passthrough: [{ sni: [a.example], upstream: db }] }",
            &["listeners[0].tls.certificates: is empty"],
        ),
        (
            "{ passthrough: [{ sni: [], upstream: db }] }",
            &["listeners[0].tls.passthrough[0].sni", "write"],
        ),
        (
            "{ passthrough: [{ sni: [a..b], upstream: db }] }",
            &["passthrough[0].sni[0]", "no name that a client could ask for", "db.example.com"],
        ),
        (
            "{ passthrough: [{ sni: [\"w*.a.example\"], upstream: db }] }",
            &["passthrough[0].sni[0]", "no name"],
        ),
        (
            "{ passthrough: [{ sni: [a.example], upstream: db }, { sni: [b.example, A.example.], upstream: db }] }",
            &["passthrough[1].sni[1]", "duplicate name a.example", "passthrough[0].sni[0]"],
        ),
        ("{ passthrough: [{ sni: [a.example] }] }", &["passthrough[0]", "upstream", "split"]),
        (
            "{ passthrough: [{ sni: [a.example], upstream: no }] }",
            &["passthrough[0].upstream", "unknown upstream \"no\""],
        ),
        (
            "{ passthrough: [{ sni: [a.example], split: [{ upstream: db, weight: 0 }] }] }",
            &["passthrough[0].split", "no weight above 0"],
        ),
        (
            "{ passthrough: [{ sni: [a.example], upstream: secured }] }",
            &["passthrough[0].upstream", "\"secured\" has `tls`", "TLS already"],
        ),
        (
            "{ passthrough: [{ sni: [a.example], split: [{ upstream: db, weight: 1 }, { upstream: h2, weight: 1 }] }] }",
            &["passthrough[0].split[1].upstream", "\"h2\" has `protocol`"],
        ),
        (
            "{ min_version: \"1.3\", passthrough: [{ sni: [a.example], upstream: db }] }",
            &["tls.min_version", "no effect", "certificates"],
        ),
        (
            "{ default: refuse, passthrough: [{ sni: [a.example], upstream: db }] }",
            &["tls.default", "no effect"],
        ),
        (
            "{ passthrough: [{ sni: [a.example], upstream: db, host: x }] }",
            &["passthrough[0]", "host"],
        ),
    ] {
        let (status, text) = said(&with(tls, ""));
        let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
        assert_eq!(status, Some(78), "{tls}: {text}");
        assert!(line.is_some_and(|line| line.contains(":4: ")), "{tls}: {parts:?} in {text}");
    }
    let good = with("{ passthrough: [{ sni: [a.example], upstream: db }] }", "");
    for (key, place) in [
        ("virtual_hosts: []", "virtual_hosts"),
        ("protocols: [http1]", "protocols"),
        ("http2: { max_streams: 7 }", "http2"),
        ("timeouts: { idle: 7s }", "timeouts"),
        ("filters: [{ request_id: {} }]", "filters"),
    ] {
        let yaml = good.replacen("    tls:", &format!("    {key}\n    tls:"), 1);
        let (status, text) = said(&yaml);
        let expected = format!("listeners[0].{place}: has no effect");
        assert!(status == Some(78) && text.contains(&expected), "{key}: {status:?} {text}");
    }
    // With certificates all of it has an effect, and nothing that is used is told of as unused.
    let tls = format!(
        "{{ certificates: [{}], passthrough: [{{ sni: [a.example], upstream: db }}] }}",
        pki.entry("site")
    );
    let (status, text) = said(&with(&tls, &answering("hello")));
    assert!(status == Some(0) && !text.contains("\"db\""), "{status:?} {text}");
}

#[test]
fn explain_says_where_a_name_goes() {
    let pki = Pki::new("test");
    pki.issue("site", &["www.a.example"]);
    let tls = format!(
        "{{ certificates: [{}], passthrough: [{{ sni: [\"*.a.example\"], upstream: db }}] }}",
        pki.entry("site")
    );
    let config = pki.path("sallyport.yaml");
    fs::write(&config, with(&tls, &answering("hello"))).unwrap();
    let explain = |name: &str| {
        let mut command = sallyport();
        command.arg("explain").arg(&config).args(["--host", name, "--path", "/", "--sni", name]);
        let output = command.arg("--json").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let passed = explain("DB.a.example");
    assert_eq!(passed["action"], "passthrough");
    assert_eq!(passed["upstream"], "db");
    assert_eq!(passed["endpoint"], "127.0.0.1:5432");
    assert!(passed["certificate"].is_null() && passed["route"].is_null(), "{passed}");
    let terminated = explain("www.a.example");
    assert_eq!(terminated["action"], "respond");
    assert!(terminated["certificate"].as_str().unwrap().ends_with("site.pem"));
}

/// The files of docs/tls.md that pass connections on are good as they stand.
#[test]
fn the_documented_files_are_good() {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/tls.md");
    let document = fs::read_to_string(document).unwrap();
    let examples = document.split("```yaml\n").skip(1).map(|it| it.split("```").next().unwrap());
    let examples: Vec<_> = examples.filter(|it| it.contains("passthrough:")).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let (status, text) = said(example);
        assert_eq!(status, Some(0), "{example}: {text}");
        assert!(!text.contains("warning"), "{example}: {text}");
    }
}
