//! Certificates that an authority issues by itself (ACME, RFC 8555).
//!
//! All that outlives a request to the authority is in the account's folder: its key, what was
//! issued, and the answers to challenges under way. So a restart goes on where it was, and gateways
//! that share the folder answer each other's challenges. Who issues is decided by a lock on a file
//! in it. When to issue is the caller's business.

mod storage;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, CertificateIdentifier, ChallengeType,
    ExternalAccountKey, Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls::pki_types::CertificateDer;

use crate::pair::Pair;

pub use storage::{AcmeLock, alpn_config, http_answer};

/// The protocol that a client of TLS-ALPN-01 asks for (RFC 8737).
pub const ACME_TLS_ALPN: &[u8] = b"acme-tls/1";

/// How long the authority may take to look at the challenges, and to issue.
const PATIENCE: Duration = Duration::from_secs(120);

/// An account with an authority, and where its things are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct AcmeAccount {
    /// Its name in the configuration.
    pub name: Box<str>,
    /// The URL of the authority's directory.
    pub directory: Box<str>,
    /// Where the authority writes to, as URIs such as `mailto:ops@example.com`.
    pub contact: Vec<String>,
    /// The folder that it is kept in.
    pub storage: PathBuf,
    /// How names are validated.
    pub challenge: AcmeChallenge,
    /// The file of the authority's own root, where the system does not know it.
    pub ca: Option<PathBuf>,
    /// The account that it belongs to: an identifier and the key that it is signed with.
    pub external: Option<(String, Vec<u8>)>,
}

impl fmt::Debug for AcmeAccount {
    /// Without the key of the external account.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, directory, storage, .. } = self;
        let shown = &mut out.debug_struct("AcmeAccount");
        shown.field("name", name).field("directory", directory).field("storage", storage).finish()
    }
}

/// How the authority finds out that a name is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcmeChallenge {
    /// It asks for a file by HTTP on port 80.
    #[default]
    Http01,
    /// It makes a TLS handshake on port 443.
    TlsAlpn01,
}

/// When an authority suggests that a certificate is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalAdvice {
    /// From when on.
    pub from: SystemTime,
    /// Until when.
    pub until: SystemTime,
    /// When it wants to be asked again, as it says.
    pub ask_again: Duration,
    /// The page that says why, where there is one.
    pub explanation: Option<String>,
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum AcmeError {
    /// The folder cannot be used.
    #[error("{}: {error}", file.display())]
    Storage {
        /// The file that could not be read or written.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The authority refuses, or cannot be reached.
    #[error("{0}")]
    Authority(#[from] instant_acme::Error),
    /// The authority offers no challenge that is answered here.
    #[error("the authority offers no {0} for {1}")]
    NoChallenge(&'static str, String),
    /// The authority could not validate the names.
    #[error("the authority did not validate the names")]
    NotValidated,
    /// A key or a request could not be made.
    #[error("{0}")]
    Request(#[from] rcgen::Error),
}

impl AcmeAccount {
    /// The file of the certificate for `domains` and its key.
    #[must_use]
    pub fn file(&self, domains: &[String]) -> PathBuf {
        let first = domains.first().map_or("none", String::as_str);
        self.storage.join(format!("{}.{first}.pem", self.name))
    }

    /// Lets the authority issue a certificate for `domains`, and keeps it. It takes the place of
    /// `replaced`, where the authority has been asked about that.
    ///
    /// # Errors
    /// If it is not issued, or cannot be kept.
    pub async fn issue(
        &self,
        domains: &[String],
        replaced: Option<&Pair>,
    ) -> Result<(), AcmeError> {
        let account = self.account().await?;
        let identifiers: Vec<_> = domains.iter().cloned().map(Identifier::Dns).collect();
        let mut order = new_order(&account, &identifiers, replaced).await?;
        let mut answers = Vec::new();
        let validated = self.validate(&mut order, &mut answers).await;
        for answer in answers {
            // It is of no use to anybody any more.
            std::fs::remove_file(answer).ok();
        }
        validated?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(domains)?;
        params.distinguished_name = DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&RetryPolicy::new().timeout(PATIENCE)).await?;
        storage::write(&self.file(domains), &(key.serialize_pem() + &chain))
    }

    /// Asks the authority when to renew `pair` (RFC 9773).
    ///
    /// Returns `None` where it has no opinion: it does not offer this, or its window ends before it
    /// begins.
    ///
    /// # Errors
    /// If it cannot be reached, or its answer cannot be read.
    pub async fn renewal_advice(&self, pair: &Pair) -> Result<Option<RenewalAdvice>, AcmeError> {
        let leaf = CertificateDer::from(pair.leaf());
        // A certificate that names no authority is not of one that could be asked.
        let Ok(identifier) = CertificateIdentifier::try_from(&leaf) else { return Ok(None) };
        let (info, ask_again) = match self.account().await?.renewal_info(&identifier).await {
            Err(instant_acme::Error::Unsupported(_)) => return Ok(None),
            answer => answer?,
        };
        let window = info.suggested_window;
        Ok((window.start < window.end).then(|| RenewalAdvice {
            from: window.start.into(),
            until: window.end.into(),
            ask_again,
            explanation: info.explanation_url,
        }))
    }

    /// The account, made on first use.
    async fn account(&self) -> Result<Account, AcmeError> {
        let builder = || match &self.ca {
            Some(root) => Account::builder_with_root(root),
            None => Account::builder(),
        };
        let file = self.storage.join(format!("{}.account.json", self.name));
        if let Ok(kept) = std::fs::read(&file)
            && let Ok(credentials) = serde_json::from_slice::<AccountCredentials>(&kept)
        {
            return Ok(builder()?.from_credentials(credentials).await?);
        }
        let contact: Vec<&str> = self.contact.iter().map(String::as_str).collect();
        let new = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let external =
            self.external.as_ref().map(|(id, key)| ExternalAccountKey::new(id.clone(), key));
        let directory = self.directory.to_string();
        let (account, credentials) = builder()?.create(&new, directory, external.as_ref()).await?;
        let text = serde_json::to_string(&credentials).map_err(instant_acme::Error::from)?;
        storage::write(&file, &text)?;
        Ok(account)
    }

    /// Answers the challenges of `order` until it is ready, by files that it adds to `answers`.
    async fn validate(
        &self,
        order: &mut Order,
        answers: &mut Vec<PathBuf>,
    ) -> Result<(), AcmeError> {
        let (kind, name) = match self.challenge {
            AcmeChallenge::Http01 => (ChallengeType::Http01, "http-01"),
            AcmeChallenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let domain = authorization.identifier().to_string();
            let mut challenge = authorization
                .challenge(kind.clone())
                .ok_or_else(|| AcmeError::NoChallenge(name, domain.clone()))?;
            let key = challenge.key_authorization();
            let answer = match self.challenge {
                AcmeChallenge::Http01 => {
                    storage::keep_token(&self.storage, &challenge.token, key.as_str())?
                }
                AcmeChallenge::TlsAlpn01 => {
                    storage::keep_digest(&self.storage, &domain, key.digest().as_ref())?
                }
            };
            answers.push(answer);
            challenge.set_ready().await?;
        }
        let status = order.poll_ready(&RetryPolicy::new().timeout(PATIENCE)).await?;
        let is_ready = matches!(status, OrderStatus::Ready | OrderStatus::Valid);
        if is_ready { Ok(()) } else { Err(AcmeError::NotValidated) }
    }
}

/// Begins an order. One that says which certificate it replaces is exempt from some rate limits, but
/// not taken by every authority, nor twice for one certificate: then it is made without.
async fn new_order(
    account: &Account,
    identifiers: &[Identifier],
    replaced: Option<&Pair>,
) -> Result<Order, AcmeError> {
    let leaf = replaced.map(|pair| CertificateDer::from(pair.leaf()));
    let replaced = leaf.as_ref().and_then(|leaf| CertificateIdentifier::try_from(leaf).ok());
    if let Some(identifier) = replaced {
        let replacing = NewOrder::new(identifiers).replaces(identifier);
        if let Ok(order) = account.new_order(&replacing).await {
            return Ok(order);
        }
    }
    Ok(account.new_order(&NewOrder::new(identifiers)).await?)
}
