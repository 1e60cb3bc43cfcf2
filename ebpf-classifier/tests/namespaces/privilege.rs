//! What each side may do, as the kernel sees it.

use std::os::unix::fs::{PermissionsExt, chown};
use std::process::{Command, Output};

use crate::edge::{Edge, SCREEN};
use crate::net::{CLASSIFIER, CLIENTS};
use crate::program::can_load;

/// Nobody's user id, and a group that owns nothing else here.
const USER: u32 = 65_534;
const GROUP: u32 = 64_999;

/// Runs the binary as that user and group, without any capability.
fn as_nobody(group: u32, arguments: &[&str]) -> Output {
    Command::new("setpriv")
        .args([&format!("--reuid={USER}"), &format!("--regid={group}"), "--clear-groups"])
        .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", CLASSIFIER])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_reader_needs_a_group_and_no_capability() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_classifier("[]", SCREEN);
    // As the tmpfiles entries do it: the folder's group is inherited by the pins.
    std::fs::set_permissions(edge.pins.path(), PermissionsExt::from_mode(0o711)).unwrap();
    std::fs::create_dir(edge.pin_path()).unwrap();
    chown(edge.pin_path(), None, Some(GROUP)).unwrap();
    std::fs::set_permissions(edge.pin_path(), PermissionsExt::from_mode(0o2750)).unwrap();
    edge.start_classifier();
    let setting = std::fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled").unwrap();
    println!("kernel.unprivileged_bpf_disabled = {}", setting.trim());

    // The binary may stand in a folder that only root may enter.
    let reachable = Command::new("setpriv")
        .args([&format!("--reuid={USER}"), "--clear-groups", "test", "-x", CLASSIFIER])
        .status()
        .unwrap();
    if !reachable.success() {
        eprintln!("SKIPPED: {CLASSIFIER} cannot be run by another user here");
        return;
    }
    let pins = edge.pin_path();
    let pins = pins.to_str().unwrap();
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let read = as_nobody(GROUP, &["status", "--json", "--pin-path", pins]);
    assert!(read.status.success(), "the group reads: {}", said(&read));
    let write = as_nobody(GROUP, &["verdict", "add", CLIENTS[0], "--pin-path", pins]);
    assert!(write.status.success(), "the group writes verdicts: {}", said(&write));
    let stranger = as_nobody(64_998, &["status", "--pin-path", pins]);
    assert!(!stranger.status.success());
    assert!(said(&stranger).contains("may not be opened"), "{}", said(&stranger));
    let load = edge.classifier_file();
    std::fs::set_permissions(load.parent().unwrap(), PermissionsExt::from_mode(0o755)).unwrap();
    for (map, writable) in
        [("verdicts", 0o060), ("sources", 0o040), ("zones", 0o040), ("meta", 0o040)]
    {
        let mode = edge.pin_path().join(map).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, writable, "{map}: {mode:o}");
    }
}
