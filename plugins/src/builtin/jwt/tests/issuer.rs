//! The issuer of the tests' tokens. Its keys are made anew by each run, so that no private key is in
//! the repository; RSA keys, which ring cannot make, sign nothing here: their tokens are in a file.

use std::io::Write as _;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature as by;
use ring::signature::KeyPair as _;
use serde_json::{Value, json};

use crate::builtin::jwt::KIND;
use crate::host::Host;
use crate::testing::Tried;

/// Tokens of the RSA key in `jwks.json`.
pub(super) static RSA_TOKENS: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("rsa-tokens.json")).unwrap());

static ISSUER: LazyLock<Issuer> = LazyLock::new(Issuer::new);

struct Issuer {
    es: by::EcdsaKeyPair,
    es384: by::EcdsaKeyPair,
    ed: by::Ed25519KeyPair,
    /// In no set of keys.
    other: by::EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ecdsa = |algorithm| {
            let key = by::EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
            by::EcdsaKeyPair::from_pkcs8(algorithm, key.as_ref(), &random).unwrap()
        };
        let ed = by::Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self {
            es: ecdsa(&by::ECDSA_P256_SHA256_FIXED_SIGNING),
            es384: ecdsa(&by::ECDSA_P384_SHA384_FIXED_SIGNING),
            ed: by::Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            other: ecdsa(&by::ECDSA_P256_SHA256_FIXED_SIGNING),
        }
    }

    fn sign(&self, key: &str, message: &[u8]) -> Vec<u8> {
        let ecdsa = |key: &by::EcdsaKeyPair| {
            key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        };
        match key {
            "es" => ecdsa(&self.es),
            "es384" => ecdsa(&self.es384),
            "other" => ecdsa(&self.other),
            "ed" => self.ed.sign(message).as_ref().to_vec(),
            _ => panic!("there is no key {key}"),
        }
    }
}

/// A token without its signature.
pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A token signed with the key called `key`, whatever its header says.
pub(super) fn sign(key: &str, header: &Value, claims: &Value) -> String {
    let message = unsigned(header, claims);
    let signature = ISSUER.sign(key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The RSA key in `jwks.json`.
pub(super) fn rsa_jwk() -> Value {
    let set: Value = serde_json::from_str(include_str!("../jwks.json")).unwrap();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().find(|key| key["kty"] == "RSA").unwrap().clone()
}

/// The set of public keys that tokens of this issuer, and those of the file, are checked with.
pub(super) fn jwks() -> Vec<u8> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    // SEC 1, 2.3.3: a byte that says "uncompressed", then both coordinates.
    let ec = |id: &str, curve: &str, key: &by::EcdsaKeyPair| {
        let point = &key.public_key().as_ref()[1..];
        let (x, y) = point.split_at(point.len() / 2);
        json!({ "kty": "EC", "kid": id, "crv": curve, "x": encode(x), "y": encode(y) })
    };
    let keys = [
        rsa_jwk(),
        ec("es", "P-256", &ISSUER.es),
        ec("es384", "P-384", &ISSUER.es384),
        json!({ "kty": "OKP", "kid": "ed", "crv": "Ed25519", "alg": "EdDSA",
            "x": encode(ISSUER.ed.public_key().as_ref()) }),
    ];
    json!({ "keys": keys }).to_string().into_bytes()
}

/// A filter with this issuer's keys and what `rest` adds to its configuration.
pub(super) fn filter(rest: &str) -> Tried {
    filter_of(&jwks(), rest)
}

/// A filter with these keys.
pub(super) fn filter_of(jwks: &[u8], rest: &str) -> Tried {
    // It is read once, with the configuration.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(jwks).unwrap();
    let config = format!("{{ jwks: {{ file: '{}' }}{rest} }}", file.path().display());
    Tried::with_host(&KIND, &config, Host::idle())
}
