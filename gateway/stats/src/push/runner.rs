//! An exporter's thread: takes batches from its queue, asks the breaker, sends, tries again, and
//! makes the exporter anew when it has panicked.
//!
//! Nothing that goes wrong here is felt elsewhere. The queue in front drops its oldest; a panic
//! ends at the border of the call; what cannot be sent is counted with its reason.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    batch::Batch,
    breaker::Breaker,
    clock::Clock,
    exporter::{ExportError, Exporter, ExporterSpec, Tally},
    meter::{LossReason, Meter},
    outbox::{Next, Outbox},
};

/// A thread with nothing to do looks up so often, in case it waits for a clock that is not the
/// system's.
const LOOK_UP: Duration = Duration::from_millis(100);
const LOOK_UP_OFTEN: Duration = Duration::from_millis(10);

/// Waits double from the first to the second, between attempts and before an exporter is remade.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What a thread shares with those who feed and watch it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) spec: ExporterSpec,
    pub(super) outbox: Outbox<Arc<Batch>>,
    pub(super) meter: Meter,
    /// By the pipeline's clock, in nanoseconds: past it nothing more is sent.
    deadline_ns: AtomicU64,
}

impl Lane {
    pub(super) fn new(spec: ExporterSpec) -> Self {
        let outbox = Outbox::new(spec.queue_batches, spec.queue_bytes);
        Self { spec, outbox, meter: Meter::default(), deadline_ns: AtomicU64::new(u64::MAX) }
    }

    /// Queues a batch; what has to go for it is lost.
    pub(super) fn put(&self, batch: &Arc<Batch>) {
        let gone = self.outbox.put(Arc::clone(batch), batch.bytes());
        let reason = match self.outbox.is_closed() {
            true => LossReason::Shutdown,
            false => LossReason::QueueFull,
        };
        for batch in gone {
            self.meter.lose(reason, weight(&batch));
        }
    }

    /// Lets the thread send what is queued until `deadline`, and end.
    pub(super) fn close(&self, deadline: Duration) {
        let deadline_ns = u64::try_from(deadline.as_nanos()).unwrap_or(u64::MAX);
        self.deadline_ns.store(deadline_ns, Ordering::Relaxed);
        self.outbox.close();
    }

    /// Takes what is still queued from a thread that did not end in time.
    pub(super) fn abandon(&self) {
        for batch in self.outbox.take_all() {
            self.meter.lose(LossReason::Shutdown, weight(&batch));
        }
        self.meter.lose(LossReason::Shutdown, self.meter.under_way());
    }

    fn is_late(&self, now: Duration) -> bool {
        now.as_nanos() >= u128::from(self.deadline_ns.load(Ordering::Relaxed))
    }
}

/// Points and events: what is counted as lost.
fn weight(batch: &Batch) -> u64 {
    (batch.points().len() + batch.events().len()) as u64
}

/// What of a batch neither went out nor is counted as lost already.
fn left_of(batch: &Batch, tally: Tally) -> u64 {
    weight(batch).saturating_sub(tally.points + tally.unsayable + tally.refused)
}

/// The thread's own state.
pub(super) struct Runner {
    lane: Arc<Lane>,
    clock: Arc<dyn Clock>,
    breaker: Breaker,
    exporter: Option<Box<dyn Exporter>>,
    rebuild_at: Duration,
    rebuild_in: Duration,
}

impl Runner {
    pub(super) fn new(lane: Arc<Lane>, clock: Arc<dyn Clock>) -> Self {
        let breaker = Breaker::new(lane.spec.breaker);
        let rebuild_at = Duration::ZERO;
        Self { lane, clock, breaker, exporter: None, rebuild_at, rebuild_in: BACKOFF_MIN }
    }

    /// Runs until the queue is closed and empty, or its deadline is over.
    pub(super) fn run(mut self) {
        loop {
            match self.lane.outbox.next(LOOK_UP) {
                Next::Item(batch) => {
                    self.lane.meter.begin(weight(&batch));
                    self.handle(&batch);
                    self.lane.meter.end();
                }
                Next::Late => {}
                Next::Closed => break,
            }
        }
        self.finish();
        // Whatever it does on its way out.
        let exporter = self.exporter.take();
        let _ended = catch_unwind(AssertUnwindSafe(move || drop(exporter)));
    }

    fn finish(&mut self) {
        let (now, mut tally) = (self.clock.now(), Tally::default());
        if self.lane.is_late(now) || !self.breaker.allows(now) {
            return;
        }
        let Some(exporter) = &mut self.exporter else { return };
        match catch_unwind(AssertUnwindSafe(|| exporter.finish(&mut tally))) {
            Ok(Ok(())) => self.lane.meter.tally(tally),
            Ok(Err(error)) => self.lane.meter.error(&error),
            Err(panic) => self.panicked(&*panic),
        }
    }

    fn handle(&mut self, batch: &Batch) {
        if self.lane.is_late(self.clock.now()) {
            return self.lane.meter.lose(LossReason::Shutdown, weight(batch));
        }
        if !self.is_up() || !self.observe(batch) {
            return self.lane.meter.lose(LossReason::Down, weight(batch));
        }
        let mut wait = BACKOFF_MIN;
        for attempt in 1.. {
            let last = attempt >= self.lane.spec.attempts;
            match self.attempt(batch, last) {
                Attempt::Done => return,
                Attempt::Again(at_least) => {
                    self.rest(at_least.unwrap_or(wait));
                    wait = (wait * 2).min(BACKOFF_MAX);
                }
            }
            if self.lane.is_late(self.clock.now()) {
                return self.lane.meter.lose(LossReason::Shutdown, weight(batch));
            }
        }
    }

    /// One attempt; what it loses is counted.
    fn attempt(&mut self, batch: &Batch, last: bool) -> Attempt {
        let now = self.clock.now();
        if !self.breaker.allows(now) {
            self.lane.meter.breaker(self.breaker.state());
            self.lane.meter.lose(LossReason::BreakerOpen, weight(batch));
            return Attempt::Done;
        }
        self.lane.meter.breaker(self.breaker.state());
        let Some(exporter) = &mut self.exporter else { return Attempt::Done };
        let mut tally = Tally::default();
        let sent = catch_unwind(AssertUnwindSafe(|| exporter.export(batch, &mut tally)));
        let now = self.clock.now();
        let outcome = match sent {
            Ok(Ok(())) => {
                self.breaker.succeeded();
                self.rebuild_in = BACKOFF_MIN;
                self.lane.meter.tally(tally);
                self.lane.meter.batch_sent();
                Attempt::Done
            }
            Ok(Err(error)) => self.failed(&error, batch, tally, last, now),
            Err(panic) => {
                self.breaker.failed(now, None);
                self.lane.meter.tally(tally);
                self.lane.meter.lose(LossReason::Panicked, left_of(batch, tally));
                self.panicked(&*panic);
                Attempt::Done
            }
        };
        self.lane.meter.breaker(self.breaker.state());
        outcome
    }

    fn failed(
        &mut self,
        error: &ExportError,
        batch: &Batch,
        tally: Tally,
        last: bool,
        now: Duration,
    ) -> Attempt {
        self.lane.meter.error(error);
        // A batch of which some has arrived is not sent again.
        let again = error.is_retryable() && !last && tally.points == 0;
        self.breaker.failed(now, if again { None } else { error.retry_after() });
        if again && self.breaker.allows(now) {
            return Attempt::Again(error.retry_after());
        }
        let reason = match error {
            ExportError::Refused { .. } => LossReason::Refused,
            _ => LossReason::SendFailed,
        };
        self.lane.meter.tally(tally);
        self.lane.meter.lose(reason, left_of(batch, tally));
        Attempt::Done
    }

    /// Waits by the pipeline's clock; shorter if the queue is closed meanwhile.
    fn rest(&self, wait: Duration) {
        let until = self.clock.now().saturating_add(wait);
        while !self.lane.outbox.is_closed() {
            let left = until.saturating_sub(self.clock.now());
            if left.is_zero() {
                return;
            }
            self.lane.outbox.rest(left.min(LOOK_UP_OFTEN));
        }
    }

    /// Makes the exporter if there is none and its time has come.
    fn is_up(&mut self) -> bool {
        let now = self.clock.now();
        if self.exporter.is_none() && now >= self.rebuild_at {
            let build = Arc::clone(&self.lane.spec.build);
            match catch_unwind(AssertUnwindSafe(|| build())) {
                Ok(Ok(exporter)) => self.exporter = Some(exporter),
                Ok(Err(error)) => {
                    self.lane.meter.error(&error);
                    self.postpone();
                }
                Err(panic) => self.panicked(&*panic),
            }
        }
        self.exporter.is_some()
    }

    fn observe(&mut self, batch: &Batch) -> bool {
        let Some(exporter) = &mut self.exporter else { return false };
        match catch_unwind(AssertUnwindSafe(|| exporter.observe(batch))) {
            Ok(()) => true,
            Err(panic) => {
                self.panicked(&*panic);
                false
            }
        }
    }

    /// Whatever state it is in, it is not used again.
    fn panicked(&mut self, panic: &(dyn Any + Send)) {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        self.lane.meter.panicked(message.unwrap_or_else(|| "panicked".to_owned()));
        let exporter = self.exporter.take();
        let _dropped = catch_unwind(AssertUnwindSafe(move || drop(exporter)));
        self.postpone();
    }

    fn postpone(&mut self) {
        self.rebuild_at = self.clock.now().saturating_add(self.rebuild_in);
        self.rebuild_in = (self.rebuild_in * 2).min(BACKOFF_MAX);
    }
}

enum Attempt {
    Done,
    Again(Option<Duration>),
}
