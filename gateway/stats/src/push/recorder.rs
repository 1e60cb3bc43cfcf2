//! What recording looks like to whoever records: an interface, the real one, one that does nothing
//! and one that remembers.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    batch::Event,
    core::Core,
    sample::{Rate, Sample},
    series::{Counter, Gauge, Histogram, SeriesId, Timing},
};

/// Takes figures. No method blocks; each returns whether the figure was kept.
///
/// A figure that a [`Rate`] leaves out counts as kept: those that are in stand for it. Values that
/// are no finite number, and negative ones in histograms, are refused and counted.
pub trait Recorder: Send + Sync {
    /// Adds `n` to a counter. Sums are kept as doubles, exact up to 2^53.
    fn count(&self, counter: Counter, n: u64) -> bool;

    /// Sets a gauge.
    fn set(&self, gauge: Gauge, value: f64) -> bool;

    /// Adds a value to a histogram, at a rate.
    fn observe_at(&self, histogram: Histogram, value: f64, rate: Rate) -> bool;

    /// Adds a duration to a timing, at a rate.
    fn time_at(&self, timing: Timing, duration: Duration, rate: Rate) -> bool;

    /// Adds `n` to a counter, at a rate: one call that is recorded adds `n` divided by the share.
    fn count_at(&self, counter: Counter, n: u64, rate: Rate) -> bool;

    /// Adds an amount that need not be whole to a counter; a negative one is refused.
    fn add(&self, counter: Counter, amount: f64) -> bool;

    /// Adds `n` durations that are alike to a timing, as one sample. None for 0; exact up to 2^24.
    fn time_many(&self, timing: Timing, duration: Duration, n: u32) -> bool;

    /// Adds `n` values that are alike to a histogram, as one sample, as
    /// [`time_many`](Self::time_many) does.
    fn observe_many(&self, histogram: Histogram, value: f64, n: u32) -> bool;

    /// Reports something that happened, as text. Unlike the others this allocates, and exporters
    /// whose protocol has no events leave them out.
    fn event(&self, event: Event) -> bool;

    /// Adds a value to a histogram.
    #[inline]
    fn observe(&self, histogram: Histogram, value: f64) -> bool {
        self.observe_at(histogram, value, Rate::ALL)
    }

    /// Adds a duration to a timing.
    #[inline]
    fn time(&self, timing: Timing, duration: Duration) -> bool {
        self.time_at(timing, duration, Rate::ALL)
    }
}

/// Records into a pipeline's buffer. A copy is another handle on the same.
///
/// A call is a bounds check, the choice of a shard and one push into a bounded queue; it takes no
/// lock, allocates nothing, makes no system call.
#[derive(Clone)]
pub struct PushRecorder(pub(super) Arc<Core>);

impl fmt::Debug for PushRecorder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PushRecorder").finish_non_exhaustive()
    }
}

impl PushRecorder {
    #[inline]
    fn push(&self, id: impl Into<SeriesId>, value: f64, rate: Rate) -> bool {
        self.0.ring.push(Sample { id: id.into(), rate, value })
    }

    #[inline]
    fn observed(&self, id: impl Into<SeriesId>, value: f64, rate: Rate) -> bool {
        if !value.is_finite() || value < 0.0 {
            return self.0.ring.refuse();
        }
        !rate.picks() || self.push(id, value, rate)
    }

    fn observed_many(&self, id: impl Into<SeriesId>, value: f64, n: u32) -> bool {
        if !value.is_finite() || value < 0.0 {
            return self.0.ring.refuse();
        }
        n == 0 || self.push(id, value, Rate::standing_for(n))
    }

    /// Samples that have not been put together yet. For who records many at a time and would not lose
    /// any: [`Pipeline::gather`](super::Pipeline::gather) makes room.
    pub fn waiting(&self) -> usize {
        self.0.ring.len()
    }
}

impl Recorder for PushRecorder {
    #[inline]
    fn count(&self, counter: Counter, n: u64) -> bool {
        self.push(counter, n as f64, Rate::ALL)
    }

    #[inline]
    fn set(&self, gauge: Gauge, value: f64) -> bool {
        if !value.is_finite() {
            return self.0.ring.refuse();
        }
        self.push(gauge, value, Rate::ALL)
    }

    #[inline]
    fn observe_at(&self, histogram: Histogram, value: f64, rate: Rate) -> bool {
        self.observed(histogram, value, rate)
    }

    #[inline]
    fn time_at(&self, timing: Timing, duration: Duration, rate: Rate) -> bool {
        self.observed(timing, duration.as_secs_f64(), rate)
    }

    #[inline]
    fn count_at(&self, counter: Counter, n: u64, rate: Rate) -> bool {
        !rate.picks() || self.push(counter, n as f64, rate)
    }

    fn add(&self, counter: Counter, amount: f64) -> bool {
        self.observed(counter, amount, Rate::ALL)
    }

    fn time_many(&self, timing: Timing, duration: Duration, n: u32) -> bool {
        self.observed_many(timing, duration.as_secs_f64(), n)
    }

    fn observe_many(&self, histogram: Histogram, value: f64, n: u32) -> bool {
        self.observed_many(histogram, value, n)
    }

    fn event(&self, event: Event) -> bool {
        self.0.event(event)
    }
}

/// Takes figures and forgets them, for code under test that must be given something. Nothing is
/// kept, and every call says so.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoopRecorder;

impl Recorder for NoopRecorder {
    fn count(&self, _: Counter, _: u64) -> bool {
        false
    }

    fn set(&self, _: Gauge, _: f64) -> bool {
        false
    }

    fn observe_at(&self, _: Histogram, _: f64, _: Rate) -> bool {
        false
    }

    fn time_at(&self, _: Timing, _: Duration, _: Rate) -> bool {
        false
    }

    fn count_at(&self, _: Counter, _: u64, _: Rate) -> bool {
        false
    }

    fn add(&self, _: Counter, _: f64) -> bool {
        false
    }

    fn time_many(&self, _: Timing, _: Duration, _: u32) -> bool {
        false
    }

    fn observe_many(&self, _: Histogram, _: f64, _: u32) -> bool {
        false
    }

    fn event(&self, _: Event) -> bool {
        false
    }
}

/// What a [`MemoryRecorder`] was told.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Recorded {
    /// A counter was added to.
    Count(Counter, u64, Rate),
    /// An amount was added to a counter.
    Add(Counter, f64),
    /// A gauge was set.
    Set(Gauge, f64),
    /// A histogram was given a value.
    Observe(Histogram, f64, Rate),
    /// A timing was given a duration.
    Time(Timing, Duration, Rate),
    /// An event was reported.
    Event(Event),
}

/// Remembers every call in its order, rates or not, for tests of code that records. It locks and
/// grows, and is for nothing else.
#[derive(Debug, Default)]
pub struct MemoryRecorder(Mutex<Vec<Recorded>>);

impl MemoryRecorder {
    /// The calls so far.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.lock().clone()
    }

    /// What was counted by a counter so far; amounts that were [added](Recorder::add) are not in it.
    pub fn total(&self, counter: Counter) -> u64 {
        let counted = |call: &Recorded| match call {
            Recorded::Count(of, n, _) if *of == counter => *n,
            _ => 0,
        };
        self.lock().iter().map(counted).sum()
    }

    fn keep(&self, call: Recorded) -> bool {
        self.lock().push(call);
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder for MemoryRecorder {
    fn count(&self, counter: Counter, n: u64) -> bool {
        self.keep(Recorded::Count(counter, n, Rate::ALL))
    }

    fn set(&self, gauge: Gauge, value: f64) -> bool {
        self.keep(Recorded::Set(gauge, value))
    }

    fn observe_at(&self, histogram: Histogram, value: f64, rate: Rate) -> bool {
        self.keep(Recorded::Observe(histogram, value, rate))
    }

    fn time_at(&self, timing: Timing, duration: Duration, rate: Rate) -> bool {
        self.keep(Recorded::Time(timing, duration, rate))
    }

    fn count_at(&self, counter: Counter, n: u64, rate: Rate) -> bool {
        self.keep(Recorded::Count(counter, n, rate))
    }

    fn add(&self, counter: Counter, amount: f64) -> bool {
        self.keep(Recorded::Add(counter, amount))
    }

    fn time_many(&self, timing: Timing, duration: Duration, n: u32) -> bool {
        self.keep(Recorded::Time(timing, duration, Rate::standing_for(n)))
    }

    fn observe_many(&self, histogram: Histogram, value: f64, n: u32) -> bool {
        self.keep(Recorded::Observe(histogram, value, Rate::standing_for(n)))
    }

    fn event(&self, event: Event) -> bool {
        self.keep(Recorded::Event(event))
    }
}

#[cfg(test)]
mod tests;
