//! The queue in front of one exporter: short, bounded in number and in weight, its oldest dropped
//! for the newest.
//!
//! The workers put in and never wait for the exporter; the exporter waits for them. It is apart,
//! and takes its lock and condition from `sync`, so that a test can put a model checker's there
//! and try every order in which the threads may run.

use std::{collections::VecDeque, time::Duration};

use super::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What is queued, and how much of it may be.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    items_max: usize,
    weight_max: usize,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(T, usize)>,
    weight: usize,
    closed: bool,
}

/// What became of waiting for an item.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// The oldest item.
    Item(T),
    /// None came in time.
    Late,
    /// None is left and none will come.
    Closed,
}

impl<T> Outbox<T> {
    /// At least one item fits, whatever the bounds.
    pub(super) fn new(items_max: usize, weight_max: usize) -> Self {
        let state = State { items: VecDeque::new(), weight: 0, closed: false };
        let state = Mutex::new(state);
        Self { state, changed: Condvar::new(), items_max: items_max.max(1), weight_max }
    }

    /// Adds an item, and returns those that had to go for it: the oldest, or itself once closed.
    pub(super) fn put(&self, item: T, weight: usize) -> Vec<T> {
        let mut state = self.lock();
        if state.closed {
            return vec![item];
        }
        state.items.push_back((item, weight));
        state.weight += weight;
        let mut gone = Vec::new();
        while state.items.len() > self.items_max
            || (state.weight > self.weight_max && state.items.len() > 1)
        {
            gone.extend(state.pop());
        }
        drop(state);
        self.changed.notify_one();
        gone
    }

    /// Waits for an item, `patience` long.
    pub(super) fn next(&self, patience: Duration) -> Next<T> {
        let mut state = self.lock();
        loop {
            match state.pop() {
                Some(item) => return Next::Item(item),
                None if state.closed => return Next::Closed,
                None => {}
            }
            let (woken, late) = self
                .changed
                .wait_timeout(state, patience)
                .map(|(state, late)| (state, late.timed_out()))
                .unwrap_or_else(|poisoned| (poisoned.into_inner().0, false));
            state = woken;
            if late && state.items.is_empty() && !state.closed {
                return Next::Late;
            }
        }
    }

    /// Takes nothing more. What is queued can still be had.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Returns when it is closed, or after `patience`, or before when something was put in.
    pub(super) fn rest(&self, patience: Duration) {
        let state = self.lock();
        if !state.closed {
            let waited = self.changed.wait_timeout(state, patience);
            drop(waited);
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Everything queued.
    pub(super) fn take_all(&self) -> Vec<T> {
        let mut state = self.lock();
        std::iter::from_fn(|| state.pop()).collect()
    }

    /// Items queued, and their weight.
    pub(super) fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (state.items.len(), state.weight)
    }

    /// Nothing that can panic is done under the lock.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn pop(&mut self) -> Option<T> {
        let (item, weight) = self.items.pop_front()?;
        self.weight -= weight;
        Some(item)
    }
}
