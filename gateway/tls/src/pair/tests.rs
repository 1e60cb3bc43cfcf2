use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::pem::PemObject as _;

use super::*;

/// A certificate in PEM form.
fn pem_of(der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for three in line.chunks(3) {
            let byte = |at: usize| three.get(at).copied().unwrap_or(0);
            let bits = u32::from_be_bytes([0, byte(0), byte(1), byte(2)]);
            for at in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * at)) as usize & 63];
                text.push(if at > three.len() { '=' } else { char::from(digit) });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

fn authority(name: &str, issuer: Option<&Issuer>) -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    match issuer {
        Some(issuer) => CertifiedIssuer::signed_by(params, key(), issuer).unwrap(),
        None => CertifiedIssuer::self_signed(params, key()).unwrap(),
    }
}

fn leaf(names: &[&str], issuer: &Issuer) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = key();
    let params = CertificateParams::new(names).unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

fn read(chain: &str, key: &str) -> Result<Pair, PairError> {
    Pair::read(chain.as_bytes(), key.as_bytes(), None, &crate::provider())
}

fn refused(chain: &str, key: &str) -> PairError {
    read(chain, key).expect_err("it is no pair")
}

#[test]
fn a_chain_with_its_key_is_a_pair() {
    let root = authority("root", None);
    let between = authority("between", Some(&root));
    let (certificate, key) =
        leaf(&["Shop.example.com", "*.example.com", "shop.example.com"], &between);
    let chain = certificate + &between.pem() + &root.pem();
    let pair = read(&chain, &key).expect("a pair");
    let names: Vec<String> = pair.names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["shop.example.com", "*.example.com"]);
    assert_eq!(pair.certified.cert.len(), 3);
    assert_eq!(pair.algorithm(), SignatureAlgorithm::ECDSA);
    // One file may hold both.
    let both = format!("{key}{chain}");
    assert!(read(&both, &both).is_ok());
}

#[test]
fn what_is_wrong_is_told_narrowly() {
    let root = authority("root", None);
    let between = authority("between", Some(&root));
    let (certificate, own_key) = leaf(&["a.example"], &between);
    let (_, other_key) = leaf(&["a.example"], &between);
    let (root_pem, between_pem) = (root.pem(), between.pem());
    assert_eq!(refused("", &own_key), PairError::NoCertificate);
    assert_eq!(refused(&own_key, &own_key), PairError::NoCertificate);
    assert_eq!(refused(&certificate, ""), PairError::NoKey);
    assert_eq!(refused(&certificate, &certificate), PairError::NoKey);
    assert_eq!(refused(&certificate, &other_key), PairError::KeyOfAnother);
    assert_eq!(
        refused(&format!("{between_pem}{certificate}"), &own_key),
        PairError::LeafNotFirst { number: 2 }
    );
    assert_eq!(
        refused(&format!("{certificate}{root_pem}{between_pem}"), &own_key),
        PairError::ChainOrder { number: 2 }
    );
    let half = &certificate[..certificate.len() / 2];
    assert!(matches!(refused(half, &own_key), PairError::ChainPem(_)));
    let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(refused(empty, &own_key), PairError::Certificate { number: 1 });
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(refused(&certificate, encrypted), PairError::EncryptedKey);
    let unusable = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(matches!(refused(&certificate, unusable), PairError::UnusableKey(_)));
    let (nameless, nameless_key) = leaf(&[], &root);
    assert_eq!(refused(&nameless, &nameless_key), PairError::NoNames);
    let (broad, broad_key) = leaf(&["*.co.uk"], &root);
    let name = DnsPattern::Wildcard("co.uk".into());
    assert_eq!(refused(&broad, &broad_key), PairError::WildcardTooBroad { name });
}

#[test]
fn every_error_names_its_file_and_a_remedy() {
    let (root, now) = (authority("root", None), SystemTime::now());
    let (certificate, key) = leaf(&["a.example"], &root);
    let pair = read(&certificate, &key).unwrap();
    let (before, after) =
        (pair.not_before - Duration::from_secs(1), pair.not_after + Duration::from_secs(1));
    assert_eq!(pair.check_validity(now), Ok(()));
    let expired = pair.check_validity(after).unwrap_err();
    let early = pair.check_validity(before).unwrap_err();
    assert!(
        matches!(expired, PairError::Expired { .. })
            && matches!(early, PairError::NotYetValid { .. })
    );
    assert!(expired.to_string().starts_with("expired at 40"), "{expired}");
    for error in [expired, early, PairError::NoNames, PairError::NoCertificate] {
        assert_eq!(error.part(), PairPart::Chain);
        assert!(!error.fix().is_empty());
    }
    assert_eq!(PairError::KeyOfAnother.part(), PairPart::Key);
    assert_eq!(PairError::Staple.part(), PairPart::Staple);
}

#[test]
fn an_address_alone_is_a_name_too() {
    let (certificate, key) = leaf(&["192.0.2.1"], &authority("root", None));
    assert!(read(&certificate, &key).expect("a pair").names.is_empty());
}

#[test]
fn a_staple_is_about_its_certificate() {
    let (certificate, key) = leaf(&["a.example"], &authority("root", None));
    let serial = read(&certificate, &key).unwrap();
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let (_, parsed) = X509Certificate::from_der(&der).unwrap();
    let serial_der = [&[2, parsed.raw_serial().len() as u8], parsed.raw_serial()].concat();
    let response = |serial: &[u8]| {
        let body = [&[0x0a, 1, 0, 0xa0, 0x20][..], serial].concat();
        [&[0x30, body.len() as u8][..], &body].concat()
    };
    let read = |staple: &[u8]| {
        let (chain, key) = (certificate.as_bytes(), key.as_bytes());
        Pair::read(chain, key, Some(staple), &crate::provider())
    };
    let good = response(&serial_der);
    assert_eq!(read(&good).unwrap().certified.ocsp.as_deref(), Some(&*good));
    assert_eq!(read(&response(&[2, 1, 7])).unwrap_err(), PairError::StapleOfAnother);
    for bad in [&b""[..], b"x", &[0x30, 3, 0x0a, 1, 6], b"-----BEGIN"] {
        assert_eq!(read(bad).unwrap_err(), PairError::Staple);
    }
    assert!(serial.certified.ocsp.is_none());
}

#[test]
fn odd_bytes_are_no_panic() {
    let (certificate, key) = leaf(&["a.example"], &authority("root", None));
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let provider = crate::provider();
    for at in (0..der.len()).step_by(3) {
        let mut odd = der.to_vec();
        odd[at] ^= 0x41;
        let text = pem_of(&odd);
        drop(Pair::read(text.as_bytes(), key.as_bytes(), None, &provider));
    }
}
