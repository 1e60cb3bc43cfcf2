//! Connections to origins, of one worker: those that are idle, and new ones.
//!
//! A connection is used again by requests for the same endpoint, the youngest first. While it is
//! idle one task watches all of them: one whose origin closes it, or sends what nobody has asked
//! for, is dropped at once, and so is one that was idle for too long. An idle connection holds no
//! buffer.

use std::collections::hash_map::DefaultHasher;
use std::future::{Future, poll_fn};
use std::hash::{Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use pingora_error::Result;
use tokio::task::unconstrained;
use tokio::time::sleep_until;

pub(crate) use self::connect::{Terms, connect};
use self::idle::Idle;
pub(crate) use self::stream::{OriginStream, Socket};
use crate::upstream::Destination;

mod connect;
mod idle;
mod stream;

/// Connections to origins.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    idle: Idle<Member>,
    /// Wakes whoever watches the idle ones.
    watcher: Option<Waker>,
    /// When the watcher looks at the clock next.
    watched_at: Option<Instant>,
}

#[derive(Debug)]
struct Member {
    stream: OriginStream,
    until: Instant,
}

impl Pool {
    /// A pool of at most `idle_max` idle connections.
    pub(crate) fn new(idle_max: usize) -> Self {
        let state = State { idle: Idle::new(idle_max), watcher: None, watched_at: None };
        Self(Arc::new(Shared(Mutex::new(state))))
    }

    /// Watches the idle connections until the pool is gone.
    pub(crate) fn watch(&self) -> impl Future<Output = ()> + Send + use<> {
        watch(Arc::downgrade(&self.0))
    }

    /// A connection to `destination`, and whether it was used before.
    ///
    /// # Errors
    /// There is none, and none can be made.
    pub(crate) async fn connect(
        &self,
        destination: &Destination,
        terms: &Terms,
    ) -> Result<(OriginStream, bool)> {
        if let Some(stream) = self.take(key(destination, terms)) {
            return Ok((stream, true));
        }
        // Apart and boxed, so that requests that find a connection do not carry its state.
        let stream = Box::pin(self::connect::connect(destination, terms)).await?;
        Ok((stream, false))
    }

    fn take(&self, key: u64) -> Option<OriginStream> {
        loop {
            let Member { mut stream, until } = self.0.lock().idle.take(key)?;
            let mut context = Context::from_waker(Waker::noop());
            if until > Instant::now() && stream.poll_gone(&mut context).is_pending() {
                return Some(stream);
            }
        }
    }

    /// Keeps a connection that was made with `terms` for the next request.
    pub(crate) fn put(&self, mut stream: OriginStream, destination: &Destination, terms: &Terms) {
        let until = Instant::now() + destination.idle_timeout;
        let mut state = self.0.lock();
        let watcher = state.watcher.as_ref().unwrap_or(Waker::noop());
        if stream.poll_gone(&mut Context::from_waker(watcher)).is_ready() {
            return;
        }
        let evicted = state.idle.put(key(destination, terms), Member { stream, until });
        let late = state.watched_at.is_none_or(|at| until < at);
        let watcher = state.watcher.take_if(|_| late);
        // Closing and waking are done without the lock.
        drop(state);
        if let Some(Member { stream, .. }) = evicted {
            stream.close();
        }
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }
}

/// A connection with a PROXY header belongs to one client.
fn key(destination: &Destination, terms: &Terms) -> u64 {
    let Some(introduction) = &terms.introduction else { return destination.key };
    let mut hasher = DefaultHasher::new();
    introduction.hash(&mut hasher);
    destination.key ^ hasher.finish()
}

impl Shared {
    /// What is done under the lock panics nowhere.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes out what is of no use any more, and says when to look again.
    fn sort_out(&mut self, context: &mut Context<'_>, gone: &mut Vec<Member>) {
        let now = Instant::now();
        let mut first: Option<Instant> = None;
        let keep = |member: &mut Member| {
            let keep = member.until > now && member.stream.poll_gone(context).is_pending();
            if keep {
                first = Some(first.map_or(member.until, |first| first.min(member.until)));
            }
            keep
        };
        self.idle.retain(keep, |member| gone.push(member));
        self.watched_at = first;
        match &mut self.watcher {
            Some(waker) => waker.clone_from(context.waker()),
            watcher => *watcher = Some(context.waker().clone()),
        }
    }
}

async fn watch(shared: Weak<Shared>) {
    let mut sleep = pin!(sleep_until(Instant::now().into()));
    let mut gone = Vec::new();
    // All are looked at in one poll, however many there are: the runtime would stop it at the same
    // one again and again.
    unconstrained(poll_fn(|context| {
        loop {
            let Some(shared) = shared.upgrade() else { return Poll::Ready(()) };
            let mut state = shared.lock();
            state.sort_out(context, &mut gone);
            let next = state.watched_at;
            drop(state);
            drop(shared);
            for Member { stream, .. } in gone.drain(..) {
                stream.close();
            }
            let Some(next) = next else { return Poll::Pending };
            sleep.as_mut().reset(next.into());
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }))
    .await;
}

/// Nobody puts a connection in any more: the watcher is told to look.
impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(watcher) = state.watcher.take() {
            watcher.wake();
        }
    }
}

#[cfg(test)]
mod tests;
