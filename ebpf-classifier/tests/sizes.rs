//! Large frames, in both modes and from one CPU and from several: every byte comes through, and a limit
//! means the same.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

#[path = "namespaces/edge.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod edge;
#[path = "support/net.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod net;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the packet table uses the rest")]
mod program;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use classifier_abi::{Reason, per_window};

use crate::edge::Edge;
use crate::net::{CLIENTS, GATEWAY, INTERFACE, PATIENCE, connect, must};
use crate::program::can_load;

/// What each connection sends.
const BULK_BYTES: usize = 4 << 20;

/// Datagrams from one source, and how many of them a second may pass.
const DATAGRAMS: u32 = 2_000;
const LIMIT: u32 = 200;

/// Everything that drops, and one limit that is reached.
const SCREEN: &str = "unparsable: drop\n    land: drop\n    syn_fin: drop\n    no_flags: drop\n    \
    fin_no_ack: drop\n    syn_fragment: drop\n    tear_drop: drop\n    ping_of_death: drop\n    \
    ack_flood: { per_source_per_s: 5000, action: drop }\n    \
    udp_flood: { per_source_per_s: 200, action: drop }";

/// Packets that were dropped so far, for any reason.
fn dropped(edge: &Edge) -> u64 {
    Reason::ALL.iter().map(|reason| edge.counted(reason.label()).1).sum()
}

/// Puts the calling thread on one CPU.
fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).unwrap();
}

fn bulk(seed: usize) -> Vec<u8> {
    (0..BULK_BYTES)
        .map(|at| (at.wrapping_mul(0x9e37_79b1).wrapping_add(seed) >> 11) as u8)
        .collect()
}

/// Sends `count` connections' bytes from as many CPUs and has all of them back.
fn echo(edge: &Edge, count: usize) {
    let (tell, address) = std::sync::mpsc::channel();
    let server = edge.net.at_gateway(move || {
        let listener = TcpListener::bind((GATEWAY, 0)).unwrap();
        tell.send(listener.local_addr().unwrap()).unwrap();
        for _ in 0..count {
            let (mut peer, _) = listener.accept().unwrap();
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                peer.read_to_end(&mut bytes).unwrap();
                peer.write_all(&bytes).unwrap();
            });
        }
    });
    let address: SocketAddr = address.recv().unwrap();
    let client = |cpu: usize| {
        edge.net.at_client(move || {
            pin(cpu);
            let mut stream = connect(CLIENTS[cpu], address, PATIENCE).unwrap();
            let sent = bulk(cpu);
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut echoed = Vec::new();
            stream.read_to_end(&mut echoed).unwrap();
            assert!(
                echoed == sent,
                "{} of {} bytes came back as they were",
                echoed.len(),
                sent.len()
            );
        })
    };
    let clients: Vec<JoinHandle<()>> = (0..count).map(client).collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    server.join().unwrap();
}

/// Sends datagrams that fill a frame from one source and `count` CPUs; returns how long that took.
fn datagrams(edge: &Edge, count: usize, mtu: usize) -> Duration {
    let begun = Instant::now();
    let sender = |cpu: usize| {
        edge.net.at_client(move || {
            pin(cpu);
            let socket = UdpSocket::bind((CLIENTS[3], 0)).unwrap();
            let payload = vec![7; mtu - 28];
            for _ in 0..DATAGRAMS as usize / count {
                socket.send_to(&payload, (GATEWAY, 9)).unwrap();
            }
        })
    };
    let senders: Vec<JoinHandle<()>> = (0..count).map(sender).collect();
    senders.into_iter().for_each(|sender| sender.join().unwrap());
    begun.elapsed()
}

#[test]
fn large_frames_come_through_whole_and_limits_hold_in_both_modes_on_one_and_two_cpus() {
    if !can_load() {
        return;
    }
    let mut edge = Edge::new();
    let write = |edge: &Edge, mode: &str| {
        edge.write_classifier("[]", SCREEN);
        let file = std::fs::read_to_string(edge.classifier_file()).unwrap();
        let file = file.replace("zone: internet }", &format!("zone: internet, mode: {mode} }}"));
        std::fs::write(edge.classifier_file(), file).unwrap();
    };
    let set_mtu = |edge: &Edge, mtu: usize| {
        for (namespace, device) in [(&edge.net.gateway, INTERFACE), (&edge.net.client, "sp1")] {
            must(&format!("ip -n {namespace} link set {device} mtu {mtu}"));
        }
    };
    set_mtu(&edge, 9_000);
    write(&edge, "generic");
    edge.start_classifier();
    let cpus = std::thread::available_parallelism().unwrap().get().min(2);
    for mode in ["generic", "native"] {
        if mode == "native" {
            write(&edge, mode);
            edge.classifier().logged("attached interface=sp0 mode=native");
        }
        for (mtu, count) in
            [4_096, 9_000].into_iter().flat_map(|mtu| (1..=cpus).map(move |n| (mtu, n)))
        {
            let name = format!("{mode}, MTU {mtu}, {count} CPUs");
            set_mtu(&edge, mtu);
            let (passed, before) = (edge.counted("passed").0, dropped(&edge));
            echo(&edge, count);
            assert!(edge.counted("passed").0 > passed, "{name}: its packets are looked at");
            assert_eq!(dropped(&edge), before, "{name}: nothing honest is dropped");
            let flooded = edge.counted("udp_flood_source").1;
            let took = datagrams(&edge, count, mtu);
            let flooded = edge.counted("udp_flood_source").1 - flooded;
            let let_in = u64::from(DATAGRAMS) - flooded;
            // What one window takes, and the one before it, and what came in while it was sent.
            let most = f64::from(per_window(LIMIT)) * (2.0 + took.as_secs_f64());
            println!(
                "{name}: {let_in} of {DATAGRAMS} datagrams let in, in {} ms",
                took.as_millis()
            );
            assert!(let_in as f64 <= most, "{name}: {let_in} let in, {most} at most");
            assert_eq!(dropped(&edge) - before, flooded, "{name}: dropped for this alone");
        }
    }
}
