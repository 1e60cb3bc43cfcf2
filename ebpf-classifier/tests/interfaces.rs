//! Interfaces and programs that come and go under a loader at work: what it loses it puts back, what it
//! cannot put back it tells, and the figures are true meanwhile.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "support/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "only its file system is used here")]
mod program;

use std::process::Command;
use std::time::{Duration, Instant};

use aya::programs::XdpMode;
use process::World;
use program::{Passing, can_load};
use sallyport_classifier::pinned::{Access, Maps};

const SECOND: &str = "- { name: eth1, zone: internet }\n";

/// How many interfaces the program is on, and should be on, as the gateway is told.
fn interfaces(world: &World) -> (u16, u16) {
    let maps = Maps::open(&world.pins(), Access::Read).unwrap();
    let meta = maps.meta().unwrap();
    (meta.attached(), meta.interfaces())
}

fn is_attached(world: &World, address: &str, interface: &str) -> bool {
    let metrics = world.metrics(address);
    let name = format!("sallyport_classifier_attached{{interface=\"{interface}\",");
    let line = metrics.lines().find(|line| line.starts_with(&name));
    let line = line.unwrap_or_else(|| panic!("no {name} in\n{metrics}"));
    line.ends_with(" 1")
}

fn add(world: &World, name: &str) {
    world.ip(&["link", "add", name, "type", "veth", "peer", "name", &format!("{name}-peer")]);
}

/// What `bpftool link detach` does.
fn detach(world: &World, interface: &str) {
    let script = "\
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {'x86_64': 321, 'aarch64': 280}[sys.argv[2]]
path = ctypes.create_string_buffer(sys.argv[1].encode())
get = ctypes.create_string_buffer(struct.pack('=QII', ctypes.addressof(path), 0, 0))
link = libc.syscall(number, 7, get, 16)
assert link >= 0, ctypes.get_errno()
detach = ctypes.create_string_buffer(struct.pack('=I', link))
assert libc.syscall(number, 34, detach, 4) == 0, ctypes.get_errno()
";
    let pin = world.pins().join(format!("link-{interface}"));
    let mut python = Command::new("python3");
    python.args(["-c", script, pin.to_str().unwrap(), std::env::consts::ARCH]);
    assert!(python.status().unwrap().success());
}

/// Somebody else's program on an interface.
fn occupy(world: &World, interface: &str) -> Passing {
    Passing::attach(&world.namespace_path(), interface, XdpMode::Skb)
}

#[test]
fn a_link_that_is_detached_is_put_back_within_a_second() {
    if !can_load() {
        return;
    }
    let world = World::new("detach");
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    let address = loader.says("listening name=metrics address=");
    for _ in 0..3 {
        detach(&world, "eth0");
        let began = Instant::now();
        loader.says("the program was taken off the interface");
        loader.says("attached interface=eth0 mode=generic");
        // Whether that is within a second is up to the machine as well: `run` says how often it looks.
        eprintln!("back after {} ms", began.elapsed().as_millis());
        assert!(is_attached(&world, &address, "eth0"));
        world.until("all of them", || interfaces(&world) == (1, 1));
    }
}

/// The loader's own figure and the gateway's say the same.
#[test]
fn up_is_whether_the_program_is_on_an_interface() {
    if !can_load() {
        return;
    }
    let world = World::new("up");
    let loader = world.run(&[]);
    let address = loader.says("listening name=metrics address=");
    let says = |line: &str| world.metrics(&address).lines().any(|known| known == line);
    assert!(says("sallyport_classifier_up 1"));
    world.ip(&["link", "del", "eth0"]);
    world.until("nothing is classified", || says("sallyport_classifier_up 0"));
    world.until("none of one", || interfaces(&world) == (0, 1));
    add(&world, "eth0");
    world.until("packets are classified again", || says("sallyport_classifier_up 1"));
}

#[test]
fn an_interface_that_is_renamed_keeps_its_zone_and_one_that_is_moved_away_is_gone() {
    if !can_load() {
        return;
    }
    let world = World::new("rename");
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    let zones = || world.status()["zones"].clone();
    let before = zones();
    assert_eq!(before[0]["name"], "internet", "{before}");
    world.ip(&["link", "set", "eth0", "name", "uplink"]);
    world.edit("name: office", "name: desk");
    loader.says("in force generation=2");
    assert_eq!((zones(), interfaces(&world)), (before, (1, 1)));
    // Where it is moved to nobody reads its hints.
    world.ip(&["link", "set", "uplink", "name", "eth0"]);
    let elsewhere = world.peer("192.0.2.2/24", "192.0.2.3/24");
    world.ip(&["link", "set", "eth0", "netns", elsewhere.namespace()]);
    loader.says("the interface is gone");
    world.until("none of one", || interfaces(&world) == (0, 1));
    add(&world, "eth0");
    loader.says("attached interface=eth0");
    world.until("one of one", || interfaces(&world) == (1, 1));
}

#[test]
fn an_interface_that_is_gone_is_told_and_attached_to_when_it_is_back() {
    if !can_load() {
        return;
    }
    let world = World::new("gone");
    add(&world, "eth1");
    world.edit("zones:", &format!("{SECOND}zones:"));
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    let address = loader.says("listening name=metrics address=");
    world.ip(&["link", "del", "eth1"]);
    loader.says("the interface is gone");
    world.until("one of two", || interfaces(&world) == (1, 2));
    assert!(!is_attached(&world, &address, "eth1"));
    assert!(is_attached(&world, &address, "eth0"));
    let status = world.status();
    assert_eq!(status["attached"][1]["interface"], "eth1", "{status}");
    assert!(status["attached"][1]["mode"].is_null(), "{status}");
    // What is gone does not stand in the way of edits.
    world.edit("name: office", "name: desk");
    loader.says("in force generation=2");
    add(&world, "eth1");
    loader.says("attached interface=eth1");
    world.until("both", || interfaces(&world) == (2, 2));
    assert!(is_attached(&world, &address, "eth1"));
    let ifindex = world.ip(&["-o", "link", "show", "eth1"]);
    let ifindex: u64 = ifindex.split(':').next().unwrap().parse().unwrap();
    let zones = world.status()["zones"].to_string();
    assert!(zones.contains(&format!("\"ifindex\":{ifindex}")), "{zones}");
    // All of them gone: there are no hints any more.
    world.ip(&["link", "del", "eth0"]);
    world.ip(&["link", "del", "eth1"]);
    world.until("none of two", || interfaces(&world) == (0, 2));
}

#[test]
fn pins_that_are_removed_are_made_again() {
    if !can_load() {
        return;
    }
    let world = World::new("pins");
    let mut loader = world.run(&[]);
    // Its own start opens pins as well, after the configuration is in force.
    loader.says("listening name=metrics");
    let before: Vec<_> = pins(&world);
    for pin in &before {
        std::fs::remove_file(world.pins().join(pin)).unwrap();
    }
    loader.says("pins were removed: made again");
    assert_eq!(pins(&world), before);
    assert_eq!(interfaces(&world), (1, 1));
    assert_eq!(world.status()["attached"][0]["mode"], "generic");
    // The same maps under the same names: the next loader takes them over.
    loader.kill();
    let next = world.run(&[]);
    next.says("taken over interface=eth0");
    next.says("in force generation=2");
}

fn pins(world: &World) -> Vec<String> {
    let entries = std::fs::read_dir(world.pins()).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn at_start_some_interfaces_are_better_than_none() {
    if !can_load() {
        return;
    }
    let world = World::new("boot");
    world.edit("zones:", &format!("{SECOND}zones:"));
    let loader = world.run(&[]);
    loader.says("attached interface=eth0");
    loader.says("it does not exist: it is attached to when it is there interface=eth1");
    world.until("one of two", || interfaces(&world) == (1, 2));
    add(&world, "eth1");
    loader.says("attached interface=eth1");
    world.until("both", || interfaces(&world) == (2, 2));
}

#[test]
fn an_edit_that_names_a_missing_interface_is_told_once_and_tried_again() {
    if !can_load() {
        return;
    }
    let world = World::new("late");
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    world.edit("zones:", &format!("{SECOND}zones:"));
    loader.says("the one in force stays error=interface eth1 does not exist");
    // Tried again meanwhile: a file beside it changes nothing about that.
    std::thread::sleep(Duration::from_millis(2_500));
    assert_eq!(loader.count("eth1 does not exist"), 1);
    assert_eq!(interfaces(&world), (1, 1));
    add(&world, "eth1");
    loader.says("in force generation=2");
    assert_eq!(interfaces(&world), (2, 2));
    assert_eq!(loader.count("eth1 does not exist"), 1);
}

#[test]
fn another_program_is_named_and_waited_for() {
    if !can_load() {
        return;
    }
    let world = World::new("other");
    let other = occupy(&world, "eth0");
    let refused = world.fails();
    assert!(
        refused.contains("interface eth0 has another XDP program in generic mode"),
        "{refused}"
    );
    assert!(refused.contains("(`pass`, tag "), "{refused}");
    assert!(refused.contains("`ip link set dev eth0 xdpgeneric off`"), "{refused}");
    drop(other);
    let loader = world.run(&[]);
    loader.says("in force generation=1");
    // The same of an interface that an edit adds: as soon as it is free, it is ours.
    add(&world, "eth1");
    let other = occupy(&world, "eth1");
    world.edit("zones:", &format!("{SECOND}zones:"));
    loader.says("the one in force stays error=interface eth1 has another XDP program");
    assert_eq!(interfaces(&world), (1, 1));
    drop(other);
    loader.says("attached interface=eth1");
    loader.says("in force generation=2");
    // And of one that it lost.
    world.ip(&["link", "set", "eth1", "name", "old1"]);
    world.ip(&["link", "del", "old1"]);
    loader.says("the interface is gone");
    let other = {
        add(&world, "new1");
        let other = occupy(&world, "new1");
        world.ip(&["link", "set", "new1", "name", "eth1"]);
        other
    };
    loader.says("interface eth1 has another XDP program");
    drop(other);
    loader.says("attached interface=eth1");
    world.until("both", || interfaces(&world) == (2, 2));
}
