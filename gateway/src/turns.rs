//! Turns of long requests: small ones of the same worker do not wait behind many of them.
//!
//! A worker runs what is ready, one after the other. The turn of a small request takes tens of microseconds;
//! that of a long download ten times as much, and when a hundred of them are ready everybody else waits for
//! all. So the long requests of a worker share a [`Lane`]: when they have run for a while together ([`long_ns`]),
//! whoever else is ready comes first. The more turns those had, the longer that while: downloads slow down
//! beside a flood of small requests and do not stop.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use pingora_core::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::H2Options;
use pingora_core::server::ShutdownWatch;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// A request that has moved as much of its bodies is a long one.
const LONG_BYTES: usize = 128 << 10;

/// How long the long requests of a worker run before the others come first: hardly more than one of them
/// takes, and a fifth or so of the time of each turn that others had since the lane was opened before.
const LONG_NS: i64 = 50_000;
const LONG_NS_PER_SHORT: i64 = 6_000;
const LONG_NS_MAX: i64 = 400_000;

/// Where others have a turn less often than this there is hardly anybody who waits, and looking for them is
/// what costs: the kernel tells each time of every socket that something came for.
const SELDOM_NS: i64 = 100_000;
const LONG_NS_ALONE: i64 = 800_000;

thread_local! {
    static LANE: Arc<Lane> = Arc::default();
    /// Turns of requests that are not long, since the lane was opened.
    static SHORT: Cell<u32> = const { Cell::new(0) };
    /// Bytes of bodies that passed in the turn that is under way.
    static MOVED: Cell<usize> = const { Cell::new(0) };
}

/// Notes that the request whose turn it is has passed on a part of a body.
pub fn moved(bytes: usize) {
    MOVED.set(MOVED.get().saturating_add(bytes));
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

/// What the long requests of one worker share: one of them runs at a time, the longest waiting first.
#[derive(Debug)]
struct Lane {
    baton: Arc<Semaphore>,
    /// What is left of their time.
    left_ns: AtomicI64,
    /// When the first long request came, and how long after that they were last given time.
    start: Instant,
    opened_ns: AtomicI64,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            baton: Arc::new(Semaphore::new(1)),
            left_ns: AtomicI64::new(LONG_NS),
            start: Instant::now(),
            opened_ns: AtomicI64::new(0),
        }
    }
}

impl Lane {
    /// A turn that began at `start` is over: the next may have the baton, or everybody else comes first.
    fn pass(self: &Arc<Self>, baton: OwnedSemaphorePermit, start: Instant) {
        let left_ns = self.left_ns.load(Relaxed).saturating_sub(ns_since(start));
        self.left_ns.store(left_ns, Relaxed);
        if left_ns > 0 {
            return drop(baton);
        }
        let lane = self.clone();
        tokio::spawn(async move {
            // Comes back behind what was ready and what the sockets have made ready.
            tokio::task::yield_now().await;
            let now_ns = ns_since(lane.start);
            let since_ns = now_ns.saturating_sub(lane.opened_ns.swap(now_ns, Relaxed));
            lane.left_ns.store(long_ns(SHORT.replace(0), since_ns), Relaxed);
            drop(baton);
        });
    }
}

fn ns_since(start: Instant) -> i64 {
    i64::try_from(start.elapsed().as_nanos()).unwrap_or(i64::MAX)
}

/// How long the long requests may run after others had so many turns in so long.
fn long_ns(short: u32, elapsed_ns: i64) -> i64 {
    let short = i64::from(short);
    if short * SELDOM_NS < elapsed_ns {
        LONG_NS_ALONE
    } else {
        (LONG_NS + LONG_NS_PER_SHORT * short).min(LONG_NS_MAX)
    }
}

type Waiting = Boxed<'static, Result<OwnedSemaphorePermit, AcquireError>>;

/// A request, turn by turn.
struct Turns<F> {
    request: F,
    moved: usize,
    waiting: Option<Waiting>,
}

impl<F: Future + Unpin> Turns<F> {
    fn new(request: F) -> Self {
        Self { request, moved: 0, waiting: None }
    }

    fn turn(&mut self, context: &mut Context<'_>) -> Poll<F::Output> {
        MOVED.set(0);
        let result = Pin::new(&mut self.request).poll(context);
        self.moved = self.moved.saturating_add(MOVED.get());
        result
    }

    /// A turn with the baton, as soon as the request has it.
    fn long_turn(&mut self, context: &mut Context<'_>, lane: &Arc<Lane>) -> Poll<F::Output> {
        let waiting =
            self.waiting.get_or_insert_with(|| Box::pin(lane.baton.clone().acquire_owned()));
        let baton = ready!(waiting.as_mut().poll(context));
        self.waiting = None;
        let start = Instant::now();
        let result = self.turn(context);
        // The semaphore is never closed; if it were, nobody would have to wait for it.
        if let Ok(baton) = baton {
            lane.pass(baton, start);
        }
        result
    }
}

impl<F: Future + Unpin> Future for Turns<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
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
    use std::time::Duration;

    use tokio::task::{JoinSet, yield_now};

    use super::*;

    /// As long as the lane is ever open.
    const TURN: Duration = Duration::from_nanos(LONG_NS_ALONE as u64);

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
                if bytes >= LONG_BYTES {
                    let start = Instant::now();
                    while start.elapsed() < TURN {}
                }
                yield_now().await;
            }
        }))
    }

    /// The most turns of 20 long requests between two of as many clients that ask again and again.
    async fn longest_row(clients: usize) -> usize {
        let log = Log::default();
        let mut requests = JoinSet::new();
        for _ in 0..20 {
            requests.spawn(request('L', LONG_BYTES, 4, &log));
        }
        for _ in 0..clients {
            let log = log.clone();
            requests.spawn(async move {
                for _ in 0..32 {
                    request('s', 1, 2, &log).await;
                }
            });
        }
        requests.join_all().await;
        let log = log.lock().unwrap();
        assert_eq!(log.matches('L').count(), 80, "all of them end");
        // None is long in its first turn.
        log[20..=log.rfind('s').unwrap()].split('s').map(str::len).max().unwrap()
    }

    #[tokio::test]
    async fn long_requests_run_one_at_a_time_beside_short_ones() {
        assert_eq!(longest_row(4).await, 1);
    }

    #[test]
    fn they_have_more_time_the_more_turns_others_had() {
        let ms = 1_000_000;
        assert!(long_ns(20, ms) < long_ns(40, ms));
        assert!(long_ns(20, ms) < long_ns(2, ms), "unless those are few");
        assert_eq!(long_ns(u32::MAX, ms), LONG_NS_MAX);
    }

    #[tokio::test]
    async fn the_lane_closes_when_its_time_is_over_and_opens_after_the_others() {
        let lane = Arc::new(Lane::default());
        let take = || lane.baton.clone().try_acquire_owned().unwrap();
        lane.left_ns.store(i64::MAX, Relaxed);
        lane.pass(take(), Instant::now());
        assert_eq!(lane.baton.available_permits(), 1, "there is time left");
        lane.left_ns.store(0, Relaxed);
        lane.pass(take(), Instant::now());
        assert_eq!(lane.baton.available_permits(), 0);
        let _turn = lane.baton.acquire().await.unwrap();
        assert!(lane.left_ns.load(Relaxed) >= LONG_NS);
    }

    #[tokio::test]
    async fn a_request_is_not_long_before_it_has_moved_much() {
        let _closed = LANE.with(|lane| lane.baton.clone().try_acquire_owned().unwrap());
        let log = Log::default();
        request('a', LONG_BYTES / 5, 4, &log).await;
        assert_eq!(*log.lock().unwrap(), "aaaa");
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
