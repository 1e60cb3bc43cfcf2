//! Which clients are let in by their certificates.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _, X509Certificate};

use crate::pair::pem_in_words;
use crate::subject::rfc4514;
use crate::time::{from_unix, utc};

/// Whether a client must have a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMode {
    /// The handshake of a client without one fails.
    Required,
    /// A client without one is served; one with a bad one is not.
    Optional,
}

/// Tells rules for clients apart: equal where CA, CRL and mode are. The default is that of no rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RulesId([u8; 32]);

impl RulesId {
    /// The identity of rules made of these parts.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Rules for client certificates: who may issue them, which are revoked, and whether one is needed.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    verifier: Arc<dyn ClientCertVerifier>,
    id: RulesId,
    mode: ClientMode,
    stale_crl: Option<SystemTime>,
}

/// One of the files that rules are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPart {
    /// The authorities' certificates.
    Ca,
    /// The revocation lists.
    Crl,
}

/// Why files make no rules. The text is the predicate of a sentence about the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientAuthError {
    /// There is no authority, so that no client could come in.
    #[error("holds no certificate of an authority in PEM form")]
    EmptyCa,
    /// The authorities' file is no PEM.
    #[error("is no sound PEM file: {0}")]
    CaPem(String),
    /// An authority's certificate cannot be parsed.
    #[error("holds a certificate that cannot be parsed, number {number}")]
    Ca {
        /// Its position, from 1.
        number: usize,
    },
    /// There is no revocation list in the file.
    #[error("holds no certificate revocation list")]
    EmptyCrl,
    /// The lists' file is no PEM.
    #[error("is no sound PEM file: {0}")]
    CrlPem(String),
    /// A list cannot be used.
    #[error("holds a revocation list that cannot be used, number {number}: {why}")]
    Crl {
        /// Its position, from 1.
        number: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A list is of an authority that clients' certificates are not accepted from.
    #[error("holds a revocation list of {issuer:?}, which is no authority of `ca`")]
    CrlOfAnother {
        /// Who issued it.
        issuer: String,
    },
}

impl ClientAuthError {
    /// The file that is wrong.
    #[must_use]
    pub fn part(&self) -> ClientPart {
        match self {
            Self::EmptyCa | Self::CaPem(_) | Self::Ca { .. } => ClientPart::Ca,
            _ => ClientPart::Crl,
        }
    }

    /// How to mend it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::EmptyCa | Self::CaPem(_) | Self::Ca { .. } => {
                "write the authorities as `-----BEGIN CERTIFICATE-----` blocks"
            }
            Self::EmptyCrl | Self::CrlPem(_) | Self::Crl { .. } => {
                "write the lists as `-----BEGIN X509 CRL-----` blocks, or remove `crl`"
            }
            Self::CrlOfAnother { .. } => "add its issuer to the file of `ca`, or name another list",
        }
    }
}

impl ClientAuth {
    /// Makes rules of what the files hold: PEM for `ca`, PEM or DER for `crl`.
    ///
    /// A certificate whose authority has no list in `crl` counts as not revoked.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn read(ca: &[u8], crl: Option<&[u8]>, mode: ClientMode) -> Result<Self, ClientAuthError> {
        let (roots, subjects) = read_authorities(ca)?;
        let crls = crl.map(|crl| read_lists(crl, &subjects)).transpose()?;
        let Lists { lists, stale_since } = crls.unwrap_or_default();
        let provider = crate::provider();
        let mut builder =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).with_crls(lists);
        builder = builder.allow_unknown_revocation_status();
        if mode == ClientMode::Optional {
            builder = builder.allow_unauthenticated();
        }
        let verifier = builder
            .build()
            .map_err(|error| ClientAuthError::Crl { number: 1, why: error.to_string() })?;
        let word: &[u8] = if mode == ClientMode::Required { b"required" } else { b"optional" };
        let id = RulesId::of(&[word, ca, crl.unwrap_or_default()]);
        Ok(Self { verifier, id, mode, stale_crl: stale_since })
    }

    /// What tells these rules from others.
    #[must_use]
    pub fn id(&self) -> RulesId {
        self.id
    }

    /// Whether a client must have a certificate.
    #[must_use]
    pub fn mode(&self) -> ClientMode {
        self.mode
    }

    /// When the first of its revocation lists was to be replaced, where that is before `now`.
    #[must_use]
    pub fn stale_since(&self, now: SystemTime) -> Option<SystemTime> {
        self.stale_crl.filter(|at| *at < now)
    }

    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.verifier.clone()
    }
}

/// The authorities, and their subjects in DER form.
fn read_authorities(text: &[u8]) -> Result<(RootCertStore, Vec<Vec<u8>>), ClientAuthError> {
    let mut roots = RootCertStore::empty();
    let mut subjects = Vec::new();
    for (index, certificate) in CertificateDer::pem_slice_iter(text).enumerate() {
        let certificate =
            certificate.map_err(|error| ClientAuthError::CaPem(pem_in_words(&error)))?;
        let unsound = || ClientAuthError::Ca { number: index + 1 };
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|_| unsound())?;
        subjects.push(parsed.subject().as_raw().to_vec());
        roots.add(certificate.clone()).map_err(|_| unsound())?;
    }
    if subjects.is_empty() { Err(ClientAuthError::EmptyCa) } else { Ok((roots, subjects)) }
}

#[derive(Default)]
struct Lists {
    lists: Vec<CertificateRevocationListDer<'static>>,
    stale_since: Option<SystemTime>,
}

fn read_lists(bytes: &[u8], authorities: &[Vec<u8>]) -> Result<Lists, ClientAuthError> {
    // A DER file begins with a SEQUENCE, which no PEM file does.
    let lists = if bytes.first() == Some(&0x30) {
        vec![CertificateRevocationListDer::from(bytes.to_vec())]
    } else {
        let lists = CertificateRevocationListDer::pem_slice_iter(bytes).collect::<Result<_, _>>();
        lists.map_err(|error| ClientAuthError::CrlPem(pem_in_words(&error)))?
    };
    if lists.is_empty() {
        return Err(ClientAuthError::EmptyCrl);
    }
    let mut stale_since: Option<SystemTime> = None;
    for (index, list) in lists.iter().enumerate() {
        let unsound = |why: &str| ClientAuthError::Crl { number: index + 1, why: why.into() };
        let (_, parsed) = CertificateRevocationList::from_der(list)
            .map_err(|_| unsound("it cannot be parsed"))?;
        let issuer = parsed.issuer();
        if !authorities.iter().any(|subject| subject == issuer.as_raw()) {
            return Err(ClientAuthError::CrlOfAnother { issuer: rfc4514(issuer) });
        }
        if let Some(next) = parsed.next_update() {
            let next = from_unix(next.timestamp());
            stale_since = Some(stale_since.map_or(next, |first| first.min(next)));
        }
    }
    Ok(Lists { lists, stale_since })
}

/// What a warning says of lists that should have been replaced at `at`.
#[must_use]
pub fn stale_in_words(at: SystemTime) -> String {
    format!("holds a revocation list that was to be replaced at {}", utc(at))
}

#[cfg(test)]
mod tests;
