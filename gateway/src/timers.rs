//! The timers of one worker: a wheel with ticks of 10 ms.
//!
//! An exchange has many deadlines and nearly none of them passes, so what counts is what a timer
//! costs that never fires. To set one is to write down a number; it allocates nothing, and the
//! runtime's own timers, of which each is a heap entry or a lock, are used once for the whole
//! wheel. Whoever has several deadlines sets one timer to the first of them and looks at the clock
//! when it is woken.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::time::sleep_until;

use self::wheel::{Key, Wheel};

mod wheel;

/// How late a timer may be, beside what the worker has to do just then.
const TICK: Duration = Duration::from_millis(10);

/// The timers of one worker.
#[derive(Clone, Debug)]
pub(crate) struct Timers(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    wheel: Wheel<Waker>,
    /// Wakes whoever turns the wheel.
    turner: Option<Waker>,
    /// The tick at which it is turned next.
    turned_at: u64,
}

/// A timer that wakes one task.
#[derive(Debug)]
pub(crate) struct Timer {
    shared: Arc<Shared>,
    key: Key,
}

impl Timers {
    /// Timers that fire while [`Timers::turn`] runs.
    pub(crate) fn new() -> Self {
        let state = State { wheel: Wheel::new(), turner: None, turned_at: u64::MAX };
        Self(Arc::new(Shared { began: Instant::now(), state: Mutex::new(state) }))
    }

    /// A timer, which is not set.
    pub(crate) fn timer(&self) -> Timer {
        let key = self.0.lock().wheel.insert();
        Timer { shared: self.0.clone(), key }
    }

    /// What comes of `event`, if it takes no longer than `patience` and two ticks.
    pub(crate) async fn within<T>(
        &self,
        patience: Duration,
        event: impl Future<Output = T>,
    ) -> Option<T> {
        let mut event = pin!(event);
        let mut set: Option<(Timer, Instant)> = None;
        poll_fn(|context| {
            if let Poll::Ready(came) = event.as_mut().poll(context) {
                return Poll::Ready(Some(came));
            }
            let (timer, due) = set.get_or_insert_with(|| (self.timer(), Instant::now() + patience));
            if Instant::now() >= *due {
                return Poll::Ready(None);
            }
            timer.wake_at(*due, context);
            Poll::Pending
        })
        .await
    }

    /// Turns the wheel for as long as there are timers. Holds none of them: it ends after the last.
    pub(crate) fn turn(&self) -> impl Future<Output = ()> + Send + use<> {
        turn(Arc::downgrade(&self.0))
    }
}

impl Shared {
    /// What is done under the lock is a few steps, and panics nowhere.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tick that has begun at `moment`.
    fn tick(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.began).as_millis();
        u64::try_from(since / TICK.as_millis()).unwrap_or(u64::MAX)
    }

    fn moment(&self, tick: u64) -> Option<Instant> {
        let after = tick.checked_mul(TICK.as_millis() as u64)?;
        self.began.checked_add(Duration::from_millis(after))
    }
}

impl Timer {
    /// Wakes the task of `context` at `due`, or up to two ticks later; takes the place of what was
    /// set before.
    pub(crate) fn wake_at(&mut self, due: Instant, context: &Context<'_>) {
        // One more, because the present tick has begun already.
        let tick = self.shared.tick(due).saturating_add(1);
        let mut state = self.shared.lock();
        let waker = state.wheel.value(self.key);
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        let turn = state.wheel.set(self.key, tick);
        if turn < state.turned_at {
            state.turned_at = turn;
            let turner = state.turner.take();
            drop(state);
            if let Some(turner) = turner {
                turner.wake();
            }
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.lock().wheel.remove(self.key);
    }
}

async fn turn(shared: Weak<Shared>) {
    let mut sleep = pin!(sleep_until(Instant::now().into()));
    // Those that were due, whose tasks are woken without the lock.
    let mut due = Vec::new();
    poll_fn(|context| {
        loop {
            let Some(shared) = shared.upgrade() else { return Poll::Ready(()) };
            let mut state = shared.lock();
            let now = shared.tick(Instant::now());
            state.wheel.turn(now, |waker| due.push(waker));
            let next = state.wheel.next();
            state.turned_at = next.unwrap_or(u64::MAX);
            match &mut state.turner {
                Some(waker) => waker.clone_from(context.waker()),
                turner => *turner = Some(context.waker().clone()),
            }
            drop(state);
            for waker in due.drain(..) {
                waker.wake();
            }
            let Some(moment) = next.and_then(|next| shared.moment(next)) else {
                return Poll::Pending;
            };
            // The handle is given up before the wait, so that it ends with the last timer's.
            drop(shared);
            sleep.as_mut().reset(moment.into());
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    })
    .await;
}

/// Nobody sets a timer any more: whoever turns the wheel is told to look.
impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(turner) = state.turner.take() {
            turner.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Ready once the clock has passed `due`, by `timer` alone.
    async fn until(timer: &mut Timer, due: Instant) {
        poll_fn(|context| {
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.wake_at(due, context);
            Poll::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn timers_wake_their_tasks_and_the_wheel_ends_with_them() {
        let timers = Timers::new();
        let turning = tokio::spawn(timers.turn());
        let began = Instant::now();
        let tasks: Vec<_> = [40u64, 0, 25, 11]
            .map(|after| {
                let (mut timer, due) = (timers.timer(), began + Duration::from_millis(after));
                tokio::spawn(async move { until(&mut timer, due).await })
            })
            .into();
        for task in tasks {
            task.await.unwrap();
        }
        assert!(began.elapsed() >= Duration::from_millis(40));
        drop(timers);
        turning.await.unwrap();
    }

    #[tokio::test]
    async fn what_takes_too_long_is_not_waited_for() {
        let timers = Timers::new();
        tokio::spawn(timers.turn());
        let began = Instant::now();
        let patience = Duration::from_millis(20);
        assert_eq!(timers.within(patience, pending::<()>()).await, None);
        assert!(began.elapsed() >= patience);
        assert_eq!(timers.within(Duration::ZERO, async { 1 }).await, Some(1), "it is there");
    }

    #[tokio::test]
    async fn a_timer_that_is_brought_forward_is_not_late() {
        let timers = Timers::new();
        tokio::spawn(timers.turn());
        let mut timer = timers.timer();
        let (far, near) = (Duration::from_secs(3600), Duration::from_millis(20));
        let began = Instant::now();
        poll_fn(|context| {
            timer.wake_at(began + far, context);
            Poll::Ready(())
        })
        .await;
        tokio::task::yield_now().await;
        until(&mut timer, began + near).await;
        assert!(began.elapsed() >= near);
    }
}
