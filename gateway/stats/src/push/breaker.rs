//! The circuit breaker: when sending fails over and over, it is not tried for a while.
//!
//! Closed, everything is tried. After so many failures in a row it opens, and nothing is tried
//! until the time is over; then it is half open, and one trial decides. Pure: it is told the time.

use std::time::Duration;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerConfig {
    /// Failures in a row that open it; 0 is taken as 1.
    pub failures: u32,
    /// How long it stays open before the next trial.
    pub open_for: Duration,
}

impl Default for BreakerConfig {
    /// Five failures: as many flushes. Ten seconds: what an agent takes to restart.
    fn default() -> Self {
        Self { failures: 5, open_for: Duration::from_secs(10) }
    }
}

/// What a breaker lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BreakerState {
    /// Everything.
    Closed = 0,
    /// One trial.
    HalfOpen = 1,
    /// Nothing.
    Open = 2,
}

impl BreakerState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::HalfOpen, Self::Open];

    /// As a statistic's label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half_open",
            Self::Open => "open",
        }
    }
}

/// Counts failures and says whether to try.
#[derive(Debug, Clone)]
pub struct Breaker {
    config: BreakerConfig,
    failures: u32,
    state: BreakerState,
    open_until: Duration,
}

impl Breaker {
    /// A closed one.
    pub fn new(config: BreakerConfig) -> Self {
        Self { config, failures: 0, state: BreakerState::Closed, open_until: Duration::ZERO }
    }

    /// Whether to try now. An open breaker whose time is over becomes half open by this, and the
    /// caller owes it a [`succeeded`](Self::succeeded) or [`failed`](Self::failed).
    pub fn allows(&mut self, now: Duration) -> bool {
        if self.state == BreakerState::Open && now >= self.open_until {
            self.state = BreakerState::HalfOpen;
        }
        self.state != BreakerState::Open
    }

    /// A trial went well: everything is tried again.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.state = BreakerState::Closed;
    }

    /// A trial failed. `at_least` is how long the other side wants to be left alone, if it said so:
    /// it then opens at once, and for no less.
    pub fn failed(&mut self, now: Duration, at_least: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        let often = self.failures >= self.config.failures.max(1);
        if often || self.state == BreakerState::HalfOpen || at_least.is_some() {
            let open_for = at_least.map_or(self.config.open_for, |least| match often {
                true => least.max(self.config.open_for),
                false => least,
            });
            self.state = BreakerState::Open;
            self.open_until = now.saturating_add(open_for);
        }
    }

    /// What it lets through.
    pub fn state(&self) -> BreakerState {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig { failures: 3, open_for: 10 * SECOND })
    }

    #[test]
    fn it_opens_after_failures_in_a_row() {
        let mut breaker = breaker();
        breaker.failed(SECOND, None);
        breaker.failed(SECOND, None);
        breaker.succeeded();
        breaker.failed(SECOND, None);
        breaker.failed(SECOND, None);
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.failed(SECOND, None);
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(!breaker.allows(10 * SECOND));
    }

    #[test]
    fn one_trial_decides() {
        let mut breaker = breaker();
        for _ in 0..3 {
            breaker.failed(Duration::ZERO, None);
        }
        assert!(breaker.allows(10 * SECOND));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.failed(10 * SECOND, None);
        assert!(!breaker.allows(19 * SECOND), "one failure was enough");
        assert!(breaker.allows(20 * SECOND));
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.failed(20 * SECOND, None);
        assert_eq!(breaker.state(), BreakerState::Closed, "counting starts anew");
    }

    #[test]
    fn being_asked_to_wait_is_heeded_at_once() {
        let mut breaker = breaker();
        breaker.failed(Duration::ZERO, Some(60 * SECOND));
        assert!(!breaker.allows(59 * SECOND));
        assert!(breaker.allows(60 * SECOND));
    }

    #[test]
    fn a_clock_at_its_end_does_no_harm() {
        let mut breaker = breaker();
        breaker.failed(Duration::MAX, Some(Duration::MAX));
        assert!(breaker.allows(Duration::MAX));
    }
}
