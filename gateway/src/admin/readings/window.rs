//! What was counted lately of one thing: a window of the last five to ten seconds.
//!
//! The window is two halves. One is being filled; when five seconds are over it becomes the other,
//! and what that was is forgotten. Two full halves are a step of the history. Durations are kept as
//! counts of the histogram's buckets, from the first to the last that has any: some hundred bytes
//! for most routes. What all of them take together is bounded; where there is no room, quantiles
//! are left out.

use sallyport_stats::histogram::{self, BUCKETS};

/// Seconds in half a window.
pub(super) const HALF_S: u64 = 5;

/// The quantiles that are shown.
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// Buckets by which a span grows: no growth by one bucket at a time.
const GROWTH: usize = 8;

/// Bytes that spans may still take.
#[derive(Debug)]
pub(super) struct Budget(pub(super) usize);

impl Budget {
    fn take(&mut self, bytes: usize) -> bool {
        let is_there = self.0 >= bytes;
        if is_there {
            self.0 -= bytes;
        }
        is_there
    }
}

/// Counts of the histogram's buckets from the first to the last that has any.
#[derive(Debug, Default)]
pub(super) struct Span {
    first: usize,
    counts: Vec<u32>,
    /// Whether some were left out for want of room.
    is_partial: bool,
}

impl Span {
    /// Whether some were left out for want of room.
    pub(super) fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// The count of `bucket`.
    pub(super) fn count(&self, bucket: usize) -> u32 {
        bucket.checked_sub(self.first).and_then(|at| self.counts.get(at)).copied().unwrap_or(0)
    }

    /// Adds `count` to `bucket`, for which room is taken from `budget`.
    pub(super) fn add(&mut self, bucket: usize, count: u32, budget: &mut Budget) {
        if !self.reach(bucket, budget) {
            self.is_partial = true;
            return;
        }
        let slot = &mut self.counts[bucket - self.first];
        *slot = slot.wrapping_add(count);
    }

    /// Makes room for `bucket`.
    fn reach(&mut self, bucket: usize, budget: &mut Budget) -> bool {
        let (first, end) = (self.first, self.first + self.counts.len());
        if !self.counts.is_empty() && (first..end).contains(&bucket) {
            return true;
        }
        let down = bucket / GROWTH * GROWTH;
        let up = (bucket + 1).next_multiple_of(GROWTH).min(BUCKETS);
        let (new_first, new_end) = match self.counts.is_empty() {
            true => (down, up),
            false => (first.min(down), end.max(up)),
        };
        let more = new_end - new_first - self.counts.len();
        if !budget.take(more * size_of::<u32>()) {
            return false;
        }
        let mut counts = vec![0; new_end - new_first];
        let at = self.first.saturating_sub(new_first);
        counts[at..at + self.counts.len()].copy_from_slice(&self.counts);
        (self.first, self.counts) = (new_first, counts);
        true
    }

    fn add_to(&self, scratch: &mut Scratch) {
        let buckets = &mut scratch.counts[self.first..self.first + self.counts.len()];
        for (sum, count) in buckets.iter_mut().zip(&self.counts) {
            *sum += u64::from(*count);
        }
    }

    fn clear(&self, scratch: &mut Scratch) {
        scratch.counts[self.first..self.first + self.counts.len()].fill(0);
    }

    /// Gives its room back to `budget`.
    pub(super) fn free(&mut self, budget: &mut Budget) {
        budget.0 += self.counts.len() * size_of::<u32>();
        *self = Self::default();
    }
}

/// Room to add spans up in; all zeros between two uses.
#[derive(Debug)]
pub(super) struct Scratch {
    counts: Box<[u64; BUCKETS]>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { counts: Box::new([0; BUCKETS]) }
    }
}

/// What was counted in some time.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) client_errors: u64,
    pub(super) durations: Span,
}

/// The last five to ten seconds of one thing.
#[derive(Debug, Default)]
pub(super) struct Window {
    before: Counts,
    step: Counts,
    active: u64,
    /// Whether something was added since the figures were made.
    is_new: bool,
    figures: Figures,
}

/// What is shown of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in super::super) struct Figures {
    /// Requests finished in the window.
    pub(in super::super) requests: u64,
    /// Those that failed for a reason that is not the client's.
    pub(in super::super) errors: u64,
    /// Those that were answered with 4xx.
    pub(in super::super) client_errors: u64,
    /// Requests begun and not finished.
    pub(in super::super) active: u64,
    /// How long the window is, in seconds.
    pub(in super::super) seconds: f32,
    /// The histogram's buckets that hold p50, p99 and p99.9; `None` where there was no request.
    pub(in super::super) quantiles: Option<[u16; 3]>,
}

impl Figures {
    /// A count as a rate, in 1/s.
    pub(in super::super) fn rate(&self, count: u64) -> f64 {
        if self.seconds > 0.0 { count as f64 / f64::from(self.seconds) } else { 0.0 }
    }

    /// One of the quantiles, p50, p99 or p99.9, in seconds.
    pub(in super::super) fn quantile_s(&self, index: usize) -> Option<f64> {
        let bucket = usize::from(*self.quantiles?.get(index)?);
        Some(histogram::middle(bucket).as_secs_f64())
    }
}

impl Window {
    /// Adds requests; `durations` are counts by bucket.
    pub(super) fn add(&mut self, added: Added, durations: &[(usize, u32)], budget: &mut Budget) {
        self.step.requests += added.requests;
        self.step.errors += added.errors;
        self.step.client_errors += added.client_errors;
        self.step.durations.is_partial |= added.is_partial;
        for (bucket, count) in durations {
            self.step.durations.add(*bucket, *count, budget);
        }
        self.is_new = true;
    }

    /// Sets how many requests are under way.
    pub(super) fn set_active(&mut self, active: u64) {
        self.active = active;
    }

    /// Begins the next half.
    pub(super) fn turn(&mut self, budget: &mut Budget) {
        let was_idle = self.before.requests == 0 && self.step.requests == 0;
        self.before.durations.free(budget);
        self.before = std::mem::take(&mut self.step);
        self.is_new |= !was_idle;
    }

    /// What is shown of it, as a window of `seconds`.
    pub(super) fn figures(&mut self, seconds: f32, scratch: &mut Scratch) -> Figures {
        if self.is_new {
            self.is_new = false;
            let (before, step) = (&self.before, &self.step);
            self.figures = Figures {
                requests: before.requests + step.requests,
                errors: before.errors + step.errors,
                client_errors: before.client_errors + step.client_errors,
                quantiles: quantiles(&before.durations, &step.durations, scratch),
                ..Figures::default()
            };
        }
        Figures { active: self.active, seconds, ..self.figures }
    }

    /// Gives its room back to `budget`.
    pub(super) fn free(&mut self, budget: &mut Budget) {
        self.before.durations.free(budget);
        self.step.durations.free(budget);
    }
}

/// Requests that are added to a window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Added {
    pub(super) requests: u64,
    pub(super) errors: u64,
    pub(super) client_errors: u64,
    /// Whether not all of their durations are known.
    pub(super) is_partial: bool,
}

fn quantiles(one: &Span, other: &Span, scratch: &mut Scratch) -> Option<[u16; 3]> {
    if one.is_partial || other.is_partial || (one.counts.is_empty() && other.counts.is_empty()) {
        return None;
    }
    one.add_to(scratch);
    other.add_to(scratch);
    let (first, end) = match (one.counts.is_empty(), other.counts.is_empty()) {
        (true, _) => (other.first, other.first + other.counts.len()),
        (_, true) => (one.first, one.first + one.counts.len()),
        _ => (
            one.first.min(other.first),
            (one.first + one.counts.len()).max(other.first + other.counts.len()),
        ),
    };
    let found = ranked(&scratch.counts[first..end], first);
    one.clear(scratch);
    other.clear(scratch);
    found
}

/// By nearest rank, the buckets of all quantiles in one pass.
fn ranked(counts: &[u64], first: usize) -> Option<[u16; 3]> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    let ranks = QUANTILES.map(|q| ((q * total as f64).ceil() as u64).clamp(1, total));
    let (mut found, mut next, mut below) = ([0; 3], 0, 0);
    for (at, count) in counts.iter().enumerate() {
        below += count;
        while next < ranks.len() && below >= ranks[next] {
            found[next] = u16::try_from(first + at).unwrap_or(u16::MAX);
            next += 1;
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn added(requests: u64) -> Added {
        Added { requests, ..Added::default() }
    }

    #[test]
    fn a_window_shows_two_halves_and_forgets_the_third() {
        let (mut window, mut scratch) = (Window::default(), Scratch::default());
        let mut budget = Budget(1 << 20);
        window.add(added(2), &[(100, 2)], &mut budget);
        window.turn(&mut budget);
        window.add(added(1), &[(200, 1)], &mut budget);
        let shown = window.figures(7.5, &mut scratch);
        assert_eq!((shown.requests, shown.quantiles), (3, Some([100, 200, 200])));
        assert!((shown.rate(3) - 0.4).abs() < 1e-6);
        window.turn(&mut budget);
        assert_eq!(window.figures(5.0, &mut scratch).quantiles, Some([200; 3]));
        window.turn(&mut budget);
        let shown = window.figures(5.0, &mut scratch);
        assert_eq!((shown.requests, shown.quantiles), (0, None));
        assert_eq!(budget.0, 1 << 20, "all room was given back");
        assert!(scratch.counts.iter().all(|count| *count == 0));
    }

    #[test]
    fn without_room_quantiles_are_left_out_and_counts_are_not() {
        let (mut window, mut scratch) = (Window::default(), Scratch::default());
        window.add(added(2), &[(100, 2)], &mut Budget(31));
        let shown = window.figures(5.0, &mut scratch);
        assert_eq!((shown.requests, shown.quantiles), (2, None));
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_histogram_and_room_is_bounded(
            halves in prop::collection::vec(
                prop::collection::vec((0..BUCKETS, 1..1_000_u32), 0..40), 1..6),
            room in 0..4_000_usize,
        ) {
            let (mut window, mut scratch) = (Window::default(), Scratch::default());
            let (mut budget, mut all) = (Budget(room), Vec::new());
            for half in &halves {
                window.turn(&mut budget);
                let requests = half.iter().map(|(_, count)| u64::from(*count)).sum();
                window.add(added(requests), half, &mut budget);
                let taken = window.before.durations.counts.len() + window.step.durations.counts.len();
                prop_assert_eq!(budget.0 + taken * 4, room);
                all.push(half.clone());
            }
            let mut counts = [0; BUCKETS];
            for (bucket, count) in all.iter().rev().take(2).flatten() {
                counts[*bucket] += u64::from(*count);
            }
            let shown = window.figures(10.0, &mut scratch);
            prop_assert_eq!(shown.requests, counts.iter().sum::<u64>());
            if let Some(found) = shown.quantiles {
                for (q, bucket) in QUANTILES.into_iter().zip(found) {
                    let expected = histogram::quantile(&counts, q).unwrap();
                    prop_assert_eq!(histogram::middle(bucket.into()), expected);
                }
            } else {
                prop_assert!(room < 2 * BUCKETS * 4 || shown.requests == 0);
            }
        }
    }
}
