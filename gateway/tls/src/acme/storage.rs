//! The folder of an account: files that only its user reads, and the lock that says who issues.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::{ACME_TLS_ALPN, AcmeAccount, AcmeError};

/// The longest token or name that a file is looked for by.
const NAME_BYTES_MAX: usize = 255;

/// Bytes of a digest as hexadecimal digits.
const DIGEST_DIGITS: usize = 64;

/// The right to issue for whoever shares a folder; given back when this is dropped.
#[derive(Debug)]
pub struct AcmeLock(File);

impl AcmeAccount {
    /// Makes its folder, and takes the right to issue in it. `None` if another gateway has it.
    ///
    /// # Errors
    /// If the folder cannot be made or written to.
    pub fn lock(&self) -> Result<Option<AcmeLock>, AcmeError> {
        let path = self.storage.join("lock");
        let failed = |error| AcmeError::Storage { file: path.clone(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.storage).map_err(failed)?;
        let file = private().create(true).truncate(false).open(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(AcmeLock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(failed(error)),
        }
    }
}

impl Drop for AcmeLock {
    fn drop(&mut self) {
        // Closing the file gives it back as well.
        self.0.unlock().ok();
    }
}

/// What a client is answered that asks for `token` by HTTP, if an account in `storage` expects it.
#[must_use]
pub fn http_answer(storage: &Path, token: &str) -> Option<String> {
    // RFC 8555, 8.3: base64url. Nothing else is a name of a file of ours.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if token.is_empty() || token.len() > NAME_BYTES_MAX || !token.bytes().all(is_plain) {
        return None;
    }
    fs::read_to_string(token_file(storage, token)).ok()
}

/// What a handshake for `domain` is answered with that asks for `acme-tls/1` (RFC 8737), if an
/// account in `storage` expects it.
#[must_use]
pub fn alpn_config(storage: &Path, domain: &str) -> Option<Arc<ServerConfig>> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if domain.len() > NAME_BYTES_MAX || domain.starts_with('.') || !domain.bytes().all(is_plain) {
        return None;
    }
    let digits = fs::read_to_string(digest_file(storage, domain)).ok()?;
    let digest = from_hex(&digits)?;
    let mut params = CertificateParams::new([domain.to_owned()]).ok()?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate().ok()?;
    let certificate = params.self_signed(&key).ok()?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).ok()?;
    let provider = crate::provider();
    let key = provider.key_provider.load_private_key(key).ok()?;
    // Not held against each other: the certificate has a critical extension that nobody knows.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], key);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .ok()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ACME_TLS_ALPN.to_vec()];
    Some(Arc::new(config))
}

pub(super) fn keep_token(storage: &Path, token: &str, answer: &str) -> Result<PathBuf, AcmeError> {
    let file = token_file(storage, token);
    write(&file, answer)?;
    Ok(file)
}

pub(super) fn keep_digest(
    storage: &Path,
    domain: &str,
    digest: &[u8],
) -> Result<PathBuf, AcmeError> {
    let file = digest_file(storage, domain);
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    write(&file, &digits)?;
    Ok(file)
}

/// Writes a file that only its user reads, whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), AcmeError> {
    let beside = path.with_extension("new");
    let write = || {
        let mut file = private().create(true).truncate(true).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| AcmeError::Storage { file: path.to_path_buf(), error })
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

fn token_file(storage: &Path, token: &str) -> PathBuf {
    storage.join(format!("challenge.{token}"))
}

fn digest_file(storage: &Path, domain: &str) -> PathBuf {
    storage.join(format!("handshake.{domain}"))
}

fn from_hex(digits: &str) -> Option<Vec<u8>> {
    if digits.len() != DIGEST_DIGITS || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::AcmeChallenge;

    fn account(storage: &Path) -> AcmeAccount {
        AcmeAccount {
            name: "test".into(),
            directory: "https://127.0.0.1/dir".into(),
            contact: vec![],
            storage: storage.join("made"),
            challenge: AcmeChallenge::Http01,
            ca: None,
            external: None,
        }
    }

    #[test]
    fn one_of_several_issues() {
        let folder = tempfile::tempdir().unwrap();
        let account = account(folder.path());
        let first = account.lock().unwrap();
        assert!(first.is_some());
        assert!(account.lock().unwrap().is_none());
        drop(first);
        assert!(account.lock().unwrap().is_some());
    }

    #[test]
    fn answers_are_found_by_token_and_domain_and_by_nothing_else() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let storage = folder.path();
        let file = keep_token(storage, "a-Token_1", "a-Token_1.print").unwrap();
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(http_answer(storage, "a-Token_1").as_deref(), Some("a-Token_1.print"));
        fs::write(storage.join("secret"), "secret").unwrap();
        for token in ["", "x", "../secret", "secret", "/etc/passwd", "a\0"] {
            assert_eq!(http_answer(storage, token), None, "{token}");
        }
        keep_digest(storage, "a.example", &[0xab; 32]).unwrap();
        let config = alpn_config(storage, "a.example").expect("it is expected");
        assert_eq!(config.alpn_protocols, [ACME_TLS_ALPN.to_vec()]);
        for domain in ["b.example", "../a.example", "", "a/b"] {
            assert!(alpn_config(storage, domain).is_none(), "{domain}");
        }
    }
}
