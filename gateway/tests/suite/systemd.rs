//! The unit that ships: correct, and closed as far as it can be; and what a service manager is told.

#[path = "systemd/manager.rs"]
mod manager;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::tool;

/// The highest exposure that the unit may have, on systemd's scale of 0 to 10.
const EXPOSURE_MAX: f64 = 2.0;

fn unit() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/sallyport.service"))
        .unwrap()
}

#[test]
fn the_unit_verifies() {
    if !tool("systemd-analyze") {
        return;
    }
    // The binaries that the unit names must exist, so it is verified with the one under test.
    let folder = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_sallyport");
    let path = folder.path().join("sallyport.service");
    fs::write(&path, unit().replace("/usr/bin/sallyport", binary)).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let output =
        Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("sallyport.service:"), "{said}");
}

#[test]
fn the_unit_is_closed() {
    if !tool("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sallyport.service");
    fs::write(&path, unit()).unwrap();
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
fn the_unit_says_what_the_binary_does() {
    let unit = unit();
    for line in [
        "Type=notify",
        "ExecStartPre=/usr/bin/sallyport check",
        "ExecReload=/bin/kill -HUP $MAINPID",
        "RestartPreventExitStatus=78",
        "FileDescriptorStoreMax=1024",
        "WatchdogSec=30s",
        "User=sallyport",
        "CapabilityBoundingSet=CAP_NET_BIND_SERVICE",
    ] {
        assert!(unit.contains(line), "{line}");
    }
}
