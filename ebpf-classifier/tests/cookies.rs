//! A flood of forged SYNs that is answered with SYN cookies, and clients that come in through them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "namespaces/edge.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod edge;
#[path = "support/flood.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod flood;
#[path = "support/net.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod net;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the packet table uses the rest")]
mod program;

use std::net::SocketAddr;
use std::time::Duration;

use aya::programs::XdpMode;

use crate::edge::Edge;
use crate::flood::Flood;
use crate::net::{CLIENTS, eventually, get, must};
use crate::program::{Passing, can_load};

const ROUTES: &str = "      - { name: rest, respond: { status: 200, body: rest } }";

/// Until a test ends it.
const FLOOD: Flood =
    Flood { sources: 5_000, packets_per_s: 5_000, span: Duration::from_secs(120), cpu: None };

/// RFC 4987, 3.6: who returns a cookie is let in, and no stranger from then on.
#[test]
fn a_stranger_comes_in_through_a_flood_by_a_cookie() {
    if !can_load() {
        return;
    }
    for mode in ["generic", "native"] {
        let mut edge = Edge::new();
        let gateway = edge.net.gateway.clone();
        must(&format!("nsenter --net=/run/netns/{gateway} sysctl -q net/ipv4/tcp_syncookies=2"));
        edge.write_classifier("[]", "syn_flood: { per_zone_per_s: 2, action: drop }");
        let file = std::fs::read_to_string(edge.classifier_file()).unwrap();
        let file = file.replace("zone: internet }", &format!("zone: internet, mode: {mode} }}"));
        std::fs::write(edge.classifier_file(), file).unwrap();
        edge.start_classifier();
        let address: SocketAddr = edge.start_gateway(ROUTES, "");
        // The other end of a veth pair takes what a program sends in native mode only while it has a
        // program itself.
        let at_peer = || {
            let namespace = format!("/run/netns/{}", edge.net.client);
            Passing::attach(namespace.as_ref(), "sp1", XdpMode::Driver)
        };
        let _passing = (mode == "native").then(at_peer);
        let flood = FLOOD.start(&edge.net);
        eventually("the flood to be answered with cookies", || {
            (edge.counted("syn_cookie").1 > 1_000).then_some(())
        });
        // A first connection each, while there is no room for strangers.
        for client in CLIENTS {
            eventually("a client to come in by its cookie", || {
                let came = edge.net.at_client(move || get(client, address, "/")).join().unwrap();
                came.filter(|response| response.ends_with("rest"))
            });
        }
        let proven = edge.counted("cookie_proven").0;
        assert!(proven >= 1, "{mode}: {proven} cookies came back");
        assert_eq!(edge.counted("syn_flood_zone").1, 0, "{mode}: nobody is dropped");
        drop(flood);
        println!(
            "{mode}: {} SYNs answered with cookies, {proven} came back",
            edge.counted("syn_cookie").1
        );
    }
}

/// Without the kernel's own cookies always on it would not take what comes back: then SYNs are dropped,
/// and the operator is told.
#[test]
fn without_the_kernels_cookies_strangers_are_dropped_and_the_operator_is_told() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    let gateway = edge.net.gateway.clone();
    must(&format!("nsenter --net=/run/netns/{gateway} sysctl -q net/ipv4/tcp_syncookies=1"));
    edge.write_classifier("[]", "syn_flood: { per_zone_per_s: 2, action: drop }");
    edge.start_classifier();
    edge.classifier().logged("net.ipv4.tcp_syncookies = 2");
    let pins = edge.pin_path();
    let status = net::classifier(&["status", "--pin-path", pins.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(said.contains("dropped (no SYN cookies)"), "{said}");
    let _flood = FLOOD.start(&edge.net);
    eventually("the flood to be dropped", || {
        (edge.counted("syn_flood_zone").1 > 100).then_some(())
    });
    assert_eq!(edge.counted("syn_cookie").1, 0);
}
