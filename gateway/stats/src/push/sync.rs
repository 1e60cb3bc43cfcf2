//! Where the outbox has its lock from. A model test compiles that file beside another `sync`.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
