//! `${env:NAME}` and `${file:PATH}` in values: filled in, followed, and shown to nobody.

use std::fs;
use std::path::PathBuf;

use super::text;
use crate::support::{Gateway, config, eventually, get, sallyport, write_by_rename};

const ROUTE: &str = "virtual_hosts: [ { name: all, domains: [\"*\"], routes: [ { name: r, respond: ANSWER } ] } ]\n";

fn answering(answer: &str) -> String {
    ROUTE.replace("ANSWER", answer)
}

/// What `check` says of `yaml` where the environment has `variables`.
fn said(yaml: &str, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.yaml");
    fs::write(&file, yaml).unwrap();
    fs::write(folder.path().join("latin"), b"\xff").unwrap();
    fs::write(folder.path().join("large"), vec![b'a'; 65_537]).unwrap();
    fs::write(folder.path().join("nowhere"), "not-an-address\n").unwrap();
    let mut command = sallyport();
    let output = command.arg("check").arg(&file).envs(variables.iter().copied()).output().unwrap();
    (output.status.code(), text(&output))
}

#[test]
fn what_cannot_be_had_is_told_with_its_line_and_a_remedy() {
    for (value, parts) in [
        (
            "${env:SALLYPORT_GONE}",
            ["the environment has no SALLYPORT_GONE", "export SALLYPORT_GONE=…"],
        ),
        ("${env:}", ["is no name of a variable", "write ${env:NAME}"]),
        ("${env:A", ["has no end", "close it"]),
        ("a${file:gone}b", ["gone cannot be read", "name a regular file"]),
        ("${file:latin}", ["latin is not UTF-8", "name a file of text"]),
        ("${file:large}", ["over the 64 KiB", "name a smaller file"]),
    ] {
        let yaml = config("") + &answering(&format!("{{ status: 200, body: \"{value}\" }}"));
        let (status, told) = said(&yaml, &[]);
        assert_eq!(status, Some(78), "{value}: {told}");
        let place = "test.yaml:4: virtual_hosts[0].routes[0].respond.body: ";
        let is_told = told.contains(place) && parts.iter().all(|part| told.contains(part));
        assert!(is_told && told.lines().count() == 1, "{value}: {told}");
    }
    let (status, told) = said(&config("include: [\"${env:HOME}/*.yaml\"]\n"), &[]);
    assert!(status == Some(78) && told.contains("include[0]: has a reference"), "{told}");
}

#[test]
fn what_a_reference_stands_for_is_judged_and_never_shown() {
    let yaml = format!(
        "listeners: [ {{ name: \"${{env:NAME}}\", address: \"${{env:ADDRESS}}\", max_connections: \"${{env:MOST}}\" }} ]\n{}",
        answering("{ status: \"${env:STATUS}\", body: \"$${env:A} ${env:NAME}\" }")
    );
    let good = [("NAME", "web"), ("ADDRESS", "127.0.0.1:0"), ("MOST", "5"), ("STATUS", "200")];
    let (status, told) = said(&yaml, &good);
    assert_eq!(status, Some(0), "{told}");
    let with = |name, value| {
        good.map(|(other, known)| if other == name { (other, value) } else { (other, known) })
    };
    for (name, secret, parts) in [
        ("ADDRESS", "s3cret", ["address: \"${env:ADDRESS}\": is not an IP", "write IP:PORT"]),
        ("MOST", "987654321", ["max_connections: is ", "write a whole number from 1"]),
        ("STATUS", "9999", ["status: is ", "write a whole number from 200"]),
    ] {
        let (status, told) = said(&yaml, &with(name, secret));
        assert_eq!(status, Some(78), "{told}");
        assert!(parts.iter().all(|part| told.contains(part)), "{name}: {told}");
        assert!(!told.contains(secret), "{told}");
    }
    let address = "listeners: [ { name: web, address: \"${file:nowhere}\" } ]\n";
    let (_, told) = said(address, &[]);
    assert!(told.contains("${file:nowhere}") && !told.contains("not-an-address"), "{told}");
}

#[test]
fn files_are_followed_and_the_effective_configuration_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    fs::write(path("greeting"), "hello\n").unwrap();
    fs::write(path("token"), "Bearer s3cret\n").unwrap();
    let yaml = format!(
        "{}push:\n  exporters:\n  - name: a\n    remote_write: {{ url: \"http://127.0.0.1:9/w\", headers: {{ authorization: \"${{file:{}}}\" }} }}\n",
        config(&answering(&format!(
            "{{ status: 200, body: \"${{file:{}}}\" }}",
            path("greeting").display()
        ))),
        path("token").display(),
    );
    let gateway = Gateway::start(&yaml);
    assert_eq!(get(gateway.web(), "a", "/").body, "hello");
    write_by_rename(&path("greeting"), "good day\n");
    eventually("the new greeting", || {
        (get(gateway.web(), "a", "/").body == "good day").then_some(())
    });
    let shown = gateway.config_view();
    let effective = &shown["effective"];
    let body = &effective["virtual_hosts"][0]["routes"][0]["respond"]["body"];
    assert_eq!(*body, format!("${{file:{}}}", path("greeting").display()));
    let headers = &effective["push"]["exporters"][0]["remote_write"]["headers"];
    assert_eq!(headers["authorization"], "<secret>");
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
    // One that is taken away changes nothing, and is told.
    fs::remove_file(path("greeting")).unwrap();
    gateway.logged("greeting cannot be read");
    assert_eq!(get(gateway.web(), "a", "/").body, "good day");
}
