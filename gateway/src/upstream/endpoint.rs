//! One endpoint: what requests find out about it, shared by every configuration that names it.

mod ejection;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sallyport_balance::outlier::Results;
use sallyport_balance::{Address, slow_start_share};
use sallyport_stats::{EjectionReason, EndpointStats, ErrorKind};

pub use self::ejection::Term;
use self::ejection::{Ejection, Standing};

/// How long connections to an endpoint may take without one that is made before others no longer wait for it. A
/// connection within a data centre takes a millisecond, and one around the world less than this.
const STALL_MS: u64 = 500;

/// What is known of one endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Its counters.
    pub stats: EndpointStats,
    /// What its requests came to.
    pub(super) results: Results,
    in_flight: AtomicU32,
    /// Attempts that wait for a connection, and since when none was made.
    connecting: AtomicU32,
    connecting_since_ms: AtomicU64,
    ejection: Ejection,
    /// Whether anything was found out about it.
    observed: AtomicBool,
    /// When its slow start began; 0 is none.
    ramp_ms: AtomicU64,
    epoch: Instant,
}

impl Endpoint {
    /// An endpoint that nothing bad is known of.
    #[must_use]
    pub fn new(address: Address, stats: EndpointStats) -> Self {
        Self {
            address,
            stats,
            results: Results::default(),
            in_flight: AtomicU32::new(0),
            connecting: AtomicU32::new(0),
            connecting_since_ms: AtomicU64::new(0),
            ejection: Ejection::default(),
            observed: AtomicBool::new(false),
            ramp_ms: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }

    /// A request begins here and waits for a connection; [`Endpoint::connection_ended`] and [`Endpoint::finish`]
    /// must follow.
    pub fn begin(&self, now: Instant) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        if self.connecting.fetch_add(1, Ordering::Relaxed) == 0 {
            self.connecting_since_ms.store(self.ms(now), Ordering::Relaxed);
        }
        self.stats.begin();
    }

    /// A request no longer waits for a connection, whatever came of that.
    pub fn connection_ended(&self) {
        self.connecting.fetch_sub(1, Ordering::Relaxed);
    }

    /// A request ended here, well or with an error.
    pub fn finish(&self, error: Option<ErrorKind>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.stats.finish(error);
    }

    /// A connection was made, or taken from the pool. Returns whether the endpoint is back in use because of it.
    pub fn connected(&self, reused: bool) -> bool {
        self.stats.connected(reused);
        if reused {
            return false;
        }
        self.connecting_since_ms.store(self.now_ms(), Ordering::Relaxed);
        self.ejection.connected()
    }

    /// A connection could not be made. Returns whether that is reason enough to leave the endpoint out: it is at once
    /// where the time was up, so that one request has waited and not each.
    pub fn connect_failed(&self, timed_out: bool) -> bool {
        self.stats.connect_failed();
        self.observe();
        self.ejection.connect_failed() || timed_out
    }

    /// A new connection broke before anything was answered on it. Returns whether that is reason enough to leave the
    /// endpoint out.
    pub fn broke_unanswered(&self) -> bool {
        self.observe();
        self.ejection.broke_unanswered()
    }

    /// The endpoint answered, whatever it said. Returns whether it is back in use because of it.
    pub fn answered(&self) -> bool {
        self.observe();
        self.ejection.answered()
    }

    /// A request was served well. Returns whether the endpoint is back in use because of it.
    pub fn succeeded(&self) -> bool {
        self.results.succeeded();
        self.ejection.succeeded(|| self.now_ms())
    }

    /// Leaves the endpoint out from `now` on. Returns whether that is new.
    pub fn eject(&self, reason: EjectionReason, term: Term, now: Instant) -> bool {
        self.observe();
        let newly = self.ejection.eject(reason, term, self.ms(now));
        if newly {
            self.stats.ejected(reason);
            self.results.reset();
        }
        newly
    }

    /// Begins a slow start: the endpoint is new among others, or back.
    pub fn begin_slow_start(&self) {
        self.ramp_ms.store(self.now_ms().max(1), Ordering::Relaxed);
    }

    /// The share of its weight that the endpoint has now, with slow starts of `window`.
    #[must_use]
    pub fn share(&self, window: Duration) -> f64 {
        match self.ramp_ms.load(Ordering::Relaxed) {
            0 => 1.0,
            began => {
                let elapsed = Duration::from_millis(self.now_ms().saturating_sub(began));
                if elapsed >= window {
                    self.ramp_ms.store(0, Ordering::Relaxed);
                }
                slow_start_share(elapsed, window)
            }
        }
    }

    /// Attempts that wait for a connection here.
    #[must_use]
    pub fn connecting(&self) -> usize {
        self.connecting.load(Ordering::Relaxed) as usize
    }

    /// Requests that began here and have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether requests found out anything about it.
    #[must_use]
    pub fn is_observed(&self) -> bool {
        self.observed.load(Ordering::Relaxed)
    }

    /// Why it is left out, if it is.
    #[must_use]
    pub fn ejected_for(&self) -> Option<EjectionReason> {
        self.ejection.reason()
    }

    /// Whether it failed so often lately that it is left out.
    #[must_use]
    pub fn is_set_aside(&self) -> bool {
        self.ejected_for().is_some()
    }

    /// Whether the next request may go here: it is in use, or left out and due for a trial, and connections to it
    /// are made.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        self.ejection.standing(|| self.now_ms()) != Standing::Aside && !self.is_stalled()
    }

    /// Lets a request in and says whether it is the trial. `None` if others must stay away.
    #[must_use]
    pub fn admit(&self) -> Option<bool> {
        match self.ejection.standing(|| self.now_ms()) {
            Standing::InUse => Some(false),
            Standing::Due => self.ejection.begin_trial().then_some(true),
            Standing::Aside => None,
        }
    }

    /// A trial has ended, whatever came of it.
    pub fn end_trial(&self) {
        self.ejection.end_trial();
    }

    /// Whether requests wait for a connection and none was made for some time: more would only wait too.
    fn is_stalled(&self) -> bool {
        self.connecting.load(Ordering::Relaxed) > 0 && {
            let since_ms = self.connecting_since_ms.load(Ordering::Relaxed);
            self.now_ms().saturating_sub(since_ms) > STALL_MS
        }
    }

    /// Written once: the line is shared by all workers.
    fn observe(&self) {
        if !self.observed.load(Ordering::Relaxed) {
            self.observed.store(true, Ordering::Relaxed);
        }
    }

    /// The time of [`Results`] and of ejections.
    pub(super) fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.epoch).as_millis() as u64
    }

    fn now_ms(&self) -> u64 {
        self.ms(Instant::now())
    }
}
