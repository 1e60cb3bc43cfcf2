use std::sync::Mutex;

use super::*;
use crate::push::clock::ManualClock;

/// Answers with what it was told last, or not at all.
#[derive(Debug, Default)]
struct Told(Mutex<Option<Vec<SocketAddr>>>);

impl Told {
    fn tell(&self, addresses: Option<&[u16]>) {
        let addresses = addresses.map(|ports| {
            ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
        });
        *self.0.lock().unwrap() = addresses;
    }
}

impl Resolver for Told {
    fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        self.0.lock().unwrap().clone().ok_or_else(|| io::ErrorKind::TimedOut.into())
    }
}

#[test]
fn addresses_are_read_and_written() {
    for (text, written) in [
        ("localhost:8125", "udp://localhost:8125"),
        ("udp://[::1]:8125", "udp://[::1]:8125"),
        ("tcp://10.0.0.1:25888", "tcp://10.0.0.1:25888"),
        ("unix:///run/dsd.sock", "unix:///run/dsd.sock"),
    ] {
        assert_eq!(text.parse::<Address>().map(|it| it.to_string()).as_deref(), Ok(written));
    }
    for wrong in ["", "host", "host:", "host:0", ":8125", "::1:8125", "unix://x", "http://x:1"] {
        assert_eq!(wrong.parse::<Address>(), Err(AddressError), "{wrong}");
    }
}

#[test]
fn a_name_that_stops_resolving_stays_where_it_was() {
    let (told, clock) = (Arc::new(Told::default()), ManualClock::default());
    let link = LinkConfig {
        resolver: Arc::clone(&told) as Arc<dyn Resolver>,
        clock: Arc::new(clock.clone()),
        ..LinkConfig::default()
    };
    let mut name = Name::new("statsd", 8125);
    assert!(matches!(name.address(&link), Err(ExportError::Resolve { .. })));
    told.tell(Some(&[1]));
    assert_eq!(name.address(&link).unwrap().port(), 1, "asked again at once");
    told.tell(Some(&[2]));
    assert_eq!(name.address(&link).unwrap().port(), 1, "not before its time");
    clock.advance(link.resolve_every);
    assert_eq!(name.address(&link).unwrap().port(), 2);
    for gone in [None, Some(&[][..])] {
        told.tell(gone);
        clock.advance(link.resolve_every);
        assert_eq!(name.address(&link).unwrap().port(), 2);
    }
    told.tell(Some(&[3, 4]));
    name.failed();
    assert_eq!(name.address(&link).unwrap().port(), 3, "an error makes it ask");
    name.failed();
    assert_eq!(name.address(&link).unwrap().port(), 4, "and try another");
}

#[cfg(feature = "statsd")]
#[test]
fn messages_are_packed_whole() {
    use crate::push::{exporter::Tally, net::packer::Packer};

    let (mut packer, mut tally, mut sent) = (Packer::new(10), Tally::default(), Vec::new());
    let mut keep = |datagram: &[u8]| {
        sent.push(String::from_utf8(datagram.to_vec()).unwrap());
        Ok(())
    };
    for (message, fits) in [("aaaa", true), ("bbbbb", true), ("c", true), ("ddddddddddd", false)] {
        assert_eq!(packer.add(message.as_bytes(), &mut tally, &mut keep).unwrap(), fits);
        if fits {
            packer.point();
        }
    }
    packer.finish(&mut tally, &mut keep).unwrap();
    packer.finish(&mut tally, &mut keep).unwrap();
    assert_eq!(sent, ["aaaa\nbbbbb", "c"]);
    assert_eq!(tally, Tally { points: 3, bytes: 11, sends: 2, ..Tally::default() });
}

#[test]
#[cfg_attr(miri, ignore = "Miri has no sockets")]
fn a_refusal_of_before_does_not_fail_what_the_receiver_takes_now() {
    use std::net::UdpSocket;

    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = receiver.local_addr().unwrap();
    let address = Address::Udp(at.ip().to_string(), at.port());
    let mut datagrams = datagram::Datagrams::new(&address, LinkConfig::default());
    datagrams.send(b"one").unwrap();
    drop(receiver);
    // The first that nobody takes goes unnoticed; from then on each is refused.
    let refused = (0..100).find(|_| datagrams.send(b"lost").is_err());
    assert!(refused.is_some());
    datagrams.send(b"lost").unwrap_err();
    let receiver = UdpSocket::bind(at).unwrap();
    datagrams.send(b"two").unwrap();
    let mut taken = [0; 8];
    let length = receiver.recv(&mut taken).unwrap();
    assert_eq!(&taken[..length], b"two");
}
