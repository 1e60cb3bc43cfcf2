//! A bounded number of slots, and a bounded and fair queue for them.
//!
//! A slot passes from who is done to who is next without being free in between, so that a request that comes
//! just then cannot overtake those that wait. Only upstreams with limits have requests pass a gate: its lock is
//! taken twice for each, for as long as a look-up takes, and never across anything that waits.

use std::num::NonZeroU16;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sallyport_balance::{FairQueue, Pushed, Ticket};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::config::TenantWeights;

/// Slots and those who wait for one.
#[derive(Debug)]
pub struct Gate {
    state: Mutex<State>,
    epoch: Instant,
}

#[derive(Debug)]
struct State {
    slots: usize,
    taken: usize,
    waiting: FairQueue<u64, oneshot::Sender<Permit>>,
}

/// A slot, given back when it is dropped.
#[derive(Debug)]
pub struct Permit(Arc<Gate>);

/// Whom a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// A hash of what tells tenants apart.
    pub key: u64,
    /// Its share in relation to other tenants'.
    pub weight: NonZeroU16,
}

impl Tenant {
    /// The tenant called `name`, with its share by `weights`.
    #[must_use]
    pub fn named(name: &str, weights: &TenantWeights) -> Self {
        let key = sallyport_balance::hash_key(name.as_bytes());
        Self { key, weight: weights.get(name).copied().unwrap_or(NonZeroU16::MIN) }
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self { key: 0, weight: NonZeroU16::MIN }
    }
}

/// How slots are given.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How many there are.
    pub slots: usize,
    /// How many may wait.
    pub waiting_max: usize,
    /// How long one may wait.
    pub patience: Duration,
}

/// Why there is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoSlot {
    /// As many wait as may, and others have waited less for their share.
    Full,
    /// The wait took too long.
    Late,
}

impl Default for Gate {
    fn default() -> Self {
        let state = State { slots: 0, taken: 0, waiting: FairQueue::new(0) };
        Self { state: Mutex::new(state), epoch: Instant::now() }
    }
}

/// A slot, or the wait for one.
enum Entry {
    Slot(Permit),
    Waits(Waiting, oneshot::Receiver<Permit>),
}

/// Takes itself out of the queue if its request goes away.
struct Waiting {
    gate: Arc<Gate>,
    ticket: Ticket<u64>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        drop(self.gate.lock().waiting.cancel(&self.ticket));
    }
}

impl Gate {
    /// Takes a slot at once, if one is free and nobody waits.
    ///
    /// # Errors
    /// There is none.
    pub fn try_enter(self: &Arc<Self>, slots: usize) -> Result<Permit, NoSlot> {
        let mut state = self.lock();
        state.slots = slots;
        if state.taken < state.slots && state.waiting.is_empty() {
            state.taken += 1;
            return Ok(Permit(self.clone()));
        }
        Err(NoSlot::Full)
    }

    /// Waits for a slot. `on_wait` is called if it is not had at once, and what it returns is dropped when the wait is
    /// over.
    ///
    /// # Errors
    /// Too many wait, or the wait took too long.
    pub async fn enter<W>(
        self: &Arc<Self>,
        tenant: Tenant,
        terms: Terms,
        on_wait: impl FnOnce() -> W,
    ) -> Result<Permit, NoSlot> {
        let (waiting, slot) = match self.begin(tenant, terms)? {
            Entry::Slot(permit) => return Ok(permit),
            Entry::Waits(waiting, slot) => (waiting, slot),
        };
        let _during = on_wait();
        let began = Instant::now();
        let result = timeout(terms.patience, slot).await;
        drop(waiting);
        match result {
            Ok(Ok(permit)) => Ok(permit),
            // Displaced by a tenant that holds less, or found late when a slot was there.
            Ok(Err(_)) if began.elapsed() < terms.patience => Err(NoSlot::Full),
            Ok(Err(_)) | Err(_) => Err(NoSlot::Late),
        }
    }

    fn begin(self: &Arc<Self>, tenant: Tenant, terms: Terms) -> Result<Entry, NoSlot> {
        let mut state = self.lock();
        state.slots = terms.slots;
        if state.taken < state.slots && state.waiting.is_empty() {
            state.taken += 1;
            return Ok(Entry::Slot(Permit(self.clone())));
        }
        state.waiting.set_length_max(terms.waiting_max);
        let (sender, slot) = oneshot::channel();
        let patience_ms = u64::try_from(terms.patience.as_millis()).unwrap_or(u64::MAX);
        let deadline_ms = self.now_ms().saturating_add(patience_ms);
        let pushed = state.waiting.push(tenant.key, tenant.weight, deadline_ms, sender);
        let ticket = match pushed {
            Pushed::Waits(ticket) | Pushed::Displaced(ticket, _) => ticket,
            Pushed::Full(_) => return Err(NoSlot::Full),
        };
        self.hand_out(state);
        Ok(Entry::Waits(Waiting { gate: self.clone(), ticket }, slot))
    }

    /// Gives free slots to those who wait; there may be several when there are more slots than before.
    fn hand_out(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let now_ms = self.now_ms();
        let mut next = Vec::new();
        while state.taken < state.slots
            && let Some(sender) = state.waiting.pop(now_ms)
        {
            state.taken += 1;
            next.push(sender);
        }
        // A permit that nobody takes is given back, which takes the lock.
        drop(state);
        for sender in next {
            drop(sender.send(Permit(self.clone())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.taken -= 1;
        self.0.hand_out(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms { slots: 2, waiting_max: 2, patience: Duration::from_millis(50) };

    fn tenant(key: u64) -> Tenant {
        Tenant { key, ..Tenant::default() }
    }

    #[tokio::test]
    async fn a_slot_passes_to_who_waits_and_is_given_back_by_who_does_not() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(tenant(1), TERMS, || {}).await.unwrap();
        let second = gate.enter(tenant(1), TERMS, || {}).await.unwrap();
        assert!(gate.try_enter(2).is_err());
        let mut waits = false;
        let late = gate.enter(tenant(1), TERMS, || waits = true).await;
        assert_eq!(late.map(drop), Err(NoSlot::Late));
        assert!(waits && gate.lock().waiting.is_empty());
        let patient = Terms { patience: Duration::from_secs(60), ..TERMS };
        let waiting = tokio::spawn({
            let gate = gate.clone();
            async move { gate.enter(tenant(2), patient, || {}).await.map(drop) }
        });
        while gate.lock().waiting.is_empty() {
            tokio::task::yield_now().await;
        }
        drop(first);
        assert_eq!(waiting.await.unwrap(), Ok(()));
        drop(second);
        assert_eq!(gate.lock().taken, 0);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_queue() {
        let gate = Arc::new(Gate::default());
        let terms = Terms { slots: 0, ..TERMS };
        for _ in 0..10 {
            let waiting =
                gate.enter(tenant(1), Terms { patience: Duration::MAX / 4, ..terms }, || {});
            assert!(timeout(Duration::from_millis(1), waiting).await.is_err());
        }
        assert!(gate.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn more_slots_are_handed_out_with_the_next_request() {
        let gate = Arc::new(Gate::default());
        let none = Terms { slots: 0, waiting_max: 9, patience: Duration::from_secs(60) };
        let waiting = [1, 2].map(|key| {
            let gate = gate.clone();
            tokio::spawn(async move { gate.enter(tenant(key), none, || {}).await })
        });
        while gate.lock().waiting.len() < 2 {
            tokio::task::yield_now().await;
        }
        let third = gate.enter(tenant(3), Terms { slots: 3, ..none }, || {}).await;
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok());
        }
        assert!(third.is_ok());
    }
}
