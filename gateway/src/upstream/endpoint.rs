//! One endpoint: what requests find out about it, shared by every configuration that names it.

mod ejection;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use sallyport_balance::Address;
use sallyport_stats::{EndpointStats, ErrorKind};

use self::ejection::{Ejection, Standing};

/// What is known of one endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Its counters.
    pub stats: EndpointStats,
    in_flight: AtomicU32,
    ejection: Ejection,
    epoch: Instant,
}

impl Endpoint {
    /// An endpoint that nothing bad is known of.
    #[must_use]
    pub fn new(address: Address, stats: EndpointStats) -> Self {
        let (in_flight, ejection) = (AtomicU32::new(0), Ejection::default());
        Self { address, stats, in_flight, ejection, epoch: Instant::now() }
    }

    /// A request begins here; [`Endpoint::finish`] must follow.
    pub fn begin(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.stats.begin();
    }

    /// A request ended here, well or with an error.
    pub fn finish(&self, error: Option<ErrorKind>) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.stats.finish(error);
    }

    /// A connection was made, or taken from the pool.
    pub fn connected(&self, reused: bool) {
        self.stats.connected(reused);
        if !reused {
            self.ejection.connected();
        }
    }

    /// A connection could not be made. Returns whether the endpoint is set aside because of it.
    pub fn connect_failed(&self) -> bool {
        self.stats.connect_failed();
        self.ejection.connect_failed(self.now_ms())
    }

    /// A new connection broke before anything was answered on it. Returns whether the endpoint is
    /// set aside because of it.
    pub fn broke_unanswered(&self) -> bool {
        self.ejection.broke_unanswered(self.now_ms())
    }

    /// The endpoint answered, whatever it said.
    pub fn answered(&self) {
        self.ejection.answered();
    }

    /// Requests that began here and have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Whether it failed so often lately that it is left out.
    #[must_use]
    pub fn is_set_aside(&self) -> bool {
        self.ejection.standing(|| self.now_ms()) != Standing::InUse
    }

    /// Whether the next request may go here: it is in use, or set aside and due for a trial.
    #[must_use]
    pub fn is_welcome(&self) -> bool {
        self.ejection.standing(|| self.now_ms()) != Standing::Aside
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

    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }
}
