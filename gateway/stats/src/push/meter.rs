//! What is counted of one exporter, by its own thread and by whoever fills its queue.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use super::{
    breaker::BreakerState,
    exporter::{ExportError, Tally},
};

/// Why something was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum LossReason {
    /// The exporter's queue was full, and this was the oldest.
    QueueFull = 0,
    /// The circuit breaker was open.
    BreakerOpen = 1,
    /// Sending failed.
    SendFailed = 2,
    /// The receiver refused it.
    Refused = 3,
    /// The exporter panicked over it.
    Panicked = 4,
    /// The exporter was not up, after a panic or because it cannot be set up.
    Down = 5,
    /// The protocol cannot say it, or not in one message.
    Unsayable = 6,
    /// The deadline of shutdown came first.
    Shutdown = 7,
}

impl LossReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::QueueFull,
        Self::BreakerOpen,
        Self::SendFailed,
        Self::Refused,
        Self::Panicked,
        Self::Down,
        Self::Unsayable,
        Self::Shutdown,
    ];

    /// As a statistic's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::BreakerOpen => "breaker_open",
            Self::SendFailed => "send_failed",
            Self::Refused => "refused",
            Self::Panicked => "panicked",
            Self::Down => "down",
            Self::Unsayable => "unsayable",
            Self::Shutdown => "shutdown",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Meter {
    points: AtomicU64,
    bytes: AtomicU64,
    sends: AtomicU64,
    batches: AtomicU64,
    errors: AtomicU64,
    panics: AtomicU64,
    lost: [AtomicU64; LossReason::ALL.len()],
    breaker: AtomicU8,
    /// Points of the batch that is being sent.
    under_way: AtomicU64,
    last_error: Mutex<Option<String>>,
}

/// What a meter showed at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) points: u64,
    pub(super) bytes: u64,
    pub(super) sends: u64,
    pub(super) batches: u64,
    pub(super) errors: u64,
    pub(super) panics: u64,
    pub(super) lost: [u64; LossReason::ALL.len()],
    pub(super) breaker: usize,
    pub(super) last_error: Option<String>,
}

impl Meter {
    pub(super) fn begin(&self, points: u64) {
        self.under_way.store(points, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.under_way.store(0, Ordering::Relaxed);
    }

    pub(super) fn under_way(&self) -> u64 {
        self.under_way.load(Ordering::Relaxed)
    }

    /// What was done, of a batch that went out whole or in part.
    pub(super) fn tally(&self, tally: Tally) {
        self.points.fetch_add(tally.points, Ordering::Relaxed);
        self.bytes.fetch_add(tally.bytes, Ordering::Relaxed);
        self.sends.fetch_add(tally.sends, Ordering::Relaxed);
        self.lose(LossReason::Unsayable, tally.unsayable);
        self.lose(LossReason::Refused, tally.refused);
    }

    pub(super) fn batch_sent(&self) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lose(&self, reason: LossReason, points: u64) {
        self.lost[reason as usize].fetch_add(points, Ordering::Relaxed);
    }

    pub(super) fn error(&self, error: &ExportError) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        self.remember(error.story());
    }

    pub(super) fn panicked(&self, message: String) {
        self.panics.fetch_add(1, Ordering::Relaxed);
        self.remember(message);
    }

    pub(super) fn breaker(&self, state: BreakerState) {
        self.breaker.store(state as u8, Ordering::Relaxed);
    }

    fn remember(&self, story: String) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(story);
    }

    pub(super) fn read(&self) -> Reading {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reading {
            points: load(&self.points),
            bytes: load(&self.bytes),
            sends: load(&self.sends),
            batches: load(&self.batches),
            errors: load(&self.errors),
            panics: load(&self.panics),
            lost: std::array::from_fn(|reason| load(&self.lost[reason])),
            breaker: usize::from(self.breaker.load(Ordering::Relaxed)),
            last_error: self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
