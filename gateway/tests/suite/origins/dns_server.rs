//! A DNS server whose answers are the test's to change (RFC 1035, as far as A, AAAA, CNAME and SRV go).

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// What fits into an answer over UDP here; more is truncated, and asked for over TCP.
const UDP_BYTES: usize = 512;

const A: u16 = 1;
const CNAME: u16 = 5;
const AAAA: u16 = 28;
const SRV: u16 = 33;

/// What the server says of a name.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    /// These addresses, with a TTL in seconds.
    Addresses(Vec<IpAddr>, u32),
    /// Another name.
    Alias(&'static str),
    /// Services: priority, weight, port, target.
    Services(Vec<(u16, u16, u16, &'static str)>, u32),
    ServFail,
    /// Nothing at all.
    Silence,
}

type Zones = Arc<Mutex<HashMap<String, Zone>>>;

/// Answers NXDOMAIN for every name it is not told of.
pub(super) struct DnsServer {
    pub(super) address: SocketAddr,
    zones: Zones,
    pub(super) questions: Arc<Mutex<Vec<String>>>,
}

impl DnsServer {
    pub(super) fn start() -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            // The same port may be taken for TCP.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let server = Self {
            address: udp.local_addr().unwrap(),
            zones: Zones::default(),
            questions: Arc::default(),
        };
        let (zones, questions) = (server.zones.clone(), server.questions.clone());
        thread::spawn(move || {
            let mut question = [0; 512];
            while let Ok((bytes, from)) = udp.recv_from(&mut question) {
                let Some(mut answer) = answer(&question[..bytes], &zones, &questions) else {
                    continue;
                };
                if answer.len() > UDP_BYTES {
                    answer.truncate(UDP_BYTES);
                    answer[2] |= 0x02;
                    // No record is promised.
                    answer[6..8].fill(0);
                }
                udp.send_to(&answer, from).ok();
            }
        });
        let (zones, questions) = (server.zones.clone(), server.questions.clone());
        thread::spawn(move || {
            for stream in tcp.incoming().map_while(Result::ok) {
                let (zones, questions) = (zones.clone(), questions.clone());
                thread::spawn(move || over_tcp(stream, &zones, &questions));
            }
        });
        server
    }

    /// What `name`, without a dot at its end, is from now on.
    pub(super) fn set(&self, name: &str, zone: Zone) {
        self.zones.lock().unwrap().insert(name.to_owned(), zone);
    }

    pub(super) fn addresses(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.set(name, Zone::Addresses(addresses, ttl));
    }

    pub(super) fn remove(&self, name: &str) {
        self.zones.lock().unwrap().remove(name);
    }

    /// The top-level key that makes a gateway ask here.
    pub(super) fn key(&self) -> String {
        format!(
            "resolver: {{ servers: [\"{}\"], search: [], timeout: 500ms, attempts: 1 }}\n",
            self.address
        )
    }
}

fn over_tcp(mut stream: TcpStream, zones: &Zones, questions: &Mutex<Vec<String>>) {
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut question = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut question).is_err() {
            return;
        }
        let Some(answer) = answer(&question, zones, questions) else { return };
        let length = (answer.len() as u16).to_be_bytes();
        if stream.write_all(&[&length[..], &answer].concat()).is_err() {
            return;
        }
    }
}

fn answer(question: &[u8], zones: &Zones, questions: &Mutex<Vec<String>>) -> Option<Vec<u8>> {
    let (name, end) = read_name(question.get(12..)?)?;
    let end = 12 + end;
    let kind = u16::from_be_bytes(question.get(end..end + 2)?.try_into().ok()?);
    questions.lock().unwrap().push(name.to_lowercase());
    let zones = zones.lock().unwrap();
    let (mut code, mut records, mut asked) = (0, Vec::new(), name.to_lowercase());
    loop {
        match zones.get(&asked) {
            None => code = 3,
            Some(Zone::ServFail) => code = 2,
            Some(Zone::Silence) => return None,
            Some(Zone::Alias(target)) => {
                records.push(record(&asked, CNAME, 60, &write_name(target)));
                asked = (*target).to_owned();
                continue;
            }
            Some(Zone::Addresses(addresses, ttl)) => {
                records.extend(addresses.iter().filter_map(|address| match (address, kind) {
                    (IpAddr::V4(ip), A) => Some(record(&asked, A, *ttl, &ip.octets())),
                    (IpAddr::V6(ip), AAAA) => Some(record(&asked, AAAA, *ttl, &ip.octets())),
                    _ => None,
                }));
            }
            Some(Zone::Services(services, ttl)) if kind == SRV => {
                records.extend(services.iter().map(|(priority, weight, port, target)| {
                    let numbers = [priority, weight, port].map(|number| number.to_be_bytes());
                    record(
                        &asked,
                        SRV,
                        *ttl,
                        &[&numbers.concat(), &write_name(target)[..]].concat(),
                    )
                }));
            }
            Some(Zone::Services(..)) => {}
        }
        break;
    }
    let mut answer = Vec::from(&question[..2]);
    // A response, recursion asked for and had.
    answer.extend([0x81, 0x80 | code, 0, 1]);
    answer.extend((records.len() as u16).to_be_bytes());
    answer.extend([0; 4]);
    answer.extend(&question[12..end + 4]);
    answer.extend(records.concat());
    Some(answer)
}

fn record(name: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let mut record = write_name(name);
    record.extend(kind.to_be_bytes());
    record.extend([0, 1]);
    record.extend(ttl.to_be_bytes());
    record.extend((data.len() as u16).to_be_bytes());
    record.extend(data);
    record
}

fn read_name(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut labels, mut at) = (Vec::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        if length == 0 {
            return Some((labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(bytes.get(at..at + length)?).into_owned());
        at += length;
    }
}

fn write_name(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}
