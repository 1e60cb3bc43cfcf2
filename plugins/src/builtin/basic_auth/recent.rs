//! Credentials that were found good a short while ago, so that a page with fifty pictures is not fifty
//! hashes. They are kept as hashes with a key of this process's own, never in the clear.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ring::hmac;
use ring::rand::SystemRandom;

use super::credentials::Credentials;

/// How long they count. A password that is changed in the file makes a new filter, which remembers nothing.
const LASTING: Duration = Duration::from_secs(60);

/// Only what was found good comes in, so this is a bound on people at one time: 200 KiB.
const MOST: usize = 4096;

/// The memory.
pub(super) struct Recent {
    /// `None` where the system gave no randomness: then nothing is remembered.
    key: Option<hmac::Key>,
    until: Mutex<HashMap<[u8; 32], Instant>>,
}

impl Default for Recent {
    fn default() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).ok();
        Self { key, until: Mutex::default() }
    }
}

impl Recent {
    /// Whether these were found good less than a minute ago.
    pub(super) fn has(&self, credentials: &Credentials, now: Instant) -> bool {
        let until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let key = self.key(credentials);
        key.and_then(|key| until.get(&key).copied()).is_some_and(|until| now < until)
    }

    /// These are good.
    pub(super) fn add(&self, credentials: &Credentials, now: Instant) {
        let Some(key) = self.key(credentials) else { return };
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= MOST {
            until.retain(|_, until| now < *until);
        }
        if until.len() < MOST {
            until.insert(key, now + LASTING);
        }
    }

    fn key(&self, credentials: &Credentials) -> Option<[u8; 32]> {
        // The name's length keeps `a` and `b:c` apart from `a:b` and `c`.
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        context.update(&(credentials.name.len() as u64).to_le_bytes());
        context.update(credentials.name.as_bytes());
        context.update(credentials.password.as_bytes());
        context.sign().as_ref().try_into().ok()
    }
}

impl fmt::Debug for Recent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Recent").finish_non_exhaustive()
    }
}
