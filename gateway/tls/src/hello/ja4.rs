//! JA4: a fingerprint of how a client says hello (FoxIO, "JA4: TLS Client Fingerprinting").
//!
//! What a client lists is sorted before it is hashed, so that clients which shuffle their extensions
//! keep their fingerprint. It tells programs apart, not people, and anybody can imitate another's.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{Fields, ciphers, extensions, is_grease, versions};

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;

/// The fingerprint of the client whose hello over TCP this is: `t13d1516h2_8daaf6152771_e5627efa2ab1`.
#[must_use]
pub(crate) fn ja4(hello: &[u8]) -> String {
    let extensions = extensions(hello);
    let find = |wanted| extensions.iter().find(|(kind, _)| *kind == wanted).map(|(_, data)| *data);
    let mut ciphers: Vec<u16> = ciphers(hello).into_iter().filter(|it| !is_grease(*it)).collect();
    let mut kinds: Vec<u16> =
        extensions.iter().map(|(kind, _)| *kind).filter(|it| !is_grease(*it)).collect();
    let mut fingerprint = format!(
        "t{}{}{:02}{:02}{}",
        version(versions(hello).first().copied()),
        if find(SERVER_NAME).is_some() { 'd' } else { 'i' },
        ciphers.len().min(99),
        kinds.len().min(99),
        find(ALPN).map_or_else(|| "00".into(), alpn),
    );
    ciphers.sort_unstable();
    kinds.retain(|kind| !matches!(*kind, SERVER_NAME | ALPN));
    kinds.sort_unstable();
    let mut of_extensions = listed(&kinds);
    let signatures = find(SIGNATURE_ALGORITHMS).and_then(|mut data| data.vector16());
    let signatures: Vec<u16> = signatures
        .map(|data| data.numbers16().filter(|it| !is_grease(*it)).collect())
        .unwrap_or_default();
    if !signatures.is_empty() {
        of_extensions.push('_');
        of_extensions += &listed(&signatures);
    }
    fingerprint.push('_');
    fingerprint += &hashed(&listed(&ciphers));
    fingerprint.push('_');
    fingerprint += &hashed(&of_extensions);
    fingerprint
}

fn version(version: Option<u16>) -> &'static str {
    match version {
        Some(0x0304) => "13",
        Some(0x0303) => "12",
        Some(0x0302) => "11",
        Some(0x0301) => "10",
        Some(0x0300) => "s3",
        Some(0x0002) => "s2",
        _ => "00",
    }
}

/// The first and the last character of the first protocol; of its hexadecimal digits where one of
/// them is neither a letter nor a digit.
fn alpn(mut data: Fields<'_>) -> String {
    let first = data.vector16().and_then(|mut list| list.vector8());
    let Some(&[first, .., last] | &[first @ last]) = first.map(|name| name.0) else {
        return "00".into();
    };
    if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        return [char::from(first), char::from(last)].iter().collect();
    }
    format!("{:x}{:x}", first >> 4, last & 0x0f)
}

fn listed(values: &[u16]) -> String {
    let mut list = String::with_capacity(values.len() * 5);
    for (index, value) in values.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        write!(list, "{comma}{value:04x}").ok();
    }
    list
}

/// The first twelve digits of its SHA-256; zeros for nothing.
fn hashed(list: &str) -> String {
    if list.is_empty() {
        return "000000000000".into();
    }
    Sha256::digest(list).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::hello;
    use super::*;

    /// The ciphers, extensions and signatures of the example in the specification, with GREASE and
    /// in another order, as Chrome sends them.
    const CIPHERS: [u16; 16] = [
        0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
        0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
    ];
    const SIGNATURES: [u16; 8] = [0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601];

    fn list(values: &[u16], bytes_of_length: usize) -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_be_bytes()).collect();
        let length = (bytes.len() as u16).to_be_bytes();
        [&length[2 - bytes_of_length..], &bytes].concat()
    }

    fn chrome() -> Vec<(u16, Vec<u8>)> {
        let alpn = b"\0\x0c\x02h2\x08http/1.1".to_vec();
        let mut extensions = vec![
            (0x7a7a, vec![]),
            (0x0000, b"\0\x0e\0\0\x0bexample.com".to_vec()),
            (0x0010, alpn),
            (0x000d, list(&SIGNATURES, 2)),
            (0x002b, list(&[0x9a9a, 0x0304, 0x0303], 1)),
        ];
        for kind in [
            0x0017, 0xff01, 0x000a, 0x000b, 0x0023, 0x0005, 0x0012, 0x0033, 0x002d, 0x001b, 0x4469,
            0x0015,
        ] {
            extensions.push((kind, vec![]));
        }
        extensions
    }

    #[test]
    fn the_example_of_the_specification() {
        let hello = hello(0x0303, &CIPHERS, &chrome());
        assert_eq!(ja4(&hello), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn order_and_grease_do_not_matter() {
        let mut ciphers = CIPHERS[1..].to_vec();
        ciphers.reverse();
        let mut extensions = chrome();
        extensions.remove(0);
        extensions.reverse();
        let hello = hello(0x0303, &ciphers, &extensions);
        assert_eq!(ja4(&hello), "t13d1516h2_8daaf6152771_e5627efa2ab1");
    }

    #[test]
    fn what_is_not_there_is_zeros() {
        assert_eq!(ja4(&hello(0x0303, &[], &[])), "t12i000000_000000000000_000000000000");
        assert_eq!(ja4(b""), "t00i000000_000000000000_000000000000");
        let of_alpn = |data: &[u8]| ja4(&hello(0x0301, &[], &[(ALPN, data.to_vec())]))[..10].into();
        let cases: [(&[u8], &str); 5] = [
            (b"\0\x03\x02h2", "t10i0001h2"),
            (b"\0\x02\x01x", "t10i0001xx"),
            (b"\0\x03\x02\xab\xcd", "t10i0001ad"),
            (b"\0\x01\0", "t10i000100"),
            (b"", "t10i000100"),
        ];
        for (data, expected) in cases {
            let found: String = of_alpn(data);
            assert_eq!(found, expected);
        }
    }
}
