//! What a shell and `man` are told of the command line, and what `explain` tells.

use crate::support::{Gateway, config, request, sallyport};

#[test]
fn completions_and_manual_pages_know_every_command() {
    let printed = |arguments: &[&str]| {
        let output = sallyport().args(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let commands =
        ["run", "check", "convert", "explain", "upgrade", "origin", "demo", "completions", "man"];
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in commands {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    let page = printed(&["man"]);
    assert!(page.contains(".TH sallyport 1"), "{page}");
    let folder = tempfile::tempdir().unwrap();
    printed(&["man", "--folder", folder.path().to_str().unwrap()]);
    for command in commands {
        let page = folder.path().join(format!("sallyport-{command}.1"));
        assert!(page.exists(), "{}", page.display());
    }
}

#[test]
fn explain_reads_a_target_as_a_request_is_read() {
    let gateway = Gateway::start(&config(
        "virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - { name: here, match: { path: { exact: /a } }, respond: { status: 418 } }
",
    ));
    for target in
        ["/a", "/a?<script>", "/a?\"x\"", "/<a>", "/b/../a?^|", "/a?%zz", "/a\u{1}", "/%zz"]
    {
        let head = format!("GET {target} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
        let answered = request(gateway.web(), &head).status;
        let file = gateway.config.to_str().unwrap();
        let output = sallyport()
            .args(["explain", file, "--host", "a.test", "--path", target, "--json"])
            .output()
            .unwrap();
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["status"], answered, "{target:?}: {told}");
    }
}

#[test]
fn explain_believes_what_a_request_would_be_believed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.yaml");
    std::fs::write(
        &file,
        "listeners:
  - { name: web, address: 127.0.0.1:0, trusted_proxies: [10.0.0.0/8], redirect: { scheme: https } }
upstreams:
  - name: up
    load_balancing: { policy: maglev, hash_on: source_ip }
    endpoints: [{ address: 127.0.0.1:1 }, { address: 127.0.0.1:2 }, { address: 127.0.0.1:3 }]
virtual_hosts:
  - name: all
    domains: [\"*\"]
    routes:
      - { name: zone, match: { headers: [{ name: x-sallyport-zone, exact: a }] }, respond: { status: 418 } }
      - { name: rest, forward: { upstream: up } }
",
    )
    .unwrap();
    let explain = |more: &[&str]| {
        let mut command = sallyport();
        command.args(["explain", file.to_str().unwrap(), "--host", "a.test", "--path", "/a/../b"]);
        let output = command.args(more).arg("--json").output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect(&told)
    };
    let https = ["--header", "x-forwarded-proto: https"];
    let by = |client: &'static str, rest: &[&'static str]| {
        explain(&[&["--client", client][..], &https[..], rest].concat())
    };
    // Only from a proxy that is trusted.
    let stranger = by("192.0.2.1", &[]);
    assert_eq!((&stranger["action"], &stranger["path"]), (&"redirect".into(), &"/b".into()));
    assert_eq!(by("10.0.0.1", &[])["route"], "rest");
    // A client is hashed by the address that such a proxy names, and never by one that it names itself.
    let endpoints: Vec<_> = (1..20)
        .map(|last| {
            let named = format!("x-forwarded-for: 192.0.2.{last}");
            let by_proxy =
                explain(&["--client", "10.0.0.1", https[0], https[1], "--header", &named]);
            by_proxy["endpoint"].clone()
        })
        .collect();
    assert!(endpoints.iter().any(|endpoint| *endpoint != endpoints[0]), "{endpoints:?}");
    // What only the gateway writes is no client's to say.
    let hinted = by("10.0.0.1", &["--header", "x-sallyport-zone: a"]);
    assert_eq!(hinted["route"], "rest", "{hinted}");
    let refused = by("10.0.0.1", &["--header", "connection: host"]);
    assert_eq!(refused["status"], 400, "{refused}");
}
