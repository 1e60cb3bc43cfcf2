use proptest::prelude::*;

use super::*;

/// A hello without the header of its message.
pub(super) fn hello(version: u16, ciphers: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut out = version.to_be_bytes().to_vec();
    out.extend([7; 32]);
    out.extend([0]);
    out.extend((ciphers.len() as u16 * 2).to_be_bytes());
    out.extend(ciphers.iter().flat_map(|cipher| cipher.to_be_bytes()));
    out.extend([1, 0]);
    let mut listed = Vec::new();
    for (kind, data) in extensions {
        listed.extend(kind.to_be_bytes());
        listed.extend((data.len() as u16).to_be_bytes());
        listed.extend(data);
    }
    out.extend((listed.len() as u16).to_be_bytes());
    out.extend(listed);
    out
}

/// `hello` as a message, in records of so many bytes.
fn records(hello: &[u8], bytes: usize) -> Vec<u8> {
    let length = (hello.len() as u32).to_be_bytes();
    let message = [&[1], &length[1..], hello].concat();
    let record = |part: &[u8]| [&[22, 3, 1], &(part.len() as u16).to_be_bytes()[..], part].concat();
    message.chunks(bytes).flat_map(record).collect()
}

fn read(wire: &[u8], step: usize) -> Result<Beginning, NoHello> {
    let mut beginning = Beginning::default();
    for part in wire.chunks(step) {
        beginning.wire.extend_from_slice(part);
        if beginning.advance()? {
            break;
        }
    }
    Ok(beginning)
}

#[test]
fn a_hello_is_whole_however_it_is_cut() {
    let sent = hello(0x0303, &[0x1301, 0xc02b], &[(43, vec![2, 3, 4])]);
    for record in [1, 7, 10_000] {
        for step in [1, 3, 10_000] {
            let beginning = read(&records(&sent, record), step).expect("it is a hello");
            assert_eq!(beginning.hello(), sent);
            assert_eq!(ciphers(beginning.hello()), [0x1301, 0xc02b]);
            assert_eq!(versions(beginning.hello()), [0x0304]);
        }
    }
}

/// An extension with these names of these types.
fn named(names: &[(u8, &[u8])]) -> (u16, Vec<u8>) {
    let list: Vec<u8> = names
        .iter()
        .flat_map(|(kind, name)| {
            [&[*kind][..], &(name.len() as u16).to_be_bytes()[..], name].concat()
        })
        .collect();
    (0, [&(list.len() as u16).to_be_bytes()[..], &list].concat())
}

#[test]
fn the_name_is_the_first_one_of_a_host() {
    let long = "a".repeat(300);
    for (extensions, name) in [
        (vec![named(&[(0, b"Shop.Example.com")])], Some("shop.example.com")),
        (vec![named(&[(0, b"shop.example.com.")])], Some("shop.example.com")),
        (vec![named(&[(1, b"x"), (0, b"a.example")])], Some("a.example")),
        (vec![(43, vec![2, 3, 4]), named(&[(0, b"a.example")])], Some("a.example")),
        (vec![], None),
        (vec![named(&[])], None),
        (vec![named(&[(0, b"")])], None),
        (vec![named(&[(0, b"*.example")])], None),
        (vec![named(&[(0, b"192.0.2.1")])], None),
        (vec![named(&[(0, b"a\0.example")])], None),
        (vec![named(&[(0, b"\xff.example")])], None),
        (vec![named(&[(0, long.as_bytes())])], None),
        (vec![(0, vec![0, 9, 0, 0, 200, b'a'])], None),
    ] {
        let sent = hello(0x0303, &[0x1301], &extensions);
        let beginning = read(&records(&sent, 10_000), 10_000).expect("it is a hello");
        assert_eq!(beginning.server_name().as_deref(), name, "{extensions:?}");
    }
}

#[test]
fn what_is_no_hello_is_told_apart() {
    let cases: [(&[u8], NoHello); 9] = [
        (b"GET / HTTP/1.1\r\n", NoHello::Http),
        (b"PRI * HTTP/2.0\r\n", NoHello::Http),
        (b"SSH-2.0-x", NoHello::Foreign),
        (b"\0\0\0", NoHello::Foreign),
        (b"\x80\x2e\x01", NoHello::Foreign),
        (b"\x16\x02\0\0\x01\x01", NoHello::Malformed),
        (b"\x16\x03\x01\0\0", NoHello::Malformed),
        (b"\x16\x03\x01\x40\x01", NoHello::Malformed),
        (b"\x16\x03\x01\0\x04\x02\0\0\0", NoHello::Malformed),
    ];
    for (wire, expected) in cases {
        assert_eq!(read(wire, 100).err(), Some(expected), "{wire:x?}");
    }
    assert_eq!(read(b"\x16\x03\x01\0\x04\x01\xff\xff\xff", 100).err(), Some(NoHello::Malformed));
    let mut switched = records(&hello(0x0303, &[1; 40], &[]), 20);
    switched[25] = 23;
    assert_eq!(read(&switched, 100).err(), Some(NoHello::Malformed));
}

#[test]
fn records_are_bounded_in_number() {
    let large = hello(0x0303, &[], &[(21, vec![0; 60_000])]);
    assert_eq!(read(&records(&large, 1), 1500).err(), Some(NoHello::Malformed));
    assert!(read(&records(&large, 16_384), 1500).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop((extensions(&bytes), versions(&bytes), ja4(&bytes)));
        let wire = [&[22, 3, 1], &(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
        drop(read(&wire, 50));
        drop(read(&bytes, 50));
    }

    #[test]
    fn a_hello_cut_short_is_no_panic(cut in 0_usize..120, flip in any::<u8>(), at in 0_usize..120) {
        let extensions =
            [(0, b"\0\x06\0\0\x03a.b".to_vec()), (13, vec![0, 2, 4, 3]), (16, vec![0, 3, 2, 104, 50])];
        let mut bytes = hello(0x0303, &[0x1301, 0x1302], &extensions);
        let end = bytes.len();
        bytes[at % end] ^= flip;
        drop((ja4(&bytes[..cut.min(end)]), ja4(&bytes)));
    }
}
