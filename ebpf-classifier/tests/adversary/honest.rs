//! What an edge is sent by those who mean well.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::Place;
use crate::forge::{Dice, PORT, V4, ipv4, ipv6, sum};
use crate::net::{CLIENTS, GATEWAY};
use crate::wire::Wire;

/// How much of it came through.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Came {
    connections: usize,
    datagrams: usize,
    pings: usize,
    answers: usize,
}

const CONNECTIONS: usize = 60;
const DATAGRAMS: u64 = 2_000;
const SOCKETS: usize = 150;
const PINGS: u8 = 20;
/// Attempts to get all of it through.
const ROUNDS: usize = 5;

impl Came {
    /// Whether all of it did.
    fn is_whole(&self) -> bool {
        let datagrams = DATAGRAMS as usize * 9 / 10;
        *self
            == Self {
                connections: CONNECTIONS,
                datagrams,
                pings: 2 * PINGS as usize,
                answers: SOCKETS,
            }
    }
}

/// Sends all of it until all of it comes through, at most so often: a machine that is busy with others
/// loses datagrams at the end of a queue, with a classifier or without.
pub(crate) fn run_until_whole(place: &Place) -> Came {
    for _ in 1..ROUNDS {
        let came = run(place);
        if came.is_whole() {
            return came;
        }
        println!("not all of it came through, which a busy machine does as well: {came:?}");
        // Beyond the time that incomplete datagrams are kept.
        std::thread::sleep(Duration::from_secs(31));
    }
    run(place)
}

/// Sends all of it, one kind after the other.
fn run(place: &Place) -> Came {
    let mut wire = place.wire();
    neighbours(place, &mut wire);
    Came {
        connections: connections(place),
        datagrams: datagrams(place, &mut wire),
        pings: pings(place, &mut wire),
        answers: answers(place),
    }
}

/// Connections by real clients, each with a request and an end; the server closes at once.
fn connections(place: &Place) -> usize {
    let clients = place.edge.net.at_client(|| {
        let address: SocketAddr = format!("{GATEWAY}:{PORT}").parse().unwrap();
        (0..CONNECTIONS).filter(|_| ended(address)).count()
    });
    clients.join().unwrap()
}

fn ended(address: SocketAddr) -> bool {
    // Within the rate of a single source, as an honest client is.
    std::thread::sleep(Duration::from_millis(6));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else {
        return false;
    };
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // The server may have closed already, which is no loss.
    drop(stream.write_all(b"GET / HTTP/1.1\r\n\r\n"));
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Datagrams in parts, with identifications at random, of which some come again; every tenth is left
/// without its last part, as where a link loses it. Answered are those that are complete.
fn datagrams(place: &Place, wire: &mut Wire) -> usize {
    let mut dice = Dice::new(7);
    let source: IpAddr = CLIENTS[1].parse().unwrap();
    let IpAddr::V4(from) = source else { return 0 };
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..DATAGRAMS {
        // A lost part leaves its datagram waiting: that identification does not come again here.
        let lost = number % 10 == 9;
        let id = loop {
            let id = dice.next() as u16 & 0x3ff;
            let id = if lost { id | 0x8000 | (number as u16) << 4 & 0x7ff0 } else { id };
            if !lost || seen.insert(id) {
                break id;
            }
        };
        let payload = vec![0x5a; 3_000];
        let content = place.ends.udp(source, (40_000 + (number % 100) as u16, PORT), &payload);
        let mut parts: Vec<(usize, usize)> = vec![(0, 1_480), (1_480, 2_960), (2_960, 3_008)];
        match number % 3 {
            0 => {}
            1 => parts.reverse(),
            _ => parts.swap(0, 1),
        }
        for (from_byte, to_byte) in parts {
            let more = to_byte < content.len();
            if lost && !more {
                continue;
            }
            let v4 = V4 { id, offset: from_byte, more, options: Vec::new() };
            let packet = ipv4(from, place.ends.server4, 17, &v4, &content[from_byte..to_byte]);
            wire.send(&place.ends.frame(&[], 0x0800, &packet));
        }
        if number % 8 == 7 {
            wire.pause(Duration::from_millis(2));
        }
    }
    settle(place, wire, 999);
    let echo = |frame: &&Vec<u8>| {
        frame.get(23) == Some(&17) && frame.get(34..36) == Some(&PORT.to_be_bytes())
    };
    wire.take().iter().filter(echo).count()
}

/// Echo requests, as somebody looks whether the edge is there.
fn pings(place: &Place, wire: &mut Wire) -> usize {
    let ends = &place.ends;
    let from4 = CLIENTS[0].parse().unwrap();
    let from6 = "2001:db8:77::2".parse().unwrap();
    for number in 0..PINGS {
        let mut asked = vec![8, 0, 0, 0, 0, 9, 0, number];
        let checksum = sum(&asked);
        asked[2..4].copy_from_slice(&checksum.to_be_bytes());
        let packet = ipv4(from4, ends.server4, 1, &V4::default(), &asked);
        wire.send(&ends.frame(&[], 0x0800, &packet));
        let mut asked = vec![128, 0, 0, 0, 0, 9, 0, number];
        let checksum = ends.checksum(IpAddr::V6(from6), 58, &asked);
        asked[2..4].copy_from_slice(&checksum.to_be_bytes());
        wire.send(&ends.frame(&[], 0x86dd, &ipv6(from6, ends.server6, 58, asked.len(), &asked)));
    }
    settle(place, wire, 998);
    let is_reply = |frame: &&Vec<u8>| match frame.get(12..14) {
        Some([8, 0]) => frame.get(23) == Some(&1) && frame.get(34) == Some(&0),
        _ => frame.get(20) == Some(&58) && frame.get(54) == Some(&129),
    };
    wire.take().iter().filter(is_reply).count()
}

/// Waits until what was sent is through.
fn settle(place: &Place, wire: &mut Wire, port: u16) {
    let syn = place.ends.syn(CLIENTS[0].parse().unwrap(), port);
    wire.settle(&syn, |frame| {
        frame.get(23) == Some(&6) && frame.get(36..38) == Some(&port.to_be_bytes()[..])
    });
}

/// Answers of one resolver to as many sockets of ours, each on a port of its own (RFC 5452).
fn answers(place: &Place) -> usize {
    let script = format!(
        "import socket\nresolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n\
         resolver.bind(('{}', 53))\nfor _ in range({SOCKETS}):\n \
         question, sender = resolver.recvfrom(512)\n resolver.sendto(question, sender)",
        CLIENTS[2]
    );
    let resolver = std::process::Command::new("ip")
        .args(["netns", "exec", &place.edge.net.client, "python3", "-c", &script])
        .spawn();
    let mut resolver = resolver.unwrap();
    let script = format!(
        "import socket, time\nanswered = 0\nfor _ in range({SOCKETS}):\n \
         asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n asker.settimeout(0.5)\n \
         for attempt in range(20):\n  asker.sendto(b'question', ('{}', 53))\n  try:\n   \
         asker.recv(512)\n   answered += 1\n   break\n  except OSError:\n   time.sleep(0.1)\n\
         print(answered)",
        CLIENTS[2]
    );
    let output = std::process::Command::new("ip")
        .args(["netns", "exec", &place.edge.net.gateway, "python3", "-c", &script])
        .output()
        .unwrap();
    drop(resolver.kill());
    drop(resolver.wait());
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap_or_default()
}

/// What neighbours and routers send that nobody answers: path MTU, time exceeded, DHCP, VRRP, listener
/// reports, a traceroute, in bursts.
fn neighbours(place: &Place, wire: &mut Wire) {
    let ends = &place.ends;
    let (from4, from6) = ("10.77.0.5".parse().unwrap(), "2001:db8:77::5".parse().unwrap());
    let v4 = V4::default();
    let send4 = |wire: &mut Wire, protocol, content: &[u8]| {
        let packet = ipv4(from4, ends.server4, protocol, &v4, content);
        wire.send(&ends.frame(&[], 0x0800, &packet));
    };
    // A router whose next link is narrower tells every connection of it.
    for _ in 0..600 {
        for kind in [(3_u8, 4_u8), (11, 0)] {
            let mut error = vec![kind.0, kind.1, 0, 0, 0, 0, 5, 120];
            error.extend(ipv4(ends.server4, from4, 6, &v4, &[1, 187, 4, 210, 0, 0, 0, 1]));
            let checksum = sum(&error);
            error[2..4].copy_from_slice(&checksum.to_be_bytes());
            send4(wire, 1, &error);
        }
        let mut error = vec![2, 0, 0, 0, 0, 0, 5, 0];
        error.extend(ipv6(ends.server6, from6, 6, 20, &[0; 20]));
        let checksum = ends.checksum(IpAddr::V6(from6), 58, &error);
        error[2..4].copy_from_slice(&checksum.to_be_bytes());
        wire.send(&ends.frame(&[], 0x86dd, &ipv6(from6, ends.server6, 58, error.len(), &error)));
    }
    // Neighbour solicitations, of a segment that has just come back.
    for _ in 0..300 {
        let mut asked = vec![135, 0, 0, 0, 0, 0, 0, 0];
        asked.extend(ends.server6.octets());
        let checksum = ends.checksum(IpAddr::V6(from6), 58, &asked);
        asked[2..4].copy_from_slice(&checksum.to_be_bytes());
        wire.send(&ends.frame(&[], 0x86dd, &ipv6(from6, ends.server6, 58, asked.len(), &asked)));
    }
    for _ in 0..5 {
        send4(wire, 17, &ends.udp(IpAddr::V4(from4), (68, 67), &[1; 300]));
        send4(wire, 112, &[0x31, 1, 100, 1, 0, 1, 0, 0, 10, 77, 0, 1]);
        send4(wire, 2, &[0x16, 0, 0, 0, 224, 0, 0, 251]);
    }
    for hop in 0..30 {
        send4(wire, 17, &ends.udp(IpAddr::V4(from4), (50_000, 33_434 + hop), &[0; 32]));
    }
}
