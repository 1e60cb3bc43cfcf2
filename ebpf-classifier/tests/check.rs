//! `sallyport-classifier check` and the refusals of `run` that need no privilege, as a person sees them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn classifier(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sallyport-classifier"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn check(text: &str) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.yaml"), text).unwrap();
    let output = classifier(&["check", "c.yaml"], folder.path());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

const GOOD: &str = "interfaces: [ { name: eth0, zone: a } ]\nzones: [ { name: a, id: 1 } ]\n";

#[test]
fn a_good_file_is_summed_up() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("c.yaml"), GOOD).unwrap();
    let output = classifier(&["check", "c.yaml"], folder.path());
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "c.yaml: ok: 1 interfaces, 1 zones, 0 networks of 0 prefixes\n");
}

#[test]
fn every_problem_is_one_line_and_the_exit_code_is_78() {
    for (text, expected) in [
        (
            GOOD.replace("id: 1", "id: 256"),
            "c.yaml:2: zones[0].id: is 256, write a whole number from 1 to 255\n",
        ),
        (
            GOOD.replace("id: 1 }", "id: 1 }, { name: b, id: 1 }"),
            "c.yaml:2: zones[1].id: duplicate zone id 1, it is taken by zones[0].id: change or \
             remove one of them\n",
        ),
        (
            format!(
                "{GOOD}networks: [ {{ name: a, cidrs: [\"::/0\"] }}, {{ name: b, cidrs: [\"::/0\"] }} ]\n"
            ),
            "c.yaml:3: networks[1].cidrs[0]: overlaps: ::/0 is in two networks or twice in one, it is \
             taken by networks[0].cidrs[0]: change or remove one of them\n",
        ),
    ] {
        assert_eq!(check(&text), (Some(78), expected.to_owned()));
    }
}

#[test]
fn maps_that_are_not_there_and_folders_elsewhere_are_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let pins = folder.path().join("pins");
    let output = classifier(&["status", "--pin-path", pins.to_str().unwrap()], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.ends_with("does not exist: is the classifier running?\n"), "{said}");
    assert_eq!(said.lines().count(), 1);

    let missing = GOOD.replace("eth0", "no-such-thing");
    std::fs::write(folder.path().join("c.yaml"), missing).unwrap();
    let output = classifier(&["run", "--config", "c.yaml"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = ["interface no-such-thing does not exist", "make classifier"];
    assert!(expected.iter().any(|expected| said.contains(expected)), "{said}");
    assert_eq!(said.lines().count(), 1);
}
