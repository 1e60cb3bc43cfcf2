//! The keys of a file, which has their hashes alone.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::str::Utf8Error;

use http::HeaderValue;
use sha2::{Digest, Sha256};

/// Keys in one file: some 15 MB.
const KEYS_MAX: usize = 100_000;

/// The longest name, which goes into a field of every request of its consumer.
const NAME_BYTES_MAX: usize = 64;

/// Why a file holds no keys. Hashes are not shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum KeysError {
    #[error("is not UTF-8 ({0})")]
    NotText(#[from] Utf8Error),
    #[error("line {0} is not `name:sha256`")]
    Line(usize),
    #[error("line {0}: a name is 1 to 64 letters, digits, `.`, `_`, `-` or `@`")]
    Name(usize),
    #[error("line {0}: a SHA-256 is 64 hexadecimal digits")]
    Hash(usize),
    #[error("line {0} has the key of a line before it")]
    Twice(usize),
    #[error("has no keys")]
    Empty,
    #[error("has over 100000 keys")]
    TooMany,
}

/// The names of keys, by the SHA-256 of the key.
///
/// A map hashes what it looks for with a secret of the process, so that the time it takes tells nothing
/// of the hashes that it holds; and what it finds is compared in constant time.
#[derive(Debug)]
pub(super) struct Keys(HashMap<Sha, HeaderValue>);

#[derive(Debug)]
struct Sha([u8; 32]);

impl Hash for Sha {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl PartialEq for Sha {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        // Seen as a whole by nobody but `black_box`, so that no pair can end the comparison.
        pairs.fold(0, |differ, (a, b)| black_box(differ | (a ^ b))) == 0
    }
}

impl Eq for Sha {}

impl Keys {
    /// Reads lines of `name:sha256`; blank ones and those that begin with `#` are skipped.
    ///
    /// # Errors
    /// The first line that is something else.
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeysError> {
        let mut keys = HashMap::new();
        for (index, line) in std::str::from_utf8(text)?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let (name, hash) = line.split_once(':').ok_or(KeysError::Line(number))?;
            let name = name_of(name.trim()).ok_or(KeysError::Name(number))?;
            let hash = hash_of(hash.trim()).ok_or(KeysError::Hash(number))?;
            if keys.insert(Sha(hash), name).is_some() {
                return Err(KeysError::Twice(number));
            }
            if keys.len() > KEYS_MAX {
                return Err(KeysError::TooMany);
            }
        }
        if keys.is_empty() { Err(KeysError::Empty) } else { Ok(Self(keys)) }
    }

    /// The name of this key.
    pub(super) fn find(&self, key: &[u8]) -> Option<&HeaderValue> {
        self.0.get(&Sha(Sha256::digest(key).into()))
    }
}

fn name_of(name: &str) -> Option<HeaderValue> {
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte));
    if is_name { HeaderValue::from_str(name).ok() } else { None }
}

fn hash_of(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::{Keys, KeysError};

    /// Of `secret`.
    const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

    fn parse(text: &str) -> Result<Keys, KeysError> {
        Keys::parse(text.as_bytes())
    }

    #[test]
    fn keys_are_found_by_what_they_hash_to() {
        let upper = SECRET.to_uppercase();
        let keys = parse(&format!("# ours\n\n  alice : {upper}  \r\n")).unwrap();
        assert_eq!(keys.find(b"secret").unwrap(), "alice");
        assert_eq!(keys.find(b"Secret"), None);
        assert_eq!(keys.find(SECRET.as_bytes()), None);
        assert_eq!(keys.find(b""), None);
    }

    #[test]
    fn what_is_no_key_is_refused_with_its_line() {
        let of = |text: &str| parse(text).unwrap_err();
        assert_eq!(of(""), KeysError::Empty);
        assert_eq!(of("# none\n"), KeysError::Empty);
        assert_eq!(of("\nalice"), KeysError::Line(2));
        assert_eq!(of(&format!("a b:{SECRET}")), KeysError::Name(1));
        assert_eq!(of(&format!(":{SECRET}")), KeysError::Name(1));
        assert_eq!(of("alice:secret"), KeysError::Hash(1));
        assert_eq!(of(&format!("alice:{}", "+a".repeat(32))), KeysError::Hash(1));
        assert_eq!(of(&format!("a:{SECRET}\nb:{SECRET}")), KeysError::Twice(2));
        assert!(matches!(Keys::parse(b"\xff"), Err(KeysError::NotText(_))));
    }
}
