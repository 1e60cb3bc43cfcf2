//! Bandwidth that requests share: what passes in a second of an upstream's or a route's bodies.
//!
//! The arithmetic is [`sallyport_balance::Shaper`]'s; here are its clock, its lock and waking those who wait. A
//! request has one piece at most that waits in each direction, so that what waits is bounded as requests are.
//! Only what has a `bandwidth` takes the lock, once for each piece of a body and as long as a look-up takes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use sallyport_balance::{Rate, Ticket};
use sallyport_stats::{BandwidthStats, BandwidthWait, Direction};
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::upstream::Tenant;

/// What one upstream or route has of both directions, kept across configurations: what passed under the old one
/// is not forgiven by a reload.
#[derive(Debug)]
pub struct Shaped {
    requests: Arc<Shaper>,
    responses: Arc<Shaper>,
    stats: BandwidthStats,
}

/// The bandwidth of one direction.
#[derive(Debug)]
struct Shaper {
    state: Mutex<State>,
    epoch: Instant,
}

#[derive(Debug)]
struct State {
    /// As the latest configuration has it of which there was a piece.
    rate: Rate,
    /// That configuration's version.
    version: u64,
    pieces: sallyport_balance::Shaper<u64, oneshot::Sender<()>>,
    /// Whether a task wakes those who wait.
    is_served: bool,
}

/// A share that a request has of a bandwidth.
#[derive(Clone, Debug)]
pub struct Share {
    /// The bandwidth.
    pub shaped: Arc<Shaped>,
    /// Of what it is a share.
    pub rate: Rate,
    /// The version of the configuration that says so; a later one's rate holds for all.
    pub version: u64,
    /// Whose share it is.
    pub class: Tenant,
}

/// A piece that waits for its turn. Dropped, it is taken back.
#[derive(Debug)]
pub struct Wait {
    shaper: Arc<Shaper>,
    ticket: Ticket<u64>,
    turn: oneshot::Receiver<()>,
    since: Instant,
    direction: Direction,
    stats: BandwidthStats,
    _bytes: BandwidthWait,
}

impl Shaped {
    /// A bandwidth that nothing has passed, counted with `stats`.
    #[must_use]
    pub fn new(stats: BandwidthStats) -> Self {
        Self { requests: Arc::default(), responses: Arc::default(), stats }
    }
}

impl Share {
    /// Lets a piece of `bytes` pass, or else wait for its turn.
    pub fn pass(&self, direction: Direction, bytes: usize) -> Option<Wait> {
        let shaped = &self.shaped;
        let shaper = match direction {
            Direction::Request => &shaped.requests,
            Direction::Response => &shaped.responses,
        };
        shaped.stats.passed(direction, bytes as u64);
        let (ticket, turn) = shaper.pass(self, bytes)?;
        Some(Wait {
            shaper: shaper.clone(),
            ticket,
            turn,
            since: Instant::now(),
            direction,
            stats: shaped.stats.clone(),
            _bytes: shaped.stats.wait(direction, bytes as u64),
        })
    }
}

impl Default for Shaper {
    fn default() -> Self {
        let rate = Rate { bytes_per_s: 0, burst_bytes: 0 };
        let pieces = sallyport_balance::Shaper::default();
        let state = State { rate, version: 0, pieces, is_served: false };
        Self { state: Mutex::new(state), epoch: Instant::now() }
    }
}

impl Shaper {
    fn pass(
        self: &Arc<Self>,
        share: &Share,
        bytes: usize,
    ) -> Option<(Ticket<u64>, oneshot::Receiver<()>)> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let class = share.class;
        let mut state = self.lock();
        if share.version >= state.version {
            (state.rate, state.version) = (share.rate, share.version);
        }
        let rate = state.rate;
        if bytes == 0 || state.pieces.try_pass(bytes, rate, self.now_ns()) {
            return None;
        }
        let (sender, turn) = oneshot::channel();
        let ticket = state.pieces.wait(class.key, class.weight, bytes, sender)?;
        if !std::mem::replace(&mut state.is_served, true) {
            tokio::spawn(self.clone().serve());
        }
        Some((ticket, turn))
    }

    /// Wakes those who wait, each when it is its turn, until nobody does.
    async fn serve(self: Arc<Self>) {
        while let Some(next) = self.release() {
            sleep_until(next.into()).await;
        }
    }

    /// Wakes those whose turn it is. Returns when the next one has its.
    fn release(&self) -> Option<Instant> {
        let mut state = self.lock();
        let State { rate, pieces, is_served, .. } = &mut *state;
        while let Some(sender) = pieces.release(*rate, self.now_ns()) {
            // Who went away has taken its piece back, or is about to.
            sender.send(()).ok();
        }
        let next = pieces.next_ns(*rate);
        *is_served = next.is_some();
        next.map(|ns| self.epoch + Duration::from_nanos(ns))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // A sender that is gone without a word would be a turn that never comes.
        let turn = Pin::new(&mut self.turn).poll(context).map(drop);
        if turn.is_ready() {
            self.stats.waited(self.direction, self.since.elapsed());
        }
        turn
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        drop(self.shaper.lock().pieces.cancel(&self.ticket));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use sallyport_stats::{BandwidthOf, Registry};

    use super::*;

    fn share(version: u64, shaped: &Arc<Shaped>, rate: Rate) -> Share {
        let class = Tenant { key: 1, weight: NonZeroU16::MIN };
        Share { shaped: shaped.clone(), rate, version, class }
    }

    fn shaped() -> Arc<Shaped> {
        let registry = Registry::new(1);
        let stats = registry.bandwidths(&[BandwidthOf::Upstream("up".into())]);
        Arc::new(Shaped::new(stats[0].clone()))
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_in_turn_and_who_goes_away_costs_nothing() {
        let shaped = shaped();
        let rate = Rate { bytes_per_s: 1_000, burst_bytes: 0 };
        let share = share(1, &shaped, rate);
        assert!(share.pass(Direction::Response, 50).is_none());
        assert!(share.pass(Direction::Request, 50).is_none(), "directions are apart");
        let first = share.pass(Direction::Response, 100).unwrap();
        let given_up = share.pass(Direction::Response, 1_000_000).unwrap();
        let last = share.pass(Direction::Response, 100).unwrap();
        drop(given_up);
        first.await;
        last.await;
        assert!(share.pass(Direction::Response, 0).is_none(), "nothing waits for nothing");
        let state = shaped.responses.lock();
        assert!(state.pieces.is_empty());
    }

    #[tokio::test]
    async fn a_rate_that_grows_holds_for_those_who_wait() {
        let shaped = shaped();
        let slow = share(1, &shaped, Rate { bytes_per_s: 1_000, burst_bytes: 0 });
        let fast = share(2, &shaped, Rate { bytes_per_s: 1_000_000_000, burst_bytes: 10_000 });
        assert!(slow.pass(Direction::Response, 10).is_none());
        let waits: Vec<_> =
            (0..100).map(|_| slow.pass(Direction::Response, 1_000).unwrap()).collect();
        let latest = fast.pass(Direction::Response, 1_000);
        let earlier = slow.pass(Direction::Response, 1_000);
        // With the rate of before it would be more than a minute.
        let all = async {
            for wait in waits.into_iter().chain(latest).chain(earlier) {
                wait.await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), all).await.is_ok());
    }
}
