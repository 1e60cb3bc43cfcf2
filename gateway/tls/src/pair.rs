//! A certificate with its key: read, and held against each other.
//!
//! What a client would only tell as a failed handshake is found here, while the old pair is still
//! in force: a key of another certificate, a chain out of order, a name that nobody can ask for.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys, SignatureAlgorithm};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use crate::name::DnsPattern;
use crate::subject::rfc4514;
use crate::time::{from_unix, utc};

/// A certificate chain, its key and, where there is one, its OCSP staple.
#[derive(Clone)]
pub struct Pair {
    /// The chain, the key and the staple, as rustls serves them.
    pub certified: Arc<CertifiedKey>,
    /// The DNS names of the certificate; empty only if it is for addresses.
    pub names: Vec<DnsPattern>,
    /// The first moment it is valid.
    pub not_before: SystemTime,
    /// The last moment it is valid.
    pub not_after: SystemTime,
    /// The serial number, in upper-case hexadecimal.
    pub serial: Box<str>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { names, not_after, serial, .. } = self;
        let shown = &mut out.debug_struct("Pair");
        shown.field("names", names).field("not_after", not_after).field("serial", serial).finish()
    }
}

/// One of the files that make a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairPart {
    /// The certificate and those above it.
    Chain,
    /// The private key.
    Key,
    /// The OCSP response.
    Staple,
}

/// Why files make no pair. The text is the predicate of a sentence about the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// There is no certificate in the chain.
    #[error("holds no certificate in PEM form")]
    NoCertificate,
    /// The chain is no PEM.
    #[error("is no sound PEM file: {0}")]
    ChainPem(String),
    /// A certificate of the chain cannot be parsed.
    #[error("holds a certificate that cannot be parsed, number {number}")]
    Certificate {
        /// Its position, from 1.
        number: usize,
    },
    /// A certificate of the chain did not issue the one before it.
    #[error("is a chain in the wrong order: certificate {number} did not issue the one before it")]
    ChainOrder {
        /// Its position, from 1.
        number: usize,
    },
    /// The key belongs to a certificate that is not the first.
    #[error(
        "is a chain in the wrong order: the key is of certificate {number}, which must come first"
    )]
    LeafNotFirst {
        /// Its position, from 1.
        number: usize,
    },
    /// The certificate has no subject alternative name.
    #[error("is a certificate without a subject alternative name, so that no client accepts it")]
    NoNames,
    /// The certificate is for everything below a public suffix.
    #[error("is for {name}, a wildcard for a public suffix, which clients refuse")]
    WildcardTooBroad {
        /// The name.
        name: DnsPattern,
    },
    /// The certificate has expired.
    #[error("expired at {}", utc(*at))]
    Expired {
        /// When.
        at: SystemTime,
    },
    /// The certificate is not valid yet.
    #[error("is not valid before {}", utc(*at))]
    NotYetValid {
        /// From when on.
        at: SystemTime,
    },
    /// There is no private key in the key's file.
    #[error("holds no private key in PEM form")]
    NoKey,
    /// The key's file is no PEM.
    #[error("is no sound PEM file: {0}")]
    KeyPem(String),
    /// The key is encrypted.
    #[error("is encrypted with a passphrase, which nobody is there to type")]
    EncryptedKey,
    /// The key cannot be used.
    #[error("is no key that can be used: {0}")]
    UnusableKey(String),
    /// The key belongs to another certificate.
    #[error("is the key of another certificate")]
    KeyOfAnother,
    /// The staple is no OCSP response that says anything.
    #[error("is no successful OCSP response in DER form")]
    Staple,
    /// The staple is about another certificate.
    #[error("is the OCSP response of another certificate")]
    StapleOfAnother,
}

impl PairError {
    /// The file that is wrong.
    #[must_use]
    pub fn part(&self) -> PairPart {
        match self {
            Self::NoKey
            | Self::KeyPem(_)
            | Self::EncryptedKey
            | Self::UnusableKey(_)
            | Self::KeyOfAnother => PairPart::Key,
            Self::Staple | Self::StapleOfAnother => PairPart::Staple,
            _ => PairPart::Chain,
        }
    }

    /// How to mend it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::NoCertificate | Self::ChainPem(_) | Self::Certificate { .. } => {
                "write the certificates as `-----BEGIN CERTIFICATE-----` blocks, the site's first"
            }
            Self::ChainOrder { .. } | Self::LeafNotFirst { .. } => {
                "write the site's certificate first, then the one that issued it, and so on"
            }
            Self::NoNames => {
                "have it issued again with its names, such as `-addext subjectAltName=DNS:example.com`"
            }
            Self::WildcardTooBroad { .. } => "have it issued for a domain, such as *.example.com",
            Self::Expired { .. } => "have it renewed",
            Self::NotYetValid { .. } => "wait until then, or correct this machine's clock",
            Self::NoKey | Self::KeyPem(_) => {
                "write the key as a `-----BEGIN PRIVATE KEY-----` block"
            }
            Self::EncryptedKey => "write it without one: openssl pkey -in OLD.key -out NEW.key",
            Self::UnusableKey(_) => "use an ECDSA key (P-256, P-384), Ed25519, or RSA of 2048 bits",
            Self::KeyOfAnother => {
                "name the key that the certificate was requested with, or have a new one issued"
            }
            Self::Staple | Self::StapleOfAnother => {
                "fetch it again: openssl ocsp -issuer CA.pem -cert SITE.pem -url URL -respout FILE"
            }
        }
    }
}

impl Pair {
    /// Who issued the certificate, as RFC 4514 writes it.
    #[must_use]
    pub fn issuer(&self) -> Option<String> {
        let (_, certificate) = X509Certificate::from_der(self.certified.cert.first()?).ok()?;
        Some(rfc4514(certificate.issuer()))
    }

    /// Makes a pair of what its files hold: PEM for chain and key, DER for the staple.
    ///
    /// Whether it is valid today is for [`Pair::check_validity`].
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(
        chain: &[u8],
        key: &[u8],
        staple: Option<&[u8]>,
        provider: &CryptoProvider,
    ) -> Result<Self, PairError> {
        let chain = read_chain(chain)?;
        let key = read_key(key)?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| PairError::UnusableKey(in_words(&error)))?;
        let parsed = parse_chain(&chain)?;
        let leaf = parsed.first().ok_or(PairError::NoCertificate)?;
        let (not_before, not_after) = (leaf.validity().not_before, leaf.validity().not_after);
        let (not_before, not_after) = (not_before.timestamp(), not_after.timestamp());
        let serial = hex_upper(leaf.raw_serial()).into();
        let mut certified = CertifiedKey::new(chain.clone(), key);
        check_key(&certified)?;
        check_order(&parsed)?;
        let names = names(leaf)?;
        if let Some(staple) = staple {
            check_staple(staple, leaf.raw_serial())?;
            certified.ocsp = Some(staple.to_vec());
        }
        Ok(Self {
            certified: Arc::new(certified),
            names,
            not_before: from_unix(not_before),
            not_after: from_unix(not_after),
            serial,
        })
    }

    /// Checks that the certificate is valid at `now`.
    ///
    /// # Errors
    /// If it has expired or is not valid yet.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), PairError> {
        if now > self.not_after {
            return Err(PairError::Expired { at: self.not_after });
        }
        if now < self.not_before {
            return Err(PairError::NotYetValid { at: self.not_before });
        }
        Ok(())
    }

    /// The kind of its key.
    #[must_use]
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.certified.key.algorithm()
    }

    /// Its certificate, without those above it, in DER form.
    #[must_use]
    pub fn leaf(&self) -> &[u8] {
        self.certified.cert.first().map_or(&[], |leaf| leaf)
    }
}

fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PairError> {
    let chain = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| PairError::ChainPem(pem_in_words(&error)))?;
    if chain.is_empty() { Err(PairError::NoCertificate) } else { Ok(chain) }
}

fn read_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, PairError> {
    let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(_) if has(b"Proc-Type: 4,ENCRYPTED") => Err(PairError::EncryptedKey),
        Ok(key) => Ok(key),
        Err(_) if has(b"ENCRYPTED") => Err(PairError::EncryptedKey),
        Err(pem::Error::NoItemsFound) => Err(PairError::NoKey),
        Err(error) => Err(PairError::KeyPem(pem_in_words(&error))),
    }
}

fn parse_chain<'c>(
    chain: &'c [CertificateDer<'static>],
) -> Result<Vec<X509Certificate<'c>>, PairError> {
    let parse = |(index, der): (usize, &'c CertificateDer<'static>)| {
        let (_, parsed) = X509Certificate::from_der(der)
            .map_err(|_| PairError::Certificate { number: index + 1 })?;
        Ok(parsed)
    };
    chain.iter().enumerate().map(parse).collect()
}

fn check_key(certified: &CertifiedKey) -> Result<(), PairError> {
    match certified.keys_match() {
        Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => return Ok(()),
        Err(TlsError::InconsistentKeys(_)) => {}
        // What rustls cannot read in the certificate, it could not serve either.
        Err(_) => return Err(PairError::Certificate { number: 1 }),
    }
    let is_of = |certificate: &CertificateDer<'static>| {
        CertifiedKey::new(vec![certificate.clone()], certified.key.clone()).keys_match().is_ok()
    };
    match certified.cert.iter().position(is_of) {
        Some(index) => Err(PairError::LeafNotFirst { number: index + 1 }),
        None => Err(PairError::KeyOfAnother),
    }
}

fn check_order(chain: &[X509Certificate<'_>]) -> Result<(), PairError> {
    let is_issued =
        |pair: &[X509Certificate<'_>]| pair[0].issuer().as_raw() == pair[1].subject().as_raw();
    match chain.windows(2).position(|pair| !is_issued(pair)) {
        Some(index) => Err(PairError::ChainOrder { number: index + 2 }),
        None => Ok(()),
    }
}

/// The DNS names of `leaf`. Names that no client can ask for are left out.
fn names(leaf: &X509Certificate<'_>) -> Result<Vec<DnsPattern>, PairError> {
    let extension = leaf.subject_alternative_name().ok().flatten();
    let all = extension.as_ref().map_or(&[][..], |extension| &extension.value.general_names);
    let mut names = Vec::new();
    let mut has_address = false;
    for name in all {
        match name {
            GeneralName::DNSName(text) => names.extend(DnsPattern::parse(text)),
            GeneralName::IPAddress(_) => has_address = true,
            _ => {}
        }
    }
    if let Some(name) = names.iter().find(|name| name.is_above_public_suffix()) {
        return Err(PairError::WildcardTooBroad { name: name.clone() });
    }
    if names.is_empty() && !has_address {
        return Err(PairError::NoNames);
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Checks what a client would refuse a staple for (RFC 6960, 4.2.1), as far as that shows without
/// the responder's key: that it is a response, successful, and about the certificate with `serial`.
fn check_staple(staple: &[u8], serial: &[u8]) -> Result<(), PairError> {
    // SEQUENCE { ENUMERATED 0, [0] … }, its length in the long form.
    let content = match staple {
        [0x30, 0x81, _, rest @ ..] | [0x30, 0x82, _, _, rest @ ..] => rest,
        [0x30, length, rest @ ..] if *length < 0x80 => rest,
        _ => return Err(PairError::Staple),
    };
    if !content.starts_with(&[0x0a, 0x01, 0x00, 0xa0]) {
        return Err(PairError::Staple);
    }
    let length = u8::try_from(serial.len()).map_err(|_| PairError::StapleOfAnother)?;
    let integer = [&[0x02, length], serial].concat();
    let is_about = staple.windows(integer.len()).any(|window| window == integer);
    if is_about { Ok(()) } else { Err(PairError::StapleOfAnother) }
}

pub(crate) fn hex_upper(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

pub(crate) fn pem_in_words(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no end".into(),
        pem::Error::IllegalSectionStart { .. } => "a block begins in a wrong way".into(),
        pem::Error::Base64Decode(_) => "a block is no base64".into(),
        _ => "it cannot be read".into(),
    }
}

fn in_words(error: &TlsError) -> String {
    match error {
        TlsError::General(what) => what.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
