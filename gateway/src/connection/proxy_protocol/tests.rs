use proptest::prelude::*;

use super::version2::{SIGNATURE, crc32c};
use super::*;

fn whole(bytes: &[u8]) -> ProxyHeader {
    match parse(bytes) {
        Ok(Parsed::Whole(header, length)) => {
            assert_eq!(length, bytes.len());
            header
        }
        other => panic!("{other:?}"),
    }
}

fn addresses(source: &str, destination: &str) -> Option<(SocketAddr, SocketAddr)> {
    Some((source.parse().unwrap(), destination.parse().unwrap()))
}

/// A header of version 2 with its length filled in.
fn version2(command: u8, family: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u16).to_be_bytes();
    [SIGNATURE, &[command, family], &length, content].concat()
}

fn extension(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &(value.len() as u16).to_be_bytes(), value].concat()
}

const TCP4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xc0, 0x01, 0x01, 0xbb];

#[test]
fn a_line_names_both_ends() {
    let line = |text: &str| whole(text.as_bytes()).addresses;
    assert_eq!(
        line("PROXY TCP4 203.0.113.7 192.0.2.1 49153 443\r\n"),
        addresses("203.0.113.7:49153", "192.0.2.1:443")
    );
    assert_eq!(
        line("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n"),
        addresses("[2001:db8::7]:0", "[::1]:65535")
    );
    assert_eq!(line("PROXY UNKNOWN\r\n"), None);
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(91));
    assert_eq!((longest.len(), line(&longest)), (107, None));
}

#[test]
fn a_line_that_is_not_by_the_letter_is_refused() {
    for line in [
        "PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n",
        "PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n",
        "PROXY TCP4 203.0.113.07 192.0.2.1 1 2\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 01 2\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 +1 2\r\n",
        "PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n",
        "PROXY TCP4 2001:db8::7 ::1 1 2\r\n",
        "PROXY TCP6 203.0.113.7 192.0.2.1 1 2\r\n",
        "PROXY TCP6 2001:db8::7%eth0 ::1 1 2\r\n",
        "PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY tcp4 203.0.113.7 192.0.2.1 1 2\r\n",
        "PROXY \r\n",
        "PROXY TCP4 203.0.113.7\n192.0.2.1 1 2\r\n",
        "proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n",
        "GET / HTTP/1.1\r\n",
        "\x16\x03\x01",
    ] {
        assert!(matches!(parse(line.as_bytes()), Err(Refusal::Malformed(_))), "{line:?}");
    }
    let endless = format!("PROXY UNKNOWN {}", "f".repeat(93));
    assert_eq!(parse(&endless.as_bytes()[..106]), Ok(Parsed::Partial));
    assert!(parse(endless.as_bytes()).is_err());
    assert!(parse(format!("{endless}\r\n").as_bytes()).is_err());
}

#[test]
fn version_2_names_both_ends_of_tcp() {
    let tcp6 = [&[0x20, 1][..], &[0; 13], &[7], &[0; 15], &[1, 0, 80, 1, 187]].concat();
    assert_eq!(
        whole(&version2(0x21, 0x11, &TCP4)).addresses,
        addresses("203.0.113.7:49153", "192.0.2.1:443")
    );
    assert_eq!(
        whole(&version2(0x21, 0x21, &tcp6)).addresses,
        addresses("[2001::7]:80", "[::1]:443")
    );
    // A check of the proxy's own, whatever it says; and clients without an address.
    for (command, family, content) in
        [(0x20, 0, &[][..]), (0x20, 0x11, &TCP4), (0x20, 0xff, &[1, 2, 3]), (0x21, 0, &[])]
    {
        assert_eq!(whole(&version2(command, family, content)), ProxyHeader::default());
    }
    assert_eq!(whole(&version2(0x21, 0x31, &[0; 216])), ProxyHeader::default());
}

#[test]
fn version_2_that_is_not_by_the_letter_is_refused() {
    for (command, family, content) in [
        (0x11, 0x11, &TCP4[..]),
        (0x22, 0x11, &TCP4),
        (0x21, 0x12, &TCP4),
        (0x21, 0x41, &TCP4),
        (0x21, 0x11, &TCP4[..11]),
        (0x21, 0x21, &TCP4),
        (0x21, 0x31, &TCP4),
        (0x21, 0x11, &[&TCP4[..], &[1]].concat()),
        (0x21, 0x11, &[&TCP4[..], &[1, 0, 5, 1]].concat()),
        (0x21, 0x11, &[&TCP4[..], &extension(5, &[0; 129])].concat()),
        (0x21, 0x11, &[&TCP4[..], &extension(2, b"\xff")].concat()),
        (0x21, 0x11, &[&TCP4[..], &extension(3, &[0; 3])].concat()),
        (0x21, 0x11, &[&TCP4[..], &extension(3, &[0; 4])].concat()),
        (0x21, 0x11, &[0; 4081]),
    ] {
        let header = version2(command, family, content);
        assert!(matches!(parse(&header), Err(Refusal::Malformed(_))), "{command:x} {family:x}");
    }
    assert_eq!(parse(&version2(0x21, 0, &[4; 0])[..15]), Ok(Parsed::Partial));
    // What will be too long is refused before it has come.
    let announced = [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat();
    assert!(parse(&announced).is_err());
}

#[test]
fn extensions_that_are_known_are_kept() {
    let mut content = [
        &TCP4[..],
        &extension(1, b"h2"),
        &extension(2, b"shop.example"),
        &extension(4, &[0; 7]),
        &extension(5, b"id-1"),
        &extension(0x20, &[1, 0, 0, 0, 0]),
        &extension(0xe4, b"whatever"),
        &extension(3, &[0; 4]),
    ]
    .concat();
    let sum = crc32c(version2(0x21, 0x11, &content).into_iter());
    let at = content.len() - 4;
    content[at..].copy_from_slice(&sum.to_be_bytes());
    let header = whole(&version2(0x21, 0x11, &content));
    assert_eq!(header.alpn.as_deref(), Some(&b"h2"[..]));
    assert_eq!(header.authority.as_deref(), Some("shop.example"));
    assert_eq!(header.unique_id.as_deref(), Some(&b"id-1"[..]));
    assert!(header.is_tls);
}

#[test]
fn the_checksum_is_castagnolis() {
    assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283);
}

#[test]
fn a_header_is_recognised_where_a_request_should_be() {
    for begin in ["PROXY TCP4 1", "\r\nPROXY ", "\r\n\r\n\0\r\nQUIT\n!", "\0\r\nQUIT\n!"] {
        assert!(begins_as_header(begin.as_bytes()), "{begin:?}");
    }
    for begin in ["", "\r\n", "GET / HTTP/1.1", "PROXYX / HTTP/1.1", "PRO"] {
        assert!(!begins_as_header(begin.as_bytes()), "{begin:?}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_judged_the_same_in_pieces(
        header in prop_oneof![
            Just(b"PROXY TCP4 203.0.113.7 192.0.2.1 49153 443\r\n".to_vec()),
            Just(version2(0x21, 0x11, &TCP4)),
            prop::collection::vec(any::<u8>(), 0..200)
                .prop_map(|content| version2(0x21, 0x11, &content)),
            "PROXY [A-Z0-9. ]{0,110}\r?\n?".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..64),
        ],
        following in prop::collection::vec(any::<u8>(), 0..32),
    ) {
        let all = [&header[..], &following].concat();
        let judged = parse(&all);
        for end in 0..all.len() {
            match parse(&all[..end]) {
                // What is settled early stays so.
                Ok(Parsed::Partial) => {}
                early => prop_assert_eq!(&early, &judged),
            }
        }
        if let Ok(Parsed::Whole(_, length)) = judged {
            prop_assert!(length <= all.len());
        }
    }
}
