//! The two clocks: one that never jumps, for intervals, and the wall's, for what is written down.
//!
//! Both come through an interface so that a test can turn their hands.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Time since some moment that stays the same; never goes back.
    fn now(&self) -> Duration;

    /// Milliseconds since 1970 by the wall clock, which may jump either way.
    fn wall_ms(&self) -> u64;
}

/// The system's clocks.
#[derive(Clone, Copy)]
pub struct SystemClock(Instant);

impl fmt::Debug for SystemClock {
    /// Without the moment it counts from: two of them are the same to whoever compares settings.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SystemClock")
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
    }
}

/// A clock that stands until it is moved, for tests. A copy has the same hands.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<Hands>);

#[derive(Debug, Default)]
struct Hands {
    now_ns: AtomicU64,
    wall_ms: AtomicU64,
}

impl ManualClock {
    /// A clock whose wall stands at `wall_ms`.
    pub fn at(wall_ms: u64) -> Self {
        let clock = Self::default();
        clock.set_wall(wall_ms);
        clock
    }

    /// Lets time pass on both.
    pub fn advance(&self, by: Duration) {
        self.0.now_ns.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
        self.0.wall_ms.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }

    /// Sets the wall clock, forwards or backwards.
    pub fn set_wall(&self, wall_ms: u64) {
        self.0.wall_ms.store(wall_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.now_ns.load(Ordering::SeqCst))
    }

    fn wall_ms(&self) -> u64 {
        self.0.wall_ms.load(Ordering::SeqCst)
    }
}

/// Timestamps that only go up: the wall's, until it falls behind what was said already; from there
/// on they go with the time that really passes, till the wall has caught up.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    last: Option<(u64, Duration)>,
}

impl Timeline {
    pub(super) fn stamp_ms(&mut self, clock: &dyn Clock) -> u64 {
        let (wall_ms, now) = (clock.wall_ms(), clock.now());
        let stamp_ms = match self.last {
            None => wall_ms,
            Some((last_ms, then)) => {
                let passed_ms = now.saturating_sub(then).as_millis() as u64;
                if wall_ms > last_ms { wall_ms } else { last_ms + passed_ms.max(1) }
            }
        };
        self.last = Some((stamp_ms, now));
        stamp_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_rise_whatever_the_wall_does() {
        let clock = ManualClock::at(1_000_000);
        let mut timeline = Timeline::default();
        assert_eq!(timeline.stamp_ms(&clock), 1_000_000);
        clock.advance(Duration::from_secs(1));
        assert_eq!(timeline.stamp_ms(&clock), 1_001_000);
        clock.set_wall(5);
        clock.advance(Duration::from_secs(1));
        assert_eq!(timeline.stamp_ms(&clock), 1_002_000, "an hour back is one second on");
        assert_eq!(timeline.stamp_ms(&clock), 1_002_001, "and no time at all is a little");
        clock.set_wall(9_000_000);
        assert_eq!(timeline.stamp_ms(&clock), 9_000_000);
    }
}
