//! A signed cookie that names one of several: an endpoint of an upstream, or an upstream of a split.
//!
//! The name is a keyed hash of the address or name, so that the cookie tells a client nothing and still means the
//! same to every gateway that has the secret, after every reload and restart. What was signed with another secret, for
//! another upstream, or is over is ignored: the request goes where it would go without.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A name's hash, when it ends, and their signature.
const TOKEN_BYTES: usize = ID_BYTES + EXPIRY_BYTES + TAG_BYTES;
const ID_BYTES: usize = 8;
const EXPIRY_BYTES: usize = 8;
const TAG_BYTES: usize = 32;

/// What cookies of one scope are signed with.
#[derive(Clone, Debug)]
pub struct Signer {
    key: hmac::Key,
    scope: Box<str>,
}

/// What a cookie says that was signed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The hash of the name, see [`Signer::id`].
    pub id: u64,
    /// When it ends, in seconds since 1970; 0 is never.
    pub expires_unix_s: u64,
}

impl Signer {
    /// Signs for `scope`, such as the name of an upstream.
    #[must_use]
    pub fn new(secret: &[u8], scope: &str) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, secret), scope: scope.into() }
    }

    /// The hash that stands for `name`.
    #[must_use]
    pub fn id(&self, name: &str) -> u64 {
        let tag = self.sign(b"name", name.as_bytes());
        tag.as_ref().iter().take(ID_BYTES).fold(0, |id, byte| id << 8 | u64::from(*byte))
    }

    /// The value of a cookie for `id` that ends after `ttl`.
    #[must_use]
    pub fn seal(&self, id: u64, ttl: Option<Duration>, now: SystemTime) -> String {
        let expires = ttl.map_or(0, |ttl| unix_s(now).saturating_add(ttl.as_secs().max(1)));
        let mut token = Vec::with_capacity(TOKEN_BYTES);
        token.extend_from_slice(&id.to_be_bytes());
        token.extend_from_slice(&expires.to_be_bytes());
        let tag = self.sign(b"token", &token);
        token.extend_from_slice(tag.as_ref());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// What `value` says, if it was signed here and is not over.
    #[must_use]
    pub fn open(&self, value: &str, now: SystemTime) -> Option<Token> {
        // Anybody may send anything: nothing longer than a token is decoded.
        if value.len() > TOKEN_BYTES * 2 {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(value).ok()?;
        let (said, tag) = bytes.split_at_checked(ID_BYTES + EXPIRY_BYTES)?;
        hmac::verify(&self.key, &self.message(b"token", said), tag).ok()?;
        let (id, expires) = said.split_first_chunk::<ID_BYTES>()?;
        let expires_unix_s = u64::from_be_bytes(expires.try_into().ok()?);
        let lasts = expires_unix_s == 0 || expires_unix_s > unix_s(now);
        lasts.then_some(Token { id: u64::from_be_bytes(*id), expires_unix_s })
    }

    fn sign(&self, purpose: &[u8], said: &[u8]) -> hmac::Tag {
        hmac::sign(&self.key, &self.message(purpose, said))
    }

    /// The parts with their lengths, so that no two messages are alike by where one part ends.
    fn message(&self, purpose: &[u8], said: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(purpose.len() + self.scope.len() + said.len() + 24);
        for part in [purpose, self.scope.as_bytes(), said] {
            message.extend_from_slice(&(part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        message
    }
}

impl Token {
    /// Whether less than half of `ttl` is left, so that it is time for a new cookie.
    #[must_use]
    pub fn is_old(self, ttl: Option<Duration>, now: SystemTime) -> bool {
        let left = self.expires_unix_s.saturating_sub(unix_s(now));
        ttl.is_some_and(|ttl| left < ttl.as_secs() / 2)
    }
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef";

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_says_what_was_sealed_until_it_ends() {
        let signer = Signer::new(SECRET, "up");
        let id = signer.id("10.0.0.1:80");
        assert_ne!(id, signer.id("10.0.0.2:80"));
        let hour = Some(Duration::from_secs(3_600));
        let value = signer.seal(id, hour, at(1_000));
        let token = Token { id, expires_unix_s: 4_600 };
        assert_eq!(signer.open(&value, at(4_599)), Some(token));
        assert_eq!(signer.open(&value, at(4_600)), None);
        assert!(!token.is_old(hour, at(2_800)) && token.is_old(hour, at(2_801)));
        let endless = signer.seal(id, None, at(1_000));
        assert_eq!(signer.open(&endless, at(u64::from(u32::MAX))).map(|token| token.id), Some(id));
    }

    #[test]
    fn what_was_signed_elsewhere_says_nothing() {
        let signer = Signer::new(SECRET, "up");
        let value = signer.seal(1, None, at(0));
        assert!(Signer::new(SECRET, "up").open(&value, at(0)).is_some(), "the same secret");
        assert_eq!(Signer::new(SECRET, "other").open(&value, at(0)), None);
        assert_eq!(Signer::new(b"another secret..", "up").open(&value, at(0)), None);
    }

    proptest! {
        #[test]
        fn nothing_that_was_not_signed_is_believed(value in ".{0,200}") {
            prop_assert_eq!(Signer::new(SECRET, "up").open(&value, at(0)), None);
        }

        #[test]
        fn a_changed_byte_is_noticed(index in 0_usize..48, flip in 1_u8..) {
            let signer = Signer::new(SECRET, "up");
            let mut bytes = URL_SAFE_NO_PAD.decode(signer.seal(7, None, at(0))).unwrap();
            bytes[index] ^= flip;
            prop_assert_eq!(signer.open(&URL_SAFE_NO_PAD.encode(bytes), at(0)), None);
        }
    }
}
