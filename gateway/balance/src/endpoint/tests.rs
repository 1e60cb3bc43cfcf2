use std::net::Ipv4Addr;

use super::*;

/// Endpoints 10.0.0.0:8080 and up with these weights.
pub(crate) fn weighted(weights: &[u16]) -> Vec<Endpoint> {
    (0x0a00_0000..)
        .zip(weights)
        .map(|(bits, &weight)| Endpoint {
            address: (Ipv4Addr::from_bits(bits), 8080).into(),
            weight,
        })
        .collect()
}

/// `count` endpoints of equal weight.
pub(crate) fn equal(count: usize) -> Vec<Endpoint> {
    weighted(&vec![1; count])
}

#[test]
fn lists_that_cannot_be_balanced_are_refused() {
    let mut twice = equal(3);
    twice[2].address = twice[0].address.clone();
    assert_eq!(validate(&[]), Err(BuildError::Empty));
    assert_eq!(validate(&equal(ENDPOINTS_MAX)), Ok(()));
    assert_eq!(validate(&equal(ENDPOINTS_MAX + 1)), Err(BuildError::TooMany));
    assert_eq!(validate(&weighted(&[1, 0])), Err(BuildError::ZeroWeight));
    assert_eq!(validate(&twice), Err(BuildError::DuplicateAddress(twice[0].address.clone())));
}

#[test]
fn duplicates_are_found_whatever_their_weights() {
    let mut twice = weighted(&[1, 7, 9, 3]);
    twice[3].address = twice[1].address.clone();
    assert_eq!(validate(&twice), Err(BuildError::DuplicateAddress(twice[1].address.clone())));
}

#[test]
fn identities_are_laid_out_as_promised() {
    let v4 = Identity::of(&"192.0.2.1:443".parse().unwrap());
    let v6 = Identity::of(&"[2001:db8::1%7]:443".parse().unwrap());
    assert_eq!(v4.octets(), [4, 192, 0, 2, 1, 1, 187]);
    assert_eq!(v6.octets()[..5], [6, 0x20, 0x01, 0x0d, 0xb8]);
    assert_eq!(v6.octets()[16..], [1, 1, 187, 0, 0, 0, 7, 0, 0, 0, 0]);
    let path = Identity::of(&"unix:/a".parse().unwrap());
    assert_eq!(path.octets(), [1, b'/', b'a']);
}

#[test]
fn every_part_of_an_address_tells_endpoints_apart() {
    let addresses = [
        "192.0.2.1:1",
        "192.0.2.1:2",
        "[::1]:1",
        "[::1%2]:1",
        "[::ffff:192.0.2.1]:1",
        "unix:/a",
        "unix:/b",
    ];
    let endpoints = addresses.map(|text| Endpoint { address: text.parse().unwrap(), weight: 1 });
    assert_eq!(validate(&endpoints), Ok(()));
}
