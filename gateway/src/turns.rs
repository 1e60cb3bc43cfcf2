//! Turns of long requests: small ones of the same worker do not wait behind many of them.
//!
//! A worker runs what is ready, one after the other. The turn of a small request takes tens of microseconds;
//! that of a long download up to ten times as much, and when a hundred of them are ready everybody else waits
//! for all. So the long requests of a worker share a lane, which gives them a few turns each time the worker
//! has been through all that is ready: one where the others are few, more where they are many, so that downloads
//! slow down beside a flood of small requests and do not stop.
//!
//! A request whose bytes wait for bandwidth has no turn until they may pass ([`hold`]), and what it writes to its
//! client in the turn in which it came to wait stays with it ([`is_held`]).
//!
//! A turn is also where a request meets its deadline: Pingora has a timer for each read and each write, and none for
//! the whole. When the time is up, the socket of its origin is shut down, which Pingora notices as it does any origin
//! that goes away, and the request ends through its phases.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use nix::sys::socket::{Shutdown, shutdown};
use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep_until};

use crate::shaping::Wait;

/// A request that has moved as much of its bodies is a long one, for a while: a WebSocket that says little
/// need not wait behind downloads because it has been open for hours.
const LONG_BYTES: usize = 128 << 10;
const LONG_FOR: Duration = Duration::from_secs(1);

/// As many turns of others go before a second long one; then there is one for so many of them, which take about
/// as long.
const FEW_SHORT: usize = 20;
const SHORT_PER_LONG: usize = 4;

/// Where others have a turn less often than this there is hardly anybody who waits, and looking for them is
/// what costs: the kernel tells each time of every socket that something came for.
const SELDOM: Duration = Duration::from_millis(1);
const TURNS_ALONE: usize = 4;

thread_local! {
    static LANE: Arc<Lane> = Arc::default();
    /// Turns of requests that are not long, since the first turn of one that is.
    static SHORT: Cell<usize> = const { Cell::new(0) };
    /// Bytes of bodies that passed in the turn that is under way.
    static MOVED: Cell<usize> = const { Cell::new(0) };
    /// Whether one end of a tunnel answered the other in that turn.
    static ANSWERED: Cell<bool> = const { Cell::new(false) };
    /// What the request whose turn it is waits for before the next one; `None` between turns.
    static HELD: RefCell<Option<Vec<Wait>>> = const { RefCell::new(None) };
    /// What the request whose turn it is said of its deadline in it.
    static DEADLINE: Cell<Option<Option<Deadline>>> = const { Cell::new(None) };
}

/// When a request must have ended.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// The socket of the origin that serves the request: its own, for as long as the deadline stands.
    pub origin: RawFd,
}

/// Sets or lifts the deadline of the request whose turn it is. It must be lifted before the origin's connection is
/// closed or goes back to the pool and the request has another turn.
pub fn set_deadline(deadline: Option<Deadline>) {
    DEADLINE.set(Some(deadline));
}

/// Ends the exchange on an origin's socket, which must be the request's own still: its reads and writes fail.
pub fn shut_down(origin: RawFd) {
    if let Err(error) = shutdown(origin, Shutdown::Both) {
        tracing::debug!(%error, "an origin's socket could not be shut down");
    }
}

/// Has the request whose turn it is wait before its next one. What it writes to its client waits as well.
pub fn hold(wait: Wait) {
    HELD.with_borrow_mut(|held| {
        if let Some(held) = held {
            held.push(wait);
        }
    });
}

/// Whether the request whose turn it is must write nothing until its next one.
pub fn is_held() -> bool {
    HELD.with_borrow(|held| held.as_ref().is_some_and(|held| !held.is_empty()))
}

/// Notes that the request whose turn it is has passed on a part of a body.
pub fn moved(bytes: usize) {
    MOVED.set(MOVED.get().saturating_add(bytes));
}

/// Notes that one end of the tunnel whose turn it is answers the other. What passed before counts no more: a
/// tunnel that talks in turns asks for as little at once as a client that sends one request after the other.
pub fn answered() {
    MOVED.set(0);
    ANSWERED.set(true);
}

/// An application whose requests take turns.
#[derive(Debug)]
pub struct InTurns<A>(Arc<A>);

impl<A> InTurns<A> {
    /// The same application, in turns.
    pub fn new(app: A) -> Self {
        Self(Arc::new(app))
    }
}

/// A future that takes turns as a request does.
pub(crate) fn in_turns<F: Future + Unpin>(request: F) -> impl Future<Output = F::Output> {
    Turns::new(request)
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

// Written without `async_trait`: an `async fn` would copy the session, which is large, once more.
impl<A: HttpServerApp + Send + Sync + 'static> HttpServerApp for InTurns<A> {
    fn process_new_http<'a, 's, 'f>(
        self: &'a Arc<Self>,
        session: ServerSession,
        shutdown: &'s ShutdownWatch,
    ) -> Boxed<'f, Option<ReusedHttpStream>>
    where
        'a: 'f,
        's: 'f,
        Self: 'f,
    {
        Box::pin(Turns::new(self.0.process_new_http(session, shutdown)))
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.0.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.server_options()
    }

    fn http_cleanup<'a, 'f>(&'a self) -> Boxed<'f, ()>
    where
        'a: 'f,
        Self: 'f,
    {
        self.0.http_cleanup()
    }
}

/// The turns that the long requests of one worker may take, the longest waiting first.
#[derive(Debug)]
struct Lane {
    turns: Arc<Semaphore>,
    /// Whether more of them are on their way.
    filling: AtomicBool,
}

impl Default for Lane {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(1)), filling: AtomicBool::new(false) }
    }
}

impl Lane {
    /// A turn is taken: there are others when the worker has been through all that is ready by then.
    fn take(self: &Arc<Self>, turn: OwnedSemaphorePermit, now: Instant) {
        turn.forget();
        if self.filling.swap(true, Relaxed) {
            return;
        }
        SHORT.set(0);
        let lane = self.clone();
        tokio::spawn(async move {
            // Comes back behind what was ready and what the sockets have made ready.
            tokio::task::yield_now().await;
            lane.filling.store(false, Relaxed);
            // What was left over is not saved up: many long turns in a row are what others would notice.
            lane.turns.forget_permits(Semaphore::MAX_PERMITS);
            lane.turns.add_permits(long_turns(SHORT.get(), now.elapsed()));
        });
    }
}

/// How many turns the long requests may take after others had so many in so long.
fn long_turns(short: usize, elapsed: Duration) -> usize {
    if SELDOM.saturating_mul(u32::try_from(short).unwrap_or(u32::MAX)) < elapsed {
        TURNS_ALONE
    } else {
        1 + short.saturating_sub(FEW_SHORT) / SHORT_PER_LONG
    }
}

type Waiting = Boxed<'static, Result<OwnedSemaphorePermit, AcquireError>>;

/// A request, turn by turn.
struct Turns<F> {
    request: F,
    /// Bytes, since it was last not long.
    moved: usize,
    long_since: Option<Instant>,
    waiting: Option<Waiting>,
    /// What its bytes wait for.
    held: Vec<Wait>,
    deadline: Option<Deadline>,
    /// Made when the request first waits with a deadline.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future + Unpin> Turns<F> {
    fn new(request: F) -> Self {
        Self {
            request,
            moved: 0,
            long_since: None,
            waiting: None,
            held: Vec::new(),
            deadline: None,
            timer: None,
        }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        MOVED.set(0);
        DEADLINE.set(None);
        HELD.set(Some(Vec::new()));
        let result = Pin::new(&mut self.request).poll(context);
        self.held = HELD.take().unwrap_or_default();
        if ANSWERED.take() {
            self.moved = 0;
            self.long_since = None;
        }
        self.moved = self.moved.saturating_add(MOVED.get());
        if let Some(deadline) = DEADLINE.take() {
            self.deadline = deadline;
            if result.is_pending() {
                self.end_when_late(context);
            }
        }
        if result.is_pending() && !self.held.is_empty() && self.poll_held(context).is_ready() {
            context.waker().wake_by_ref();
        }
        result
    }

    /// Ready once the request's bytes may pass.
    fn poll_held(&mut self, context: &mut Context<'_>) -> Poll<()> {
        while let Some(wait) = self.held.last_mut() {
            ready!(Pin::new(wait).poll(context));
            self.held.pop();
        }
        Poll::Ready(())
    }

    /// Shuts the origin's socket down if the deadline is over, and otherwise wakes the task when it is.
    fn end_when_late(&mut self, context: &mut Context<'_>) {
        let Some(Deadline { at, origin }) = self.deadline else { return };
        let at = at.into();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        // A timer for an earlier moment is left alone: most requests end before it.
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= at {
                self.deadline = None;
                self.timer = None;
                // It ends now, whatever waits.
                self.held.clear();
                return shut_down(origin);
            }
            timer.as_mut().reset(at);
        }
    }

    /// A turn, as soon as the lane has one.
    fn long_turn(&mut self, context: &mut Context<'_>, lane: &Arc<Lane>) -> Poll<F::Output> {
        let waiting =
            self.waiting.get_or_insert_with(|| Box::pin(lane.turns.clone().acquire_owned()));
        let turn = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        let now = Instant::now();
        // The semaphore is never closed; if it were, nobody would have to wait for it.
        if let Ok(turn) = turn {
            lane.take(turn, now);
        }
        if now.duration_since(*self.long_since.get_or_insert(now)) > LONG_FOR {
            self.moved = 0;
            self.long_since = None;
        }
        self.turn(context)
    }
}

impl<F: Future + Unpin> Future for Turns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.end_when_late(context);
        ready!(self.poll_held(context));
        if self.moved >= LONG_BYTES {
            return LANE.with(|lane| self.long_turn(context, lane));
        }
        SHORT.set(SHORT.get().saturating_add(1));
        self.turn(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    /// Who had a turn, in order.
    type Log = Arc<Mutex<String>>;

    /// A request that moves `bytes` in each of so many turns, and its `name` in the log.
    fn request(
        name: char,
        bytes: usize,
        turns: usize,
        log: &Log,
    ) -> impl Future<Output = ()> + use<> {
        let log = log.clone();
        Turns::new(Box::pin(async move {
            for _ in 0..turns {
                log.lock().unwrap().push(name);
                moved(bytes);
                yield_now().await;
            }
        }))
    }

    /// How many turns 20 long requests have in a row beside four clients that ask again and again.
    async fn rows() -> Vec<usize> {
        let log = Log::default();
        let mut requests = JoinSet::new();
        for _ in 0..20 {
            requests.spawn(request('L', LONG_BYTES, 4, &log));
        }
        for _ in 0..4 {
            let log = log.clone();
            requests.spawn(Turns::new(Box::pin(async move {
                let (mut client, mut origin) = UnixStream::pair().unwrap();
                for _ in 0..80 {
                    log.lock().unwrap().push('s');
                    origin.write_u8(1).await.unwrap();
                    // Ready when the worker has looked at its sockets.
                    client.read_u8().await.unwrap();
                }
            })));
        }
        requests.join_all().await;
        let log = log.lock().unwrap();
        assert_eq!(log.matches('L').count(), 80, "all of them end");
        // None is long in its first turn.
        let beside = &log[20..=log.rfind('s').unwrap()];
        beside.split('s').map(str::len).filter(|row| *row > 0).collect()
    }

    #[tokio::test]
    async fn long_requests_run_one_at_a_time_beside_short_ones() {
        // Should the thread stand still for a while, the others seem to be few.
        let rows = rows().await;
        let longer = rows.iter().filter(|row| **row > 1).count();
        assert!(longer <= rows.len() / 4, "{rows:?}");
    }

    #[test]
    fn they_have_more_turns_the_more_others_had() {
        let round = Duration::from_micros(500);
        assert_eq!(long_turns(8, round), 1);
        assert!(long_turns(30, round) < long_turns(60, round));
        assert_eq!(long_turns(0, round), TURNS_ALONE);
    }

    #[tokio::test]
    async fn turns_that_were_left_over_are_not_saved_up() {
        let lane = Arc::new(Lane::default());
        lane.turns.add_permits(1_000);
        let turn = lane.turns.clone().try_acquire_owned().unwrap();
        lane.take(turn, Instant::now());
        while lane.filling.load(Relaxed) {
            yield_now().await;
        }
        assert!((1..=TURNS_ALONE).contains(&lane.turns.available_permits()));
    }

    #[tokio::test]
    async fn a_request_is_not_long_before_it_has_moved_much() {
        let _last = LANE.with(|lane| lane.turns.clone().try_acquire_owned().unwrap());
        let log = Log::default();
        request('a', LONG_BYTES / 5, 4, &log).await;
        assert_eq!(*log.lock().unwrap(), "aaaa");
    }

    #[tokio::test]
    async fn a_tunnel_that_talks_in_turns_is_never_long() {
        let _last = LANE.with(|lane| lane.turns.clone().try_acquire_owned().unwrap());
        let talk = Turns::new(Box::pin(async {
            for _ in 0..64 {
                answered();
                moved(LONG_BYTES / 8);
                yield_now().await;
            }
        }));
        // One that had to wait for the lane would wait for ever.
        talk.await;
    }

    #[tokio::test]
    async fn after_a_while_a_request_has_to_move_much_again() {
        let lane = Arc::new(Lane::default());
        lane.turns.add_permits(1);
        let mut turns = Turns::new(std::future::pending::<()>());
        turns.moved = LONG_BYTES;
        for (since, moved) in [(LONG_FOR / 2, LONG_BYTES), (LONG_FOR * 2, 0)] {
            turns.long_since = Instant::now().checked_sub(since);
            let mut context = Context::from_waker(std::task::Waker::noop());
            assert!(turns.long_turn(&mut context, &lane).is_pending());
            assert_eq!(turns.moved, moved);
        }
    }

    #[tokio::test]
    async fn one_that_is_given_up_while_it_waits_holds_up_nobody() {
        let log = Log::default();
        let mut given_up = JoinSet::new();
        for _ in 0..5 {
            given_up.spawn(request('x', LONG_BYTES, 1_000, &log));
        }
        let rest = tokio::spawn(request('L', LONG_BYTES, 20, &log));
        while log.lock().unwrap().len() < 20 {
            yield_now().await;
        }
        given_up.shutdown().await;
        rest.await.unwrap();
        assert_eq!(log.lock().unwrap().matches('L').count(), 20);
    }
}
