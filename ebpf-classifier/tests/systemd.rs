//! The unit that ships: correct, closed as far as it can be, and with exactly the capabilities that the
//! loader needs.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The highest exposure that the unit may have, on systemd's scale of 0 to 10.
const EXPOSURE_MAX: f64 = 2.0;

/// The variable that turns a test that would be skipped for want of a tool into a failure.
const REQUIRE: &str = "SALLYPORT_REQUIRE_TOOLS";

fn shipped(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../systemd");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn unit() -> String {
    shipped("sallyport-classifier.service")
}

/// Whether `systemd-analyze` is there; says so if it is not.
fn has_analyze() -> bool {
    let found = Command::new("systemd-analyze").arg("--version").output().is_ok();
    assert!(found || std::env::var_os(REQUIRE).is_none(), "systemd-analyze is missing");
    if !found {
        eprintln!("SKIPPED: systemd-analyze is missing");
    }
    found
}

fn written(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("sallyport-classifier.service");
    fs::write(&path, text).unwrap();
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn the_unit_verifies() {
    if !has_analyze() {
        return;
    }
    // The binaries that the unit names must exist, so it is verified with the one under test.
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_sallyport-classifier");
    let path = written(folder.path(), &unit().replace("/usr/bin/sallyport-classifier", binary));
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let ours = said.contains("sallyport-classifier.service:");
    assert!(output.status.success() && !ours, "{said}");
}

#[test]
fn the_unit_is_closed() {
    if !has_analyze() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = written(folder.path(), &unit());
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or(&said);
    let exposure: f64 =
        line.split(": ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(exposure <= EXPOSURE_MAX, "{line}");
}

#[test]
fn the_unit_has_exactly_its_capabilities() {
    let unit = unit();
    let of = |key: &str| -> Vec<&str> {
        let mut lines = unit.lines().filter_map(|line| line.strip_prefix(key));
        let line = lines.next().unwrap();
        assert_eq!(lines.next(), None, "{key} is there twice");
        line.split(' ').collect()
    };
    let needed = ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"];
    assert_eq!(of("AmbientCapabilities="), needed);
    assert_eq!(of("CapabilityBoundingSet="), needed);
}

#[test]
fn the_unit_says_what_the_binary_does() {
    let unit = unit();
    for line in [
        "Type=notify",
        "Before=sallyport.service",
        "ExecStartPre=/usr/bin/sallyport-classifier check",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "RestartPreventExitStatus=78",
        "User=sallyport-classifier",
        "ReadWritePaths=/sys/fs/bpf",
    ] {
        assert!(unit.contains(line), "{line}");
    }
    assert!(!unit.contains("Requires="), "each serves without the other");
}

#[test]
fn users_and_folders_fit_the_unit() {
    let users = shipped("sallyport-classifier.sysusers");
    let tmpfiles = shipped("sallyport-classifier.tmpfiles");
    let fields = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let has = |rows: Vec<Vec<String>>, expected: &[&str]| {
        let found = rows.iter().any(|row| row.iter().zip(expected).all(|(a, b)| a == b));
        assert!(found, "{expected:?}");
    };
    has(fields(&users), &["u", "sallyport-classifier"]);
    has(fields(&users), &["u", "sallyport"]);
    let folder = ["d", "/sys/fs/bpf/sallyport", "2750", "sallyport-classifier", "sallyport"];
    has(fields(&tmpfiles), &folder);
    has(fields(&tmpfiles), &["z", "/sys/fs/bpf", "0711", "root", "root"]);
}
