//! Certificates that nobody vouches for, for demonstrations and until an authority answers.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::crypto::CryptoProvider;

use crate::pair::Pair;

/// How long such a certificate is valid: browsers refuse more than 398 days.
const LIFETIME: Duration = Duration::from_secs(397 * 86_400);

/// How far back its validity begins, for clients whose clocks are slow.
const BACKDATED: Duration = Duration::from_secs(3600);

/// Makes a certificate for `domains` (names or addresses) with a key of its own, ECDSA P-256.
///
/// # Errors
/// If a domain is no name, as a sentence's predicate about the certificate.
pub fn self_signed(
    domains: &[String],
    now: SystemTime,
    provider: &CryptoProvider,
) -> Result<Pair, String> {
    let (chain, key) = self_signed_pem(domains, now).map_err(|error| error.to_string())?;
    Pair::read(chain.as_bytes(), key.as_bytes(), None, provider).map_err(|error| error.to_string())
}

fn self_signed_pem(domains: &[String], now: SystemTime) -> Result<(String, String), rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(domains)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Sallyport self-signed certificate");
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + LIFETIME).into();
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
