//! `/config/history`: what each edit changed, and why some were refused.

use serde_json::Value;

use std::io::Write;
use std::process::Stdio;

use crate::support::{Gateway, Origin, config, forward_all, get, sallyport, write_by_rename};

fn respond(status: u16, more: &str) -> String {
    config(&format!(
        "virtual_hosts:\n  - name: all\n    domains: [\"*\"]\n    routes:\n{more}      \
         - {{ name: everything, respond: {{ status: {status} }} }}\n"
    ))
}

fn history(gateway: &Gateway) -> Vec<Value> {
    serde_json::from_str(&get(gateway.admin(), "localhost", "/config/history").body).unwrap()
}

#[test]
fn versions_are_told_with_what_they_changed_and_refusals_with_why() {
    let gateway = Gateway::start(&respond(200, ""));
    let first = history(&gateway);
    assert_eq!(first.len(), 1);
    assert_eq!((&first[0]["version"], &first[0]["reason"]), (&1.into(), &"start".into()));
    gateway.replace(&respond(201, ""));
    write_by_rename(&gateway.config, &respond(9999, ""));
    gateway.counts("sallyport_config_reloads_total{result=\"failure\"}", 1.0);
    let route =
        "      - { name: new, match: { path: { prefix: /new } }, respond: { status: 204 } }\n";
    gateway.replace(&respond(201, route));
    let told = history(&gateway);
    let results: Vec<_> = told.iter().map(|entry| entry["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["applied", "refused", "applied", "applied"]);
    assert_eq!(told[0]["version"], 3);
    let added = &told[0]["differences"][0];
    assert_eq!(added["path"], "virtual_hosts[all].routes[new]");
    assert!(added["after"].as_str().unwrap().contains("/new") && added["before"].is_null());
    let why = told[1]["problems"][0].as_str().unwrap();
    assert!(why.contains("status") && why.contains("sallyport.yaml:"), "{why}");
    assert_eq!(
        told[2]["differences"],
        serde_json::json!([{
            "path": "virtual_hosts[all].routes[everything].respond.status",
            "before": "200",
            "after": "201",
        }])
    );
    let in_force = gateway.config_view();
    assert_eq!(told[0]["sha256"], in_force["sha256"]);
}

#[test]
fn the_latest_fifty_are_kept() {
    let gateway = Gateway::start(&respond(200, ""));
    for status in 300..360 {
        gateway.replace(&respond(status, ""));
    }
    let told = history(&gateway);
    assert_eq!(told.len(), 50);
    assert_eq!(told[0]["version"], 61);
    assert_eq!(told[49]["version"], 12);
    assert_eq!(told[0]["differences"][0]["after"], "359");
}

#[test]
fn the_effective_configuration_has_every_default_and_no_secret_and_is_a_file() {
    let origin = Origin::named("a");
    let more = "push: { exporters: [ { name: o, otlp: { url: \"http://127.0.0.1:1\", headers: { x-key: hunter2 } } } ] }\n\
                shutdown: { delay: 1500ms }\nlimits: { request_body_bytes: 10MiB }\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("more.yaml"),
        "virtual_hosts:\n  - { name: extra, domains: [extra], routes: [ { name: e, respond: { status: 204 } } ] }\n",
    )
    .unwrap();
    let file = folder.path().join("sallyport.yaml");
    let yaml = format!("include: [more.yaml]\n{}{more}", forward_all(&[origin.address]));
    std::fs::write(&file, yaml).unwrap();
    let gateway = Gateway::start_in(folder, file);
    let view = gateway.config_view();
    let effective = &view["effective"];
    assert_eq!((&view["version"], &view["refused"]), (&1.into(), &Value::Null));
    assert_eq!(effective["shutdown"], serde_json::json!({ "delay": "1500ms", "deadline": "30s" }));
    assert_eq!(effective["limits"]["request_body_bytes"], "10MiB");
    assert_eq!(effective["limits"]["request_header_bytes"], "64KiB");
    assert_eq!(effective["log"]["format"], "text");
    assert_eq!(effective["virtual_hosts"][1]["name"], "extra");
    assert_eq!(effective["push"]["exporters"][0]["otlp"]["headers"]["x-key"], "<secret>");
    assert!(!view.to_string().contains("hunter2"), "{view}");
    let text = get(gateway.admin(), "localhost", "/config?format=yaml").body;
    assert!(!text.contains("hunter2"), "{text}");
    let mut check = sallyport()
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success(), "{}\n{text}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(get(gateway.admin(), "localhost", "/config?format=toml").status, 400);
}
