//! Session tickets: what lets a client resume without a full handshake.
//!
//! A resumed session does not show its certificate again, so a ticket must not outlive the rules
//! that the certificate was judged by. Tickets are therefore encrypted by a key of those rules: with
//! other rules, old tickets cannot be read and the client is judged anew. The keys change by
//! themselves every six hours and are forgotten after twelve.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

use crate::client::RulesId;

/// The ticket keys in use, by the rules that clients were judged by. Shared by all listeners and
/// kept over reloads.
#[derive(Debug, Default)]
pub struct Tickets(Mutex<HashMap<RulesId, Weak<dyn ProducesTickets>>>);

impl Tickets {
    /// The keys for tickets of clients that `rules` have judged: the same as long as anybody uses
    /// them.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub(crate) fn of(&self, rules: RulesId) -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, tickets| tickets.strong_count() > 0);
        if let Some(tickets) = known.get(&rules).and_then(Weak::upgrade) {
            return Ok(tickets);
        }
        let tickets = Ticketer::new()?;
        known.insert(rules, Arc::downgrade(&tickets));
        Ok(tickets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_read_as_long_as_their_rules_hold() {
        let all = Tickets::default();
        let (none, some) = (RulesId::default(), RulesId::of(&[b"ca"]));
        let first = all.of(none).unwrap();
        let ticket = first.encrypt(b"session").unwrap();
        assert_eq!(all.of(none).unwrap().decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(all.of(some).unwrap().decrypt(&ticket), None);
        drop(first);
        assert_eq!(all.of(none).unwrap().decrypt(&ticket), None, "nobody kept the key");
    }
}
