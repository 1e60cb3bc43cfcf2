//! Packets that somebody would send who wants to get past: headers, options, fragments, extension
//! chains, tags, lengths and overlaps, chosen by a generator whose seed is printed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where everything is sent.
pub(crate) const PORT: u16 = 443;

/// A generator of numbers (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 32) % limit
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// Both ends of the wire.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) from: [u8; 6],
    pub(crate) to: [u8; 6],
    pub(crate) server4: Ipv4Addr,
    pub(crate) server6: Ipv6Addr,
}

impl Ends {
    /// An Ethernet frame, with these tags of VLANs.
    pub(crate) fn frame(&self, tags: &[u16], ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = [self.to, self.from].concat();
        for tag in tags {
            frame.extend(0x8100_u16.to_be_bytes());
            frame.extend(tag.to_be_bytes());
        }
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        frame
    }

    /// One plain SYN.
    pub(crate) fn syn(&self, source: IpAddr, port: u16) -> Vec<u8> {
        let segment = self.tcp(source, port, 2, &[], &[]);
        match source {
            IpAddr::V4(source) => {
                self.frame(&[], 0x0800, &ipv4(source, self.server4, 6, &V4::default(), &segment))
            }
            IpAddr::V6(source) => {
                self.frame(&[], 0x86dd, &ipv6(source, self.server6, 6, segment.len(), &segment))
            }
        }
    }

    /// A segment with a right checksum.
    pub(crate) fn tcp(
        &self,
        source: IpAddr,
        port: u16,
        flags: u8,
        options: &[u8],
        payload: &[u8],
    ) -> Vec<u8> {
        let mut segment = Vec::new();
        segment.extend(port.to_be_bytes());
        segment.extend(PORT.to_be_bytes());
        segment.extend([0, 0, 0, 1, 0, 0, 0, 0]);
        segment.extend([((20 + options.len()) as u8 / 4) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        segment.extend(options);
        segment.extend(payload);
        let checksum = self.checksum(source, 6, &segment);
        segment[16..18].copy_from_slice(&checksum.to_be_bytes());
        segment
    }

    pub(crate) fn udp(&self, source: IpAddr, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
        let mut datagram = Vec::new();
        datagram.extend(ports.0.to_be_bytes());
        datagram.extend(ports.1.to_be_bytes());
        datagram.extend((8 + payload.len() as u16).to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(payload);
        let checksum = self.checksum(source, 17, &datagram);
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        datagram
    }

    /// The checksum of what goes from `source` to the server.
    pub(crate) fn checksum(&self, source: IpAddr, protocol: u8, content: &[u8]) -> u16 {
        let mut pseudo = Vec::new();
        match source {
            IpAddr::V4(source) => {
                pseudo.extend(source.octets());
                pseudo.extend(self.server4.octets());
            }
            IpAddr::V6(source) => {
                pseudo.extend(source.octets());
                pseudo.extend(self.server6.octets());
            }
        }
        pseudo.extend((content.len() as u32).to_be_bytes());
        pseudo.extend([0, 0, 0, protocol]);
        pseudo.extend(content);
        sum(&pseudo)
    }

    /// The frames of one attempt to get something to the server's port.
    pub(crate) fn attempt(&self, dice: &mut Dice, source: IpAddr) -> Vec<Vec<u8>> {
        let port = 1024 + dice.below(60_000) as u16;
        let (protocol, content) = if dice.one_in(5) {
            let bytes = dice.below(1_200) as usize;
            (17, self.udp(source, (port, PORT), &vec![0x55; bytes]))
        } else {
            let flags =
                dice.of(&[2, 2, 2, 2, 2 | 0x40, 2 | 0x80, 2 | 8, 2 | 32, 2 | 16, 2 | 4, 16, 0]);
            let options = dice.of(&[0, 0, 4, 12, 20, 40]);
            let payload = dice.of(&[0, 0, 0, 1, 8, 100]);
            (6, self.tcp(source, port, flags, &vec![1; options], &vec![7; payload]))
        };
        let tags = vec![0; dice.of(&[0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6])];
        let packets = match source {
            IpAddr::V4(source) => self.parts4(dice, source, protocol, &content),
            IpAddr::V6(source) => self.parts6(dice, source, protocol, &content),
        };
        let ethertype = if source.is_ipv4() { 0x0800 } else { 0x86dd };
        packets
            .into_iter()
            .map(|mut packet| {
                if dice.one_in(20) {
                    packet.truncate(1 + dice.below(packet.len() as u64) as usize);
                }
                if dice.one_in(6) {
                    packet.resize(packet.len() + dice.below(40) as usize, 0xee);
                }
                let mut frame = self.frame(&tags, ethertype, &packet);
                if dice.one_in(25) {
                    let at = 12 + dice.below(frame.len() as u64 - 12) as usize;
                    // Not in the source: that would be somebody else.
                    if !self.source_bytes(&frame, &tags, source).contains(&at) {
                        frame[at] = dice.next() as u8;
                    }
                }
                frame
            })
            .collect()
    }

    fn source_bytes(&self, frame: &[u8], tags: &[u16], source: IpAddr) -> std::ops::Range<usize> {
        let at = 14 + 4 * tags.len();
        let range = if source.is_ipv4() { at + 12..at + 16 } else { at + 8..at + 24 };
        // What comes before decides where the source is.
        12..range.end.min(frame.len())
    }

    fn parts4(
        &self,
        dice: &mut Dice,
        source: Ipv4Addr,
        protocol: u8,
        content: &[u8],
    ) -> Vec<Vec<u8>> {
        let option = dice.of(&[
            &[][..],
            &[],
            &[],
            &[1, 1, 1, 0],
            &[7, 7, 4, 0, 0, 0, 0, 0],
            &[131, 7, 4, 10, 0, 0, 1, 0],
            &[1; 12],
            &[68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[7, 0, 0, 0],
            &[148, 4, 0, 0],
        ]);
        let id = dice.next() as u16;
        if !dice.one_in(3) {
            let v4 = V4 { id, options: option.to_vec(), ..V4::default() };
            return vec![ipv4(source, self.server4, protocol, &v4, content)];
        }
        let packet = |(from, to, more): (usize, usize, bool)| {
            let v4 = V4 { id, options: option.to_vec(), offset: from, more };
            ipv4(source, self.server4, protocol, &v4, &content[from..to])
        };
        cuts(dice, content.len()).into_iter().map(packet).collect()
    }

    fn parts6(
        &self,
        dice: &mut Dice,
        source: Ipv6Addr,
        protocol: u8,
        content: &[u8],
    ) -> Vec<Vec<u8>> {
        let before = chain(dice);
        let inner = chain(dice);
        let id = dice.next() as u32;
        let (first, whole) = chained(&inner, protocol, content);
        if !dice.one_in(3) {
            let (first, whole) = chained(&before, first, &whole);
            let length = if first == 0 && dice.one_in(4) { 0 } else { whole.len() };
            return vec![ipv6(source, self.server6, first, length, &whole)];
        }
        let packet = |(from, to, more): (usize, usize, bool)| {
            let mut part = vec![first, 0];
            part.extend((from as u16 & 0xfff8 | u16::from(more)).to_be_bytes());
            part.extend(id.to_be_bytes());
            part.extend(&whole[from..to]);
            let (first, part) = chained(&before, 44, &part);
            ipv6(source, self.server6, first, part.len(), &part)
        };
        cuts(dice, whole.len()).into_iter().map(packet).collect()
    }
}

/// Extension headers: their numbers and bodies behind the first two bytes.
fn chain(dice: &mut Dice) -> Vec<(u8, Vec<u8>)> {
    let count = dice.of(&[0, 0, 0, 0, 1, 2, 3, 7, 8, 9, 10, 12]);
    let header = |index, dice: &mut Dice| {
        let number =
            if index == 0 { dice.of(&[0, 60, 43, 60]) } else { dice.of(&[60, 60, 60, 43]) };
        // Padding, or a routing header whose segments are used up.
        let body = if number == 43 { vec![4, 0, 0, 0, 0, 0] } else { vec![1, 4, 0, 0, 0, 0] };
        (number, body)
    };
    (0..count).map(|index| header(index, dice)).collect()
}

fn chained(headers: &[(u8, Vec<u8>)], protocol: u8, content: &[u8]) -> (u8, Vec<u8>) {
    let mut whole = Vec::new();
    for (index, (_, body)) in headers.iter().enumerate() {
        whole.push(headers.get(index + 1).map_or(protocol, |(number, _)| *number));
        whole.push(0);
        whole.extend(body);
    }
    whole.extend(content);
    (headers.first().map_or(protocol, |(number, _)| *number), whole)
}

/// Where a datagram of `bytes` bytes is cut: from, to, and whether more follow. In any order, sometimes
/// one of them twice, or with an overlap.
fn cuts(dice: &mut Dice, bytes: usize) -> Vec<(usize, usize, bool)> {
    let mut cuts = Vec::new();
    let mut from = 0;
    while from < bytes {
        let to = (from + dice.of(&[8, 8, 16, 24, 32, 64, 512])).min(bytes);
        cuts.push((from, to, to < bytes));
        from = to;
    }
    if cuts.len() > 1 && dice.one_in(4) {
        let (from, to, more) = cuts[dice.below(cuts.len() as u64) as usize];
        cuts.push((from.saturating_sub(8), to, more));
    }
    if dice.one_in(2) {
        cuts.reverse();
    }
    cuts
}

/// What an IPv4 header says beside addresses and protocol.
#[derive(Clone, Default)]
pub(crate) struct V4 {
    pub(crate) id: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) offset: usize,
    pub(crate) more: bool,
}

pub(crate) fn ipv4(
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    v4: &V4,
    content: &[u8],
) -> Vec<u8> {
    let header = 20 + v4.options.len();
    let mut packet = vec![0x40 | (header / 4) as u8, 0];
    packet.extend(((header + content.len()) as u16).to_be_bytes());
    packet.extend(v4.id.to_be_bytes());
    packet.extend(((v4.offset / 8) as u16 | u16::from(v4.more) << 13).to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(&v4.options);
    let checksum = sum(&packet);
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(content);
    packet
}

pub(crate) fn ipv6(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    first: u8,
    length: usize,
    content: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((length as u16).to_be_bytes());
    packet.extend([first, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(content);
    packet
}

/// The complement of the sum of 16-bit words (RFC 1071).
pub(crate) fn sum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or_default()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}
