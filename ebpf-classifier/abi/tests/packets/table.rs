//! The packet table: what is sent, what becomes of it, what is counted. It lives here once; the host
//! runs it against tables, the kernel against the program and its maps.

use classifier_abi::{Address, Network, Prefix, Rate, Reason, Screens, Zone, ZoneKey};

use super::frame::*;

/// The interface that `BPF_PROG_TEST_RUN` takes for the one a packet came in by.
pub(crate) const IFINDEX: u32 = 1;
/// The port whose connections get flow entries.
pub(crate) const PORT: u16 = 443;

/// What the maps hold before a row's packets are sent.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) zones: Vec<(ZoneKey, Zone)>,
    pub(crate) networks: Vec<(Prefix, Network)>,
    /// A source, and in how many seconds its verdict expires.
    pub(crate) verdicts: Vec<(Address, i64)>,
    /// The same for prefixes of other lengths.
    pub(crate) verdict_prefixes: Vec<(Prefix, i64)>,
    /// A source, and how many seconds ago it completed a handshake.
    pub(crate) handshakes: Vec<(Address, u64)>,
}

/// One row.
pub(crate) struct Row {
    pub(crate) description: String,
    pub(crate) setup: Setup,
    /// Sent in this order, at once.
    pub(crate) packets: Vec<Vec<u8>>,
    /// For each packet, whether it passes.
    pub(crate) passes: Vec<bool>,
    /// Every counter that is not zero afterwards: the reason, whether for dropped packets, how many.
    pub(crate) counters: Vec<(Reason, bool, u64)>,
}

/// A zone with every screen dropping, no rates.
pub(crate) fn strict() -> Zone {
    let all =
        Reason::SCREENS.into_iter().fold(Screens::NONE, |all, one| all.with(Screens::of(one)));
    Zone { id: 1, watched: all, dropping: all, ..Zone::default() }
}

/// The same, only counting.
fn counting() -> Zone {
    Zone { dropping: Screens::NONE, ..strict() }
}

pub(crate) fn setup(zone: Zone) -> Setup {
    let key = ZoneKey { ifindex: IFINDEX, vlan: 0 };
    Setup {
        zones: vec![(key, zone)],
        networks: vec![],
        verdicts: vec![],
        verdict_prefixes: vec![],
        handshakes: vec![],
    }
}

fn row(description: impl Into<String>, packets: Vec<Vec<u8>>) -> Row {
    let passes = vec![true; packets.len()];
    let counters = vec![(Reason::Passed, false, packets.len() as u64)];
    Row { description: description.into(), setup: setup(strict()), packets, passes, counters }
}

impl Row {
    fn with(mut self, setup: Setup) -> Self {
        self.setup = setup;
        self
    }

    /// The last packet is dropped for `reason`.
    fn drops(mut self, reason: Reason) -> Self {
        if let Some(last) = self.passes.last_mut() {
            *last = false;
        }
        self.counted(reason, true, 1)
    }

    /// The last packet is counted for `reason` and passes.
    fn notes(self, reason: Reason) -> Self {
        self.counted(reason, false, 1)
    }

    fn counted(mut self, reason: Reason, dropped: bool, packets: u64) -> Self {
        self.counters.push((reason, dropped, packets));
        let passed = self.passes.iter().filter(|passes| **passes).count() as u64;
        self.counters.retain(|(reason, ..)| *reason != Reason::Passed);
        if passed > 0 {
            self.counters.push((Reason::Passed, false, passed));
        }
        self
    }
}

fn address(octets: [u8; 4]) -> Address {
    Address::v4(octets)
}

fn network(octets: [u8; 4], bits: u32, id: u16, action: u16) -> (Prefix, Network) {
    (Prefix::new(address(octets), bits + 96), Network { id, action })
}

/// Every row.
pub(crate) fn rows() -> Vec<Row> {
    let mut rows = plain();
    rows.extend(truncated());
    rows.extend(contradictory());
    rows.extend(segments());
    rows.extend(addresses());
    rows.extend(fragments());
    rows.extend(options());
    rows.extend(extensions());
    rows.extend(vlans());
    rows.extend(networks());
    rows.extend(verdicts());
    rows.extend(rates());
    rows.extend(scans());
    rows.extend(flows());
    rows.extend(bypasses());
    rows.extend(budgets());
    rows.extend(prefixes());
    rows
}

/// What any host gets all day.
fn plain() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, payload) in [
        ("SYN", tcp(40000, PORT, SYN, b"")),
        ("SYN to a port without flows", tcp(40000, 25, SYN, b"")),
        ("SYN-ACK", tcp(443, 40000, SYN | ACK, b"")),
        ("ACK", tcp(40000, PORT, ACK, b"")),
        ("data", tcp(40000, PORT, PSH | ACK, b"GET / HTTP/1.1\r\n\r\n")),
        ("FIN with ACK", tcp(40000, PORT, FIN | ACK, b"")),
        ("RST", tcp(40000, PORT, RST, b"")),
        ("URG to a port that is not NetBIOS", tcp(40000, PORT, URG | ACK, b"x")),
    ] {
        rows.push(row(format!("IPv4 TCP {name}"), vec![frame4(6, &payload)]));
        rows.push(row(format!("IPv6 TCP {name}"), vec![frame6(6, &payload)]));
    }
    rows.push(row("IPv4 UDP", vec![frame4(17, &udp(5353, 53, b"query"))]));
    rows.push(row("IPv6 UDP", vec![frame6(17, &udp(5353, 53, b"query"))]));
    rows.push(row("IPv4 ICMP", vec![frame4(1, &echo())]));
    rows.push(row("IPv6 ICMP", vec![frame6(58, &echo6())]));
    for protocol in [2, 47, 50, 89, 132, 255] {
        rows.push(row(format!("IPv4 protocol {protocol}"), vec![frame4(protocol, b"12345678")]));
        rows.push(row(format!("IPv6 protocol {protocol}"), vec![frame6(protocol, b"12345678")]));
    }
    for (name, ethertype) in [("ARP", 0x0806), ("LLDP", 0x88cc), ("IEEE 802.3 length", 0x0100)] {
        rows.push(row(name, vec![ethernet(&[], ethertype, &[0; 46])]).notes(Reason::NotIp));
    }
    let mut padded = frame4(6, &tcp(40000, PORT, ACK, b""));
    padded.resize(64, 0xaa);
    rows.push(row("Ethernet padding behind the packet is not payload", vec![padded]));
    rows
}

/// Cut off at every byte, all headers: counted and passed, never read beyond.
fn truncated() -> Vec<Row> {
    let options = V4 { options: &[1, 1, 1, 0], ..V4::default() };
    let with_options = ipv4_with(options, CLIENT, SERVER, 6, &tcp(1, PORT, SYN, b"x"));
    let chain = [extension(0), extension(60), fragment6(1, 0, false)];
    let with_chain = ipv6_with(CLIENT6, SERVER6, &chain, 6, &tcp(1, PORT, SYN, b"x"));
    let whole = [
        ("IPv4 TCP", frame4(6, &tcp(1, PORT, SYN, b"x"))),
        ("IPv4 UDP in a VLAN", ethernet(&[7], 0x0800, &ipv4(17, &udp(1, 2, b"x")))),
        ("IPv4 with options", ethernet(&[], 0x0800, &with_options)),
        ("IPv6 TCP", frame6(6, &tcp(1, PORT, SYN, b"x"))),
        ("IPv6 with extension headers in two VLANs", ethernet(&[7, 8], 0x86dd, &with_chain)),
    ];
    let mut rows = Vec::new();
    for (name, frame) in whole {
        // The kernel's test run takes no frame shorter than an Ethernet header.
        for length in 14..frame.len() {
            let description = format!("{name}, {length} of {} bytes", frame.len());
            rows.push(row(description, vec![frame[..length].to_vec()]).notes(Reason::Malformed));
        }
    }
    rows
}

/// Lengths and versions that cannot be.
fn contradictory() -> Vec<Row> {
    let sound = frame4(6, &tcp(1, PORT, SYN, b""));
    let changed = |at: usize, value: u8| {
        let mut frame = sound.clone();
        frame[at] = value;
        frame
    };
    let sound6 = frame6(6, &tcp(1, PORT, SYN, b""));
    let changed6 = |at: usize, value: u8| {
        let mut frame = sound6.clone();
        frame[at] = value;
        frame
    };
    let cases = [
        ("IPv4 header that says version 6", changed(14, 0x65)),
        ("IPv4 header length 4 words", changed(14, 0x44)),
        ("IPv4 header length 0", changed(14, 0x40)),
        ("IPv4 header longer than the packet", changed(14, 0x4f)),
        ("IPv4 total length below its header", changed(17, 19)),
        ("IPv4 total length 0", changed(17, 0)),
        ("IPv4 total length beyond the frame", changed(16, 0xff)),
        ("TCP data offset 4 words", changed(46, 4 << 4)),
        ("TCP data offset 0", changed(46, 0)),
        ("TCP data offset beyond the packet", changed(46, 15 << 4)),
        ("TCP header cut off by the total length", changed(17, 39)),
        ("IPv6 header that says version 4", changed6(14, 0x45)),
        ("IPv6 payload length beyond the frame", changed6(18, 0xff)),
        ("IPv6 payload length 0 with a TCP header", changed6(19, 0)),
        ("IPv6 payload length that cuts TCP off", changed6(19, 19)),
        ("UDP of 7 bytes", frame4(17, &[0; 7])),
        ("ICMP of 7 bytes", frame4(1, &[0; 7])),
        ("IPv6 UDP of 7 bytes", frame6(17, &[0; 7])),
    ];
    let mut rows: Vec<Row> =
        cases.map(|(name, frame)| row(name, vec![frame]).notes(Reason::Malformed)).into();
    rows.push(row(
        "the longest TCP header",
        vec![frame4(6, &{
            let mut segment = tcp(1, PORT, SYN, &[1; 40]);
            segment[12] = 15 << 4;
            segment
        })],
    ));
    rows
}

/// TCP flags that no sound stack sends.
fn segments() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, flags, port, reason) in [
        ("SYN and FIN with ACK", SYN | FIN | ACK, PORT, Reason::SynFin),
        ("no flags", 0, PORT, Reason::NoFlags),
        ("no flags but ECN's", 0xc0, PORT, Reason::NoFlags),
        ("FIN without ACK", FIN, PORT, Reason::FinNoAck),
        ("Xmas: FIN, PSH and URG", FIN | PSH | URG, PORT, Reason::FinNoAck),
        ("URG to NetBIOS", URG | ACK, 139, Reason::WinNuke),
    ] {
        let segment = tcp(40000, port, flags, b"");
        for (version, frame) in [("IPv4", frame4(6, &segment)), ("IPv6", frame6(6, &segment))] {
            let said = format!("{version} {name}");
            rows.push(row(said.clone(), vec![frame.clone()]).drops(reason));
            let counted = row(format!("{said}, only counted"), vec![frame.clone()]);
            rows.push(counted.with(setup(counting())).notes(reason));
            let off = Zone { watched: Screens::NONE, ..strict() };
            rows.push(row(format!("{said}, off"), vec![frame]).with(setup(off)));
        }
    }
    // Of several, the first in the order of the reasons decides, and the others are not counted.
    let both = vec![frame4(6, &tcp(1, PORT, SYN | FIN, b""))];
    rows.push(row("SYN and FIN without ACK", both.clone()).drops(Reason::SynFin));
    let counted = row("SYN and FIN without ACK, only counted", both).with(setup(counting()));
    rows.push(counted.notes(Reason::SynFin).notes(Reason::FinNoAck));
    rows
}

fn addresses() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, protocol, payload) in
        [("TCP", 6, tcp(80, 80, SYN, b"")), ("UDP", 17, udp(7, 7, b"")), ("ICMP", 1, echo())]
    {
        let frame = between(SERVER, SERVER, protocol, &payload);
        rows.push(row(format!("land, {name}"), vec![frame]).drops(Reason::Land));
    }
    let six = ipv6_with(SERVER6, SERVER6, &[], 6, &tcp(80, 80, SYN, b""));
    rows.push(row("land, IPv6", vec![ethernet(&[], 0x86dd, &six)]).drops(Reason::Land));
    let mut near = SERVER6;
    near[0] ^= 1;
    let six = ipv6_with(near, SERVER6, &[], 6, &tcp(80, 80, SYN, b""));
    let said = "IPv6 addresses that differ in the first byte only are two";
    rows.push(row(said, vec![ethernet(&[], 0x86dd, &six)]));
    rows
}

fn part(id: u16, offset: u16, more: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let v4 = V4 { id, offset, more, options: &[] };
    ethernet(&[], 0x0800, &ipv4_with(v4, CLIENT, SERVER, protocol, payload))
}

fn part6(id: u32, offset: u16, more: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let packet = ipv6_with(CLIENT6, SERVER6, &[fragment6(id, offset, more)], protocol, payload);
    ethernet(&[], 0x86dd, &packet)
}

fn fragments() -> Vec<Row> {
    let half = vec![0; 800];
    let first = udp(1, 2, &vec![0; 792]);
    let mut rows = vec![
        row(
            "a datagram in two parts",
            vec![part(1, 0, true, 17, &first), part(1, 800, false, 17, &half)],
        ),
        row(
            "a datagram in two parts, the second first",
            vec![part(1, 800, false, 17, &half), part(1, 0, true, 17, &first)],
        ),
        row(
            "a datagram in three parts, out of order",
            vec![
                part(1, 1600, false, 17, &half),
                part(1, 0, true, 17, &first),
                part(1, 800, true, 17, &half),
            ],
        ),
        row(
            "a part sent twice is a retransmission",
            vec![part(1, 800, false, 17, &half), part(1, 800, false, 17, &half)],
        ),
        row(
            "the same parts of two datagrams",
            vec![part(1, 800, false, 17, &half), part(2, 796 / 8 * 8, false, 17, &half)],
        ),
        row(
            "tear-drop: a part within another",
            vec![part(1, 0, true, 17, &first), part(1, 400, false, 17, &[0; 16])],
        )
        .drops(Reason::TearDrop),
        row(
            "tear-drop: a part over the end of another",
            vec![part(1, 0, true, 17, &first), part(1, 792, false, 17, &half)],
        )
        .drops(Reason::TearDrop),
        row(
            "tear-drop: a part over the beginning of another",
            vec![part(1, 800, false, 17, &half), part(1, 400, true, 17, &[0; 408])],
        )
        .drops(Reason::TearDrop),
        row("a later part has no flags and trips nothing", vec![part(1, 8, false, 6, &[0; 8])]),
        row("a later part that looks like SYN and FIN", vec![part(1, 8, false, 6, &[3; 24])]),
        row("a SYN in parts", vec![part(1, 0, true, 6, &tcp(1, PORT, SYN, &[0; 4]))])
            .drops(Reason::SynFragment),
        row(
            "a segment in parts that is no SYN",
            vec![part(1, 0, true, 6, &tcp(1, PORT, ACK, b"1234"))],
        ),
        row("ICMP in parts, the first", vec![part(1, 0, true, 1, &echo())])
            .drops(Reason::IcmpFragment),
        row("ICMP in parts, a later one", vec![part(1, 8, false, 1, &[0; 8])])
            .drops(Reason::IcmpFragment),
        row("a part that ends at 65,535 bytes", vec![part(1, 65_520, false, 17, &[0; 15])]),
        row("a part that ends beyond 65,535 bytes", vec![part(1, 65_528, false, 17, &[0; 16])])
            .drops(Reason::PingOfDeath),
        row("ping of death", vec![part(1, 65_528, false, 1, &[0; 64])]).drops(Reason::PingOfDeath),
        row("a first part too short for its TCP header", vec![part(1, 0, true, 6, &[0; 8])])
            .drops(Reason::Unparsable),
    ];
    rows.extend([
        row(
            "IPv6, a datagram in two parts",
            vec![part6(1, 0, true, 17, &first), part6(1, 800, false, 17, &half)],
        ),
        row(
            "IPv6, tear-drop",
            vec![part6(1, 0, true, 17, &first), part6(1, 400, false, 17, &[0; 16])],
        )
        .drops(Reason::TearDrop),
        row(
            "IPv6, an atomic fragment is whole",
            vec![part6(1, 0, false, 6, &tcp(1, PORT, SYN, b""))],
        ),
        row("IPv6, a SYN in parts", vec![part6(1, 0, true, 6, &tcp(1, PORT, SYN, b"1234"))])
            .drops(Reason::SynFragment),
        row("IPv6, ICMP in parts", vec![part6(1, 8, false, 58, &[0; 8])])
            .drops(Reason::IcmpFragment),
        row("IPv6, a part beyond 65,535 bytes", vec![part6(1, 65_528, false, 17, &[0; 16])])
            .drops(Reason::PingOfDeath),
        row("IPv6, a later part is not parsed further", vec![part6(1, 8, false, 0, &[255; 16])]),
    ]);
    rows
}

fn options() -> Vec<Row> {
    let with = |options: &[u8]| {
        let v4 = V4 { options, ..V4::default() };
        let packet = ipv4_with(v4, CLIENT, SERVER, 6, &tcp(1, PORT, ACK, b""));
        vec![ethernet(&[], 0x0800, &packet)]
    };
    let route = |kind: u8| [kind, 7, 4, 10, 0, 0, 1, 0];
    let mut last = [1; 12];
    last[4..12].copy_from_slice(&route(131));
    vec![
        row("loose source route", with(&route(131))).drops(Reason::SourceRoute),
        row("strict source route", with(&route(137))).drops(Reason::SourceRoute),
        row("record route is not a source route", with(&route(7))),
        row("a source route behind padding", with(&last)).drops(Reason::SourceRoute),
        row("a source route behind the end of options is none", with(&[0, 131, 7, 4])),
        row("router alert", with(&[148, 4, 0, 0])),
        row(
            "timestamps, 40 bytes",
            with(&{
                let mut options = [0; 40];
                options[..4].copy_from_slice(&[68, 40, 5, 0]);
                options
            }),
        ),
        row("more options than any sender needs", with(&[1; 40])).drops(Reason::SourceRoute),
        row("an option of length 0", with(&[7, 0, 0, 0])).notes(Reason::Malformed),
        row("an option of length 1", with(&[7, 1, 0, 0])).notes(Reason::Malformed),
        row("an option longer than the header", with(&[7, 5, 4, 0])).notes(Reason::Malformed),
    ]
}

fn extensions() -> Vec<Row> {
    let with = |extensions: &[(u8, Vec<u8>)], flags: u8| {
        let segment = tcp(1, PORT, flags, b"");
        let packet = ipv6_with(CLIENT6, SERVER6, extensions, 6, &segment);
        vec![ethernet(&[], 0x86dd, &packet)]
    };
    let mut rows = Vec::new();
    for number in [0, 60, 135, 139, 140, 51] {
        let mut header = extension(number);
        if number == 51 {
            header.1[0] = 0;
        }
        rows.push(
            row(format!("no flags behind extension header {number}"), with(&[header], 0))
                .drops(Reason::NoFlags),
        );
    }
    for count in 1..=8 {
        let chain: Vec<_> = (0..count).map(|_| extension(60)).collect();
        // Of the length in units of 8 bytes, the first not counted.
        let chain: Vec<_> = chain
            .into_iter()
            .map(|(n, mut c)| {
                c[0] = 0;
                (n, c)
            })
            .collect();
        rows.push(
            row(format!("no flags behind {count} extension headers"), with(&chain, 0))
                .drops(Reason::NoFlags),
        );
    }
    let nine: Vec<_> = (0..9).map(|_| extension(60)).collect();
    rows.push(row("nine extension headers", with(&nine, 0)).drops(Reason::Unparsable));
    let route = |kind: u8| (43, vec![0, kind, 1, 0, 0, 0, 0]);
    rows.push(row("routing header type 0", with(&[route(0)], ACK)).drops(Reason::SourceRoute));
    rows.push(row("routing header type 4 (segments)", with(&[route(4)], ACK)));
    let mut long = extension(60);
    long.1[0] = 1;
    long.1.resize(15, 0);
    rows.push(row("an extension header of 16 bytes", with(&[long], 0)).drops(Reason::NoFlags));
    let mut beyond = extension(60);
    beyond.1[0] = 200;
    rows.push(
        row("an extension header beyond the packet", with(&[beyond], 0)).notes(Reason::Malformed),
    );
    let none = ipv6_with(CLIENT6, SERVER6, &[], 59, b"");
    rows.push(row("no next header", vec![ethernet(&[], 0x86dd, &none)]));
    rows
}

fn vlans() -> Vec<Row> {
    let syn_fin = ipv4(6, &tcp(1, PORT, SYN | FIN | ACK, b""));
    let tagged = |vlans: &[u16]| vec![ethernet(vlans, 0x0800, &syn_fin)];
    let mut two = setup(strict());
    let own = Zone { id: 2, dropping: Screens::NONE, ..strict() };
    two.zones.push((ZoneKey { ifindex: IFINDEX, vlan: 7 }, own));
    let only =
        Setup { zones: vec![(ZoneKey { ifindex: IFINDEX, vlan: 7 }, strict())], ..setup(strict()) };
    let elsewhere =
        Setup { zones: vec![(ZoneKey { ifindex: 99, vlan: 0 }, strict())], ..setup(strict()) };
    vec![
        row("one tag, in the interface's zone", tagged(&[5])).drops(Reason::SynFin),
        row("two tags, in the interface's zone", tagged(&[5, 6])).drops(Reason::SynFin),
        row("four tags, in the interface's zone", tagged(&[5, 6, 8, 9])).drops(Reason::SynFin),
        row("tags of VLAN 0 are a priority alone", tagged(&[0, 0, 7]))
            .with(two.clone())
            .notes(Reason::SynFin),
        row("five tags, of which Linux takes off as many as are 0", tagged(&[0; 5]))
            .drops(Reason::Unparsable),
        row("a VLAN with a zone of its own", tagged(&[7])).with(two.clone()).notes(Reason::SynFin),
        row("the outer of two tags decides", tagged(&[7, 5]))
            .with(two.clone())
            .notes(Reason::SynFin),
        row("the inner of two tags does not", tagged(&[5, 7])).with(two).drops(Reason::SynFin),
        row("untagged, where only a VLAN has a zone", tagged(&[]))
            .with(only.clone())
            .notes(Reason::UnknownZone),
        row("tagged, where only that VLAN has a zone", tagged(&[7]))
            .with(only)
            .drops(Reason::SynFin),
        row("an interface without a zone", tagged(&[])).with(elsewhere).notes(Reason::UnknownZone),
    ]
}

fn networks() -> Vec<Row> {
    let syn = |source: [u8; 4]| vec![between(source, SERVER, 6, &tcp(1, PORT, SYN, b""))];
    let bad = |source: [u8; 4]| vec![between(source, SERVER, 6, &tcp(1, PORT, SYN | FIN, b""))];
    let with = |networks: Vec<(Prefix, Network)>| Setup { networks, ..setup(strict()) };
    let office = with(vec![network([192, 0, 2, 0], 24, 1, 0)]);
    let dropped = with(vec![network([192, 0, 2, 0], 24, 1, 2)]);
    let allowed = with(vec![network([192, 0, 2, 0], 24, 1, 1)]);
    let nested = with(vec![
        network([192, 0, 2, 0], 24, 1, 2),
        network([192, 0, 2, 8], 29, 2, 0),
        network([192, 0, 2, 10], 32, 3, 2),
    ]);
    let unknown = with(vec![network([192, 0, 2, 0], 24, 1, 9)]);
    let mut under_verdict = allowed.clone();
    under_verdict.verdicts.push((address(CLIENT), 60));
    let prefix6 = |bits| Prefix::new(Address::v6([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0], [0; 8]), bits);
    let dropped6 = with(vec![(prefix6(64), Network { id: 1, action: 2 })]);
    let everything =
        with(vec![(Prefix::new(Address::v6([0; 8], [0; 8]), 0), Network { id: 1, action: 2 })]);
    vec![
        row("a network that is classified", syn(CLIENT)).with(office),
        row("a network that is dropped", syn(CLIENT)).with(dropped.clone()).drops(Reason::Network),
        row("beside a network that is dropped", syn([192, 0, 3, 10])).with(dropped.clone()),
        row("UDP from a network that is dropped", vec![frame4(17, &udp(1, 2, b""))])
            .with(dropped.clone())
            .drops(Reason::Network),
        row("data from a network that is dropped", vec![frame4(6, &tcp(1, PORT, ACK, b"x"))])
            .with(dropped)
            .drops(Reason::Network),
        row("a network that is allowed", syn(CLIENT)).with(allowed.clone()).notes(Reason::Allowed),
        row("an allowed network trips screens and passes", bad(CLIENT))
            .with(allowed)
            .notes(Reason::Allowed)
            .notes(Reason::SynFin)
            .notes(Reason::FinNoAck),
        row("an allowed network under a verdict passes", syn(CLIENT))
            .with(under_verdict)
            .notes(Reason::Allowed),
        row("the longest prefix wins: dropped", syn(CLIENT))
            .with(nested.clone())
            .drops(Reason::Network),
        row("the longest prefix wins: classified", syn([192, 0, 2, 9])).with(nested.clone()),
        row("the longest prefix wins: around it dropped", syn([192, 0, 2, 100]))
            .with(nested)
            .drops(Reason::Network),
        row("an action that is none classifies", syn(CLIENT)).with(unknown),
        row("an IPv6 network that is dropped", vec![frame6(6, &tcp(1, PORT, SYN, b""))])
            .with(dropped6.clone())
            .drops(Reason::Network),
        row("IPv4 beside an IPv6 network", syn(CLIENT)).with(dropped6),
        row("a prefix of length 0 is everything", syn(CLIENT))
            .with(everything)
            .drops(Reason::Network),
    ]
}

fn verdicts() -> Vec<Row> {
    let under = |source: Address, seconds: i64| Setup {
        verdicts: vec![(source, seconds)],
        ..setup(strict())
    };
    let syn = || vec![frame4(6, &tcp(1, PORT, SYN, b""))];
    let mut other6 = CLIENT6;
    other6[3] ^= 1;
    let six = |octets: [u8; 16]| {
        let packet = ipv6_with(octets, SERVER6, &[], 6, &tcp(1, PORT, SYN, b""));
        vec![ethernet(&[], 0x86dd, &packet)]
    };
    let client6 = Address::from(std::net::IpAddr::from(CLIENT6));
    vec![
        row("a source under a verdict", syn())
            .with(under(address(CLIENT), 60))
            .drops(Reason::Verdict),
        row("its data too", vec![frame4(6, &tcp(1, PORT, ACK, b"x"))])
            .with(under(address(CLIENT), 60))
            .drops(Reason::Verdict),
        row("its UDP too", vec![frame4(17, &udp(1, 2, b""))])
            .with(under(address(CLIENT), 60))
            .drops(Reason::Verdict),
        row("a verdict that has expired", syn()).with(under(address(CLIENT), -1)),
        row("another source", syn()).with(under(address([192, 0, 2, 11]), 60)),
        row("an IPv6 source under a verdict", six(CLIENT6))
            .with(under(client6, 60))
            .drops(Reason::Verdict),
        row("another IPv6 /32", six(other6)).with(under(client6, 60)),
        row("an address is not its neighbour in another family", six([0; 16]))
            .with(under(address([0; 4]), 60)),
    ]
}

fn rates() -> Vec<Row> {
    use classifier_abi::Reason::*;
    let syn = |source: [u8; 4], port: u16| between(source, SERVER, 6, &tcp(port, PORT, SYN, b""));
    let limit = |source, zone| {
        let mut limited = strict();
        for rate in [Rate::Syn, Rate::Udp, Rate::Icmp] {
            limited.limits[rate as usize] = classifier_limits(source, zone);
        }
        limited
    };
    let many = |count: u16, last: Vec<u8>, each: &dyn Fn(u16) -> Vec<u8>| {
        let mut packets: Vec<_> = (0..count).map(each).collect();
        packets.push(last);
        packets
    };
    let stranger = |i: u16| syn([10, 0, 0, i as u8], 1000);
    let mut known = setup(limit(0, 5));
    known.handshakes.push((address(CLIENT), 30));
    let mut long_ago = setup(limit(0, 5));
    long_ago.handshakes.push((address(CLIENT), 3600));
    let other = between([10, 9, 9, 9], SERVER, 6, &tcp(1, PORT, SYN, b""));
    let icmp = || frame4(1, &echo());
    let data = || frame4(17, &udp(1, 2, b""));
    let counted = Zone { dropping: Screens::NONE, ..limit(3, 0) };
    vec![
        row("as many SYNs as a source may send", many(4, syn(CLIENT, 4), &|i| syn(CLIENT, i)))
            .with(setup(limit(5, 0))),
        row("one SYN more than a source may send", many(5, syn(CLIENT, 5), &|i| syn(CLIENT, i)))
            .with(setup(limit(5, 0)))
            .drops(SynFloodSource),
        row("another source goes on", many(5, other, &|i| syn(CLIENT, i))).with(setup(limit(5, 0))),
        row(
            "SYN-ACKs are no SYN flood",
            many(9, frame4(6, &tcp(443, 9, SYN | ACK, b"")), &|i| {
                frame4(6, &tcp(443, i, SYN | ACK, b""))
            }),
        )
        .with(setup(limit(5, 5))),
        row("too many SYNs, only counted", many(3, syn(CLIENT, 3), &|i| syn(CLIENT, i)))
            .with(setup(counted))
            .notes(SynFloodSource),
        row("a zone over its rate refuses a stranger", many(5, syn(CLIENT, 1), &stranger))
            .with(setup(limit(0, 5)))
            .drops(SynFloodZone),
        row("a zone over its rate lets a known source in", many(5, syn(CLIENT, 1), &stranger))
            .with(known),
        row("a handshake of an hour ago does not count", many(5, syn(CLIENT, 1), &stranger))
            .with(long_ago)
            .drops(SynFloodZone),
        row(
            "a zone over its rate: open flows go on",
            many(5, frame4(6, &tcp(1, PORT, ACK, b"data")), &stranger),
        )
        .with(setup(limit(0, 5))),
        row("too much UDP from a source", many(5, data(), &|_| data()))
            .with(setup(limit(5, 0)))
            .drops(UdpFloodSource),
        row(
            "too much UDP into a zone",
            many(5, data(), &|i| between([10, 0, 0, i as u8], SERVER, 17, &udp(1, 2, b""))),
        )
        .with(setup(limit(0, 5)))
        .drops(UdpFloodZone),
        row("too much ICMP from a source", many(5, icmp(), &|_| icmp()))
            .with(setup(limit(5, 0)))
            .drops(IcmpFloodSource),
        row(
            "too much ICMP into a zone",
            many(5, icmp(), &|i| between([10, 0, 0, i as u8], SERVER, 1, &echo())),
        )
        .with(setup(limit(0, 5)))
        .drops(IcmpFloodZone),
        row(
            "too much IPv6 ICMP from a source",
            many(5, frame6(58, &echo6()), &|_| frame6(58, &echo6())),
        )
        .with(setup(limit(5, 0)))
        .drops(IcmpFloodSource),
        row("kinds are counted apart", many(4, icmp(), &|_| data())).with(setup(limit(5, 5))),
        row("65,535 is a limit like any other", many(10, syn(CLIENT, 99), &|i| syn(CLIENT, i)))
            .with(setup(limit(65_535, 65_535))),
    ]
}

fn classifier_limits(source: u32, zone: u32) -> classifier_abi::Limits {
    classifier_abi::Limits { source, zone }
}

fn scans() -> Vec<Row> {
    let zone = Zone { port_bits: 10, address_bits: 0, ..strict() };
    let sweep = Zone { port_bits: 0, address_bits: 10, ..strict() };
    let ports = |count: u16| -> Vec<_> {
        (0..count).map(|i| frame4(6, &tcp(1, 1000 + i, SYN, b""))).collect()
    };
    let hosts = |count: u8| -> Vec<_> {
        (0..count).map(|i| between(CLIENT, [198, 51, 100, i], 1, &echo())).collect()
    };
    vec![
        row("ten ports of a limit of ten", ports(10)).with(setup(zone)),
        row("the same port many times", vec![frame4(6, &tcp(1, 80, SYN, b"")); 40])
            .with(setup(zone)),
        row("eleven ports of a limit of ten", ports(11)).with(setup(zone)).drops(Reason::PortScan),
        row("ten addresses of a limit of ten", hosts(10)).with(setup(sweep)),
        row("eleven addresses of a limit of ten", hosts(11))
            .with(setup(sweep))
            .drops(Reason::AddressSweep),
        row("the same address many times", vec![frame4(1, &echo()); 40]).with(setup(sweep)),
    ]
}

/// Whole connections; what they leave in `flows` is compared by the runner.
fn flows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, payload) in [
        ("TLS", &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..]),
        ("HTTP/1 GET", b"GET / HTTP/1.1\r\n"),
        ("HTTP/1 OPTIONS", b"OPTIONS * HTTP/1.1\r\n"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("another protocol", b"SSH-2.0-x\r\n"),
        ("a first byte", b"G"),
    ] {
        for frame in [frame4, frame6] {
            let connection = vec![
                frame(6, &tcp(50000, PORT, SYN, b"")),
                frame(6, &tcp(50000, PORT, ACK, b"")),
                frame(6, &tcp(50000, PORT, PSH | ACK, payload)),
                frame(6, &tcp(50000, PORT, PSH | ACK, b"GET / HTTP/1.1\r\n")),
            ];
            rows.push(row(format!("a connection that speaks {name}"), connection));
        }
    }
    rows
}

/// What once got past a verdict, a network marked `drop`, or a rate, because it was not parsed.
fn bypasses() -> Vec<Row> {
    let mut by_verdict = setup(strict());
    by_verdict.verdicts.push((address(CLIENT), 60));
    by_verdict.verdicts.push((Address::from(std::net::IpAddr::from(CLIENT6)), 60));
    let mut by_network = setup(strict());
    by_network.networks.push(network([192, 0, 2, 0], 24, 1, 2));
    let prefix6 = Prefix::new(Address::v6([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0], [0; 8]), 32);
    by_network.networks.push((prefix6, Network { id: 1, action: 2 }));
    let mut rows = Vec::new();
    for (name, frame) in unread() {
        let under = row(format!("{name}, under a verdict"), vec![frame.clone()]);
        rows.push(under.with(by_verdict.clone()).drops(Reason::Verdict));
        let of = row(format!("{name}, of a dropped network"), vec![frame]);
        rows.push(of.with(by_network.clone()).drops(Reason::Network));
    }
    let tiny = |protocol| part(1, 0, true, protocol, &tcp(1, PORT, SYN, b"")[..8]);
    let elsewhere = part(1, 0, true, 6, &tcp(1, 25, SYN, b"")[..8]);
    let default = setup(Zone { flags: Zone::UNPARSABLE_TCP, ..strict() });
    let dropped =
        |name: &str, frame| row(name, vec![frame]).with(default.clone()).drops(Reason::Unparsable);
    let noted =
        |name: &str, frame| row(name, vec![frame]).with(default.clone()).notes(Reason::Unparsable);
    let bare = |number: u8| (number, vec![0; 7]);
    let nine = ipv6_with(CLIENT6, SERVER6, &vec![bare(60); 9], 6, &tcp(1, PORT, SYN, b""));
    let mut options = extension(60);
    options.1[0] = 0;
    let split = ipv6_with(
        CLIENT6,
        SERVER6,
        &[fragment6(1, 0, true), options],
        6,
        &tcp(1, PORT, SYN, b"")[..16],
    );
    rows.extend([
        dropped("RFC 1858, 3: TCP's flags are not in the first part", tiny(6)),
        noted("the same to a port without flows", elsewhere),
        noted("the same of UDP's header is Linux's to put together", part(1, 0, true, 17, &[0; 4])),
        dropped("nine empty destination-options headers", ethernet(&[], 0x86dd, &nine)),
        dropped("RFC 7112: TCP's header is not in the first part", ethernet(&[], 0x86dd, &split)),
        dropped(
            "a data offset beyond the first part",
            part(1, 0, true, 6, &{
                let mut segment = tcp(1, PORT, SYN, &[0; 4]);
                segment[12] = 10 << 4;
                segment
            }),
        ),
        row("unparsable, only counted", vec![tiny(6)])
            .with(setup(counting()))
            .notes(Reason::Unparsable),
    ]);
    // RFC 2675: Linux goes by the frame's length where the payload's is 0 in front of such options.
    let mut jumbo = ipv6_with(CLIENT6, SERVER6, &[extension(0)], 6, &tcp(1, PORT, SYN | FIN, b""));
    jumbo[48] = 6;
    jumbo[49..56].copy_from_slice(&[0, 1, 4, 0, 0, 0, 0]);
    jumbo[4..6].copy_from_slice(&[0, 0]);
    jumbo[40..48].copy_from_slice(&[6, 0, 1, 4, 0, 0, 0, 0]);
    rows.push(
        row("IPv6 payload length 0 with hop-by-hop options", vec![ethernet(&[], 0x86dd, &jumbo)])
            .drops(Reason::SynFin),
    );
    rows
}

/// Frames that are not read to their transport header, each for another reason.
fn unread() -> Vec<(String, Vec<u8>)> {
    let mut frames = vec![
        ("an 8-byte first part".to_owned(), part(1, 0, true, 6, &tcp(1, PORT, SYN, b"")[..8])),
        ("a later part".to_owned(), part(1, 8, false, 6, &[0; 8])),
        ("an unknown protocol".to_owned(), frame4(253, b"12345678")),
    ];
    let mut option =
        ipv4_with(V4 { options: &[7, 0, 0, 0], ..V4::default() }, CLIENT, SERVER, 6, &[0; 20]);
    frames.push(("a bad option".to_owned(), ethernet(&[], 0x0800, &option)));
    option[0] = 0x4f;
    frames.push(("a header beyond the packet".to_owned(), ethernet(&[], 0x0800, &option)));
    for count in [8, 9, 20, 100] {
        let chain = vec![(60, vec![0; 7]); count];
        let packet = ipv6_with(CLIENT6, SERVER6, &chain, 6, &tcp(1, PORT, SYN, b""));
        frames
            .push((format!("{count} destination-options headers"), ethernet(&[], 0x86dd, &packet)));
    }
    for bytes in 34..54 {
        let frame = frame4(6, &tcp(1, PORT, SYN, b""));
        frames.push((format!("the first {bytes} bytes"), frame[..bytes].to_vec()));
    }
    for bytes in 54..74 {
        let frame = frame6(6, &tcp(1, PORT, SYN, b""));
        frames.push((format!("the first {bytes} bytes, IPv6"), frame[..bytes].to_vec()));
    }
    frames
}

/// What has a rate of its own.
fn budgets() -> Vec<Row> {
    use classifier_abi::Reason::*;
    let limited = |rate: Rate| {
        let mut zone = strict();
        zone.limits[rate as usize] = classifier_limits(3, 0);
        zone
    };
    let icmp = |kind: u8| frame4(1, &[kind, 4, 0, 0, 0, 0, 0, 0]);
    let icmp6 = |kind: u8| frame6(58, &[kind, 0, 0, 0, 0, 0, 0, 0]);
    let mut rows = Vec::new();
    // RFC 1191, RFC 8201, RFC 4861: no connection and no neighbour works without these.
    for kind in [3, 4, 11, 12] {
        let packets = vec![icmp(kind); 20];
        let said = format!("ICMP error {kind} is not in the rate of echo requests");
        rows.push(row(said, packets).with(setup(limited(Rate::Icmp))));
    }
    for kind in [1, 2, 3, 4, 130, 131, 132, 133, 134, 135, 136, 137, 143] {
        let packets = vec![icmp6(kind); 20];
        let said = format!("ICMPv6 {kind} is not in the rate of echo requests");
        rows.push(row(said, packets).with(setup(limited(Rate::Icmp))));
    }
    let kinds: [(Rate, Reason, &str, Vec<u8>); 9] = [
        (Rate::Syn, SynFloodSource, "SYNs", frame4(6, &tcp(1, PORT, SYN, b""))),
        (Rate::Udp, UdpFloodSource, "UDP", frame4(17, &udp(1, 2, b"x"))),
        (Rate::Icmp, IcmpFloodSource, "echo requests", frame4(1, &echo())),
        (Rate::IcmpError, IcmpErrorFloodSource, "ICMP errors", icmp(3)),
        (Rate::Ack, AckFloodSource, "ACKs", frame4(6, &tcp(1, PORT, ACK, b""))),
        (Rate::Rst, RstFloodSource, "RSTs", frame4(6, &tcp(1, PORT, RST, b""))),
        (Rate::SynAck, SynAckFloodSource, "SYN-ACKs", frame4(6, &tcp(443, 9, SYN | ACK, b""))),
        (Rate::Fragment, FragmentFloodSource, "later parts", part(1, 8, true, 17, &[0; 8])),
        (Rate::Other, OtherFloodSource, "GRE", frame4(47, b"12345678")),
    ];
    for (rate, reason, name, frame) in &kinds {
        let four = || vec![frame.clone(); 4];
        let over = row(format!("{name} over a source's limit"), four());
        rows.push(over.with(setup(limited(*rate))).drops(*reason));
        let mut zone = strict();
        zone.limits[*rate as usize] = classifier_limits(0, 3);
        let of_zone = Reason::SCREENS.into_iter().find(|zone| *zone as u32 == *reason as u32 + 1);
        let over = row(format!("{name} over a zone's limit"), four());
        rows.push(over.with(setup(zone)).drops(of_zone.unwrap()));
        for (other, _, of, _) in kinds.iter().filter(|(other, ..)| other != rate) {
            let said = format!("{name} are not in the rate of {of}");
            rows.push(row(said, four()).with(setup(limited(*other))));
        }
    }
    let mut proxy = setup(Zone { port_bits: 1, address_bits: 1, ..limited(Rate::Syn) });
    proxy.networks.push(network([192, 0, 2, 0], 24, 1, 3));
    let ports = || (0..20).map(|port| frame4(6, &tcp(port, 1000 + port, SYN, b""))).collect();
    rows.push({
        let mut exempt =
            row("rates and scans do not count for an exempt network", ports()).with(proxy.clone());
        exempt.counters.push((Reason::Exempt, false, 20));
        exempt
    });
    let mut bad = proxy.clone();
    bad.verdicts.push((address(CLIENT), 60));
    rows.push(
        row("an exempt network may be under a verdict", vec![frame4(6, &tcp(1, PORT, SYN, b""))])
            .with(bad)
            .drops(Reason::Verdict),
    );
    rows.push(
        row("an exempt network trips screens", vec![frame4(6, &tcp(1, PORT, 0, b""))])
            .with(proxy)
            .notes(Reason::Exempt)
            .drops(Reason::NoFlags),
    );
    rows
}

/// One customer has a /64, and every address in it (RFC 6177).
fn prefixes() -> Vec<Row> {
    let of = |last: u16, third: u8| {
        let mut source = CLIENT6;
        source[7] = third;
        source[14..].copy_from_slice(&last.to_be_bytes());
        let packet = ipv6_with(source, SERVER6, &[], 6, &tcp(1, PORT, SYN, b""));
        ethernet(&[], 0x86dd, &packet)
    };
    let mut zone = strict();
    zone.limits[Rate::Syn as usize] = classifier_limits(5, 0);
    let scan = Zone { port_bits: 5, ..strict() };
    let ports = (0..6).map(|i| {
        let mut source = CLIENT6;
        source[15] = i as u8 + 100;
        let packet = ipv6_with(source, SERVER6, &[], 6, &tcp(1, 1000 + i, SYN, b""));
        ethernet(&[], 0x86dd, &packet)
    });
    let mut verdict = setup(strict());
    verdict.verdicts.push((Address::from(std::net::IpAddr::from(CLIENT6)), 60));
    let prefix = |bits| Prefix::new(Address::from(std::net::IpAddr::from(CLIENT6)), bits);
    let prefix4 = |bits: u32| Prefix::new(address([192, 0, 2, 0]), 96 + bits);
    let on = |prefix| Setup { verdict_prefixes: vec![(prefix, 60)], ..setup(strict()) };
    let expired = Setup { verdict_prefixes: vec![(prefix(48), -1)], ..setup(strict()) };
    let syn = || vec![frame4(6, &tcp(1, PORT, SYN, b""))];
    vec![
        row("addresses of one /64 share a rate", (0..6).map(|i| of(0x100 + i, 0)).collect())
            .with(setup(zone))
            .drops(Reason::SynFloodSource),
        row("another /64 has its own", [2, 3, 4, 5, 6, 7].map(|i| of(i, u8::from(i == 7))).into())
            .with(setup(zone)),
        row("addresses of one /64 scan together", ports.collect())
            .with(setup(scan))
            .drops(Reason::PortScan),
        row("a verdict holds for a neighbour in the /64", vec![of(0x99, 0)])
            .with(verdict.clone())
            .drops(Reason::Verdict),
        row("and not for another /64", vec![of(0x99, 1)]).with(verdict),
        row("a verdict on a /48", vec![of(7, 3)]).with(on(prefix(48))).drops(Reason::Verdict),
        row("a verdict on a /48 that has expired", vec![of(7, 3)]).with(expired),
        row("a verdict on a single IPv6 address", vec![frame6(6, &tcp(1, PORT, SYN, b""))])
            .with(on(prefix(128)))
            .drops(Reason::Verdict),
        row("and not its neighbour", vec![of(7, 0)]).with(on(prefix(128))),
        row("a verdict on an IPv4 /24", syn()).with(on(prefix4(24))).drops(Reason::Verdict),
        row(
            "an IPv4 address beside it",
            vec![between([192, 0, 3, 1], SERVER, 6, &tcp(1, PORT, SYN, b""))],
        )
        .with(on(prefix4(24))),
    ]
}
