//! The loader as a process, in a network namespace and on a BPF file system of each test's own: start,
//! edits, sudden death, take-over, end, and everything that it refuses.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "only its file system is used here")]
mod program;

use std::time::{Duration, Instant};

use classifier_abi::{Meta, map};
use process::World;
use program::can_load;
use sallyport_classifier::pinned::{Access, Map};

#[test]
fn edits_are_in_force_at_once_and_bad_ones_change_nothing() {
    if !can_load() {
        return;
    }
    let world = World::new("edit");
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    let address = loader.says("listening name=metrics address=");
    let metrics = world.metrics(&address);
    for line in [
        "sallyport_classifier_attached{interface=\"eth0\",mode=\"generic\"} 1",
        "sallyport_classifier_generation 1",
        "sallyport_classifier_reloads_total{result=\"failure\"} 0",
        "sallyport_classifier_dropped_packets_total{reason=\"verdict\"} 0",
        "sallyport_classifier_map_entries_max{map=\"networks\"} 128",
        "sallyport_classifier_map_entries{map=\"networks\"} 1",
        "sallyport_classifier_map_entries{map=\"verdicts\"} 0",
        "sallyport_classifier_map_entries{map=\"handshakes\"} 0",
        "sallyport_classifier_map_entries_max{map=\"strangers\"} 16384",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let began = Instant::now();
    world.edit("name: office", "name: desk");
    loader.says("in force generation=2");
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(world.status()["networks"][0]["name"], "desk");
    for (from, to, why) in [
        ("id: 1,", "id: 256,", "is 256"),
        ("name: eth0", "name: eth9", "interface eth9 does not exist"),
        ("sources: 1024", "sources: 2048", "limits.sources: changed from 1024 to 2048"),
    ] {
        world.edit(from, to);
        loader.says(why);
        world.edit(to, from);
        loader.says("in force");
    }
    assert_eq!(world.status()["networks"][0]["name"], "desk");
    assert_eq!(world.status()["zones"][0]["dropping"][0], "land");
}

#[test]
fn interfaces_follow_the_file() {
    if !can_load() {
        return;
    }
    let world = World::new("links");
    let loader = world.run(&[]);
    loader.says("attached interface=eth0 mode=generic");
    world.ip(&["link", "add", "eth0.7", "type", "veth", "peer", "name", "other"]);
    let second = "- { name: eth0.7, zone: internet }\n";
    world.edit("zones:", &format!("{second}zones:"));
    loader.says("attached interface=eth0.7");
    assert_eq!(world.status()["attached"].as_array().unwrap().len(), 2);
    world.ip(&["link", "del", "eth0.7"]);
    world.ip(&["link", "add", "eth0.7", "type", "veth", "peer", "name", "other"]);
    // Whether it is seen to be gone in between or to be another, it is attached to again.
    loader.says("attached interface=eth0.7");
    world.edit(second, "");
    loader.says("detached interface=eth0.7");
    world.edit("name: eth0,", "name: eth0, mode: native,");
    loader.says("attached interface=eth0 mode=native");
    assert_eq!(world.status()["attached"][0]["mode"], "native");
    world.edit("mode: native", "mode: generic");
    loader.says("attached interface=eth0 mode=generic");
    assert_eq!(world.status()["attached"][0]["mode"], "generic");
}

#[test]
fn auto_is_generic_on_veth_unless_zones_go_by_vlan() {
    if !can_load() {
        return;
    }
    let world = World::new("auto");
    let mut loader = world.run(&[]);
    loader.says("attached interface=eth0 mode=generic");
    loader.end();
    world.edit("zone: internet }", "zone: internet, vlan: 7 }");
    let loader = world.run(&[]);
    loader.says("attached interface=eth0 mode=native");
    // What holds stays: a change of mode would leave the interface unfiltered for a moment.
    world.edit(", vlan: 7", "");
    loader.says("in force generation=2");
    assert_eq!(world.status()["attached"][0]["mode"], "native");
}

#[test]
fn native_mode_takes_frames_of_9000_bytes() {
    if !can_load() {
        return;
    }
    let world = World::new("frags");
    for interface in ["eth0", "peer0"] {
        world.ip(&["link", "set", interface, "mtu", "9000"]);
    }
    world.edit("name: eth0,", "name: eth0, mode: native,");
    let loader = world.run(&[]);
    loader.says("attached interface=eth0 mode=native");
    drop(loader);
    // A driver without XDP refuses both programs, and the next one is behind it.
    world.edit("name: eth0, mode: native,", "name: lo,");
    let loader = world.run(&[]);
    loader.says("attached interface=lo mode=generic");
}

#[test]
fn an_interface_without_ethernet_headers_is_refused() {
    if !can_load() {
        return;
    }
    let world = World::new("tun");
    world.ip(&["tuntap", "add", "dev", "tun0", "mode", "tun"]);
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    // Its packets would be taken for what they are not, and pass.
    let tun = "- { name: tun0, zone: internet }\n";
    world.edit("zones:", &format!("{tun}zones:"));
    loader.says("the one in force stays error=interface tun0 has no Ethernet headers");
    assert_eq!(world.status()["attached"].as_array().unwrap().len(), 1);
    world.edit(tun, "");
    loader.says("is as the configuration in force again");
    drop(loader);
    world.edit("name: eth0", "name: tun0");
    let refused = world.fails();
    assert!(refused.contains("interface tun0 has no Ethernet headers"), "{refused}");
}

#[test]
fn a_killed_loader_is_taken_over_and_a_second_one_refused() {
    if !can_load() {
        return;
    }
    let world = World::new("take");
    world.edit("name: eth0,", "name: eth0, mode: native,");
    let mut loader = world.run(&[]);
    loader.says("in force generation=1");
    let refused = world.fails();
    assert!(refused.contains("another sallyport-classifier is at work on"), "{refused}");
    loader.kill();
    assert_eq!(world.status()["attached"][0]["mode"], "native", "the program stays");

    let mut next = world.run(&["--keep"]);
    next.says("taken over interface=eth0 mode=native");
    next.says("in force generation=2");
    next.end();
    let kept = world.status();
    assert_eq!(kept["attached"][0]["mode"], "native");
    assert!(kept["heartbeat_age_s"].is_null(), "{kept}");

    let mut last = world.run(&[]);
    last.says("in force generation=3");
    last.end();
    assert_eq!(std::fs::read_dir(world.pins()).unwrap().count(), 0, "nothing is left");
    assert!(!world.ip(&["link", "show", "eth0"]).contains("prog/xdp"));
}

#[test]
fn what_does_not_fit_is_refused_in_one_line() {
    if !can_load() {
        return;
    }
    let world = World::new("refuse");
    let mut loader = world.run(&["--keep"]);
    loader.says("in force generation=1");
    loader.end();
    world.edit("sources: 1024", "sources: 2048");
    let refused = world.fails();
    assert!(refused.contains("`sources` was made for limits.sources = 1024"), "{refused}");
    world.edit("sources: 2048", "sources: 1024");
    let meta: Map<u32, Meta> = Map::open(&world.pins().join(map::META), Access::Write).unwrap();
    let found = meta.lookup(&0).unwrap().unwrap();
    meta.insert(&0, Meta { abi: found.abi + 1, ..found }).unwrap();
    assert!(world.fails().contains("holds maps of ABI version"));
    meta.insert(&0, found).unwrap();
    world.edit(world.pins().to_str().unwrap(), "/tmp/pins");
    assert!(world.fails().contains("is not on a BPF file system"));
    world.edit("name: eth0", "name: eth9");
    assert!(world.fails().contains("interface eth9 does not exist"));
}

#[test]
fn three_capabilities_are_enough_and_fewer_are_not() {
    if !can_load() {
        return;
    }
    let all = ["bpf", "net_admin", "perfmon"];
    let mut world = World::new("caps");
    world.capabilities = Some(all.to_vec());
    let mut loader = world.run(&[]);
    loader.says("attached interface=eth0");
    loader.end();
    for missing in all {
        world.capabilities = Some(all.into_iter().filter(|one| *one != missing).collect());
        let refused = world.fails();
        assert!(refused.contains("does not let this user"), "without {missing}: {refused}");
    }
}
