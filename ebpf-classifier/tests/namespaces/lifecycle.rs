//! Starting, dying, taking over, ending.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::edge::{Edge, SCREEN};
use crate::net::{CLASSIFIER, CLIENTS, GATEWAY, INTERFACE, classifier, eventually, get, must};
use crate::program::can_load;

const ROUTES: &str = "      - { name: rest, respond: { status: 200, body: rest } }";

#[test]
fn a_killed_loader_leaves_the_filter_and_the_next_one_takes_over() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_classifier("[]", SCREEN);
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, "");
    edge.hints_in_use();
    let pins = edge.pin_path();
    let pins = pins.to_str().unwrap();
    let added = classifier(&["verdict", "add", CLIENTS[1], "--for", "10m", "--pin-path", pins]);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    assert!(edge.net.get(CLIENTS[1], address, "/").is_none(), "the verdict holds");

    // A packet that is unfiltered for a moment would be answered: this asks all the while.
    let (ended, through) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (stop, leak) = (ended.clone(), through.clone());
    let probe = edge.net.at_client(move || {
        while !stop.load(Ordering::Relaxed) {
            if get(CLIENTS[1], address, "/").is_some() {
                leak.store(true, Ordering::Relaxed);
            }
        }
    });

    edge.classifier().signal("-KILL");
    edge.classifier.as_mut().unwrap().wait();
    eventually("the gateway to say that its hints are stale", || {
        (edge.gateway_metric("sallyport_classifier_up") == Some(0.0)).then_some(())
    });
    assert!(edge.gateway().count("no hints") >= 1);
    assert!(edge.net.get(CLIENTS[0], address, "/").is_some(), "traffic flows");
    let dropped = edge.counted("verdict").1;
    assert!(edge.net.get(CLIENTS[1], address, "/").is_none(), "the verdict still holds");
    assert!(edge.counted("verdict").1 > dropped, "in XDP");

    edge.start_classifier();
    edge.classifier().logged("taken over");
    edge.hints_in_use();
    assert!(edge.net.get(CLIENTS[0], address, "/").is_some());
    assert!(edge.net.get(CLIENTS[1], address, "/").is_none(), "the verdict was kept");
    ended.store(true, Ordering::Relaxed);
    probe.join().unwrap();
    assert!(!through.load(Ordering::Relaxed), "never a moment unfiltered");

    // Ending in order leaves nothing behind, and nobody filtered.
    edge.classifier().signal("-TERM");
    assert!(edge.classifier.as_mut().unwrap().wait().success());
    let left = edge.pins.path().join("sallyport").read_dir().map_or(0, Iterator::count);
    assert_eq!(left, 0);
    let free = edge.net.get(CLIENTS[1], address, "/");
    assert!(free.is_some(), "no program, no verdict of somebody else's");
}

#[test]
fn without_its_interface_the_classifier_is_not_up() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_classifier("[]", SCREEN);
    edge.start_classifier();
    let address = edge.start_gateway(ROUTES, "");
    edge.hints_in_use();
    let (gateway, client) = (edge.net.gateway.clone(), edge.net.client.clone());
    must(&format!("ip -n {gateway} link del {INTERFACE}"));
    eventually("the gateway to say that nothing is classified", || {
        (edge.gateway_metric("sallyport_classifier_up") == Some(0.0)).then_some(())
    });
    edge.gateway().logged("the classifier's program is on none of its 1 interfaces");

    must(&format!(
        "ip link add {INTERFACE} netns {gateway} type veth peer name sp1 netns {client}"
    ));
    must(&format!("ip -n {gateway} addr add {GATEWAY}/24 dev {INTERFACE}"));
    must(&format!("ip -n {client} addr add {}/24 dev sp1", CLIENTS[0]));
    must(&format!("ip -n {gateway} link set {INTERFACE} up"));
    must(&format!("ip -n {client} link set sp1 up"));
    edge.hints_in_use();
    let passed = edge.counted("passed").0;
    assert!(edge.net.get(CLIENTS[0], address, "/").is_some());
    assert!(edge.counted("passed").0 > passed, "its packets are classified again");
}

#[test]
fn maps_of_another_version_are_refused() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    edge.write_classifier("[]", SCREEN);
    edge.start_classifier();
    edge.classifier().signal("-KILL");
    edge.classifier.as_mut().unwrap().wait();
    let meta: sallyport_classifier::pinned::Map<u32, classifier_abi::Meta> =
        sallyport_classifier::pinned::Map::open(
            &edge.pin_path().join("meta"),
            sallyport_classifier::pinned::Access::Write,
        )
        .unwrap();
    let was = meta.lookup(&0).unwrap().unwrap();
    meta.insert(&0, classifier_abi::Meta { abi: 99, ..was }).unwrap();
    let file = edge.classifier_file();
    let mut process = edge.net.start(&[CLASSIFIER, "run", "--config", file.to_str().unwrap()]);
    assert!(!process.wait().success());
    eventually("one clear line", || (process.log().len() == 1).then_some(()));
    assert!(process.log()[0].contains("ABI version 99"), "{:?}", process.log());
    // The gateway serves on without hints and says why.
    let address = edge.start_gateway(ROUTES, "");
    assert!(edge.net.get(CLIENTS[0], address, "/").is_some());
    assert!(edge.gateway().logged("no hints").contains("ABI version 99"));
}
