//! Session tickets: what lets a client resume without a full handshake.
//!
//! A resumed session does not show its certificate again, so a ticket must not outlive the rules
//! that the certificate was judged by. Every ticket is therefore bound to its rules as associated
//! data: under other rules it cannot be read, and the client is judged anew. The keys change by
//! themselves every six hours and are forgotten after twelve. They are our own instead of rustls' so
//! that a process can hand them to the one that replaces it.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;

use crate::client::RulesId;

/// How long a key makes tickets. It reads them for as long again.
const KEY_LIFETIME_S: u32 = 6 * 3600;

const KEY_BYTES: usize = 32;

/// The bytes that [`Tickets::export`] yields: a time and two keys.
const EXPORT_BYTES: usize = 8 + 2 * KEY_BYTES;

/// The ticket keys in use. Shared by all listeners and kept over reloads.
#[derive(Clone, Debug, Default)]
pub struct Tickets(Arc<RwLock<Keys>>);

/// The keys at one time.
#[derive(Default)]
struct Keys {
    /// What makes tickets; `None` until somebody asks for one.
    current: Option<Key>,
    /// What made them before.
    previous: Option<Key>,
    /// When the current one was made, in Unix time.
    since_s: u64,
}

/// A key, and the bytes that it is made of.
struct Key {
    bytes: [u8; KEY_BYTES],
    cipher: RandomizedNonceKey,
}

/// Makes and reads the tickets of clients that were judged by one set of rules.
#[derive(Debug)]
struct BoundTickets {
    tickets: Tickets,
    rules: RulesId,
}

impl Tickets {
    /// What makes and reads the tickets of clients that `rules` have judged.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn of(&self, rules: RulesId) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut keys = self.write();
        keys.rotate(now_s());
        if keys.current.is_none() {
            return Err(rustls::Error::FailedToGetRandomBytes);
        }
        drop(keys);
        Ok(Arc::new(BoundTickets { tickets: self.clone(), rules }))
    }

    /// The keys in a form for [`Tickets::import`]; `None` where there are none yet. They are secret.
    #[must_use]
    pub fn export(&self) -> Option<Vec<u8>> {
        let keys = self.read();
        let current = keys.current.as_ref()?.bytes;
        // A key that is there twice reads what it reads once.
        let previous = keys.previous.as_ref().map_or(current, |key| key.bytes);
        Some([&keys.since_s.to_be_bytes()[..], &current, &previous].concat())
    }

    /// Uses the keys that another process has exported. Returns whether they were keys; what makes
    /// tickets already uses them from now on.
    #[must_use]
    pub fn import(&self, exported: &[u8]) -> bool {
        let Some(imported) = Keys::imported(exported) else { return false };
        *self.write() = imported;
        true
    }

    /// The keys, where none of them is too old.
    fn current(&self) -> RwLockReadGuard<'_, Keys> {
        let now_s = now_s();
        let keys = self.read();
        if !keys.is_outdated(now_s) {
            return keys;
        }
        drop(keys);
        self.write().rotate(now_s);
        self.read()
    }

    /// Every change is whole before it can be seen, so a panic elsewhere changes nothing.
    fn read(&self) -> RwLockReadGuard<'_, Keys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Keys> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keys {
    fn imported(exported: &[u8]) -> Option<Self> {
        let exported: &[u8; EXPORT_BYTES] = exported.try_into().ok()?;
        let (since_s, keys) = exported.split_first_chunk()?;
        let (current, previous) = keys.split_first_chunk()?;
        Some(Self {
            current: Some(Key::of(*current)?),
            previous: Some(Key::of(previous.try_into().ok()?)?),
            since_s: u64::from_be_bytes(*since_s),
        })
    }

    fn is_outdated(&self, now_s: u64) -> bool {
        self.current.is_none() || now_s.saturating_sub(self.since_s) >= u64::from(KEY_LIFETIME_S)
    }

    /// Replaces keys that are too old at `now_s`. Without random numbers they stay.
    fn rotate(&mut self, now_s: u64) {
        if !self.is_outdated(now_s) {
            return;
        }
        let Some(key) = Key::random() else { return };
        let is_readable = now_s.saturating_sub(self.since_s) < u64::from(KEY_LIFETIME_S) * 2;
        self.previous = self.current.replace(key).filter(|_| is_readable);
        self.since_s = now_s;
    }

    fn encrypt(&self, rules: RulesId, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let cipher = &self.current.as_ref()?.cipher;
        let nonce = cipher.seal_in_place_append_tag(Aad::from(rules.bytes()), &mut sealed).ok()?;
        Some([&nonce.as_ref()[..], &sealed].concat())
    }

    fn decrypt(&self, rules: RulesId, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        [&self.current, &self.previous].into_iter().flatten().find_map(|key| {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let aad = Aad::from(rules.bytes());
            let plain = key.cipher.open_in_place(nonce, aad, &mut sealed).ok()?;
            Some(plain.to_vec())
        })
    }
}

impl Key {
    fn random() -> Option<Self> {
        let mut bytes = [0; KEY_BYTES];
        rand::fill(&mut bytes).ok()?;
        Self::of(bytes)
    }

    fn of(bytes: [u8; KEY_BYTES]) -> Option<Self> {
        Some(Self { bytes, cipher: RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()? })
    }
}

impl fmt::Debug for Keys {
    /// Says when they were made, and not what they are.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keys").field("since_s", &self.since_s).finish_non_exhaustive()
    }
}

impl ProducesTickets for BoundTickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        KEY_LIFETIME_S * 2
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.current().encrypt(self.rules, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.tickets.current().decrypt(self.rules, ticket)
    }
}

/// Unix time. A clock before 1970 makes keys that are replaced once it is right.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: u64 = KEY_LIFETIME_S as u64;

    fn rules() -> (RulesId, RulesId) {
        (RulesId::default(), RulesId::of(&[b"ca"]))
    }

    #[test]
    fn tickets_are_read_under_their_own_rules_only() {
        let tickets = Tickets::default();
        let (none, some) = rules();
        let ticket = tickets.of(none).unwrap().encrypt(b"session").unwrap();
        assert_eq!(tickets.of(none).unwrap().decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(tickets.of(some).unwrap().decrypt(&ticket), None);
        assert_eq!(Tickets::default().of(none).unwrap().decrypt(&ticket), None);
    }

    #[test]
    fn no_two_tickets_are_alike_and_none_that_was_changed_is_read() {
        let tickets = Tickets::default();
        let bound = tickets.of(RulesId::default()).unwrap();
        let ticket = bound.encrypt(b"session").unwrap();
        assert_ne!(bound.encrypt(b"session").unwrap(), ticket);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(bound.decrypt(&changed), None, "byte {at}");
            assert_eq!(bound.decrypt(&ticket[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_key_makes_tickets_for_six_hours_and_reads_them_for_twelve() {
        let (none, _) = rules();
        let mut keys = Keys::default();
        keys.rotate(1000);
        let ticket = keys.encrypt(none, b"session").unwrap();
        let first = keys.current.as_ref().unwrap().bytes;
        keys.rotate(1000 + LIFETIME - 1);
        assert_eq!(keys.current.as_ref().unwrap().bytes, first);
        keys.rotate(1000 + LIFETIME);
        assert_ne!(keys.current.as_ref().unwrap().bytes, first);
        assert!(keys.decrypt(none, &ticket).is_some());
        keys.rotate(1000 + 2 * LIFETIME);
        assert_eq!(keys.decrypt(none, &ticket), None);
    }

    #[test]
    fn after_a_night_without_clients_no_old_key_is_left() {
        let (none, _) = rules();
        let mut keys = Keys::default();
        keys.rotate(1000);
        let ticket = keys.encrypt(none, b"session").unwrap();
        keys.rotate(1000 + 2 * LIFETIME);
        assert_eq!(keys.decrypt(none, &ticket), None);
        // A clock that is set back changes nothing.
        let before = keys.current.as_ref().unwrap().bytes;
        keys.rotate(0);
        assert_eq!(keys.current.as_ref().unwrap().bytes, before);
    }

    #[test]
    fn another_process_reads_tickets_by_exported_keys() {
        let (none, some) = rules();
        let (old, new) = (Tickets::default(), Tickets::default());
        assert_eq!(old.export(), None);
        let ticket = old.of(some).unwrap().encrypt(b"session").unwrap();
        let bound = new.of(some).unwrap();
        assert_eq!(bound.decrypt(&ticket), None);
        let exported = old.export().unwrap();
        assert!(new.import(&exported));
        assert_eq!(bound.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(new.of(none).unwrap().decrypt(&ticket), None);
        assert_eq!(new.export().unwrap(), exported);
        assert!(!new.import(&exported[1..]));
        assert!(!format!("{new:?}").contains(&format!("{:?}", &exported[8..10])));
    }
}
