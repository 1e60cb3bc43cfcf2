//! The certificate of the rows that measure TLS.

use anyhow::Result;
use rcgen::{CertificateParams, KeyPair};

/// The name in it.
pub const NAME: &str = "loadtest.example";

/// A self-signed certificate for [`NAME`] with a key on P-256, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate.
    pub chain: String,
    /// Its key.
    pub key: String,
}

impl Certificate {
    /// Another one each time.
    ///
    /// # Errors
    /// There is no randomness to be had.
    pub fn generate() -> Result<Self> {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([NAME.to_owned()])?.self_signed(&key)?;
        Ok(Self { chain: certificate.pem(), key: key.serialize_pem() })
    }
}
