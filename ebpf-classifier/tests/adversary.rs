//! An adversary that sends whatever it can think of, and honest neighbours who must not notice.
//!
//! `SALLYPORT_ADVERSARY_PACKETS` says how many attempts there are in each mode; `make adversary` has a
//! million. A failure prints the seed and the frames.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]
#![allow(clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "namespaces/edge.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod edge;
#[path = "adversary/forge.rs"]
mod forge;
#[path = "adversary/honest.rs"]
mod honest;
#[path = "support/net.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod net;
#[path = "support/program.rs"]
#[allow(dead_code, reason = "the packet table uses the rest")]
mod program;
#[path = "support/wire.rs"]
mod wire;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use classifier_abi::{WINDOW_NS, per_window};

use crate::edge::Edge;
use crate::forge::{Dice, Ends};
use crate::net::{INTERFACE, Process, must};
use crate::program::can_load;
use crate::wire::Wire;

/// Attempts in the suite, in each mode.
const ATTEMPTS: u64 = 25_000;
/// Attempts with nobody in the way, which show that the generator bites.
const BARE_ATTEMPTS: u64 = 3_000;
/// SYNs a second that a source at its limit may send.
const SYN_LIMIT: u32 = 10;

/// Answers on TCP and UDP, IPv4 and IPv6.
const SERVER: &str = "import selectors, socket
tcp = socket.create_server(('::', 443), family=socket.AF_INET6, dualstack_ipv6=True, backlog=4096)
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
udp.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
udp.bind(('::', 443))
tcp.setblocking(False)
udp.setblocking(False)
ready = selectors.DefaultSelector()
ready.register(tcp, selectors.EVENT_READ)
ready.register(udp, selectors.EVENT_READ)
import sys
print('serving', file=sys.stderr, flush=True)
while True:
    for key, _ in ready.select():
        try:
            if key.fileobj is tcp:
                tcp.accept()[0].close()
            else:
                data, sender = udp.recvfrom(65535)
                udp.sendto(data[:64], sender)
        except OSError:
            pass";

/// Who sends, and what the configuration says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Verdict,
    Dropped,
    Limited,
}

const SOURCES: [(&str, Standing); 8] = [
    ("203.0.113.66", Standing::Verdict),
    ("203.0.113.129", Standing::Verdict),
    ("2001:db8:66::1", Standing::Verdict),
    ("2001:db8:67:1::1", Standing::Verdict),
    ("198.51.100.7", Standing::Dropped),
    ("2001:db8:dead::7", Standing::Dropped),
    ("203.0.113.200", Standing::Limited),
    ("2001:db8:2ed::1", Standing::Limited),
];

pub(crate) struct Place {
    pub(crate) edge: Edge,
    pub(crate) ends: Ends,
    _server: Process,
}

impl Place {
    /// Two namespaces with a server in one, whose answers to anybody come to the other.
    pub(crate) fn new(mtu: u32) -> Self {
        let edge = Edge::new();
        let (gateway, client) = (edge.net.gateway.clone(), edge.net.client.clone());
        let mac = |namespace: &str, device: &str| {
            let link = must(&format!("ip -n {namespace} -br link show {device}"));
            let text = link.split_whitespace().nth(2).unwrap().to_owned();
            let octets: Vec<u8> =
                text.split(':').map(|octet| u8::from_str_radix(octet, 16).unwrap()).collect();
            (text, <[u8; 6]>::try_from(octets).unwrap())
        };
        let (client_mac, from) = mac(&client, "sp1");
        let (_, to) = mac(&gateway, INTERFACE);
        for (namespace, device) in [(&gateway, INTERFACE), (&client, "sp1")] {
            must(&format!("ip -n {namespace} link set {device} mtu {mtu}"));
        }
        must(&format!("ip -n {gateway} addr add 2001:db8:77::1/64 dev {INTERFACE} nodad"));
        must(&format!("ip -n {client} addr add 2001:db8:77::2/64 dev sp1 nodad"));
        for next in ["10.77.0.99", "2001:db8:77::99"] {
            let neighbour = format!("neigh add {next} lladdr {client_mac} dev {INTERFACE}");
            must(&format!("ip -n {gateway} {neighbour} nud permanent"));
            must(&format!("ip -n {gateway} route add default via {next} dev {INTERFACE}"));
        }
        for (key, value) in [
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/tcp_syncookies", "2"),
            ("net/ipv4/icmp_ratelimit", "0"),
        ] {
            must(&format!("nsenter --net=/run/netns/{gateway} sysctl -q {key}={value}"));
        }
        let server = edge.net.start(&["python3", "-c", SERVER]);
        server.logged("serving");
        let ends = Ends {
            from,
            to,
            server4: Ipv4Addr::new(10, 77, 0, 1),
            server6: "2001:db8:77::1".parse().unwrap(),
        };
        Self { edge, ends, _server: server }
    }

    /// Starts the classifier in `mode` on a file with `rest`.
    pub(crate) fn classify(&mut self, mode: &str, rest: &str) {
        let text = format!(
            "pin_path: {}\ninterfaces: [ {{ name: {INTERFACE}, zone: internet, mode: {mode} }} ]\n\
             zones: [ {{ name: internet, id: 1, screen: edge }} ]\n{rest}",
            self.edge.pin_path().display()
        );
        std::fs::write(self.edge.classifier_file(), text).unwrap();
        self.edge.start_classifier();
    }

    pub(crate) fn wire(&self) -> Wire {
        Wire::open(&self.edge.net.client, "sp1")
    }
}

/// Who an answer of the server goes to, and whether it is a SYN-ACK.
fn answered(frame: &[u8]) -> Option<(IpAddr, bool)> {
    let (to, protocol, rest) = match frame.get(12..14)? {
        [8, 0] => {
            let octets: [u8; 4] = frame.get(30..34)?.try_into().ok()?;
            // Linux answers options with options.
            let header_bytes = usize::from(frame.get(14)? & 15) * 4;
            (IpAddr::from(octets), *frame.get(23)?, frame.get(14 + header_bytes..)?)
        }
        [0x86, 0xdd] => {
            let octets: [u8; 16] = frame.get(38..54)?.try_into().ok()?;
            (IpAddr::from(octets), *frame.get(20)?, frame.get(54..)?)
        }
        _ => return None,
    };
    Some((to, protocol == 6 && rest.get(13).is_some_and(|flags| flags & 0x12 == 0x12)))
}

/// Sends attempts of everybody; returns who was answered how often, SYN-ACKs apart, and how long it
/// took.
fn attack(place: &Place, seed: u64, attempts: u64) -> (BTreeMap<(IpAddr, bool), u64>, Duration) {
    let mut wire = place.wire();
    let mut dice = Dice::new(seed);
    let mut answers = BTreeMap::new();
    let begun = Instant::now();
    let mut count = |wire: &Wire| {
        for frame in wire.take() {
            if let Some(answer) = answered(&frame) {
                *answers.entry(answer).or_default() += 1;
            }
        }
    };
    for attempt in 0..attempts {
        let (source, _) = SOURCES[dice.below(SOURCES.len() as u64) as usize];
        for frame in place.ends.attempt(&mut dice, source.parse().unwrap()) {
            wire.send(&frame);
        }
        // What is sent waits in a queue of the receiver's, which has an end.
        if attempt % 256 == 255 {
            wire.pause(Duration::from_millis(2));
            count(&wire);
        }
    }
    let honest: IpAddr = "10.77.0.2".parse().unwrap();
    wire.settle(&place.ends.syn(honest, 999), |frame| answered(frame) == Some((honest, true)));
    let took = begun.elapsed();
    count(&wire);
    (answers, took)
}

/// What the generator finds where nobody is in the way, so that the rest of this means something.
#[test]
fn without_a_classifier_the_adversary_is_answered() {
    if !can_load() {
        return;
    }
    let place = Place::new(1_500);
    let (answers, _) = attack(&place, 1, BARE_ATTEMPTS);
    for (source, _) in SOURCES {
        let source: IpAddr = source.parse().unwrap();
        let of = |syn_ack| answers.get(&(source, syn_ack)).copied().unwrap_or_default();
        assert!(of(true) > 15 && of(false) > 10, "{source}: {} and {}", of(true), of(false));
    }
}

#[test]
fn no_packet_of_a_source_that_is_shut_out_reaches_a_socket() {
    if !can_load() {
        return;
    }
    let attempts = std::env::var("SALLYPORT_ADVERSARY_PACKETS")
        .map_or(ATTEMPTS, |count| count.parse().expect("a number of packets"));
    for (mode, mtu) in [("native", 1_500), ("generic", 1_500)] {
        let mut place = Place::new(mtu);
        place.classify(
            mode,
            &format!(
                "networks: [ {{ name: bad, cidrs: [198.51.100.0/24, 2001:db8:dead::/48], \
                 action: drop }} ]\nscreens: [ {{ name: edge, \
                 syn_flood: {{ per_source_per_s: {SYN_LIMIT}, action: drop }}, \
                 ack_flood: {{ per_source_per_s: {SYN_LIMIT}, action: drop }} }} ]\n\
                 flows: {{ ports: [443] }}\n"
            ),
        );
        for target in ["203.0.113.66", "203.0.113.128/26", "2001:db8:66::9", "2001:db8:67::/48"] {
            let pins = place.edge.pin_path();
            let pins = pins.to_str().unwrap();
            let arguments = ["verdict", "add", target, "--for", "24h", "--pin-path", pins];
            let added = net::classifier(&arguments);
            assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        }
        let seed = 0x5a11_7900 + attempts;
        let (answers, took) = attack(&place, seed, attempts);
        println!("{mode}: {attempts} attempts in {} s, seed {seed}", took.as_secs());
        for (source, standing) in SOURCES {
            let source: IpAddr = source.parse().unwrap();
            let of = |syn_ack| answers.get(&(source, syn_ack)).copied().unwrap_or_default();
            match standing {
                Standing::Verdict | Standing::Dropped => {
                    let all = of(true) + of(false);
                    assert_eq!(all, 0, "{mode}, seed {seed}: {source} was answered ({standing:?})");
                }
                Standing::Limited => {
                    let windows = took.as_nanos() as f64 / WINDOW_NS as f64 + 2.0;
                    let most = f64::from(per_window(SYN_LIMIT)) * windows;
                    println!("{mode}: {source} had {} SYN-ACKs of at most {most:.0}", of(true));
                    assert!(of(true) as f64 <= most, "{mode}, seed {seed}: {source}: {}", of(true));
                    assert!(of(true) > 0, "{source} is let in below its limit");
                }
            }
        }
        assert!(place.edge.counted("verdict").1 > attempts / 4);
        assert!(place.edge.counted("network").1 > attempts / 8);
    }
}

#[test]
fn honest_traffic_loses_nothing_under_the_shipped_file() {
    if !can_load() {
        return;
    }
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../conf/classifier.yaml");
    let shipped = std::fs::read_to_string(shipped).unwrap();
    let rest = &shipped[shipped.find("screens:").expect("the shipped file has screens")..];
    for (mode, mtu) in [("native", 1_500), ("generic", 1_500), ("native", 9_000)] {
        let bare = honest::run_until_whole(&Place::new(mtu));
        let mut place = Place::new(mtu);
        place.classify(mode, rest);
        let classified = honest::run_until_whole(&place);
        assert_eq!(classified, bare, "{mode}: what came through");
        let mut dropped = Vec::new();
        for reason in classifier_abi::Reason::ALL {
            let count = place.edge.counted(reason.label()).1;
            if count > 0 {
                dropped.push((reason.label(), count));
            }
        }
        assert_eq!(dropped, [], "{mode}: honest packets were dropped");
        println!("{mode}: {classified:?}");
    }
}
