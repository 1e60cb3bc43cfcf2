//! When each download is read next and how much of it, and how evenly that went.
//!
//! Downloads take turns, evenly spaced over a period, so that the load has no bursts of its own. What a
//! download could not be given in its turn it may have later, up to a bound: a client's link has no memory.

use crate::fairness::arithmetic::variation;
use std::time::{Duration, Instant};

/// How often each download is read: often enough to be smooth, seldom enough to be cheap.
const PERIOD: Duration = Duration::from_millis(20);
/// Periods whose share a download may be behind.
const BEHIND_MAX: u64 = 5;
/// Length of a window of [`Progress`].
pub(super) const WINDOW: Duration = Duration::from_millis(250);

/// The turns of downloads that are each read at the same rate.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    turns: u64,
    share_bytes: u64,
    /// What each may still be read.
    allowance_bytes: Vec<u64>,
}

impl Pace {
    pub(super) fn new(flows: usize, bytes_per_s: u64, start: Instant) -> Self {
        let share_bytes = (bytes_per_s as f64 * PERIOD.as_secs_f64()).ceil() as u64;
        Self { start, turns: 0, share_bytes, allowance_bytes: vec![0; flows] }
    }

    /// When the next turn is; none without downloads.
    pub(super) fn due(&self) -> Option<Instant> {
        let flows = self.allowance_bytes.len() as u64;
        let periods = self.turns.checked_div(flows)?;
        let within = PERIOD.as_nanos() as u64 * (self.turns % flows) / flows;
        let whole = Duration::from_nanos(PERIOD.as_nanos() as u64 * periods);
        Some(self.start + whole + Duration::from_nanos(within))
    }

    /// The download whose turn it is and what may be read of it, if its turn has come.
    pub(super) fn next(&mut self, now: Instant) -> Option<(usize, u64)> {
        if self.due()? > now {
            return None;
        }
        let flow = (self.turns % self.allowance_bytes.len() as u64) as usize;
        self.turns += 1;
        let allowance = &mut self.allowance_bytes[flow];
        *allowance = (*allowance + self.share_bytes).min(self.share_bytes * BEHIND_MAX);
        Some((flow, *allowance))
    }

    /// So much was read of it.
    pub(super) fn read(&mut self, flow: usize, bytes: u64) {
        let allowance = &mut self.allowance_bytes[flow];
        *allowance = allowance.saturating_sub(bytes);
    }
}

/// What was read over some time, by windows, and who stood still for how long.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    start: Instant,
    end: Instant,
    windows: Vec<u64>,
    last_moved: Vec<Instant>,
    longest_still: Duration,
}

impl Progress {
    pub(super) fn new(flows: usize, start: Instant) -> Self {
        let last_moved = vec![start; flows];
        Self { start, end: start, windows: Vec::new(), last_moved, longest_still: Duration::ZERO }
    }

    /// So much was read of a download at `now`.
    pub(super) fn read(&mut self, flow: usize, bytes: u64, now: Instant) {
        let window = (now.duration_since(self.start).as_nanos() / WINDOW.as_nanos()) as usize;
        if window >= self.windows.len() {
            self.windows.resize(window + 1, 0);
        }
        self.windows[window] += bytes;
        if bytes > 0 {
            let still = now.duration_since(self.last_moved[flow]);
            self.longest_still = self.longest_still.max(still);
            self.last_moved[flow] = now;
        }
    }

    /// Nothing is read after `now`.
    pub(super) fn finish(&mut self, now: Instant) {
        self.end = now;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.windows.iter().sum()
    }

    /// The longest that any download stood still, to the end.
    pub(super) fn longest_still(&self) -> Duration {
        let since = |moved: &Instant| self.end.saturating_duration_since(*moved);
        self.last_moved.iter().map(since).fold(self.longest_still, Duration::max)
    }

    /// The variation over whole windows; infinite if nothing was read.
    pub(super) fn variation(&self) -> f64 {
        let whole = (self.end.saturating_duration_since(self.start).as_nanos() / WINDOW.as_nanos())
            as usize;
        let windows = self.windows.iter().copied().chain(std::iter::repeat(0)).take(whole);
        let windows: Vec<f64> = windows.map(|bytes| bytes as f64).collect();
        variation(&windows).unwrap_or(f64::INFINITY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn turns_are_spread_over_the_period() {
        let start = Instant::now();
        let mut pace = Pace::new(4, 1_000_000, start);
        let mut dues = Vec::new();
        for _ in 0..6 {
            let due = pace.due().unwrap();
            dues.push((pace.next(due).unwrap().0, due - start));
        }
        assert_eq!(dues[..4], [(0, ms(0)), (1, ms(5)), (2, ms(10)), (3, ms(15))]);
        assert_eq!(dues[4..], [(0, ms(20)), (1, ms(25))]);
        assert_eq!(pace.next(start), None);
    }

    #[test]
    fn what_was_not_there_is_owed_for_a_while() {
        let start = Instant::now();
        let mut pace = Pace::new(1, 1_000_000, start);
        let later = start + ms(1000);
        assert_eq!(pace.next(later), Some((0, 20_000)));
        pace.read(0, 5_000);
        assert_eq!(pace.next(later), Some((0, 35_000)));
        for _ in 0..9 {
            pace.next(later);
        }
        assert_eq!(pace.next(later), Some((0, 100_000)));
    }

    #[test]
    fn without_downloads_there_are_no_turns() {
        let mut pace = Pace::new(0, 1, Instant::now());
        assert_eq!((pace.due(), pace.next(Instant::now())), (None, None));
    }

    #[test]
    fn even_windows_do_not_vary_and_a_gap_does() {
        let start = Instant::now();
        let mut even = Progress::new(1, start);
        let mut gap = Progress::new(1, start);
        for window in 0..8 {
            even.read(0, 10, start + WINDOW * window);
            if window != 4 {
                gap.read(0, 10, start + WINDOW * window);
            }
        }
        even.finish(start + WINDOW * 8);
        gap.finish(start + WINDOW * 8);
        assert_eq!((even.variation(), even.bytes()), (0.0, 80));
        assert!(gap.variation() > 0.3, "{}", gap.variation());
        assert_eq!((even.longest_still(), gap.longest_still()), (WINDOW, WINDOW * 2));
    }

    #[test]
    fn a_download_that_never_moves_stands_still_all_the_time() {
        let start = Instant::now();
        let mut progress = Progress::new(2, start);
        progress.read(0, 10, start + ms(10));
        progress.finish(start + ms(3000));
        assert_eq!(progress.longest_still(), ms(3000));
        assert_eq!(Progress::new(1, start).variation(), f64::INFINITY);
    }
}
