//! A set of public keys (JWKS, RFC 7517), each with the algorithms that it may verify.

use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;

use super::provider;

/// Every algorithm whose verification needs no secret, and that ring knows.
pub(super) const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Keys of one set that are kept: issuers publish two or three, and large ones with many tenants some
/// dozens.
const KEYS_MAX: usize = 100;

/// The public keys of an issuer.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// Why a text is no usable set of keys.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    /// It is no JSON.
    #[error("it is not JSON")]
    NotJson(#[from] serde_json::Error),
    /// It has no list of keys.
    #[error("it has no list `keys`")]
    NoList,
    /// It has too many.
    #[error("it has over {KEYS_MAX} keys")]
    TooMany,
    /// None can verify a signature here.
    #[error("it has no key that can verify signatures")]
    NoneUsable,
}

impl Keys {
    /// Reads a set. Keys of other kinds and for other uses are passed over: RFC 7517, 5.
    ///
    /// # Errors
    /// If it is no set, or none of its keys can be used.
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeysError> {
        let set: Value = serde_json::from_slice(text)?;
        let list = set.get("keys").and_then(Value::as_array).ok_or(KeysError::NoList)?;
        if list.len() > KEYS_MAX {
            return Err(KeysError::TooMany);
        }
        let keys: Vec<_> = list.iter().filter_map(Key::read).collect();
        if keys.is_empty() { Err(KeysError::NoneUsable) } else { Ok(Self(keys)) }
    }

    /// The keys that may have signed a token with this `kid` and `alg`: those of this very id first,
    /// and at most `unnamed_max` of those that have no id, which fit any, or that fit because the
    /// token has none.
    pub(super) fn fitting<'k>(
        &'k self,
        id: Option<&'k str>,
        algorithm: Algorithm,
        unnamed_max: usize,
    ) -> impl Iterator<Item = &'k Key> {
        let able = move |key: &&Key| key.algorithms.contains(&algorithm);
        let named = self.0.iter().filter(move |key| id.is_some() && key.id.as_deref() == id);
        let unnamed = self.0.iter().filter(move |key| id.is_none() || key.id.is_none());
        named.filter(able).chain(unnamed.filter(able).take(unnamed_max))
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
        if !is_for_verification(&jwk.common) {
            return None;
        }
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        let mut algorithms = algorithms_of(&jwk.algorithm);
        if let Some(only) = jwk.common.key_algorithm {
            let only = Algorithm::try_from(only).ok()?;
            algorithms.retain(|algorithm| *algorithm == only);
        }
        algorithms.retain(|algorithm| provider::fits(*algorithm, &key));
        let id = jwk.common.key_id;
        (!algorithms.is_empty()).then_some(Self { id, algorithms, key })
    }
}

fn is_for_verification(common: &CommonParameters) -> bool {
    let signs =
        common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    let operations = common.key_operations.as_ref();
    signs && operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify))
}

/// The type of the key decides, never the token: RFC 8725, 3.1.
fn algorithms_of(parameters: &AlgorithmParameters) -> Vec<Algorithm> {
    match parameters {
        AlgorithmParameters::RSA(_) => ALGORITHMS[..6].to_vec(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => Vec::new(),
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        _ => Vec::new(),
    }
}
