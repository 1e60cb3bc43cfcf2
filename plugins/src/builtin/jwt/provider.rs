//! Verification of signatures by ring, for the crate that reads tokens: it comes without any
//! cryptography of its own. It signs nothing and knows no shared secrets, so HS* cannot verify.

use std::sync::Once;

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature as ring;
use signature::Verifier;

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes ring what verifies tokens in this process.
pub(super) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if PROVIDER.install_default().is_err() {
            tracing::warn!("tokens are verified by another library than ring");
        }
    });
}

/// Whether `key` can be used with `algorithm` at all.
pub(super) fn fits(algorithm: Algorithm, key: &DecodingKey) -> bool {
    verifier(&algorithm, key).is_ok()
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    if key.family() != algorithm.family() {
        return Err(ErrorKind::InvalidKeyFormat.into());
    }
    let algorithm = *algorithm;
    match key.kind() {
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let n = modulus(n).ok_or(ErrorKind::InvalidKeyFormat)?.to_vec();
            Ok(Box::new(Rsa { algorithm, by: rsa(algorithm)?, n, e: e.clone() }))
        }
        DecodingKeyKind::SecretOrDer(key) => {
            let (by, bytes): (&'static dyn ring::VerificationAlgorithm, _) = match algorithm {
                Algorithm::ES256 => (&ring::ECDSA_P256_SHA256_FIXED, 65),
                Algorithm::ES384 => (&ring::ECDSA_P384_SHA384_FIXED, 97),
                Algorithm::EdDSA => (&ring::ED25519, 32),
                _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
            };
            if key.len() != bytes {
                return Err(ErrorKind::InvalidKeyFormat.into());
            }
            Ok(Box::new(Curve { algorithm, key: ring::UnparsedPublicKey::new(by, key.clone()) }))
        }
    }
}

/// A modulus of 2048 to 8192 bits, which is what ring verifies with. RFC 7518, 6.3.1.1 wants no zeros
/// before it, which some issuers write all the same and ring refuses.
fn modulus(n: &[u8]) -> Option<&[u8]> {
    let begin = n.iter().position(|byte| *byte != 0)?;
    let n = &n[begin..];
    (256..=1024).contains(&n.len()).then_some(n)
}

fn rsa(algorithm: Algorithm) -> Result<&'static ring::RsaParameters, Error> {
    Ok(match algorithm {
        Algorithm::RS256 => &ring::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &ring::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &ring::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &ring::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &ring::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &ring::RSA_PSS_2048_8192_SHA512,
        _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
    })
}

struct Rsa {
    algorithm: Algorithm,
    by: &'static ring::RsaParameters,
    n: Vec<u8>,
    e: Vec<u8>,
}

impl Verifier<Vec<u8>> for Rsa {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let key = ring::RsaPublicKeyComponents { n: &self.n, e: &self.e };
        key.verify(self.by, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Rsa {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct Curve {
    algorithm: Algorithm,
    key: ring::UnparsedPublicKey<Vec<u8>>,
}

impl Verifier<Vec<u8>> for Curve {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.key.verify(message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Curve {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
