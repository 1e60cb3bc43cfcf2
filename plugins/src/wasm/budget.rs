//! How much of a thread's time failures may take.
//!
//! Whatever a failing guest took is taken from every other request of its thread, and who sends the
//! requests that it fails on may send many. So failures live on an allowance, as in a token bucket:
//! once it is used up, no VM is put to work until it has grown again. One bad request shuts nobody
//! out, and however many come, others lose no more than a share that their 99th percentile does not
//! see.
//!
//! Each source has an allowance of its own besides, of less than half of the thread's: whoever uses it
//! up does without the filter, or is refused, while all others keep it.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// One part in so many of the time may go to failures.
const SHARE: u32 = 200;

/// What has been saved up at most: some fifty traps.
const ALLOWANCE: Duration = Duration::from_millis(50);

/// Calls that ran into their deadline that the allowance holds at least.
const DEADLINES: u32 = 3;

/// The same for one source: a fifth of what the thread may lose, so that it takes five of them to use
/// that up.
const SOURCE_SHARE: u32 = 1000;
const SOURCE_ALLOWANCE: Duration = Duration::from_millis(20);
const SOURCE_DEADLINES: u32 = 2;

/// Sources that are remembered by one thread for one filter; a hundred kilobytes. Who comes from more
/// addresses than that is held by the thread's own allowance.
const SOURCES_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// A failure's cost at least: a VM that is thrown away, and another that is taken in.
const COST_MIN: Duration = Duration::from_millis(1);

/// A start takes CPU time, but not that of a thread that serves: a tenth of it counts.
const START_PART: u32 = 10;

/// An allowance.
#[derive(Debug)]
pub(super) struct Budget {
    deadline: Duration,
    floor: Duration,
    deadlines: u32,
    share: u32,
    /// When all of the allowance will be there again.
    whole_at: Option<Instant>,
}

impl Budget {
    /// A whole one of a thread's VM, for calls with this deadline.
    pub(super) fn of_thread(deadline: Duration) -> Self {
        let (floor, deadlines) = (ALLOWANCE, DEADLINES);
        Self { deadline, floor, deadlines, share: SHARE, whole_at: None }
    }

    /// A whole one of a source.
    fn of_source(deadline: Duration) -> Self {
        let (floor, deadlines) = (SOURCE_ALLOWANCE, SOURCE_DEADLINES);
        Self { deadline, floor, deadlines, share: SOURCE_SHARE, whole_at: None }
    }

    /// What each failure is charged for the VM that must be started, if a start takes `start`.
    pub(super) fn charge(start: Duration) -> Duration {
        start / START_PART
    }

    /// A failure took `cost` and ended at `now`.
    pub(super) fn spend(&mut self, cost: Duration, now: Instant) {
        let from = self.whole_at.map_or(now, |whole_at| whole_at.max(now));
        self.whole_at = Some(from + cost.max(COST_MIN) * self.share);
    }

    /// Whether something is left at `now`, where each failure is charged `charge` besides its time.
    pub(super) fn is_left(&self, now: Instant, charge: Duration) -> bool {
        let missing = self.whole_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        let allowance = self.floor.max((self.deadline + charge) * self.deadlines);
        missing < allowance * self.share
    }
}

/// The allowances of sources.
#[derive(Debug)]
pub(super) struct Sources {
    deadline: Duration,
    budgets: LruCache<IpAddr, Budget>,
}

impl Sources {
    /// All whole.
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, budgets: LruCache::unbounded() }
    }

    /// A failure of a request of this source took `cost` and ended at `now`.
    pub(super) fn spend(&mut self, source: Option<IpAddr>, cost: Duration, now: Instant) {
        let Some(source) = source.map(network) else { return };
        if self.budgets.len() >= SOURCES_MAX.get() && !self.budgets.contains(&source) {
            self.budgets.pop_lru();
        }
        let budget = || Budget::of_source(self.deadline);
        self.budgets.get_or_insert_mut(source, budget).spend(cost, now);
    }

    /// Whether none has failed.
    pub(super) fn are_whole(&self) -> bool {
        self.budgets.is_empty()
    }

    /// Whether this source has something left at `now`. What has no source always has.
    pub(super) fn has_left(
        &mut self,
        source: Option<IpAddr>,
        now: Instant,
        charge: Duration,
    ) -> bool {
        let Some(source) = source.map(network) else { return true };
        self.budgets.get(&source).is_none_or(|budget| budget.is_left(now, charge))
    }
}

/// Whoever has one address of IPv6 has the /64 that it lies in: RFC 4291, 2.5.4.
fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    use super::{Budget, SOURCES_MAX, Sources};

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn traps_are_cheap_and_deadlines_are_not() {
        let now = Instant::now();
        for (cost, free) in [(Duration::ZERO, 50), (10 * MS, 5)] {
            let mut budget = Budget::of_thread(10 * MS);
            for failure in 0..free {
                assert!(budget.is_left(now, Duration::ZERO), "{cost:?} {failure}");
                budget.spend(cost, now);
            }
            assert!(!budget.is_left(now, Duration::ZERO), "{cost:?}");
        }
        let mut budget = Budget::of_thread(Duration::from_secs(1));
        budget.spend(Duration::from_secs(2), now);
        assert!(budget.is_left(now, Duration::ZERO), "three deadlines at least");
    }

    #[test]
    fn a_two_hundredth_of_the_time_is_had_back() {
        let (mut budget, now) = (Budget::of_thread(10 * MS), Instant::now());
        for _ in 0..5 {
            budget.spend(10 * MS, now);
        }
        assert!(!budget.is_left(now, Duration::ZERO));
        assert!(budget.is_left(now + MS, Duration::ZERO));
        budget.spend(10 * MS, now + MS);
        assert!(!budget.is_left(now + 2000 * MS, Duration::ZERO));
        assert!(budget.is_left(now + 2001 * MS, Duration::ZERO));
    }

    #[test]
    fn a_module_that_is_slow_to_start_may_fail_a_few_times_too() {
        let now = Instant::now();
        let charge = Budget::charge(Duration::from_secs(2));
        let mut budget = Budget::of_thread(10 * MS);
        budget.spend(MS + charge, now);
        budget.spend(MS + charge, now);
        assert!(budget.is_left(now, charge));
        budget.spend(10 * MS + charge, now);
        budget.spend(10 * MS + charge, now);
        assert!(!budget.is_left(now, charge));
    }

    #[test]
    fn one_source_leaves_most_of_the_allowance_to_others() {
        let (bad, good) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let now = Instant::now();
        let (mut whole, mut sources) = (Budget::of_thread(10 * MS), Sources::new(10 * MS));
        let mut failures = 0;
        // Ten requests a millisecond for ten seconds.
        for at in (0..100_000).map(|turn| now + turn * MS / 10) {
            if sources.has_left(Some(bad), at, Duration::ZERO) {
                whole.spend(Duration::ZERO, at);
                sources.spend(Some(bad), Duration::ZERO, at);
                failures += 1;
            }
            assert!(whole.is_left(at, Duration::ZERO), "for others");
            assert!(sources.has_left(Some(good), at, Duration::ZERO));
            assert!(sources.has_left(None, at, Duration::ZERO));
        }
        assert!((20..=30).contains(&failures), "{failures}");
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_source() {
        let (mut sources, now) = (Sources::new(10 * MS), Instant::now());
        let source = |text: &str| Some(text.parse().unwrap());
        sources.spend(source("2001:db8::1"), Duration::from_secs(1), now);
        assert!(!sources.has_left(source("2001:db8::2"), now, Duration::ZERO));
        assert!(sources.has_left(source("2001:db8:0:1::1"), now, Duration::ZERO));
        sources.spend(source("::ffff:192.0.2.1"), Duration::from_secs(1), now);
        assert!(!sources.has_left(source("192.0.2.1"), now, Duration::ZERO));
    }

    #[test]
    fn sources_are_remembered_up_to_a_bound() {
        let (mut sources, now) = (Sources::new(10 * MS), Instant::now());
        for number in 0..5000 {
            let source = IpAddr::V4(Ipv4Addr::from_bits(number));
            sources.spend(Some(source), MS, now);
        }
        assert_eq!(sources.budgets.len(), SOURCES_MAX.get());
    }
}
